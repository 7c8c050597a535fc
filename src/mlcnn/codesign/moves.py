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

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.conventions import Convention
from mlcnn.codesign.nested import Loops, Nested, product, tiles_of
from mlcnn.codesign.space import Access
from mlcnn.codesign.windows import Tiles, WindowAxis, box, fresh, touched

__all__ = ["Saved", "Taken", "Terms", "taken_at_once", "taken_in", "terms"]

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


def _moved(loops: Loops, moves: tuple[bool, ...]) -> Mask:
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


def _sliding(
    access: Access, plain: Array, tiles: list[Tiles], loops: Loops, rule: Convention
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
    for one in _saved(access, plain, tiles, loops, rule, sizes=sizes):
        result[one.index] -= one.times * one.stays
    return result


@dataclass(frozen=True, slots=True)
class Saved:
    """What stays of a tile at the steps of one loop, of the mappings where something may.

    Attributes:
        loop: its number among those above the tile, innermost first.
        index: these mappings.
        times: steps.
        stays: words at each.
    """

    loop: int
    index: NDArray[np.int64]
    times: Array
    stays: Array


def _saved(
    access: Access, plain: Array, tiles: list[Tiles], loops: Loops, rule: Convention,
    *, sizes: list[Array],
) -> Iterator[Saved]:  # fmt: skip
    for move in _moves(access, loops, rule):
        stays = plain[move.index]
        for number, axis in enumerate(access.windows):
            size, away = sizes[number][move.index], move.distances[number]
            if rule.box:
                stays = stays * np.maximum(size - np.abs(away), 0.0)
            else:
                stays = stays * (size - fresh(axis, tiles[number].at(move.index), away))
        yield Saved(move.loop, move.index, move.times, stays)


@dataclass(frozen=True, slots=True)
class Terms:
    """What the words that the tiles of a level take in are made of.

    Attributes:
        tile: words of the tiles at one step; shape (mappings,).
        factors: iterations of the loops above, innermost first; shape (loops, mappings).
        dims: numbers of their dimensions, of the same shape.
        levels: of each loop its level.
        multiplies: whether a loop multiplies the tile, of the shape of ``factors``.
        saved: what is taken off.
    """

    tile: Array
    factors: Array
    dims: NDArray[np.int64]
    levels: tuple[int, ...]
    multiplies: Mask
    saved: tuple[Saved, ...]

    @property
    def words(self) -> Array:
        """What it comes to."""
        result = self.tile * np.where(self.multiplies, self.factors, 1.0).prod(0)
        for one in self.saved:
            result[one.index] -= one.times * one.stays
        return result


def terms(access: Access, nested: Nested, above: int, level: int, rule: Convention) -> Terms:
    """The terms of ``taken_in`` and ``taken_at_once``, to be told.

    Args:
        access: the operand.
        nested: the mappings.
        above: what all instances below one of this level take in together is counted; ``level``
            itself for one instance.
        level: level that keeps the tile; the number of levels for the arithmetic, which keeps none.
        rule: what is saved.
    """
    measure = box if rule.box else touched
    plain = nested.words(access, level) * nested.copies(access, above, level)
    tiles = tiles_of(access, nested, above, level)
    sizes = [measure(axis, tile) for axis, tile in zip(access.windows, tiles, strict=True)]
    loops = nested.loops.above(nested.start[level])
    multiplies, saved = np.ones(loops.factor.shape, bool), ()
    if level < nested.depth and access.windows:
        saved = tuple(_saved(access, plain, tiles, loops, rule, sizes=sizes))
    elif level < nested.depth:
        multiplies = _moved(loops, access.relevant)
    levels = tuple(
        owner
        for owner in range(nested.depth - 1, -1, -1)
        for _ in range(nested.start[owner + 1], nested.start[owner])
    )
    return Terms(
        product(sizes, plain), loops.factor, loops.dim, levels[nested.start[level] :],
        multiplies, saved,
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class _Move:
    """Steps of one loop, of the mappings where something may stay.

    Attributes:
        loop: number of the loop.
        index: these mappings.
        times: how often each moves.
        distances: positions along each sliding axis.
    """

    loop: int
    index: NDArray[np.int64]
    times: Array
    distances: list[Array]


def _moves(access: Access, loops: Loops, rule: Convention) -> Iterator[_Move]:
    """The moves of a tile along its sliding axes alone."""
    rates = [_rates(axis, len(access.direct)) for axis in access.windows]
    direct, count = np.array(access.direct), loops.factor.shape[1]
    outside = product(loops.factor, np.ones(count))
    lost, begun = np.zeros(count, bool), np.zeros(count, bool)
    before = [np.zeros(count) for _ in rates]
    first = [np.zeros(count) for _ in rates]
    each = enumerate(zip(loops.factor, loops.dim, loops.step, strict=True))
    for number, (factor, dim, step) in each:
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
            yield _Move(number, index, times, [distance[index] for distance in distances])


def _rates(axis: WindowAxis, dims: int) -> Array:
    """Positions along an axis for an iteration of each dimension."""
    rates = np.zeros(dims)
    rates[axis.outputs], rates[axis.taps] = axis.stride, axis.dilation
    return rates
