"""A loop nest executed: every point visited, every word touched. The judge of ``exact``.

It lists what the machine does step by step and shares no formula with the counts; it is for
nests of some hundred points.
"""

import itertools
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass

from mlcnn.codesign.architecture import Operand
from mlcnn.codesign.mapping import Mapping
from mlcnn.workload import LoopNest, Projection

__all__ = ["Walked", "walk"]

Word = tuple[int, ...]
Place = tuple[int, ...]
"""Indices of the temporal, or of the spatial, loops of some levels, outermost first."""
Tiles = dict[Place, dict[Place, set[Word]]]
"""Words by the step of the run and the instance."""


@dataclass(slots=True)
class Walked:
    """Words over all instances of a level.

    Attributes:
        reads: sent to the levels below.
        fills: that came from above.
        updates: that came from below.
    """

    reads: int = 0
    fills: int = 0
    updates: int = 0


@dataclass(frozen=True, slots=True)
class _Loop:
    level: int
    dim: str
    factor: int
    spatial: bool


def walk(nest: LoopNest, mapping: Mapping) -> dict[tuple[int, Operand], Walked]:
    """Execute a mapping.

    Args:
        nest: what is mapped.
        mapping: how; its factors make up the dimensions.

    Returns:
        By level and operand, what moved. A level holds one tile of each operand that it keeps. A
        tile of outputs that goes is written above, sums of several instances added; a tile that
        comes reads what was written above before, and is written below whole.
    """
    result: dict[tuple[int, Operand], Walked] = defaultdict(Walked)
    depth = len(mapping.levels)
    points = tuple(_points(mapping))
    for operand, projection in zip(Operand, nest.operands, strict=True):
        keeping = [n for n, level in enumerate(mapping.levels) if operand in level.keep]
        for above, below in zip(keeping, [*keeping[1:], depth], strict=True):
            tiles = _tiles(points, projection, below)
            _run(result, operand, tiles, (above, below), mapping)
    return dict(result)


def _nested(mapping: Mapping) -> tuple[_Loop, ...]:
    """All loops, outermost first."""
    return tuple(
        _Loop(number, dim, factor, spatial)
        for number, level in enumerate(mapping.levels)
        for loops, spatial in ((level.temporal, False), (level.spatial, True))
        for dim, factor in loops
    )


@dataclass(frozen=True, slots=True)
class _Point:
    """A multiply-accumulate: its iteration, and its loops' (level, index), in time and space."""

    index: dict[str, int]
    time: tuple[tuple[int, int], ...]
    space: tuple[tuple[int, int], ...]


def _points(mapping: Mapping) -> Iterator[_Point]:
    """Every multiply-accumulate, in the order of the loops."""
    loops = _nested(mapping)
    dims = {loop.dim for loop in loops}
    for values in itertools.product(*(range(loop.factor) for loop in loops)):
        index: dict[str, int] = defaultdict(int)
        for loop, value in zip(loops, values, strict=True):
            index[loop.dim] = index[loop.dim] * loop.factor + value
        placed = tuple(zip(loops, values, strict=True))
        yield _Point(
            defaultdict(int, {dim: index[dim] for dim in dims}),
            tuple((loop.level, value) for loop, value in placed if not loop.spatial),
            tuple((loop.level, value) for loop, value in placed if loop.spatial),
        )


def _upto(place: tuple[tuple[int, int], ...], level: int) -> Place:
    """Indices of the loops of the levels above ``level``."""
    return tuple(value for number, value in place if number < level)


def _tiles(points: tuple[_Point, ...], projection: Projection, level: int) -> Tiles:
    """What each instance of a level needs at each step of the loops above it."""
    tiles: Tiles = defaultdict(lambda: defaultdict(set))
    for point in points:
        tile = tiles[_upto(point.time, level)][_upto(point.space, level)]
        tile.add(projection.word(point.index))
    return tiles


def _run(
    result: dict[tuple[int, Operand], Walked],
    operand: Operand,
    tiles: Tiles,
    between: tuple[int, int],
    mapping: Mapping,
) -> None:
    """Move the tiles of one operand between two levels, step by step."""
    above, below = between
    parents = sum(len(level.spatial) for level in mapping.levels[:above])
    holds = below < len(mapping.levels)
    held: dict[Place, set[Word]] = defaultdict(set)
    written: dict[Place, set[Word]] = defaultdict(set)
    for step in sorted(tiles):
        comes = {place: tile - held[place] for place, tile in tiles[step].items()}
        goes = {place: held[place] - tile for place, tile in tiles[step].items()}
        _write(result, operand, above, _together(goes, parents), written)
        for parent, words in _together(comes, parents).items():
            needed = words & written[parent] if operand is Operand.OUTPUT else words
            result[above, operand].reads += len(needed)
        if holds:
            result[below, operand].fills += sum(map(len, comes.values()))
            held.update(tiles[step])
        else:
            _write(result, operand, above, _together(tiles[step], parents), written)
    _write(result, operand, above, _together(held, parents), written)


def _together(words: dict[Place, set[Word]], parents: int) -> dict[Place, set[Word]]:
    """Words of the instances below each instance of the level above, each word once."""
    result: dict[Place, set[Word]] = defaultdict(set)
    for place, some in words.items():
        result[place[:parents]] |= some
    return result


def _write(
    result: dict[tuple[int, Operand], Walked],
    operand: Operand,
    above: int,
    words: dict[Place, set[Word]],
    written: dict[Place, set[Word]],
) -> None:
    """Outputs that go up."""
    if operand is not Operand.OUTPUT:
        return
    for parent, some in words.items():
        result[above, operand].updates += len(some)
        written[parent] |= some
