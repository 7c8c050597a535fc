"""Every row of a small layer written, every pair of rows sensed, in sub-arrays of real bits."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.in_memory import EngineDescription

Bits = NDArray[np.uint8]
Codes = NDArray[np.int64]
Place = tuple[int, int, int, int]  # group, way of filters, way of windows, way of slices


@dataclass
class Walk:
    """A layer of codes on an engine, in a layout.

    Attributes:
        engine: the machine.
        layout: how the layer lies on it, as a ``LayerCost`` has it.
        filters: codes, (groups, filters, length).
        windows: codes, (groups, windows, length).
        bits: planes of a filter's and of a window's codes.
    """

    engine: EngineDescription
    layout: Mapping[str, int]
    filters: Codes
    windows: Codes
    bits: tuple[int, int]
    cycles: int = 0
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.arrays = defaultdict[Place, dict[tuple[str, int, int, int], Bits]](dict)
        groups, filters, _ = self.filters.shape
        self.sums = np.zeros((groups, filters, self.windows.shape[1]), np.int64)
        self.ones = dict[tuple[int, ...], int]()

    def run(self) -> "Walk":
        """All rounds of groups, one after the other."""
        groups, together = len(self.filters), self.layout["group_ways"]
        for first in range(0, groups, together):
            self.arrays.clear()
            self._round(range(first, min(first + together, groups)))
        self.cycles += self.engine.latency
        return self

    def _round(self, groups: range) -> None:
        names = ("window", "filter") if self.layout["windows_stay"] else ("filter", "window")
        held: dict[str, range | None] = {"filter": None, "window": None}
        for outer in self._tiles(names[0]):
            for inner in self._tiles(names[1]):
                tiles = dict(zip(names, (outer, inner), strict=True))
                for name, tile in tiles.items():
                    if held[name] != tile:
                        self._write(name, tiles, groups)
                        held[name] = tile
                self._sense(tiles["filter"], tiles["window"], groups)

    def _tiles(self, name: str) -> Iterator[range]:
        """Rows of the sub-arrays that have most, as many at a time as fit."""
        own, tile = self.layout[f"own_{name}s"], self.layout[f"{name}_tile"]
        for first in range(0, own, tile):
            yield range(first, min(first + tile, own))

    def _places(self, groups: range) -> Iterator[Place]:
        ways = [range(self.layout[f"{name}_ways"]) for name in ("filter", "window", "slice")]
        return product(groups, *ways)

    def _row(self, name: str, way: int, index: int) -> range:
        """What lies side by side in a row; nothing in one that is not needed."""
        at = way * self.layout[f"own_{name}s"] + index
        side = self.layout[f"{name}s_in_row"]
        count = (self.filters if name == "filter" else self.windows).shape[1]
        return range(min(at * side, count), min((at + 1) * side, count))

    def _slices(self, way: int) -> list[int]:
        together = self.layout["together"]
        return [s for s in range(way * together, (way + 1) * together) if s < self.layout["slices"]]

    def _part(self, codes: Codes, which: int) -> Codes:
        """A slice of a window or a filter."""
        return np.array_split(codes, self.layout["slices"])[which]

    def _write(self, name: str, tiles: Mapping[str, range], groups: range) -> None:
        """Rows of a tile, into all sub-arrays that need them; as the bus brings them."""
        tile = tiles[name]
        planes = self.bits[name == "window"]
        codes, other = (self.filters, "window") if name == "filter" else (self.windows, "filter")
        copies = self.layout[f"{other}s_in_row"]
        for place in self._places(groups):
            group, way = place[0], place[1 if name == "filter" else 2]
            if not self._row(other, place[2 if name == "filter" else 1], tiles[other][0]):
                continue
            kept = self.arrays[place]
            for old in [key for key in kept if key[0] == name]:
                del kept[old]
            for index, which, plane in product(tile, self._slices(place[3]), range(planes)):
                row = self._row(name, way, index)
                if not row:
                    continue
                segments = [self._part(codes[group, one], which) >> plane & 1 for one in row]
                kept[name, index, which, plane] = np.concatenate(segments * copies).astype(np.uint8)
                self.done[f"{name}_bits"] += kept[name, index, which, plane].size
                if name == "window":
                    self._count_windows(group, row, segments, (which, plane))
        self._loaded(name, tile, planes, groups)

    def _loaded(self, name: str, tile: range, planes: int, groups: range) -> None:
        """The slowest sub-array, and the bus, which passes what all have room for."""
        length, ways = self.filters.shape[2], self.layout[f"{name}_ways"]
        rows = len(tile) * self.layout["together"] * planes * self.engine.write_cycles
        slots = self.layout["group_ways"] * ways * len(tile) * self.layout[f"{name}s_in_row"]
        self.cycles += max(rows, -(-slots * length * planes // self.engine.bus_bits))
        for group, way, index in product(groups, range(ways), tile):
            del group
            self.done["sent_bits"] += len(self._row(name, way, index)) * length * planes
        assert max(map(len, self.arrays.values())) <= self.engine.rows

    def _count_windows(
        self, group: int, row: range, segments: list[Codes], part: tuple[int, int]
    ) -> None:
        """The ones of windows, as they are written; they are the same in all sub-arrays."""
        for window, segment in zip(row, segments, strict=True):
            self.done["counted_bits"] += segment.size
            self.done["sums"] += 1
            self.ones[group, window, *part] = int(segment.sum()) << part[1]

    @property
    def totals(self) -> Codes:
        """Sums of the codes of each window, (groups, windows)."""
        totals = np.zeros((len(self.filters), self.windows.shape[1]), np.int64)
        for (group, window, *_), ones in self.ones.items():
            totals[group, window] += ones
        return totals

    def _sense(self, filters: range, windows: range, groups: range) -> None:
        """Every pair of rows, and a sum for each pair of their segments."""
        n, k = self.bits
        for place in self._places(groups):
            kept = self.arrays[place]
            for f, w, which in product(filters, windows, self._slices(place[3])):
                rows = self._row("filter", place[1], f), self._row("window", place[2], w)
                for i, j in product(range(n), range(k)):
                    if rows[0] and rows[1]:
                        one, other = kept["filter", f, which, i], kept["window", w, which, j]
                        self._sensed(place[0], rows, one, other, i + j)
        side = self.layout["filters_in_row"] * self.layout["windows_in_row"]
        ways = [self.layout[f"{name}_ways"] for name in ("group", "filter", "window", "slice")]
        senses = len(filters) * len(windows) * n * k * self.layout["together"]
        sums = int(np.prod(ways)) * len(filters) * len(windows) * side
        self.cycles += max(senses * self.engine.sense_cycles, -(-sums // self.engine.output_lanes))

    def _sensed(
        self, group: int, rows: tuple[range, range], one: Bits, other: Bits, shift: int
    ) -> None:
        self.done["senses"] += 1
        size = min(one.size, other.size)
        assert size <= self.engine.columns
        both = (one[:size] & other[:size]).reshape(max(map(len, rows)), -1)
        for index, (f, w) in enumerate(product(*rows)):
            self.done["counted_bits"] += both.shape[1]
            self.done["sums"] += 1
            self.sums[group, f, w] += int(both[index].sum()) << shift
