"""A convolution as a step of the kernels, by one algorithm or another."""

from collections.abc import Sequence
from math import ceil, inf

import numpy as np

from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.kinds import Few, Kind, Sparse
from mlcnn.engines.native.library import Library, Op
from mlcnn.engines.native.packing import Group, Packing
from mlcnn.engines.native.program import Floats, Operation, Part, Value
from mlcnn.engines.native.sparse import add_zeros_skipped
from mlcnn.engines.native.winograd import Winograd, transformed

__all__ = ["bunch_of", "implement"]

_BUNCH_BYTES = 3 << 20  # of transformed tiles and products, that stay in the outer caches
_LEAST_TILES = 24  # that each weight is read for
_ACROSS = 1024  # vectors of a row of which tiles are computed, as in list.h
_WIDE = 6  # positions that the kernel computes at once


def bunch_of(geometry: Geometry, kind: Winograd, block: int) -> int:
    """Tiles that are computed together."""
    tiles = geometry.tiles(kind)
    blocks = len(geometry.lanes) + -(-geometry.filters // block)
    values = kind.transform.values**2
    most = max(_LEAST_TILES, _BUNCH_BYTES // (values * blocks * block * 4))
    even = -(-tiles // -(-tiles // most))
    return min(tiles, -(-even // _WIDE) * _WIDE)


def implement(  # noqa: PLR0917 - one layer and its choice
    operation: Operation, geometry: Geometry, part: Group, kind: Kind, library: Library,
    ratio: float = 1.0,
) -> None:  # fmt: skip
    """Complete a convolution's operation by what its algorithm needs.

    Args:
        operation: input, output, geometry and biases are known.
        geometry: what it computes.
        part: its weights (filters, channels, rows, columns), the groups one behind the other, and
            the channels in each block of the input, of a group.
        kind: the algorithm.
        library: the kernels.
        ratio: how long it takes by that, where every product takes 1.
    """
    lanes, packing = part.lanes, Packing(library.block, library.group)
    operation.constants["lanes"] = np.array(lanes, np.int32)
    if isinstance(kind, Few):
        raise ValueError("a convolution of floats has no codes")
    if isinstance(kind, Sparse):
        shared = part.shared if kind is Sparse.SHARED else None
        add_zeros_skipped(operation, geometry, part.weight, shared, library)
        return
    of_groups = np.split(part.weight, geometry.groups)
    if geometry.focused:
        _listed(operation, geometry, part, kind, library, ratio)
    elif kind is None:
        _every_product(operation, of_groups, geometry, packing)
    else:
        operation.op = Op.WINOGRAD
        _weigh(operation, _tiles(operation, geometry, of_groups, kind, library))
        filters = int(operation.fields["filters"])
        floats = library.scratch(kind, len(lanes), filters, int(operation.fields["bunch"]))
        operation.scratch = _scratch(floats, library)


def _scratch(floats: int, library: Library) -> Part:
    return Part(Value(1, (library.block,), 1, -(-floats // library.block)))


def _tiles(
    operation: Operation, geometry: Geometry, of_groups: Sequence[Floats], kind: Winograd,
    library: Library,
) -> list[Floats]:  # fmt: skip
    """The weights of a transform, and what computes with them."""
    lanes, packing = geometry.lanes, Packing(library.block, library.group)
    of_values, bunch = (
        [transformed(kind, w) for w in of_groups],
        bunch_of(geometry, kind, library.block),
    )
    operation.fields |= {
        "mode": kind, "bunch": bunch,
        "chunk": packing.chunk((*of_values[0].shape[1:], 1, 1), lanes, 1, bunch),
    }  # fmt: skip
    filters = int(operation.fields["filters"])
    operation.constants["zeros"] = np.zeros(filters * library.block, np.float32)
    return [
        packing.tiled(value[:, :, None, None], lanes) for values in of_values for value in values
    ]


def _listed(  # noqa: PLR0917 - see above
    operation: Operation, geometry: Geometry, part: Group, kind: Winograd | None,
    library: Library, ratio: float,
) -> None:  # fmt: skip
    """A convolution at the positions that a mask keeps, and of whole tiles where those pay."""
    _every_product(operation, [part.weight], geometry, Packing(library.block, library.group))
    operation.op = Op.LIST
    least = inf if kind is None else ratio * geometry.rows * geometry.columns / geometry.tiles(kind)
    least *= geometry.images
    fits = geometry.columns <= _ACROSS * library.block
    if kind is not None and fits and least <= kind.transform.outputs**2:
        weights = _tiles(operation, geometry, [part.weight], kind, library)
        operation.constants["basis"] = np.concatenate(weights)
        operation.fields["least"] = max(1, ceil(least))
    operation.scratch = _scratch(library.lists(operation.fields), library)


def _weigh(operation: Operation, tiled: Sequence[Floats]) -> None:
    """Give an operation its weights, those of all groups in their order."""
    weights = np.concatenate(tiled)
    operation.constants["weights"] = weights
    operation.fields["group_weights"] = weights.size // int(operation.fields.get("groups", 1))


def _every_product(
    operation: Operation, of_groups: Sequence[Floats], geometry: Geometry, packing: Packing
) -> None:
    weight = of_groups[0]
    if geometry.in_rows(packing.block):
        operation.op = Op.ROWS
        operation.fields["mode"] = geometry.filters
        operation.constants["weights"] = packing.by_filter(weight)
        return
    positions = geometry.rows * geometry.columns
    operation.fields |= {
        "chunk": packing.chunk(weight.shape, geometry.lanes, geometry.images, positions),
        "across": geometry.across,
    }
    _weigh(operation, [packing.tiled(each, geometry.lanes) for each in of_groups])
    if geometry.dense and geometry.dilations[1] == 1:
        # The taps of a row lie side by side, as the channels of a block do elsewhere.
        operation.constants["lanes"] *= np.int32(geometry.kernel[1])
        operation.fields["kernel_columns"] = 1
