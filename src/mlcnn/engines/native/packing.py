"""Weights in the order in which the kernels read them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mlcnn.engines.native.program import Codes, Constant, Floats, standard_lanes

__all__ = ["Group", "Packing", "Shared", "tiled_codes"]

_Number = TypeVar("_Number", np.int32, np.float32)
_INNER_BYTES = 32768  # of weights and small sums, that the innermost cache holds beside the rest
_ROW_FILTERS = 8  # as in rows.h
_TOGETHER = 1024  # positions of small images that the kernel takes as one


@dataclass(frozen=True, slots=True)
class Shared:
    """Kernels that all filters share.

    Attributes:
        basis: (kernels, rows, columns).
        coefficients: (filters, channels, kernels).
    """

    basis: Floats
    coefficients: Floats

    def dense(self) -> Floats:
        """The kernels of all filters and channels (filters, channels, rows, columns)."""
        return np.einsum("kcd,drs->kcrs", self.coefficients, self.basis, dtype=np.float64).astype(
            np.float32
        )


@dataclass(frozen=True, slots=True)
class Group:
    """A convolution without groups, of some blocks of the input.

    Attributes:
        block: first block of the input.
        lanes: channels in each of its blocks.
        filter: first filter.
        weight: (filters, channels, rows, columns).
        shared: what the weight is made of, where filters share kernels.
    """

    block: int
    lanes: tuple[int, ...]
    filter: int
    weight: Floats
    shared: Shared | None = None


@dataclass(frozen=True, slots=True)
class Packing:
    """How the kernels of a library read weights.

    Attributes:
        block: channels of a block.
        group: blocks of filters that a convolution computes together.
    """

    block: int
    group: int

    def chunk(
        self, shape: tuple[int, ...], lanes: Sequence[int], images: int, positions: int
    ) -> int:
        """Rows of taps (of one block of inputs) whose weights stay in the innermost cache.

        With them stay the sums of a small image, which are read and written for each chunk.
        """
        group = min(self.group, -(-shape[0] // self.block))
        row = group * self.block * max(lanes) * shape[3] * 4
        together = min(images, max(1, _TOGETHER // positions))
        sums = group * self.block * positions * together * 4
        limit = _INNER_BYTES - sums if sums <= _INNER_BYTES // 2 else _INNER_BYTES
        return max(1, round(limit / row))

    def tiled(self, weight: Floats, lanes: Sequence[int]) -> Floats:
        """Weights in the order in which the kernel reads them."""
        block = self.block
        filters = -(-len(weight) // block)
        padded = np.zeros((filters * block, *weight.shape[1:]), np.float32)
        padded[: len(weight)] = weight
        groups, parts = -(-filters // self.group), list[Floats]()
        for index in range(groups):
            first, end = filters * index // groups, filters * (index + 1) // groups
            rows, channel = padded[first * block : end * block], 0
            for count in lanes:
                some = rows[:, channel : channel + count]
                shaped = some.reshape(end - first, block, count, *weight.shape[2:])
                parts.append(shaped.transpose(3, 4, 2, 0, 1).reshape(-1))
                channel += count
        return np.concatenate(parts)

    def by_filter(self, weight: Floats) -> Floats:
        """Weights where the results of a row are lanes: filters of a block side by side."""
        together = min(self.block, _ROW_FILTERS)
        parts = [
            weight[first : first + together].transpose(1, 2, 3, 0).reshape(-1)
            for first in range(0, len(weight), together)
        ]
        return np.concatenate(parts)

    def per_lane(self, array: NDArray[_Number], lanes: tuple[int, ...] = ()) -> NDArray[_Number]:
        """(channels, ...) as (blocks, block, ...), zero in unused lanes."""
        lanes = lanes or standard_lanes(len(array), self.block)
        result = np.zeros((len(lanes), self.block, *array.shape[1:]), array.dtype)
        channel = 0
        for index, count in enumerate(lanes):
            result[index, :count] = array[channel : channel + count]
            channel += count
        return result

    def groups(self, lanes: tuple[int, ...], weight: Floats, groups: int) -> list[Group]:
        """The convolutions without groups that a convolution with groups consists of.

        Groups that share a block become one convolution, whose weights are zero between them.

        Args:
            lanes: channels in each block of the input.
            weight: (filters, channels of a group, rows, columns).
            groups: number of groups.
        """
        if groups == 1:
            return [Group(0, lanes, 0, weight)]
        inner, outer = weight.shape[1], len(weight) // groups
        starts = {0: 0}
        for index in range(len(lanes)):
            starts[sum(lanes[: index + 1])] = index + 1
        merged = next(
            size
            for size in range(1, groups + 1)
            if groups % size == 0
            and (size == groups or size * outer % self.block == 0)
            and all(first * inner in starts for first in range(0, groups + 1, size))
        )
        found: list[Group] = []
        for first in range(0, groups, merged):
            dense = np.zeros((merged * outer, merged * inner, *weight.shape[2:]), np.float32)
            for index in range(merged):
                rows = slice(index * outer, (index + 1) * outer)
                columns = slice(index * inner, (index + 1) * inner)
                begin = (first + index) * outer
                dense[rows, columns] = weight[begin : begin + outer]
            block, end = starts[first * inner], starts[(first + merged) * inner]
            found.append(Group(block, lanes[block:end], first * outer, dense))
        return found


def tiled_codes(weight: Codes, lanes: Sequence[int], packing: Packing, item_bytes: int) -> Constant:
    """Weights of codes in the order in which the kernel reads them: 32 bits of each filter.

    Args:
        weight: (filters, channels, rows, columns).
        lanes: channels in each block of the input.
        packing: of the library.
        item_bytes: of an input: 1 for a code, 2 for a sum of codes.
    """
    block, together = packing.block, 4 // item_bytes
    filters, first_channel = -(-len(weight) // block), 0
    padded: Constant = np.zeros(
        (filters * block, *weight.shape[1:]), np.int8 if item_bytes == 1 else np.int16
    )
    padded[: len(weight)] = weight
    groups, blocks = -(-filters // packing.group), list[Constant]()
    for count in lanes:
        some = padded[:, first_channel : first_channel + count]
        missing = -count % together
        blocks.append(np.pad(some, ((0, 0), (0, missing), (0, 0), (0, 0))))
        first_channel += count
    parts = list[Constant]()
    for index in range(groups):
        first, end = filters * index // groups, filters * (index + 1) // groups
        for some in blocks:
            rows = some[first * block : end * block]
            shaped = rows.reshape(end - first, block, -1, together, *weight.shape[2:])
            parts.append(shaped.transpose(4, 5, 2, 0, 1, 3).reshape(-1))
    return np.concatenate(parts)
