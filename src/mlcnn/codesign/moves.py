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
from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.batch import Batch
from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.space import Access
from mlcnn.codesign.windows import Copies, Tiles, WindowAxis, box, fresh, touched

__all__ = ["Taken", "extents", "product", "taken_at_once", "taken_in", "tiles_of"]

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


def product(factors: Iterable[Array], start: Array) -> Array:
    """``start`` times all factors, from the left."""
    return reduce(operator.mul, factors, start)


def extents(batch: Batch, level: int) -> Array:
    """Iterations of each dimension inside the tile of a level; shape (dims, mappings)."""
    return batch.temporal[level:].prod(0) * batch.spatial[level:].prod(0)


def _loops(batch: Batch, level: int) -> _Loops:
    """The loops above the tile of a level."""
    inner = extents(batch, level)
    factors: list[Array] = [np.ones((0, len(batch)))]
    dims: list[NDArray[np.int64]] = [np.zeros((0, len(batch)), np.int64)]
    steps: list[Array] = [np.ones((0, len(batch)))]
    for outer in range(level - 1, -1, -1):
        inner = inner * batch.spatial[outer]
        if (batch.temporal[outer] > 1).any():
            order = batch.order[outer, ::-1]
            dims.append(order)
            factors.append(np.take_along_axis(batch.temporal[outer], order, 0))
            steps.append(np.take_along_axis(inner, order, 0))
        inner = inner * batch.temporal[outer]
    return _Loops(np.concatenate(factors), np.concatenate(dims), np.concatenate(steps))


def _moved(loops: _Loops, moves: tuple[bool, ...]) -> Mask:
    """Whether this loop or one inside is of a dimension that ``moves`` and has two iterations."""
    active = np.array(moves)[loops.dim] & (loops.factor > 1)
    return np.logical_or.accumulate(active, 0)


def taken_in(access: Access, batch: Batch, above: int, level: int, rule: Convention) -> Taken:
    """Words of an operand that the tiles of a level take in.

    Args:
        access: the operand.
        batch: the mappings.
        above: level that they come from, the next outer one that keeps the operand.
        level: level that keeps the tile.
        rule: what is saved.
    """
    inside = extents(batch, level)
    copies = batch.spatial[above:level].prod(0)
    loops = _loops(batch, level)
    if not access.windows:
        stays = ~_moved(loops, access.relevant)
        times = np.where(stays, 1.0, loops.factor).prod(0)
        each = product((inside[dim] for dim in access.plain), times)
        return Taken(each, product((copies[dim] for dim in access.plain), each))
    plain = product((inside[dim] for dim in access.plain), np.ones(len(batch)))
    each = _sliding(access, plain, tiles_of(access, batch, level, level), loops, rule)
    several = product((copies[dim] for dim in access.plain), np.ones(len(batch)))
    tiles = tiles_of(access, batch, above, level)
    if all(tile.alone().all() for tile in tiles):
        return Taken(each, several * each)
    return Taken(each, _sliding(access, several * plain, tiles, loops, rule))


def taken_at_once(access: Access, batch: Batch, above: int, rule: Convention) -> Array:
    """Words that the arithmetic below one instance of a level needs, over all cycles."""
    depth = batch.temporal.shape[0]
    copies = batch.spatial[above:depth].prod(0)
    times = batch.temporal.prod((0, 1))
    words = product((copies[dim] for dim in access.plain), times)
    measure = box if rule.box else touched
    tiles = tiles_of(access, batch, above, depth)
    return product(map(measure, access.windows, tiles), words)


def tiles_of(access: Access, batch: Batch, above: int, level: int) -> list[Tiles]:
    """Tiles of a level along the sliding axes, of all instances below one of level ``above``.

    Args:
        access: the operand.
        batch: the mappings.
        above: a level; ``level`` itself for one instance.
        level: the level; the number of levels for the arithmetic.
    """
    return [
        Tiles(
            extents(batch, level)[axis.outputs],
            extents(batch, level)[axis.taps],
            _copies(batch, axis.outputs, above, level),
            _copies(batch, axis.taps, above, level),
        )
        for axis in access.windows
    ]


def _copies(batch: Batch, dim: int, above: int, level: int) -> Copies:
    """Instances between two levels that share a dimension."""
    both = batch.temporal[:, dim] * batch.spatial[:, dim]
    inner = [both[outer + 1 :].prod(0) for outer in range(above, level)]
    apart = np.stack(inner) if inner else np.ones((0, len(batch)))
    return Copies(batch.spatial[above:level, dim], apart)


def _sliding(
    access: Access, plain: Array, tiles: list[Tiles], loops: _Loops, rule: Convention
) -> Array:
    """Words that the tiles of an operand with sliding axes take in together.

    Args:
        access: the operand.
        plain: words along its other axes.
        tiles: along the sliding ones.
        loops: what moves them.
        rule: what is saved.
    """
    measure = box if rule.box else touched
    sizes = [measure(axis, tile) for axis, tile in zip(access.windows, tiles, strict=True)]
    whole = product(sizes, plain)
    if not len(loops.factor):
        return whole
    steps = [_steps(axis, loops) for axis in access.windows]
    lost = _moved(loops, access.direct)
    if rule.same_step:
        distances, kept = _as_first(loops, steps)
        lost |= ~kept
    else:
        distances = [step - _before((loops.factor - 1.0) * step) for step in steps]
    new = np.broadcast_to(whole, lost.shape).copy()
    row, column = np.nonzero((loops.factor > 1) & ~lost)
    stays = plain[column]
    for axis, tile, size, distance in zip(access.windows, tiles, sizes, distances, strict=True):
        away = distance[row, column]
        if rule.box:
            stays = stays * np.maximum(size[column] - np.abs(away), 0.0)
        else:
            stays = stays * (size[column] - fresh(axis, tile.at(column), away))
    new[row, column] -= stays
    return whole + ((loops.factor - 1.0) * _outside(loops.factor) * new).sum(0)


def _steps(axis: WindowAxis, loops: _Loops) -> Array:
    """Positions along an axis that one step of each loop is."""
    rate = np.where(loops.dim == axis.outputs, float(axis.stride), 0.0)
    rate += np.where(loops.dim == axis.taps, float(axis.dilation), 0.0)
    return rate * loops.step


def _before(values: Array) -> Array:
    """Sums over the loops inside each."""
    return np.cumsum(values, 0) - values


def _outside(factors: Array) -> Array:
    """Products over the loops outside each."""
    return np.cumprod(factors[::-1], 0)[::-1] / factors


def _as_first(loops: _Loops, steps: list[Array]) -> tuple[list[Array], Mask]:
    """Distances with all inner loops at index 1, and whether they are the innermost loop's."""
    active = loops.factor > 1
    first = np.argmax(active, 0)[None]
    distances: list[Array] = []
    kept = np.ones_like(active)
    for step in steps:
        moved = np.where(active, step, 0.0)
        distance = step - _before(moved)
        kept &= distance == np.take_along_axis(step, first, 0)
        distances.append(distance)
    return distances, kept
