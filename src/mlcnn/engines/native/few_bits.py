"""Convolutions of codes that have few bits, as steps of the kernels in ``bits.h``."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlcnn.engines.native.geometry import FewBits, Geometry
from mlcnn.engines.native.kinds import Few, Kind
from mlcnn.engines.native.library import Finish, Library, Op
from mlcnn.engines.native.packing import Packing, tiled_codes
from mlcnn.engines.native.program import (
    Codes,
    Constant,
    Operation,
    Part,
    Value,
    standard_lanes,
)
from mlcnn.workload import spread_of

__all__ = ["CodedLayer", "Numbers", "implement_codes", "numbers_of", "sample"]

_VECTOR = 8  # filters of a vector of words
_TOGETHER = 32  # filters whose sums stay in registers
_WORD = 64
_INNER_BYTES = 9216  # of weights that stay in the innermost cache beside tables and sums
_LEAST_TABLES = 8
_NARROW_SET = 32  # filters of the smaller set that looks up together


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """Codes of weights as ``factor * small + offset``.

    Attributes:
        small: (filters, channels, rows, columns), from 0 on.
        factor: the least step between two codes.
        offset: the least code.
        bits: of a number.
    """

    small: NDArray[np.uint8]
    factor: int
    offset: int

    @property
    def bits(self) -> int:
        """Of a number."""
        return max(1, int(self.small.max()).bit_length())


def numbers_of(codes: Codes) -> Numbers:
    """Codes of weights, of which there are some, as the smallest numbers that tell them apart."""
    found = spread_of(codes)
    above = codes.astype(np.int32) - found.least
    return Numbers((above // found.step).astype(np.uint8), found.step, found.least)


@dataclass(frozen=True, slots=True, eq=False)
class CodedLayer:
    """What a convolution of codes is made of.

    Attributes:
        codes: of its weights (filters, channels, rows, columns).
        lanes: channels in each block of the input.
        item_bytes: of an input: 1 of a code, 2 of a sum of codes.
        least: the least input, as it lies in memory.
    """

    codes: Codes
    lanes: tuple[int, ...]
    item_bytes: int
    least: int = 0


def implement_codes(
    operation: Operation, layer: CodedLayer, few: FewBits | None, kind: Kind, library: Library
) -> None:
    """Complete an operation on codes by what its algorithm needs.

    Args:
        operation: input, output, geometry, scales and biases, for inputs as they lie in memory,
            are known.
        layer: weights.
        few: bits, where they are few.
        kind: the algorithm; ``Few.INT8`` or None where all bits count.
        library: the kernels.
    """
    packing, filters = Packing(library.block, library.group), len(layer.codes)
    operation.constants["lanes"] = np.array(layer.lanes, np.int32)
    if few is None or kind in {None, Few.INT8}:
        operation.constants["weights"] = tiled_codes(
            layer.codes, layer.lanes, packing, layer.item_bytes
        )
    else:
        numbers = numbers_of(layer.codes)
        beneath = layer.least * layer.codes.reshape(filters, -1).sum(1, dtype=np.int32)
        operation.constants["biases"] = operation.constants["biases"] + packing.per_lane(beneath)
        operation.fields |= {
            "weight_bits": numbers.bits, "input_bits": few.inputs, "high_code": few.greatest,
            "base": layer.least, "factor": numbers.factor, "offset": numbers.offset,
        }  # fmt: skip
        if kind is Few.PLANES:
            operation.op = Op.BITS
            operation.constants["weights"] = packed_planes(numbers, library.block)
        else:
            wide = library.tables if filters > _NARROW_SET else min(_NARROW_SET, library.tables)
            operation.op = Op.TABLE
            operation.fields["chunk"] = wide
            parts = _parts(numbers, layer.lanes, library.block, wide)
            operation.fields["bunch"] = parts
            operation.constants["weights"] = packed_tables(
                numbers, layer.lanes, library.block, wide, parts
            )
        floats = library.bits({**operation.fields, "op": operation.op}, layer.codes.shape[1])
        operation.scratch = Part(Value(1, (library.block,), 1, -(-floats // library.block)))


def sample(
    geometry: Geometry, few: FewBits, source: Value, kind: Kind, library: Library
) -> tuple[Operation, Codes]:
    """A convolution of random codes of that geometry, to be timed, and these.

    Of an algorithm that computes what is in front of it along, without what only that knows.
    """
    generator = np.random.default_rng(0)
    source.item_bytes = 2 if few.summed else 1
    top, left, *_ = geometry.pads
    shape = geometry.filters, geometry.channels, *geometry.kernel
    numbers = generator.integers(0, 1 << few.weights, shape)
    codes = (2 * numbers - (1 << few.weights) + 1).astype(np.int8)
    packing = Packing(library.block, library.group)
    made = Value(
        geometry.images, standard_lanes(geometry.filters, library.block), geometry.rows,
        geometry.columns,
    )  # fmt: skip
    made.item_bytes = 4 if few.floats else 1
    residual = Part(Value(*_sizes(made))) if geometry.residual else None
    finish = Finish.FLOATS if few.floats else Finish.SHIFTED_CODES if few.shifted else Finish.CODES
    ones = np.ones(geometry.filters, np.float32)
    operation = Operation(
        Op.CODES_CONV, Part(source, 0, -top, -left), Part(made), residual,
        {
            **geometry.fields((source.rows, source.columns)), "filters": len(made.lanes),
            "mode": int(few.summed), "finish": finish, "low": 0, "high": 255,
        },
        {
            "scales": packing.per_lane(ones), "shifts": packing.per_lane(ones),
            "biases": packing.per_lane(np.zeros(geometry.filters, np.int32)),
        },
    )  # fmt: skip
    layer = CodedLayer(codes, geometry.lanes, source.item_bytes)
    if kind is not Few.LOOKUPS:
        implement_codes(operation, layer, few, kind, library)
    return operation, codes


def _sizes(value: Value) -> tuple[int, tuple[int, ...], int, int]:
    return value.images, value.lanes, value.rows, value.columns


def packed_planes(few: Numbers, block: int) -> Constant:
    """Weights as planes of bits: (group of filters, plane, row, column, word, filter)."""
    filters, channels, height, width = few.small.shape
    numbers = few.small.transpose(0, 2, 3, 1)
    if -(-width * channels // _WORD) < width * -(-channels // _WORD):
        numbers = numbers.reshape(filters, height, 1, width * channels)
    unit = max(block, _VECTOR)
    units = -(-filters // unit)
    length = -(-numbers.shape[3] // _WORD) * _WORD
    padded = np.zeros((units * unit, *numbers.shape[1:3], length), np.uint8)
    padded[:filters, :, :, : numbers.shape[3]] = numbers
    planes = [
        np.packbits(padded >> n & 1, axis=3, bitorder="little").view("<u8") for n in range(few.bits)
    ]
    groups = -(-units * unit // _TOGETHER)
    parts = list[NDArray[np.uint64]]()
    for group in range(groups):
        first, end = units * group // groups * unit, units * (group + 1) // groups * unit
        parts += [plane[first:end].transpose(1, 2, 3, 0).reshape(-1) for plane in planes]
    return np.concatenate(parts).view(np.int32)


def _parts(numbers: Numbers, lanes: Sequence[int], block: int, wide: int) -> int:
    """Tables of a position, at most, whose weights stay in the innermost cache."""
    tables = len(lanes) * block // max(1, 4 // numbers.bits)
    taps = numbers.small.shape[2] * numbers.small.shape[3]
    return min(tables, max(_LEAST_TABLES, _INNER_BYTES // (taps * wide)))


def packed_tables(few: Numbers, lanes: Sequence[int], block: int, wide: int, most: int) -> Constant:
    """Weights as places in tables: (set of filters, part, row, column, table, filter).

    Args:
        few: the weights.
        lanes: channels in each block of the input.
        block: channels of a block.
        wide: filters of a set.
        most: tables of a part.
    """
    filters, _, height, width = few.small.shape
    together = max(1, 4 // few.bits)
    shaped = np.zeros((filters, len(lanes), block, height, width), np.uint8)
    channel = 0
    for index, count in enumerate(lanes):
        shaped[:, index, :count] = few.small[:, channel : channel + count]
        channel += count
    shaped = shaped.reshape(filters, -1, together, height, width)
    places = np.zeros_like(shaped[:, :, 0])
    for j in range(together):
        places |= shaped[:, :, j] << np.uint8(few.bits * j)
    sets = -(-filters // wide)
    padded = np.zeros((sets * wide, *places.shape[1:]), np.uint8)
    padded[:filters] = places
    ordered = padded.reshape(sets, 2, wide // 2, *places.shape[1:])  # byte 2 i + j: filter i of j
    ordered = ordered.transpose(0, 4, 5, 3, 2, 1)
    tables = ordered.shape[3]
    parts = -(-tables // most)
    ends = [tables * part // parts for part in range(parts + 1)]
    of_sets = [
        each[:, :, first:end].reshape(-1) for each in ordered for first, end in pairwise(ends)
    ]
    return np.concatenate(of_sets).view(np.int32)
