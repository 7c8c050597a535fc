"""The order of the products: groups of channels, taps, turns, windows of a pool, positions."""

from amaranth.hdl import Elaboratable, Module, Mux, Signal

from mlcnn.rtl.blocks.tile import Settings, Tile, bits
from mlcnn.rtl.build import Build

__all__ = ["Compute"]


class Compute(Elaboratable):
    """Issues a position a cycle and way, once the weights of its set are ready.

    Attributes:
        start: of a step that computes ``tile`` from the next cycle on.
        active: whether it does.
        ready: a set of weights is.
        swap: it is taken, with the first issue of its positions.
        issue: there is a product to be added, of the words at ``address``.
        address, turn: see ``InputBuffer``.
        entry, first: of the accumulators.
        last: of the step.
    """

    def __init__(self, build: Build, settings: Settings, tile: Tile) -> None:
        self.build, self.settings, self.tile = build, settings, tile
        self.start, self.active, self.ready, self.swap, self.issue, self.first, self.last = bits(
            "start", "active", "ready", "swap", "issue", "first", "last"
        )
        self.address = Signal(range(build.positions))
        self.turn = Signal(range(build.lanes // build.multipliers))
        self.entry = Signal(range(build.entries))

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, s, tile, build = Module(), self.settings, self.tile, self.build
        group, down, along, turn = Signal(12), Signal(4), Signal(4), Signal(8)
        a, b, line, column, slot = Signal(4), Signal(4), Signal(12), Signal(12), Signal(16)
        running, goes, padded = Signal(), Signal(), Signal()
        base, positions = Signal.like(self.entry), Signal(16)
        m.d.comb += [
            positions.eq(tile.way_lines * tile.line),
            self.swap.eq(self.active & ~running & self.ready),
            goes.eq(self.swap | running),
            self.issue.eq(goes & (slot < positions)),
            padded.eq((s.window_rows != 1) | (s.window_columns != 1)),
        ]
        size = Mux(
            padded & (positions < build.accumulator_stages), build.accumulator_stages, positions
        )
        phase_ends, set_ends, ends = Signal(), Signal(), Signal()
        last_group, last_turn = group == tile.groups - 1, turn == tile.turns - 1
        last_down, last_along = down == s.kernel_rows - 1, along == s.kernel_columns - 1
        last_a, last_b = a == s.window_rows - 1, b == s.window_columns - 1
        m.d.comb += [
            phase_ends.eq(slot == size - 1),
            set_ends.eq(phase_ends & last_a & last_b),
            ends.eq(set_ends & last_turn & last_along & last_down & last_group),
            self.last.eq(goes & ends),
            self.entry.eq(base + slot),
            self.first.eq(
                tile.first_chunk & (group == 0) & (down == 0) & (along == 0) & (a == 0) & (b == 0)
            ),
        ]
        with m.If(goes):
            m.d.sync += [running.eq(~set_ends), slot.eq(slot + 1), column.eq(column + 1)]
            with m.If(column == tile.line - 1):
                m.d.sync += [column.eq(0), line.eq(line + 1)]
            with m.If(phase_ends):
                m.d.sync += [slot.eq(0), column.eq(0), line.eq(0), b.eq(b + 1)]
                with m.If(last_b):
                    m.d.sync += [b.eq(0), a.eq(a + 1)]
            with m.If(set_ends):
                m.d.sync += [a.eq(0), b.eq(0), turn.eq(turn + 1), base.eq(base + positions)]
                with m.If(last_turn):
                    m.d.sync += [turn.eq(0), base.eq(0), along.eq(along + 1)]
                    with m.If(last_along):
                        m.d.sync += [along.eq(0), down.eq(down + 1)]
                        with m.If(last_down):
                            m.d.sync += [down.eq(0), group.eq(group + 1)]
        with m.If(self.start):
            m.d.sync += [
                one.eq(0)
                for one in (group, down, along, turn, a, b, line, column, slot, running, base)
            ]
        self._address(m, group, (down, along), (a, b), (line, column))
        return m

    def _address(
        self,
        m: Module,
        group: Signal,
        tap: tuple[Signal, Signal],
        phase: tuple[Signal, Signal],
        place: tuple[Signal, Signal],
    ) -> None:
        """Word of the first way, and the bank that it stands in."""
        s, tile = self.settings, self.tile
        groups = self.build.lanes // self.build.multipliers
        shift = groups.bit_length() - 1
        row = Signal(16)
        m.d.comb += [
            self.address.eq(
                (group >> shift) * s.buffer_block
                + tap[0] * s.buffer_row
                + phase[0] * s.phase_step
                + place[0] * s.line_step
                + tap[1]
                + phase[1] * s.stride_columns
                + place[1] * s.step_columns
            ),
            row.eq(tap[0] + phase[0] * s.stride_rows + place[0] * s.step_rows),
        ]
        # Rows of a way are few more than a way's; so the quotient is counted, not divided.
        over = Signal.like(self.turn)
        for times in range(1, groups):
            with m.If(row >= times * tile.way_rows):
                m.d.comb += over.eq(times)
        m.d.comb += self.turn.eq(group + over)
