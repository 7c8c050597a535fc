"""Many mappings of one loop nest as arrays."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.mapping import LevelLoops, Mapping
from mlcnn.errors import InputError
from mlcnn.workload import LoopNest

__all__ = ["Batch"]


@dataclass(frozen=True, slots=True)
class Batch:
    """Mappings that keep the same operands at the same levels.

    Attributes:
        dims: the dimensions, in the order of the arrays.
        temporal: iterations, float64 of shape (levels, dims, mappings), levels outermost first.
        spatial: instances side by side, of the same shape.
        order: int64 of the same shape: along the second axis the numbers of the dimensions in
            the order of their temporal loops, outermost first. Where a loop of one iteration
            stands does not matter.
        keep: bool of shape (levels, operands).
    """

    dims: tuple[str, ...]
    temporal: NDArray[np.float64]
    spatial: NDArray[np.float64]
    order: NDArray[np.int64]
    keep: NDArray[np.bool_]

    def __post_init__(self) -> None:
        shape = self.temporal.shape
        if not shape == self.spatial.shape == self.order.shape or len(shape) != 3:
            raise InputError(
                "arrays of a batch must be of one shape (levels, dims, mappings), got "
                f"{shape}, {self.spatial.shape} and {self.order.shape}"
            )
        if shape[1] != len(self.dims) or self.keep.shape != (shape[0], len(Operand)):
            raise InputError(
                f"a batch of shape {shape} needs {shape[1]} dims and a keep mask of "
                f"{(shape[0], len(Operand))}, got {len(self.dims)} and {self.keep.shape}"
            )
        if not self.keep[0].all():
            raise InputError("the outermost level must keep every operand")

    def __len__(self) -> int:
        return self.temporal.shape[2]

    def part(self, start: int, stop: int) -> "Batch":
        """The mappings from ``start`` up to ``stop``; no copies."""
        cut = (slice(None), slice(None), slice(start, stop))
        return Batch(self.dims, self.temporal[cut], self.spatial[cut], self.order[cut], self.keep)

    def at(self, index: NDArray[np.int64]) -> "Batch":
        """Some of the mappings; copies."""
        temporal, spatial = np.take(self.temporal, index, 2), np.take(self.spatial, index, 2)
        return Batch(self.dims, temporal, spatial, np.take(self.order, index, 2), self.keep)

    @classmethod
    def of(cls, mappings: Sequence[Mapping], nest: LoopNest) -> "Batch":
        """Mappings as a batch.

        Args:
            mappings: at least one; of equal levels and keep masks.
            nest: what they map.

        Raises:
            InputError: they do not keep the same operands at the same levels.
        """
        masks = {tuple(frozenset(level.keep) for level in one.levels) for one in mappings}
        if len(masks) != 1:
            raise InputError(
                f"mappings of a batch must keep the same operands at the same levels, got "
                f"{len(masks)} different masks"
            )
        mask = masks.pop()
        shape = (len(mask), len(nest.dims), len(mappings))
        temporal, spatial = np.ones(shape), np.ones(shape)
        order = np.zeros(shape, np.int64)
        numbers = {dim: number for number, dim in enumerate(nest.dims)}
        for column, mapping in enumerate(mappings):
            for row, level in enumerate(mapping.levels):
                first = [numbers[dim] for dim, _ in level.temporal]
                rest = [number for number in numbers.values() if number not in first]
                order[row, :, column] = first + rest
                for array, loops in ((temporal, level.temporal), (spatial, level.spatial)):
                    for dim, factor in loops:
                        array[row, numbers[dim], column] = factor
        keep = np.array([[operand in kept for operand in Operand] for kept in mask], bool)
        return cls(nest.dims, temporal, spatial, order, keep)

    def mapping(self, number: int) -> Mapping:
        """One of the mappings; loops of one iteration are left out."""
        return Mapping(tuple(self._loops(level, number) for level in range(self.keep.shape[0])))

    def _loops(self, level: int, number: int) -> LevelLoops:
        keep = tuple(
            operand for operand, kept in zip(Operand, self.keep[level], strict=True) if kept
        )
        order = [int(dim) for dim in self.order[level, :, number]]
        temporal = tuple(self._wide(self.temporal, level, order, number))
        spatial = tuple(self._wide(self.spatial, level, range(len(self.dims)), number))
        return LevelLoops(temporal, spatial, keep)

    def _wide(
        self, array: NDArray[np.float64], level: int, order: Sequence[int], number: int
    ) -> Iterator[tuple[str, int]]:
        for dim in order:
            if (factor := int(array[level, dim, number])) > 1:
                yield self.dims[dim], factor
