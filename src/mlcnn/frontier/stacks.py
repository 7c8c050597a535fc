"""Which methods go together, and in which order.

A method works on one aspect of a network, and two of one aspect do not go together. The order is
that of the aspects, and each has its reason: a method needs what those behind it would take away.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from itertools import combinations

from mlcnn.errors import InputError

__all__ = ["Aspect", "Stackable", "ordered", "refusal"]


class Aspect(IntEnum):
    """What of a network a method changes, in the order in which they go."""

    POOLS = 0
    CHANNELS = 1
    WEIGHTS = 2
    NUMBERS = 3
    FORMS = 4
    IMAGES = 5

    @property
    def why_here(self) -> str:
        """Why those of this aspect go before those of the next ones."""
        return _WHY_HERE[self]

    @property
    def why_once(self) -> str:
        """Why two of this aspect do not go together."""
        return _WHY_ONCE[self]


_WHY_HERE = {
    Aspect.POOLS: "what is left of a network without accuracy is judged with the pools that it "
    "will have",
    Aspect.CHANNELS: "structures of weights are made of the channels that stay",
    Aspect.WEIGHTS: "codes are made of the weights that stay, and structures are found in floats",
    Aspect.NUMBERS: "ranges are calibrated, and rounding is trained, in standard operators",
    Aspect.FORMS: "what single images need is decided on results, which forms keep",
    Aspect.IMAGES: "they read the finished network, and other methods take no conditional one",
}
_WHY_ONCE = {
    Aspect.POOLS: "pools are replaced once",
    Aspect.CHANNELS: "channels are cut once, down to the share that is asked for",
    Aspect.WEIGHTS: "a layer's weights have one structure",
    Aspect.NUMBERS: "a layer's numbers have one width",
    Aspect.FORMS: "forms are chosen once, last of what is the same for all images",
    Aspect.IMAGES: "both decide by the image what runs, of the same layers",
}


@dataclass(frozen=True, slots=True)
class Stackable:
    """What the order needs to know of a method.

    Attributes:
        name: how the user names it.
        aspect: what it changes.
        without: aspects that it does not go together with, and why.
    """

    name: str
    aspect: Aspect
    without: Mapping[Aspect, str] = field(default_factory=dict[Aspect, str], kw_only=True)


def refusal(first: Stackable, second: Stackable) -> str | None:
    """Why two methods do not go together, whatever their order; None where they do."""
    if first.aspect is not second.aspect:
        why = first.without.get(second.aspect) or second.without.get(first.aspect)
        return why and f"{first.name} and {second.name} do not go together: {why}"
    if first.name == second.name:
        return f"{first.name} stands there twice"
    return f"{first.name} and {second.name} do not go together: {first.aspect.why_once}"


def ordered(methods: Sequence[Stackable]) -> tuple[Stackable, ...]:
    """The methods in the order in which they go.

    Raises:
        InputError: two that do not go together.
    """
    for first, second in combinations(methods, 2):
        reason = refusal(first, second)
        if reason is not None:
            raise InputError(f"{reason}; leave one of them out")
    return tuple(sorted(methods, key=lambda method: method.aspect))


def require_order(methods: Iterable[Stackable]) -> None:
    """Refuse methods that stand in another order than they go.

    Raises:
        InputError: one that stands behind one that it has to precede, or two of one aspect.
    """
    given = tuple(methods)
    for first, second in zip(given, ordered(given), strict=True):
        if first is not second:
            raise InputError(
                f"{second.name} goes before {first.name}: {second.aspect.why_here}; exchange them"
            )
