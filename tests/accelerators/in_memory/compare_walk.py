"""Every row of a small comparator layer written, every pair of rows sensed, latch by latch."""

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.in_memory import EngineDescription
from mlcnn.workload import ConvLayer

Bits = NDArray[np.uint8]
Codes = NDArray[np.int64]
Strip = tuple[int, int, int]  # image, first row of positions, first position of a row


@dataclass
class CompareWalk:
    """The comparisons of a layer of codes on an engine, in a layout.

    Attributes:
        engine: the machine.
        layout: how the inputs lie on it, as a ``LayerCost`` has it.
        nest: the layer's.
        x: codes, (images, channels, height, width).
        taps: places in a window, (groups that share them, pairs, first and second, 2).
        share: channels of such a group.
        planes: of a code.
    """

    engine: EngineDescription
    layout: Mapping[str, int]
    nest: ConvLayer
    x: Codes
    taps: Codes
    share: int
    planes: int
    cycles: int = 0
    most_blocks: int = 0
    done: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        nest, pairs = self.nest, self.taps.shape[1]
        top, left, bottom, right = nest.pads
        # Edges are repeated; with room behind them for strips that reach beyond the border.
        room = [self.layout[name] * nest.strides[axis] for axis, name in enumerate(_SIZES)]
        wide = (0, 0), (0, 0), (top, bottom + room[0]), (left, right + room[1])
        self.padded = np.pad(self.x, wide, mode="edge")
        self.bits = np.full((nest.N, nest.P, nest.Q, pairs, nest.C), 2, np.uint8)
        self.extent = [
            (size - 1) * dilation + 1
            for size, dilation in zip((nest.R, nest.S), nest.dilations, strict=True)
        ]
        self.new = [min(step, reach) for step, reach in zip(nest.strides, self.extent, strict=True)]

    def run(self) -> "CompareWalk":
        """All units, as many at a time as there are sub-arrays for them."""
        units, ways = list(self._units()), self.layout["unit_ways"]
        assert len(units) == self.layout["units"]
        for first in range(0, len(units), ways):
            self._round(units[first : first + ways])
        return self

    def _units(self) -> Iterator[tuple[range, list[Strip]]]:
        """Channels of a block, and strips side by side in its rows."""
        side, count = self.layout["strips_in_row"], self.layout["channels"]
        strips = list(
            product(
                range(self.nest.N),
                range(0, self.nest.P, self.layout["height"]),
                range(0, self.nest.Q, self.layout["width"]),
            )
        )
        for group in range(0, self.nest.C, self.share):
            end = min(group + self.share, self.nest.C)
            for start in range(group, end, count):
                for at in range(0, len(strips), side):
                    yield range(start, min(start + count, end)), strips[at : at + side]

    def _round(self, units: list[tuple[range, list[Strip]]]) -> None:
        self.most_blocks = max(self.most_blocks, len({channels for channels, _ in units}))
        arrays = [
            [_SubArray(self, *unit, pairs) for pairs in self._pairs()] for unit in units
        ]  # fmt: skip
        for row in range(self.layout["height"]):
            places = 0
            for copies in arrays:
                for index, array in enumerate(copies):
                    places = array.write(row, count=index == 0)
            self._loaded(places)
            for at in range(self.layout["width"]):
                for copies in arrays:
                    for array in copies:
                        array.compare(row, at)
                self._compared()

    def _pairs(self) -> list[range]:
        own, pairs = self.layout["own_pairs"], self.taps.shape[1]
        ways = range(self.layout["pair_ways"])
        return [range(way * own, min((way + 1) * own, pairs)) for way in ways]

    @property
    def _slots(self) -> int:
        """Columns of one copy of all sub-arrays, in use or not."""
        sizes = ("unit_ways", "strips_in_row", "channels")
        return int(np.prod([self.layout[name] for name in sizes]))

    def _loaded(self, places: int) -> None:
        rows = places * self.planes
        bus = -(-self._slots * rows // self.engine.bus_bits)
        self.cycles += max(rows * self.engine.write_cycles, bus)

    def _compared(self) -> None:
        """All sub-arrays, as many comparisons as those with most pairs have."""
        leaving = -(-self._slots * self.layout["pair_ways"] // self.engine.bus_bits)
        sensing = 2 * self.planes * self.engine.sense_cycles
        self.cycles += self.layout["own_pairs"] * max(sensing, leaving)


_SIZES = ("height", "width")


class _SubArray:
    """One sub-array with a unit, and the latches of its columns."""

    def __init__(
        self, walk: CompareWalk, channels: range, strips: list[Strip], pairs: range
    ) -> None:
        self.walk, self.channels, self.strips, self.pairs = walk, channels, strips, pairs
        self.rows = dict[tuple[int, int, int], Bits]()

    def write(self, row: int, *, count: bool) -> int:
        """Inputs of a row of positions that are not there yet; those behind it go."""
        walk = self.walk
        stride = walk.nest.strides[0]
        needed = range(row * stride, row * stride + walk.extent[0])
        wide = sorted(
            {
                at * walk.nest.strides[1] + tap
                for at in range(walk.layout["width"])
                for tap in range(walk.extent[1])
            }
        )
        for key in [key for key in self.rows if key[0] not in needed]:
            del self.rows[key]
        missing = [r for r in needed if (r, wide[0], 0) not in self.rows]
        for place in product(missing, wide):
            codes = np.concatenate([self._codes(strip, *place) for strip in self.strips])
            for plane in range(walk.planes):
                self.rows[*place, plane] = (codes >> plane & 1).astype(np.uint8)
                walk.done["written_bits"] += codes.size
                walk.done["sent_bits"] += codes.size * count
        assert len(self.rows) <= walk.engine.rows
        assert len(self.rows[*place, 0]) <= walk.engine.columns
        return len(missing) * len(wide)

    def _codes(self, strip: Strip, down: int, right: int) -> Codes:
        image, row, column = strip
        down += row * self.walk.nest.strides[0]
        right += column * self.walk.nest.strides[1]
        return self.walk.padded[image, self.channels.start : self.channels.stop, down, right]

    def compare(self, row: int, at: int) -> None:
        """All pairs at one position of the strips, the highest plane first."""
        walk = self.walk
        taps = walk.taps[self.channels.start // walk.share]
        corner = np.array([row, at]) * walk.nest.strides
        for pair in self.pairs:
            first, second = (tuple(corner + tap * walk.nest.dilations) for tap in taps[pair])
            undecided = np.ones(len(self.strips) * len(self.channels), np.uint8)
            larger = np.zeros_like(undecided)
            for plane in reversed(range(walk.planes)):
                one, other = self.rows[*first, plane], self.rows[*second, plane]
                differs = undecided & (one ^ other)  # rows sensed together: XOR
                larger |= differs & one  # the first, ANDed with what is latched
                undecided &= differs ^ 1
                walk.done["senses"] += 2
                walk.done["latched_bits"] += 3 * undecided.size
            walk.done["latched_bits"] += larger.size
            self._leave(larger, row, at, pair)

    def _leave(self, larger: Bits, row: int, at: int, pair: int) -> None:
        """To the buffer, without what lies beyond the border."""
        bits = self.walk.bits
        for strip, found in zip(self.strips, np.split(larger, len(self.strips)), strict=True):
            image, down, right = strip[0], strip[1] + row, strip[2] + at
            if down < bits.shape[1] and right < bits.shape[2]:
                kept = bits[image, down, right, pair, self.channels.start : self.channels.stop]
                assert (kept == 2).all()
                kept[:] = found
