"""What a search of mappings holds many of, as arrays: nodes, and choices of what may follow."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Choices", "Narrow", "Nodes", "cuts", "first_of", "ragged"]

Array = NDArray[np.float64]
Whole = NDArray[np.int64]
Narrow = NDArray[np.integer]


@dataclass(frozen=True, slots=True)
class Nodes:
    """Mappings whose outer levels are chosen; arrays with a row for each.

    Attributes:
        temporal: iterations, whole, of shape (many, levels, dims).
        spatial: instances.
        order: numbers of the dimensions, int8.
        tile: what the next level holds.
        row: what the loops outside it leave still (``Relaxation.row``).
        energy: of what the outer levels exchange.
        cycles: that this takes at least.
        flow: cycles that the outermost level takes for it (``Branch.flow``).
        units: instances side by side so far.
        value: bound of the objective.
        least: bound of the energy, which comes first among equal values.
    """

    temporal: Narrow
    spatial: Narrow
    order: Narrow
    tile: Whole
    row: Whole
    energy: Array
    cycles: Array
    flow: Array
    units: Whole
    value: Array
    least: Array

    def at(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """Some of them."""
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        return type(self)(*(getattr(self, name).take(index, 0) for name in self.__slots__))

    @classmethod
    def joined(cls, parts: list["Nodes"]) -> "Nodes":
        """All of several."""
        if len(parts) == 1:
            return parts[0]
        return cls(
            *(np.concatenate([getattr(part, name) for part in parts]) for name in cls.__slots__)
        )

    def __len__(self) -> int:
        return len(self.tile)


@dataclass(frozen=True, slots=True)
class Choices:
    """What the loops and instances of a block may be for outer tiles; a row for each.

    Attributes:
        owner: number of the outer tile, ascending.
        loops: tile inside the loops.
        spread: factor of each dimension at each level of the block, (many, levels of it, dims).
        tile: tile inside, that the next level with loops holds.
        energy: bound of what is inside the outer tile.
        flow: bound of the cycles that the outermost level takes for it, where they are looked at.
        busy: bound of the units that it keeps busy.
    """

    owner: Whole
    loops: Whole
    spread: Whole
    tile: Whole
    energy: Array
    flow: Array
    busy: Array

    def at(self, index: NDArray[np.int64] | NDArray[np.bool_]) -> "Choices":
        """Some of them."""
        if index.dtype == np.bool_:
            index = np.flatnonzero(index)
        return Choices(*(getattr(self, name).take(index, 0) for name in self.__slots__))


def ragged(counts: Whole) -> tuple[Whole, Whole]:
    """For rows that stand ``counts`` times each: the row, and the number within it."""
    rows = np.repeat(np.arange(len(counts)), counts)
    return rows, np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)


def cuts(counts: Whole, most: int) -> Iterator[slice]:
    """Runs of rows that have about ``most`` together, at least one row each."""
    ends = np.cumsum(counts)
    start = 0
    while start < len(counts):
        before = ends[start - 1] if start else 0
        stop = max(int(np.searchsorted(ends, before + most, "right")), start + 1)
        yield slice(start, stop)
        start = stop


def first_of(pair: Whole, kind: Whole, energy: Array) -> Whole:
    """Of nodes of one pair and kind that of the least energy, and so of the fewest words."""
    if not len(pair):
        return pair
    ranked = np.lexsort((energy, kind, pair))
    pair, kind = pair[ranked], kind[ranked]
    return ranked[np.r_[True, (pair[1:] != pair[:-1]) | (kind[1:] != kind[:-1])]]
