"""Two networks side by side, layer by layer, joined by name."""

from collections import defaultdict
from collections.abc import Sequence
from typing import Protocol, TypeVar, runtime_checkable

from mlcnn.errors import InputError

__all__ = ["joined"]

_SHOWN = 3


@runtime_checkable
class _Named(Protocol):
    @property
    def name(self) -> str: ...


_L = TypeVar("_L", bound=_Named)


def joined(before: Sequence[_L], after: Sequence[_L]) -> list[tuple[_L | None, tuple[_L, ...]]]:
    """Pairs of layers of one name, in the order of ``before``; what stands alone has nothing.

    Layers that share a name (a module that is called twice) are paired in order. Where one layer
    became several of its name, it has them all beside it.

    Args:
        before: layers of one network, or what is known of them.
        after: the same of the other.

    Raises:
        InputError: there are layers on both sides, and no name that both have.
    """
    new: dict[str, list[_L]] = defaultdict(list)
    for layer in after:
        new[layer.name].append(layer)
    names = [layer.name for layer in before]
    if before and after and new.keys().isdisjoint(names):
        raise InputError(
            f"the two networks share no layer name: one has {_listed(names)}, the other "
            f"{_listed([layer.name for layer in after])}; compare networks whose layers are "
            "called alike"
        )
    pairs: list[tuple[_L | None, tuple[_L, ...]]] = []
    for index, layer in enumerate(before):
        found = new.get(layer.name, [])
        is_last = layer.name not in names[index + 1 :]
        taken = found[:] if is_last else found[:1]
        del found[: len(taken)]
        pairs.append((layer, tuple(taken)))
    rest = [layer for layer in after if any(layer is item for item in new[layer.name])]
    return pairs + [(None, (layer,)) for layer in rest]


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
