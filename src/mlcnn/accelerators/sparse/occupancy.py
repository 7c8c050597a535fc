"""How many non-zeros each filter has in each window: what sets cycles, bytes and products.

Everything here is exact, from the mask of the layer itself. The mean density would not do: slices
that work side by side wait for the one that has most.
"""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

__all__ = ["Occupancy"]

Counts = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Occupancy:
    """Non-zeros by filter and window; two are equal where all these are.

    Attributes:
        numbers: as bytes, so that layers of one mask share what is found for them.
        filters: K.
        windows: of a group.
        groups: G.
    """

    numbers: bytes
    filters: int
    windows: int
    groups: int

    @classmethod
    def of(cls, kept: NDArray[np.bool_], channels: int, groups: int) -> "Occupancy":
        """Count.

        Args:
            kept: which weights are not zero, shape (K, C / G, words).
            channels: input channels of a window.
            groups: G.
        """
        starts = range(0, kept.shape[1], channels)
        counts = np.add.reduceat(np.count_nonzero(kept, axis=2), starts, axis=1, dtype=np.int64)
        return cls(counts.tobytes(), len(counts), counts.shape[1], groups)

    @property
    def counts(self) -> Counts:
        """Shape (filters, windows)."""
        return np.frombuffer(self.numbers, np.int64).reshape(self.filters, self.windows)

    @property
    def total(self) -> int:
        """All non-zeros."""
        return int(self.counts.sum())

    def sets(self, multipliers: int) -> Counts:
        """Sets of weights that a slice goes through, shape (filters, windows)."""
        return -(-self.counts // multipliers)

    def lockstep(self, multipliers: int, least: int, filters: int, side: int) -> float:
        """Cycles of a position and window, on average over all tiles and turns.

        Args:
            multipliers: of a slice.
            least: cycles in which the buffer renews a window: none takes fewer, empty ones too.
            filters: output channels of a tile.
            side: how many of them run side by side and wait for each other.
        """
        return _lockstep(self, multipliers, least, filters, side)

    def balance(self, multipliers: int, filters: int, side: int) -> float:
        """Share of the slices' sets in which they have weights of their own; 1 without any.

        Args:
            multipliers: of a slice.
            filters: output channels of a tile.
            side: how many of them run side by side and wait for each other.
        """
        sets, starts = self.sets(multipliers), _starts(self, filters, side)
        beside = np.diff([*starts, self.filters])
        taken = int((np.maximum.reduceat(sets, starts, axis=0).sum(axis=1) * beside).sum())
        return int(sets.sum()) / taken if taken else 1.0

    def largest(self, filters: int, windows: int, bits: int, count_bits: int) -> int:
        """Bits of the tile that has most.

        Args:
            filters: output channels of a tile.
            windows: windows of a tile.
            bits: of a non-zero, its index included.
            count_bits: of each filter's number in each window.
        """
        return _largest(self, filters, windows, bits, count_bits)


def _starts(occupancy: Occupancy, filters: int, side: int) -> list[int]:
    """The first filter of each turn, tile by tile and group by group."""
    each = occupancy.filters // occupancy.groups
    tiles = range(0, each, filters)
    turns = [t for tile in tiles for t in range(tile, min(tile + filters, each), side)]
    return [group * each + turn for group in range(occupancy.groups) for turn in turns]


@lru_cache(maxsize=65536)
def _lockstep(occupancy: Occupancy, multipliers: int, least: int, filters: int, side: int) -> float:
    sets = occupancy.sets(multipliers)
    slowest = np.maximum.reduceat(sets, _starts(occupancy, filters, side), axis=0)
    return float(np.maximum(slowest, least).mean())


@lru_cache(maxsize=65536)
def _largest(occupancy: Occupancy, filters: int, windows: int, bits: int, count_bits: int) -> int:
    stored = occupancy.counts * bits + count_bits
    rows = np.add.reduceat(stored, _starts(occupancy, filters, filters), axis=0)
    return int(np.add.reduceat(rows, range(0, occupancy.windows, windows), axis=1).max())
