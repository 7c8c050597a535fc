"""Mappings with what all counts of them need: tiles, loops above them, instances."""

import operator
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.batch import Batch
from mlcnn.codesign.space import Access
from mlcnn.codesign.windows import Copies, Tiles

__all__ = ["Loops", "Nested", "product", "tiles_of"]

Array = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Loops:
    """Temporal loops above a tile, innermost first; arrays of shape (loops, mappings).

    Attributes:
        factor: iterations.
        dim: number of the dimension.
        step: iterations of the dimension that one step of the loop is.
    """

    factor: Array
    dim: NDArray[np.int64]
    step: Array

    def above(self, start: int) -> "Loops":
        """Those from a number on."""
        return Loops(self.factor[start:], self.dim[start:], self.step[start:])


@dataclass(frozen=True, slots=True)
class Nested:
    """Mappings with what all counts of them need.

    Attributes:
        batch: the mappings.
        inside: for each level, and last for the arithmetic, the iterations of each dimension
            inside its tile; shape (dims, mappings).
        spread: for each level, the dimensions that some mapping spreads over instances below it.
        loops: all temporal loops.
        start: for each level, the number of the first loop above its tile.
    """

    batch: Batch
    inside: tuple[Array, ...]
    spread: tuple[frozenset[int], ...]
    loops: Loops
    start: tuple[int, ...]

    @property
    def depth(self) -> int:
        """The number of levels, which stands for the arithmetic."""
        return len(self.spread)

    @classmethod
    def of(cls, batch: Batch) -> "Nested":
        """What there is to know of mappings."""
        depth, dims, many = batch.temporal.shape
        inner = np.ones((dims, many))
        inside, start = [inner], [0]
        factors: list[Array] = []
        steps: list[Array] = []
        orders: list[NDArray[np.int64]] = []
        columns = np.arange(many)
        for level in range(depth - 1, -1, -1):
            temporal = batch.temporal[level]
            inner = inner * batch.spatial[level]
            if (temporal != 1).any():
                order = batch.order[level, ::-1]
                flat = order * many + columns
                orders.append(order)
                factors.append(np.take(temporal, flat))
                steps.append(np.take(inner, flat))
                inner = inner * temporal
            inside.append(inner)
            start.append(len(factors) * dims)
        spread = (batch.spatial != 1).any(2)
        none = np.ones((0, many))
        loops = Loops(
            np.concatenate(factors) if factors else none,
            np.concatenate(orders) if orders else none.astype(np.int64),
            np.concatenate(steps) if steps else none,
        )
        sides = tuple(frozenset(map(int, np.flatnonzero(row))) for row in spread)
        return cls(batch, tuple(inside[::-1]), sides, loops, tuple(start[::-1]))

    def words(self, access: Access, level: int) -> Array:
        """Words of a tile along the axes that are a dimension."""
        one = np.ones(len(self.batch))
        return product((self.inside[level][dim] for dim in access.plain), one)

    def copies(self, access: Access, above: int, level: int) -> Array:
        """Instances between two levels that have different words along those axes."""
        one = np.ones(len(self.batch))
        spatial = self.batch.spatial
        return product(
            (
                spatial[outer, dim]
                for outer in range(above, level)
                for dim in access.plain
                if dim in self.spread[outer]
            ),
            one,
        )


def product(factors: Iterable[Array], start: Array) -> Array:
    """``start`` times all factors, from the left."""
    return reduce(operator.mul, factors, start)


def tiles_of(access: Access, nested: Nested, above: int, level: int) -> list[Tiles]:
    """Tiles of a level along the sliding axes, of all instances below one of level ``above``.

    Args:
        access: the operand.
        nested: the mappings.
        above: a level; ``level`` itself for one instance.
        level: the level; the number of levels for the arithmetic.
    """
    result: list[Tiles] = []
    for axis in access.windows:
        dims = axis.outputs, axis.taps
        levels = [n for n in range(above, level) if not nested.spread[n].isdisjoint(dims)]
        inside = (nested.inside[level][dim] for dim in dims)
        result.append(Tiles(*inside, *(_copies(nested, dim, levels) for dim in dims)))
    return result


def _copies(nested: Nested, dim: int, levels: list[int]) -> Copies:
    """Instances below some levels that share a dimension."""
    apart = [nested.inside[level + 1][dim] for level in levels]
    none = np.ones((0, len(nested.batch)))
    return Copies(nested.batch.spatial[levels, dim], np.stack(apart) if apart else none)
