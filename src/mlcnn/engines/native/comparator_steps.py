"""Comparisons as operations: codes 0 and 1, or, with a 1x1 layer of them, sums of chosen weights.

Alone, comparisons become a value of codes (``compare.h``). With a layer of codes behind them, four
bits look up the sum of the weights that they choose in a table (``comparators.h``).
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlcnn.engines.native.geometry import Comparisons, Geometry
from mlcnn.engines.native.kinds import Few, Kind
from mlcnn.engines.native.library import Library, Op
from mlcnn.engines.native.program import Codes, Operation, Part, Value

__all__ = [
    "Comparison", "Pairs", "Tables", "bits_like", "compare", "implement_at_once", "tables_of",
    "way_of", "with_comparisons",
]  # fmt: skip

_TOGETHER = 4  # comparisons of a table
_ONE_TABLE = 127  # the greatest sum of four, for which bytes hold two and more
_HIGH = 16  # what the higher part of a weight is multiplied by
_BYTE, _SHORT = 255, 65535
_NONE = (-1, 0, 0, 0, 0)
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Pairs:
    """What the maps of a layer compare; map ``p C + c`` has taps of channel c.

    Attributes:
        first: row and column, in the window, of the tap that has to be greater (maps, 2).
        second: those of the other one.
        strides: of the windows, along rows and columns.
        pads: rows and columns of repeated edges above, left, below and right.
    """

    first: Ints
    second: Ints
    strides: tuple[int, int]
    pads: tuple[int, int, int, int]


@dataclass(frozen=True, slots=True, eq=False)
class Comparison:
    """Comparisons, as an operation.

    Attributes:
        operation: which makes them codes.
        lanes: channels in each block of what is compared.
        pairs: what is compared.
    """

    operation: Operation
    lanes: tuple[int, ...]
    pairs: Pairs

    @property
    def shape(self) -> Comparisons:
        """What tells how long it takes."""
        fields = self.operation.fields
        window = int(fields["kernel_rows"]), int(fields["kernel_columns"])
        starts = self.operation.constants["starts"]
        return Comparisons(
            self.lanes, len(self.pairs.first) // sum(self.lanes), window, self.pairs.strides,
            len(starts) - 1 == starts[-1], bool(fields["mode"]),
        )  # fmt: skip


@dataclass(frozen=True, slots=True, eq=False)
class Tables:
    """Sums of the weights that four bits choose, above the least one of each four.

    Attributes:
        sums: (parts, filters, groups of four, 16).
        factor: of all weights.
        beneath: what the least ones sum up to, of each filter.
        run: sums of a table that a byte holds.
    """

    sums: NDArray[np.uint8]
    factor: int
    beneath: NDArray[np.int32]
    run: int


def bits_like(source: Value, patterns: int, rows: int, columns: int) -> Value:
    """Codes of so many patterns of each channel, in blocks like those of the images."""
    made = Value(source.images, source.lanes * patterns, rows, columns)
    made.item_bytes = 1
    return made


def compare(source: Value, made: Value, pairs: Pairs, block: int, *, floats: bool) -> Operation:
    """What makes codes of comparisons."""
    entries, starts = _entries(source.lanes, pairs, block)
    window = np.maximum(pairs.first, pairs.second).max(0) + 1
    top, left, bottom, right = pairs.pads
    return Operation(
        Op.COMPARE, Part(source), Part(made), None,
        {
            "images": source.images, "blocks": len(source.lanes), "filters": len(made.lanes),
            "rows": made.rows, "columns": made.columns, "input_rows": source.rows,
            "input_columns": source.columns, "kernel_rows": int(window[0]),
            "kernel_columns": int(window[1]), "stride_rows": pairs.strides[0],
            "stride_columns": pairs.strides[1], "top": top, "left": left, "bottom": bottom,
            "right": right, "mode": int(floats),
        },
        {"entries": entries, "starts": starts},
    )  # fmt: skip


def _entries(
    lanes: tuple[int, ...], pairs: Pairs, block: int
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """What each block of bits compares: two taps, and which lanes have them; see ``compare.h``."""
    taps = np.concatenate([pairs.first, pairs.second], 1)
    found, starts, at = list[NDArray[np.int32]](), [0], 0
    for count in lanes * (len(taps) // sum(lanes)):
        different, which = np.unique(taps[at : at + count], axis=0, return_inverse=True)
        for index, each in enumerate(different):
            ones = np.zeros(block, np.uint8)
            ones[:count] = which.reshape(-1) == index
            found.append(np.concatenate([each.astype(np.int32), ones.view(np.int32)]))
        starts.append(len(found))
        at += count
    return np.stack(found), np.array(starts, np.int32)


# -- comparisons and what is added, at once


def tables_of(codes: Codes, channels: int) -> Tables | None:
    """Tables of a layer's weights; None where 16 bits do not hold the sums of one.

    Args:
        codes: (filters, maps).
        channels: that are compared.
    """
    factor = max(1, int(np.gcd.reduce(np.abs(codes.astype(np.int32)), axis=None)))
    fours = _in_fours(codes.astype(np.int32) // factor, channels)
    parts = [fours]
    if np.abs(fours).sum(2).max(initial=0) > _ONE_TABLE:
        low = (fours + _HIGH // 2) % _HIGH - _HIGH // 2
        parts = [low, (fours - low) // _HIGH]
    chosen = (np.arange(1 << _TOGETHER) >> np.arange(_TOGETHER)[:, None] & 1).astype(np.int32)
    least = [np.minimum(part, 0).sum(2) for part in parts]
    sums = [part @ chosen - under[..., None] for part, under in zip(parts, least, strict=True)]
    if max(int(one.max(2).sum(1).max()) for one in sums) > _SHORT:
        return None
    run = min(_BYTE // max(1, int(one.max())) for one in sums)
    beneath = sum(_HIGH**index * under.sum(1) for index, under in enumerate(least))
    return Tables(
        np.stack(sums).astype(np.uint8), factor, np.asarray(beneath, np.int32), run
    )  # fmt: skip


def _in_fours(maps: NDArray[np.int32], channels: int) -> NDArray[np.int32]:
    """Maps (things, maps) in groups of four, those of a channel together: (things, groups, 4)."""
    ordered = maps.reshape(len(maps), -1, channels).transpose(0, 2, 1).reshape(len(maps), -1)
    padded = np.pad(ordered, ((0, 0), (0, -ordered.shape[1] % _TOGETHER)))
    return padded.reshape(len(maps), -1, _TOGETHER)


def _packed(tables: Tables, block: int) -> NDArray[np.int32]:
    """Tables of four filters at a time: (four filters, part, group, filter, 16)."""
    parts, filters, groups, size = tables.sums.shape
    padded = np.zeros((parts, -(-filters // block) * block, groups, size), np.uint8)
    padded[:, :filters] = tables.sums
    shaped = padded.reshape(parts, -1, _TOGETHER, groups, size)
    return np.ascontiguousarray(shaped.transpose(1, 0, 3, 2, 4)).reshape(-1).view(np.int32)


def _places(lanes: tuple[int, ...], pairs: Pairs, block: int) -> NDArray[np.int32]:
    """Plane and taps of each map, in groups of four; see ``comparators.h``."""
    planes = np.concatenate([index * block + np.arange(n) for index, n in enumerate(lanes)])
    each = np.tile(planes, len(pairs.first) // len(planes))[:, None]
    maps = np.concatenate([each, pairs.first, pairs.second], 1).astype(np.int32)
    fours = _in_fours(maps.T, len(planes)).reshape(5, -1).T.copy()
    fours[len(maps) :] = _NONE
    return fours


def way_of(comparison: Comparison, codes: Codes, library: Library) -> Tables | None:
    """How comparisons and a 1x1 layer of them are computed at once; None where they are not.

    Args:
        comparison: what is compared.
        codes: weights of the layer (filters, maps, 1, 1).
        library: the kernels.
    """
    if not library.comparators:
        return None
    return tables_of(codes.reshape(len(codes), -1), sum(comparison.lanes))


def implement_at_once(
    operation: Operation, comparison: Comparison, tables: Tables, library: Library
) -> None:
    """Make the operation of a layer of codes compare and add.

    Args:
        operation: the layer's, complete but for its weights and algorithm.
        comparison: which it does, too.
        tables: of its weights.
        library: the kernels.
    """
    compare = comparison.operation
    operation.op, operation.x = Op.COMPARE_AND_ADD, compare.x
    filters, groups = operation.fields["filters"], tables.sums.shape[2]
    operation.fields |= {
        **compare.fields, "filters": filters, "bases": groups, "bunch": len(tables.sums),
        "chunk": tables.run, "factor": tables.factor, "offset": 0,
    }  # fmt: skip
    beneath = _per_lane(tables.factor * tables.beneath, library.block)
    operation.constants["biases"] = operation.constants["biases"] + beneath
    operation.constants["weights"] = _packed(tables, library.block)
    operation.constants["entries"] = _places(comparison.lanes, comparison.pairs, library.block)
    floats = library.compared(operation.fields)
    operation.scratch = Part(Value(1, (library.block,), 1, -(-floats // library.block)))


def _per_lane(array: NDArray[np.int32], block: int) -> NDArray[np.int32]:
    return np.pad(array, (0, -len(array) % block)).reshape(-1, block)


def with_comparisons(
    geometry: Geometry, layer: Operation, codes: Codes, kind: Kind, library: Library
) -> list[Operation]:
    """A layer with what is in front of it, comparisons of random taps if any, to be timed.

    Args:
        geometry: of the layer.
        layer: the operation of the layer alone, without its algorithm if that compares along.
        codes: its weights.
        kind: the algorithm.
        library: the kernels.
    """
    if geometry.compared is None:
        return [layer]
    comparison = _drawn(geometry, geometry.compared, library.block)
    tables = way_of(comparison, codes, library) if kind is Few.LOOKUPS else None
    if tables is None:
        return [replace(comparison.operation, y=layer.x), layer]
    implement_at_once(layer, comparison, tables, library)
    return [layer]


def _drawn(geometry: Geometry, compared: Comparisons, block: int) -> Comparison:
    """Random taps, of one each in blocks where blocks share them."""
    generator = np.random.default_rng(0)
    channels, blocks = sum(compared.lanes), len(compared.lanes)
    of_blocks = np.repeat(np.arange(blocks), compared.lanes)
    taps = [
        generator.integers(0, compared.window, (compared.patterns, channels, 2))
        for _ in range(2)
    ]  # fmt: skip
    for one, end in zip(taps, (0, np.array(compared.window) - 1), strict=True):
        one[0] = end  # so that the window is as large as that
    if compared.shared:
        taps = [one[:, of_blocks] for one in taps]
    first, second = (one.reshape(-1, 2) for one in taps)
    height, width = (
        (count - 1) * stride + window
        for count, stride, window in zip(
            (geometry.rows, geometry.columns), compared.strides, compared.window, strict=True
        )
    )
    source = Value(geometry.images, compared.lanes, height, width)
    source.item_bytes = 4 if compared.floats else 1
    made = bits_like(source, compared.patterns, geometry.rows, geometry.columns)
    pairs = Pairs(first, second, compared.strides, (0, 0, 0, 0))
    return Comparison(
        compare(source, made, pairs, block, floats=compared.floats), compared.lanes, pairs
    )  # fmt: skip
