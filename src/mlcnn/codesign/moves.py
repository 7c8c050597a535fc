"""How many words a level's tile of an operand takes in, over the whole run.

The tile at level c is made of the loops of level c and below; the temporal loops above, from the
innermost 1 to the outermost m, move it. Loop k, of ``n_k`` iterations, moves it ``(n_k - 1) *
n_(k+1) * ... * n_m`` times, each time by ``v_k - sum over j < k of (n_j - 1) * v_j``: one step of
its own, all inner loops back at their start. The words taken in are those of the first tile and
at each move those that the tile before had not.

Where a dimension is an axis by itself, a move along it leaves nothing of the tile; so plain
operands take in a tile for each iteration of the loops from the innermost relevant one outwards,
and only the sliding axes of the input need the distances.
"""

import operator
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import reduce
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.batch import Batch
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.space import Access
from mlcnn.codesign.windows import Copies, Tiles, WindowAxis, box, fresh, touched

__all__ = ["Nested", "Taken", "product", "taken_at_once", "taken_in", "tiles_of"]

Array = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Taken:
    """Words that the tiles of a level take in.

    Attributes:
        each: into one instance, over the whole run.
        together: into all instances below one instance of the level that they come from; words
            that several take in at once counted once.
    """

    each: Array
    together: Array


@dataclass(frozen=True, slots=True)
class _Loops:
    """Temporal loops above a tile, innermost first; arrays of shape (loops, mappings).

    Attributes:
        factor: iterations.
        dim: number of the dimension.
        step: iterations of the dimension that one step of the loop is.
    """

    factor: Array
    dim: NDArray[np.int64]
    step: Array

    def above(self, start: int) -> "_Loops":
        """Those from a number on."""
        return _Loops(self.factor[start:], self.dim[start:], self.step[start:])


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
    loops: _Loops
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
        loops = _Loops(
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


def _moved(loops: _Loops, moves: tuple[bool, ...]) -> Mask:
    """Whether this loop or one inside is of a dimension that ``moves`` and has two iterations."""
    active = np.array(moves)[loops.dim] & (loops.factor > 1)
    for inner, here in pairwise(active):
        np.logical_or(inner, here, out=here)
    return active


def taken_in(access: Access, nested: Nested, above: int, level: int, rule: Convention) -> Taken:
    """Words of an operand that the tiles of a level take in.

    Args:
        access: the operand.
        nested: the mappings.
        above: level that they come from, the next outer one that keeps the operand.
        level: level that keeps the tile.
        rule: what is saved.
    """
    loops = nested.loops.above(nested.start[level])
    plain, copies = nested.words(access, level), nested.copies(access, above, level)
    if not access.windows:
        each = plain
        for moved, factor in zip(_moved(loops, access.relevant), loops.factor, strict=True):
            np.multiply(each, factor, out=each, where=moved)
        return Taken(each, each * copies)
    each = _sliding(access, plain, tiles_of(access, nested, level, level), loops, rule)
    tiles = tiles_of(access, nested, above, level)
    if all(tile.alone().all() for tile in tiles):
        return Taken(each, each * copies)
    return Taken(each, _sliding(access, copies * plain, tiles, loops, rule))


def taken_at_once(access: Access, nested: Nested, above: int, rule: Convention) -> Array:
    """Words that the arithmetic below one instance of a level needs, over all cycles."""
    words = product(nested.loops.factor, nested.copies(access, above, nested.depth))
    measure = box if rule.box else touched
    tiles = tiles_of(access, nested, above, nested.depth)
    return product(map(measure, access.windows, tiles), words)


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


def _sliding(
    access: Access, plain: Array, tiles: list[Tiles], loops: _Loops, rule: Convention
) -> Array:
    """Words that the tiles of an operand with sliding axes take in together.

    A tile for each iteration of the loops, less what stays at each move.

    Args:
        access: the operand.
        plain: words along its other axes.
        tiles: along the sliding ones.
        loops: what moves them.
        rule: what is saved.
    """
    measure = box if rule.box else touched
    sizes = [measure(axis, tile) for axis, tile in zip(access.windows, tiles, strict=True)]
    result = product(loops.factor, product(sizes, plain))
    for move in _moves(access, loops, rule):
        stays = plain[move.index]
        for number, axis in enumerate(access.windows):
            size, away = sizes[number][move.index], move.distances[number]
            if rule.box:
                stays = stays * np.maximum(size - np.abs(away), 0.0)
            else:
                stays = stays * (size - fresh(axis, tiles[number].at(move.index), away))
        result[move.index] -= move.times * stays
    return result


@dataclass(frozen=True, slots=True)
class _Move:
    """Steps of one loop, of the mappings where something may stay.

    Attributes:
        index: these mappings.
        times: how often each moves.
        distances: positions along each sliding axis.
    """

    index: NDArray[np.int64]
    times: Array
    distances: list[Array]


def _moves(access: Access, loops: _Loops, rule: Convention) -> Iterator[_Move]:
    """The moves of a tile along its sliding axes alone."""
    rates = [_rates(axis, len(access.direct)) for axis in access.windows]
    direct, count = np.array(access.direct), loops.factor.shape[1]
    outside = product(loops.factor, np.ones(count))
    lost, begun = np.zeros(count, bool), np.zeros(count, bool)
    before = [np.zeros(count) for _ in rates]
    first = [np.zeros(count) for _ in rates]
    for factor, dim, step in zip(loops.factor, loops.dim, loops.step, strict=True):
        active = factor > 1
        outside = outside / factor
        lost |= active & direct[dim]
        if lost.all():
            return
        stay = active & ~lost
        steps = [rate[dim] * step for rate in rates]
        distances = [one - inner for one, inner in zip(steps, before, strict=True)]
        if rule.same_step:  # all inner loops at index 1
            first = [np.where(begun, old, one) for old, one in zip(first, steps, strict=True)]
            begun |= active
            for distance, one in zip(distances, first, strict=True):
                stay &= distance == one
        reach = active.astype(float) if rule.same_step else factor - 1.0
        before = [inner + reach * one for one, inner in zip(steps, before, strict=True)]
        if len(index := np.flatnonzero(stay)):
            times = (factor[index] - 1.0) * outside[index]
            yield _Move(index, times, [distance[index] for distance in distances])


def _rates(axis: WindowAxis, dims: int) -> Array:
    """Positions along an axis for an iteration of each dimension."""
    rates = np.zeros(dims)
    rates[axis.outputs], rates[axis.taps] = axis.stride, axis.dilation
    return rates
