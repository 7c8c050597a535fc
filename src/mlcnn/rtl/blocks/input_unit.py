"""What comes from memory on its way into the input buffer: box sums, and where they stand."""

from amaranth.hdl import (
    Array,
    ClockSignal,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
    Value,
)  # fmt: skip

from mlcnn.rtl.blocks.input_lanes import CODE_BITS
from mlcnn.rtl.blocks.slice import WORD_BITS
from mlcnn.rtl.blocks.tile import Settings, Tile, bits
from mlcnn.rtl.blocks.walker import Walker
from mlcnn.rtl.build import Build

__all__ = ["InputUnit"]


class InputUnit(Elaboratable):
    """Takes a position a cycle, a channel a lane, and writes what it makes of it.

    Stages, each a cycle: the beat, or the code of padding, beside the row buffer; the sum with what
    stands above; the sum with what stands left; the write. Where no windows are summed a position
    goes through as it is.

    Attributes:
        start: of a step that loads ``tile``.
        wants: whether a position is next.
        beat, arrives: from memory, for this unit.
        last: the last position is being written.
        write, address, banks: into the buffer.
    """

    def __init__(self, build: Build, settings: Settings, tile: Tile) -> None:
        self.build, self.settings, self.tile = build, settings, tile
        self.start, self.wants, self.arrives, self.last = bits("start", "wants", "arrives", "last")
        self.enable = Signal()
        self.beat = Signal(8 * build.beat_bytes)
        self.write = Signal()
        self.address = Signal(range(build.positions))
        self.banks = [
            Signal(WORD_BITS * build.multipliers, name=f"bank_{number}")
            for number in range(build.lanes // build.multipliers)
        ]
        self.walker = Walker(settings, tile)

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, settings, walker = Module(), self.settings, self.walker
        m.submodules.walker = walker
        takes, valid = Signal(), Signal()
        m.d.comb += [
            walker.start.eq(self.start),
            self.wants.eq(walker.busy & self.enable),
            takes.eq(self.wants & (self.arrives | ~walker.inside)),
            walker.step.eq(takes),
            valid.eq(takes & (~settings.fused | ((walker.row != 0) & (walker.column != 0)))),
        ]
        place, bank = self._place(m)
        flags: list[Value] = [valid, takes & walker.last, place, bank]
        for stage in range(self.build.input_stages):
            after = [Signal(one.shape()) for one in flags]
            m.d.sync += [one.eq(old) for one, old in zip(after, flags, strict=True)]
            flags = list(after)
            if stage == self.build.input_stages - 2:
                turned = flags[3]
        m.d.comb += [self.write.eq(flags[0]), self.last.eq(flags[1]), self.address.eq(flags[2])]
        boxes = self._boxes(m, takes)
        for number, bank in enumerate(self.banks):
            group = Signal.like(turned)
            m.d.comb += group.eq(number - turned)
            m.d.sync += bank.eq(Array(boxes)[group])
        return m

    def _place(self, m: Module) -> tuple[Signal, Signal]:
        """Word of the buffer, and by how much the groups are rotated among the banks."""
        settings, walker = self.settings, self.walker
        block, row = Signal(range(self.build.positions)), Signal(range(self.build.positions))
        within, turn = Signal(16), Signal(range(self.build.lanes // self.build.multipliers))
        way_rows = Signal(16)
        with m.If(walker.step & walker.new_row & ~(settings.fused & (walker.row == 0))):
            m.d.sync += [row.eq(row + settings.buffer_row), within.eq(within + 1)]
            with m.If(within == way_rows - 1):
                m.d.sync += [within.eq(0), turn.eq(turn + 1)]
        with m.If(walker.step & walker.new_block):
            after = block + settings.buffer_block
            m.d.sync += [block.eq(after), row.eq(after), within.eq(0), turn.eq(0)]
        with m.If(self.start):
            m.d.sync += [
                block.eq(0), row.eq(0), within.eq(0), turn.eq(0), way_rows.eq(self.tile.way_rows),
            ]  # fmt: skip
        place = Signal(range(self.build.positions))
        m.d.comb += place.eq(row + walker.column - settings.fused)
        return place, turn

    def _boxes(self, m: Module, takes: Value) -> list[Signal]:
        """The words of each group of channels, in the cycle before they are written."""
        settings, walker = self.settings, self.walker
        column, moved, summed = Signal(range(self.build.row_columns)), Signal(), Signal()
        m.d.sync += [column.eq(walker.column), moved.eq(takes), summed.eq(moved)]
        count, found = self.build.multipliers, []
        for group in range(self.build.lanes // count):
            words = Signal(WORD_BITS * count, name=f"words_{group}")
            m.submodules[f"lanes_{group}"] = Instance(
                "input_lanes",
                i_clk=ClockSignal(), i_rst=ResetSignal(),
                i_codes=self.beat.word_select(group, CODE_BITS * count),
                i_padding=settings.pad_value, i_inside=walker.inside, i_takes=takes,
                i_next_column=walker.column, i_column=column, i_moved=moved, i_summed=summed,
                i_fused=settings.fused, i_is_signed=settings.signed, o_words=words,
            )  # fmt: skip
            found.append(words)
        return found
