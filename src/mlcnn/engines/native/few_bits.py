"""Convolutions of codes that have few bits, as steps of the kernels in ``bits.h``."""

from collections.abc import Sequence
from dataclasses import dataclass
from math import gcd

import numpy as np
from numpy.typing import NDArray

from mlcnn.engines.native.library import Library, Op
from mlcnn.engines.native.program import Codes, Constant, Operation, Part, Value

__all__ = ["Few", "MOST_BITS", "few_of", "packed_planes", "packed_tables"]

MOST_BITS = 4
_VECTOR = 8  # filters of a vector of words
_TOGETHER = 32  # filters whose sums stay in registers
_WORD = 64

Numbers = NDArray[np.uint8]


@dataclass(frozen=True, slots=True, eq=False)
class Few:
    """Weights as ``factor * numbers + offset``.

    Attributes:
        numbers: (filters, channels, rows, columns), from 0 on.
        factor: the least step between two codes.
        offset: the least code.
        bits: of a number.
    """

    numbers: Numbers
    factor: int
    offset: int

    @property
    def bits(self) -> int:
        return max(1, int(self.numbers.max(initial=0)).bit_length())


def few_of(codes: Codes) -> Few:
    """Codes of weights as small numbers."""
    least = int(codes.min(initial=0)) if codes.size == 0 else int(codes.min())
    above = codes.astype(np.int32) - least
    factor = max(1, gcd(*np.unique(above).tolist()))
    return Few((above // factor).astype(np.uint8), factor, least)


def packed_planes(few: Few, block: int) -> Constant:
    """Weights as planes of bits: (group of filters, plane, row, column, word, filter)."""
    filters, channels, height, width = few.numbers.shape
    numbers = few.numbers.transpose(0, 2, 3, 1)
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
        parts += [
            plane[first:end].transpose(1, 2, 3, 0).reshape(-1)
            for plane in planes
        ]
    return np.concatenate(parts).view(np.int32)


def packed_tables(few: Few, lanes: Sequence[int], block: int, wide: int) -> Constant:
    """Weights as places in tables: (set of filters, row, column, table, filter)."""
    filters, _, height, width = few.numbers.shape
    together = max(1, 4 // few.bits)
    shaped = np.zeros((filters, len(lanes), block, height, width), np.uint8)
    channel = 0
    for index, count in enumerate(lanes):
        shaped[:, index, :count] = few.numbers[:, channel : channel + count]
        channel += count
    shaped = shaped.reshape(filters, -1, together, height, width)
    places = sum(shaped[:, :, j] << np.uint8(few.bits * j) for j in range(together))
    sets = -(-filters // wide)
    padded = np.zeros((sets * wide, *places.shape[1:]), np.uint8)
    padded[:filters] = places
    ordered = padded.reshape(sets, 2, wide // 2, *places.shape[1:])  # byte 2 i + j: filter i of j
    ordered = ordered.transpose(0, 4, 5, 3, 2, 1)
    return np.ascontiguousarray(ordered).reshape(-1).view(np.int32)
