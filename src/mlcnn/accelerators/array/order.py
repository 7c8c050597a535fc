"""The steps of a layer by class: what each computes, loads and stores, and how many there are.

Loops, outermost first: group, outer tile, inner tile, chunk of input channels. While a step
computes one chunk, the next one comes in, and in the first step of a tile the tile before leaves.
Tiles of positions are of four classes (see ``Place``), those of output channels of two, chunks of
two: whole, and the last, smaller one. So steps of a layer are of few classes, however many there
are: a tile of each loop with its neighbours is a window, and a class is a sum over pairs of
windows.
"""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple

import numpy as np

from mlcnn.accelerators.array.tiling import Indices, Place

__all__ = [
    "MANY",
    "NOTHING",
    "Form",
    "Step",
    "Windows",
    "form_of",
    "output_windows",
    "place_windows",
]

NOTHING = -1
"""No tile, or no chunk."""
MANY = 3
"""Chunks from which on more of them add more steps of the classes that there are."""

Window = tuple[int, int, int]
"""Classes of the tile before, of a tile, and of the one behind; ``NOTHING`` at the ends."""


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
class Windows:
    """Loops of tiles, in several ways to cut: which windows each has, and how often.

    Attributes:
        kinds: the different sets of windows.
        kind: index into these; one entry for each way to cut.
        counts: how often there is each window; shape (ways to cut, most windows of any).
    """

    kinds: tuple[tuple[Window, ...], ...]
    kind: Indices
    counts: Indices

    @classmethod
    def of(cls, found: Sequence[Counter[Window]]) -> "Windows":
        """Gather the windows of every way to cut."""
        sets = [tuple(sorted(one)) for one in found]
        kinds = tuple(dict.fromkeys(sets))
        counts = np.zeros((len(found), max(map(len, sets))), np.int64)
        for row, (windows, one) in enumerate(zip(sets, found, strict=True)):
            counts[row, : len(windows)] = [one[window] for window in windows]
        return cls(kinds, np.array([kinds.index(one) for one in sets]), counts)


@dataclass(frozen=True, slots=True)
class Form:
    """The classes of steps of loops with certain windows.

    Attributes:
        steps: shape (classes, fields of ``Step``).
        times: how many there are for each pair of an outer and an inner window; shape (classes,
            outer windows, inner windows).
        more: how many more with each chunk beyond ``MANY``; of the same shape.
    """

    steps: Indices
    times: Indices
    more: Indices


@lru_cache(maxsize=4096)
def form_of(
    outer: tuple[Window, ...],
    inner: tuple[Window, ...],
    chunks: int,
    *,
    weights_outer: bool,
    kept: bool,
) -> Form:
    """The classes of steps. The first load and the last store are among them: they compute nothing.

    Args:
        outer: windows of the outer loop.
        inner: windows of the inner loop.
        chunks: of input channels, ``MANY`` or fewer.
        weights_outer: whether output channels are the outer loop.
        kept: whether chunks of the outer operand stay while the inner loop runs.
    """
    loop = _Loop(inner, chunks, weights_outer, kept)
    found: dict[Step, Indices] = {}
    for n, one in enumerate(outer):
        for m, other in enumerate(inner):
            for step, times, more in loop.steps(one, other):
                counts = found.setdefault(step, np.zeros((2, len(outer), len(inner)), np.int64))
                counts[:, n, m] += times, more
    counts = np.array(list(found.values()))
    return Form(np.array(list(found)), counts[:, 0], counts[:, 1])


class _Loop:
    """Steps of one outer and one inner tile, by the classes of those before and behind."""

    def __init__(
        self, inner: Sequence[Window], chunks: int, weights_outer: bool, kept: bool
    ) -> None:
        self._chunks, self._weights_outer = chunks, weights_outer
        self._kept = kept or chunks == 1
        self._first = next(this for before, this, _ in inner if before == NOTHING)
        self._last = next(this for _, this, behind in inner if behind == NOTHING)

    def steps(self, outer: Window, inner: Window) -> Iterator[tuple[Step, int, int]]:
        """The steps of the middle ones: how many of each, and how many more with each chunk."""
        chunks = self._chunks
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
            yield Step(*nothing, NOTHING, *own, first_chunk, *nothing), 1, 0
        if chunks == 1:
            yield Step(*computed, 1, *coming, *left), 1, 0
        else:
            yield Step(*computed, 0, *own, int(chunks == 2), *left), 1, 0
            if chunks > 2:
                yield Step(*computed, 0, *own, 0, *nothing), 0, 1
                yield Step(*computed, 0, *own, 1, *nothing), 1, 0
            yield Step(*computed, 1, *coming, *nothing), 1, 0
        if later == behind == NOTHING:  # the last store
            yield Step(*nothing, NOTHING, *nothing, NOTHING, *computed), 1, 0

    def _pair(self, outer: int, inner: int) -> tuple[int, int]:
        """Classes of output channels and positions."""
        return (outer, inner) if self._weights_outer else (inner, outer)

    def _load(self, outer: int, inner: int, *, fresh: bool) -> tuple[int, int]:
        """Classes whose weights and inputs come in with a chunk."""
        return self._pair(outer if fresh or not self._kept else NOTHING, inner)


def place_windows(places: Sequence[Place], times: int) -> Windows:
    """Tiles of positions, in the order in which they come, so often one after the other."""
    return Windows.of(
        [
            _repeated(_places(one.repeats, one.down, one.columns.tiles, one.ragged), times)
            for one in places
        ]
    )


def output_windows(tiles: Indices, smaller: Indices, times: int) -> Windows:
    """Tiles of output channels, of which the last may be smaller, so often."""
    pairs = zip(tiles.tolist(), smaller.tolist(), strict=True)
    return Windows.of(
        [_repeated(_places(1, 1, one, (False, bool(last))), times) for one, last in pairs]
    )


@lru_cache(maxsize=4096)
def _places(repeats: int, down: int, along: int, smaller: tuple[bool, bool]) -> Counter[Window]:
    """Windows of rows and columns of tiles, the last ones of their own class."""
    classes = np.zeros((repeats, down, along), np.int64)
    if smaller[0]:
        classes[:, -1, :] += 2
    if smaller[1]:
        classes[:, :, -1] += 1
    around = np.concatenate([[NOTHING], classes.reshape(-1), [NOTHING]]) + 1
    counts = np.bincount(around[:-2] * 100 + around[1:-1] * 10 + around[2:])
    return Counter(
        {
            (code // 100 - 1, code // 10 % 10 - 1, code % 10 - 1): int(counts[code])
            for code in np.flatnonzero(counts).tolist()
        }
    )


def _repeated(windows: Counter[Window], times: int) -> Counter[Window]:
    """The windows of the same tiles several times over."""
    if times == 1:
        return windows
    first = next(this for before, this, _ in windows if before == NOTHING)
    last = next(this for _, this, behind in windows if behind == NOTHING)
    found: Counter[Window] = Counter()
    for (before, this, behind), count in windows.items():
        # Between two of them the last one and the first are neighbours.
        starts, ends = before == NOTHING, behind == NOTHING
        seams = [(last if starts else before, this, first if ends else behind)] * (times - 2)
        seams += [(before, this, first if ends else behind)]
        seams += [(last if starts else before, this, behind)]
        for seam in seams:
            found[seam] += count
    return found
