"""Two networks side by side, layer by layer, joined by name."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace

from mlcnn.errors import InputError
from mlcnn.workload import Layer

__all__ = ["joined"]

_SHOWN = 3


def joined(
    before: Sequence[Layer], after: Sequence[Layer]
) -> list[tuple[Layer | None, Layer | None]]:
    """Pairs of layers of one name, in the order of ``before``; what stands alone has None.

    Layers that share a name (a module that is called twice) are paired in order. Where one layer
    became several of its name, these are one layer with all their parts.

    Args:
        before: layers of one network.
        after: layers of the other.

    Raises:
        InputError: there are layers on both sides, and no name that both have.
    """
    new: dict[str, list[Layer]] = defaultdict(list)
    for layer in after:
        new[layer.name].append(layer)
    names = [layer.name for layer in before]
    if before and after and new.keys().isdisjoint(names):
        raise InputError(
            f"the two networks share no layer name: one has {_listed(names)}, the other "
            f"{_listed([layer.name for layer in after])}; compare networks whose layers are "
            "called alike"
        )
    pairs: list[tuple[Layer | None, Layer | None]] = []
    for index, layer in enumerate(before):
        found = new.get(layer.name, [])
        is_last = layer.name not in names[index + 1 :]
        taken = found[:] if is_last else found[:1]
        del found[: len(taken)]
        pairs.append((layer, _merged(taken)))
    rest = [layer for layer in after if any(layer is item for item in new[layer.name])]
    return pairs + [(None, layer) for layer in rest]


def _merged(layers: Sequence[Layer]) -> Layer | None:
    """Several layers as one: the parts of all."""
    if not layers:
        return None
    first, *others = layers
    for other in others:
        first = replace(first, parts=first.parts + other.parts, stored=first.stored + other.stored)
    return first


def _listed(names: Sequence[str]) -> str:
    shown = ", ".join(names[:_SHOWN])
    return f"{shown} and {len(names) - _SHOWN} more" if len(names) > _SHOWN else shown
