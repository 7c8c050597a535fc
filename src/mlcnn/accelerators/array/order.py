"""The steps of a layer by class: what each computes, loads and stores, and how many there are.

Loops, outermost first: group, outer tile, inner tile, chunk of input channels. While a step computes
one chunk, the next one comes in, and in the first step of a tile the tile before leaves. Tiles of
positions are of four classes (see ``Place``), those of output channels of two, chunks of two: whole,
and the last, smaller one. So steps of a layer are of few classes, however many there are.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mlcnn.accelerators.array.tiling import Indices

__all__ = ["NOTHING", "Loop", "Step", "step_classes"]

NOTHING = -1
"""No tile, or no chunk."""


class Step(NamedTuple):
    """A class of steps; classes of tiles and chunks, or ``NOTHING``.

    Attributes:
        output: of the tile of output channels that is computed.
        place: of its tile of positions.
        chunk: of its input channels.
        weights: class of output channels whose weights come in.
        inputs: class of positions whose inputs come in.
        loaded: class of the chunk that comes in.
        leaving_output: class of output channels of the tile that leaves.
        leaving_place: class of its positions.
    """

    output: int
    place: int
    chunk: int
    weights: int
    inputs: int
    loaded: int
    leaving_output: int
    leaving_place: int


@dataclass(frozen=True, slots=True)
class Loop:
    """How tiles follow each other.

    Attributes:
        groups: of channels.
        repeats: images one after the other.
        down: rows of tiles in each.
        along: columns of tiles.
        smaller: whether the last row is smaller, the last column, and the last output channels.
        output_tiles: tiles of output channels in a group.
        chunks: of input channels.
        weights_outer: whether output channels are the outer loop.
        kept: whether chunks of the outer operand stay while the inner loop runs.
    """

    groups: int
    repeats: int
    down: int
    along: int
    smaller: tuple[bool, bool, bool]
    output_tiles: int
    chunks: int
    weights_outer: bool
    kept: bool


_Window = tuple[int, int, int, int]
"""Classes of one tile before, of a tile, and of one behind; how often they follow so."""


@lru_cache(maxsize=65536)
def step_classes(loop: Loop) -> Indices:
    """The classes, shape (classes, 9): how many steps there are, then the fields of ``Step``.

    The first load and the last store are among them: they compute nothing.
    """
    places = _places(loop.repeats, loop.down, loop.along, loop.smaller[:2])
    outputs = _windows_of((*(0,) * (loop.output_tiles - 1), int(loop.smaller[2])))
    inner, outer = (places, outputs) if loop.weights_outer else (outputs, places)
    found: Counter[Step] = Counter()
    pairs = _Pairs(loop, inner)
    for before, this, behind, count in _repeated(outer, loop.groups):
        for earlier, tile, later, times in inner:
            for step, each in pairs.steps((before, this, behind), (earlier, tile, later)):
                found[step] += count * times * each
    return np.array([(count, *step) for step, count in found.items() if count], np.int64)


class _Pairs:
    """Steps of one outer and one inner tile, by the classes of those before and behind."""

    def __init__(self, loop: Loop, inner: Sequence[_Window]) -> None:
        self._loop = loop
        self._kept = loop.kept or loop.chunks == 1
        self._first = next(this for before, this, _, _ in inner if before == NOTHING)
        self._last = next(this for _, this, behind, _ in inner if behind == NOTHING)

    def steps(
        self, outer: tuple[int, int, int], inner: tuple[int, int, int]
    ) -> Iterator[tuple[Step, int]]:
        """The steps of the middle ones, and how many of each."""
        chunks = self._loop.chunks
        (before, this, behind), (earlier, tile, later) = outer, inner
        nothing = NOTHING, NOTHING
        fresh, first_chunk = earlier == NOTHING, 0 if chunks > 1 else 1
        computed, own = self._pair(this, tile), self._load(this, tile, fresh=fresh)
        left = self._pair(this, earlier) if not fresh else nothing
        if fresh and before != NOTHING:
            left = self._pair(before, self._last)
        coming = *nothing, NOTHING
        if later != NOTHING:
            coming = *self._load(this, later, fresh=False), first_chunk
        elif behind != NOTHING:
            coming = *self._load(behind, self._first, fresh=True), first_chunk
        if fresh and before == NOTHING:  # the first load
            yield Step(*nothing, NOTHING, *own, first_chunk, *nothing), 1
        if chunks == 1:
            yield Step(*computed, 1, *coming, *left), 1
        else:
            yield Step(*computed, 0, *own, int(chunks == 2), *left), 1
            if chunks > 2:
                yield Step(*computed, 0, *own, 0, *nothing), chunks - 3
                yield Step(*computed, 0, *own, 1, *nothing), 1
            yield Step(*computed, 1, *coming, *nothing), 1
        if later == behind == NOTHING:  # the last store
            yield Step(*nothing, NOTHING, *nothing, NOTHING, *computed), 1

    def _pair(self, outer: int, inner: int) -> tuple[int, int]:
        """Classes of output channels and positions."""
        return (outer, inner) if self._loop.weights_outer else (inner, outer)

    def _load(self, outer: int, inner: int, *, fresh: bool) -> tuple[int, int]:
        """Classes whose weights and inputs come in with a chunk."""
        return self._pair(outer if fresh or not self._kept else NOTHING, inner)


@lru_cache(maxsize=4096)
def _places(repeats: int, down: int, along: int, smaller: tuple[bool, bool]) -> tuple[_Window, ...]:
    """Windows of the tiles of positions, in the order in which they come."""
    classes = np.zeros((repeats, down, along), np.int64)
    if smaller[0]:
        classes[:, -1, :] += 2
    if smaller[1]:
        classes[:, :, -1] += 1
    return _windows(classes.reshape(-1))


@lru_cache(maxsize=4096)
def _windows_of(classes: tuple[int, ...]) -> tuple[_Window, ...]:
    return _windows(np.array(classes))


def _windows(classes: Indices) -> tuple[_Window, ...]:
    """Every tile with its neighbours, and how often such are found."""
    around = np.concatenate([[NOTHING], classes, [NOTHING]])
    coded = (around[:-2] + 1) * 100 + (around[1:-1] + 1) * 10 + around[2:] + 1
    counts = np.bincount(coded)
    return tuple(
        (code // 100 - 1, code // 10 % 10 - 1, code % 10 - 1, int(counts[code]))
        for code in np.flatnonzero(counts).tolist()
    )


def _repeated(windows: Sequence[_Window], times: int) -> tuple[_Window, ...]:
    """The windows of the same tiles several times over."""
    if times == 1:
        return tuple(windows)
    first = next(this for before, this, _, _ in windows if before == NOTHING)
    last = next(this for _, this, behind, _ in windows if behind == NOTHING)
    found: Counter[tuple[int, int, int]] = Counter()
    for before, this, behind, count in windows:
        if NOTHING not in {before, behind}:
            found[before, this, behind] += count * times
            continue
        # Between two of them the last one and the first are neighbours.
        starts, ends = before == NOTHING, behind == NOTHING
        for at in range(times):
            earlier = last if starts and at > 0 else before
            later = first if ends and at < times - 1 else behind
            found[earlier, this, later] += count
    return tuple((*window, count) for window, count in found.items() if count)
