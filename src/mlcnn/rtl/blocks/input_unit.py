"""What comes from memory on its way into the input buffer: box sums, and where they stand."""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, Value, signed
from amaranth.lib.memory import Memory

from mlcnn.rtl.blocks.slice import WORD_BITS
from mlcnn.rtl.blocks.tile import Settings, Tile, bits
from mlcnn.rtl.blocks.walker import Walker
from mlcnn.rtl.build import Build

__all__ = ["InputUnit"]

_CODE_BITS = 8


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
        self.banks = Signal(WORD_BITS * build.lanes)
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
        for _ in range(self.build.input_stages):
            after = [Signal.like(Signal(one.shape())) for one in flags]
            m.d.sync += [one.eq(old) for one, old in zip(after, flags, strict=True)]
            flags = list(after)
            if _ == self.build.input_stages - 2:
                turned = flags[3]
        m.d.comb += [self.write.eq(flags[0]), self.last.eq(flags[1]), self.address.eq(flags[2])]
        boxes = self._boxes(m, takes)
        groups, bits = self.build.lanes // self.build.multipliers, WORD_BITS * self.build.multipliers
        double = Cat(boxes, boxes)
        rotated = Signal(len(boxes))
        with m.Switch(turned):
            for turn in range(groups):
                with m.Case(turn):
                    first = (groups - turn) % groups
                    m.d.comb += rotated.eq(double[first * bits : (first + groups) * bits])
        m.d.sync += self.banks.eq(rotated)
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

    def _boxes(self, m: Module, takes: Value) -> Signal:
        """The words of all lanes, in the cycle before they are written."""
        settings, walker, lanes = self.settings, self.walker, self.build.lanes
        memory = Memory(shape=8 * lanes, depth=self.build.row_columns, init=[])
        m.submodules.row_buffer = memory
        above, writes = memory.read_port(), memory.write_port()
        codes, column, moved = Signal(8 * lanes), Signal(range(self.build.row_columns)), Signal()
        padding = Cat(*[settings.pad_value] * lanes)
        m.d.comb += [above.addr.eq(walker.column), above.en.eq(takes)]
        m.d.sync += [
            codes.eq(Mux(walker.inside, self.beat, padding)),
            column.eq(walker.column),
            moved.eq(takes),
        ]
        m.d.comb += [writes.addr.eq(column), writes.data.eq(codes), writes.en.eq(moved)]
        second = Signal()
        m.d.sync += second.eq(moved)
        words: list[Value] = []
        for lane in range(lanes):
            code, over = (
                self._code(one.word_select(lane, _CODE_BITS)) for one in (codes, above.data)
            )
            half, left, box = (Signal(signed(WORD_BITS + 1)) for _ in range(3))
            m.d.sync += half.eq(code + Mux(settings.fused, over, 0))
            with m.If(second):
                m.d.sync += left.eq(half)
            m.d.sync += box.eq(half + Mux(settings.fused, left, 0))
            words.append(box[:WORD_BITS])
        found = Signal(WORD_BITS * lanes)
        m.d.comb += found.eq(Cat(*words))
        return found

    def _code(self, bits: Value) -> Value:
        return Cat(bits, bits[-1] & self.settings.signed).as_signed()
