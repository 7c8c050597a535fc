"""In which order layers lose bits: where most energy is saved for what it does to the results."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

__all__ = ["LOOKED_AT", "Harm", "Operand", "order"]

LOOKED_AT = (5, 3)
"""Bits at which the harm of an operand is measured; at others it follows the line through both."""

_NONE = 1e-9


@dataclass(frozen=True, slots=True)
class Operand:
    """What has bits of its own.

    Attributes:
        kind: ``weights`` of a layer, or ``inputs``: a value that layers read.
        name: of the layer or value.
    """

    kind: str
    name: str


@dataclass(frozen=True, slots=True)
class Harm:
    """How far the results move while one operand alone has few bits: exponential in the bits.

    Attributes:
        first: at the first of ``LOOKED_AT``.
        second: at the second.
    """

    first: float
    second: float

    def at(self, bits: int) -> float:
        """With so many bits; never less than with more."""
        more, fewer = LOOKED_AT
        low = max(self.first, _NONE)
        ratio = max(self.second / low, 1.0)
        return float(low * ratio ** ((more - bits) / (more - fewer)))


def order(
    harms: Mapping[Operand, Harm],
    saved: Callable[[Operand, Mapping[Operand, int]], float],
    *,
    most: int,
    least: int,
) -> Iterator[Operand]:
    """Which operand loses its next bit: the one that saves most for the harm that this adds.

    Harms of several operands are taken to add up.

    Args:
        harms: of each operand.
        saved: energy that the next bit of an operand saves, given the bits of all.
        most: bits that all begin with.
        least: bits that all end with.
    """
    bits = dict.fromkeys(harms, most)

    def gain(operand: Operand) -> float:
        now, harm = bits[operand], harms[operand]
        added = max(harm.at(now - 1) - harm.at(now), _NONE)
        return saved(operand, bits) / added

    while open_ := [operand for operand, now in bits.items() if now > least]:
        best = max(open_, key=gain)
        bits[best] -= 1
        yield best
