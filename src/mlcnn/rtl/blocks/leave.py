"""The way out: which sum leaves when, to which byte of which beat."""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, Value

from mlcnn.rtl.blocks.ram import Ram
from mlcnn.rtl.blocks.tile import Settings, Tile, bits
from mlcnn.rtl.build import Build

__all__ = ["Leave"]

_PARAMETER_BITS = 64


class Leave(Elaboratable):
    """Reads a position and turn a cycle from the accumulators that are not being filled.

    Stages, each a cycle: the entry's address; the accumulators; then those of the output lanes; at
    the last the beat is offered. While it is not taken all of them wait.

    Attributes:
        start: of a step in which ``tile`` leaves, from the next cycle on.
        active: whether it does.
        begin: the step's loads are out, and the last sums are whole.
        flow: the stages go on.
        entry: to be read.
        way: whose slices, as they come.
        parameters: of the output lanes, as they come.
        parameter_write, parameter_beat, parameter_clear: bias and scale from memory.
        store, address, strobe: of a beat whose data are the lanes'.
        taken: it goes out.
        last: of the step.
    """

    def __init__(self, build: Build, settings: Settings, tile: Tile) -> None:
        self.build, self.settings, self.tile = build, settings, tile
        self.start, self.active, self.begin, self.flow = bits("start", "active", "begin", "flow")
        self.store, self.taken, self.last = Signal(), Signal(), Signal()
        self.parameter_write, self.parameter_clear = Signal(), Signal()
        self.parameter_beat = Signal(8 * build.beat_bytes)
        self.parameters = Signal(_PARAMETER_BITS * build.output_lanes)
        self.entry = Signal(range(build.entries))
        self.way = Signal(range(max(build.ways, 2)))
        self.address, self.strobe = Signal(32), Signal(build.beat_bytes)

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, s, tile, build = Module(), self.settings, self.tile, self.build
        turn, line, column, base = Signal(8), Signal(12), Signal(12), Signal.like(self.entry)
        within, offset, way = Signal(12), Signal.like(self.entry), Signal.like(self.way)
        row_address, channel = Signal(32), Signal(16)
        reads, done = Signal(), Signal()
        ends = Signal()
        last_column, last_line = column == tile.line - 1, line == tile.lines - 1
        last_turn = turn == tile.turns - 1
        m.d.comb += [
            self.flow.eq(~self.store | self.taken),
            reads.eq(self.active & self.begin & ~done),
            self.entry.eq(base + offset + column),
            ends.eq(last_column & last_line & last_turn),
        ]
        with m.If(reads & self.flow):
            m.d.sync += column.eq(column + 1)
            with m.If(last_column):
                m.d.sync += [
                    column.eq(0), line.eq(line + 1), within.eq(within + 1),
                    offset.eq(offset + tile.line), row_address.eq(row_address + s.output_row),
                ]  # fmt: skip
                with m.If(within == tile.way_lines - 1):
                    m.d.sync += [within.eq(0), offset.eq(0), way.eq(way + 1)]
                with m.If(last_line):
                    m.d.sync += [
                        line.eq(0), within.eq(0), offset.eq(0), way.eq(0), turn.eq(turn + 1),
                        row_address.eq(tile.output_address), channel.eq(channel + s.turn_filters),
                        base.eq(base + tile.way_lines * tile.line), done.eq(last_turn),
                    ]  # fmt: skip
        with m.If(self.start):
            m.d.sync += [one.eq(0) for one in (turn, line, column, base, within, offset, way, done)]
            # (The tile's registers hold it from the next cycle on.)
        begun = Signal()
        m.d.sync += begun.eq(self.start)
        with m.If(begun):
            m.d.sync += [row_address.eq(tile.output_address), channel.eq(tile.channel)]
        lanes_log2 = (build.lanes - 1).bit_length()
        filters = Signal(lanes_log2 + 1)
        m.d.comb += filters.eq(Mux(last_turn, tile.end_filters, s.turn_filters))
        strobe, first = Signal(build.beat_bytes), channel[:lanes_log2]
        m.d.comb += [
            strobe[byte].eq((first <= byte) & (first + filters > byte))
            for byte in range(build.beat_bytes)
        ]
        place = row_address + column + (channel >> lanes_log2) * s.output_block
        self._stages(m, [reads, reads & ends, place[:32], strobe], way, channel)
        return m

    def _stages(self, m: Module, leaving: list[Value], way: Signal, channel: Signal) -> None:
        """What goes along with the sums."""
        first = (self.build.output_lanes - 1).bit_length()
        address = Signal(range(self.build.filters // self.build.output_lanes))
        now: list[Value] = leaving
        for _ in range(self.build.output_stages):
            after = [Signal(one.shape()) for one in now]
            with m.If(self.flow):
                m.d.sync += [one.eq(old) for one, old in zip(after, now, strict=True)]
            now = list(after)
        with m.If(self.flow):
            m.d.sync += [self.way.eq(way), address.eq(channel >> first)]
        m.d.comb += [
            self.store.eq(now[0]), self.last.eq(now[0] & now[1] & self.taken),
            self.address.eq(now[2]), self.strobe.eq(now[3]),
        ]  # fmt: skip
        self._parameters(m, address)

    def _parameters(self, m: Module, address: Signal) -> None:
        """Bias and scale of the output channels, as beats of eight channels bring them."""
        lanes, channels = self.build.output_lanes, self.build.beat_bytes * 8 // _PARAMETER_BITS
        memory = m.submodules.parameters = Ram(
            _PARAMETER_BITS * lanes, self.build.filters // lanes, 8 * self.build.beat_bytes
        )
        beat, parts = Signal(range(self.build.filters // channels + 1)), lanes // channels
        m.d.comb += [
            memory.read_address.eq(address),
            memory.read.eq(self.flow),
            memory.write_address.eq(beat >> (parts - 1).bit_length()),
            memory.data.eq(Cat(*[self.parameter_beat] * parts)),
            self.parameters.eq(memory.word),
        ]
        for part in range(parts):
            mine = (beat % parts) == part if parts > 1 else 1
            m.d.comb += memory.write[part].eq(self.parameter_write & mine)
        with m.If(self.parameter_write):
            m.d.sync += beat.eq(beat + 1)
        with m.If(self.parameter_clear):
            m.d.sync += beat.eq(0)
