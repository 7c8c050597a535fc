"""Lanes of the input unit: a channel each, its row of codes above, and the sums of windows."""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, Value, signed

from mlcnn.rtl.blocks.ram import Ram
from mlcnn.rtl.blocks.slice import WORD_BITS
from mlcnn.rtl.blocks.tile import bits
from mlcnn.rtl.build import Build

__all__ = ["CODE_BITS", "InputLanes"]

CODE_BITS = 8


class InputLanes(Elaboratable):
    """The lanes of a group of channels.

    A word is the code, plus the one above it, plus both of the column before; or the code alone.

    Attributes:
        codes, padding, inside: from memory; of the padding; which of them counts.
        takes, next_column: a position of this column is taken.
        moved, column: one was, a cycle ago; of what column.
        summed: one was, two cycles ago.
        fused: whether sums are formed.
        is_signed: whether codes are signed.
        words: three cycles after their last codes.
    """

    def __init__(self, build: Build) -> None:
        self.build = build
        self.codes, self.padding = Signal(CODE_BITS * build.multipliers), Signal(CODE_BITS)
        self.next_column = Signal(range(build.row_columns))
        self.column = Signal(range(build.row_columns))
        self.inside, self.takes, self.moved, self.summed, self.fused, self.is_signed = bits(
            "inside", "takes", "moved", "summed", "fused", "is_signed"
        )
        self.words = Signal(WORD_BITS * build.multipliers)

    @property
    def ports(self) -> dict[str, Signal]:
        """By name."""
        names = (
            "codes", "padding", "inside", "takes", "next_column", "moved", "column", "summed",
            "fused", "is_signed", "words",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, count = Module(), self.build.multipliers
        codes, padding = Signal(CODE_BITS * count), Cat(*[self.padding] * count)
        row = m.submodules.row = Ram(CODE_BITS * count, self.build.row_columns)
        m.d.sync += codes.eq(Mux(self.inside, self.codes, padding))
        m.d.comb += [
            row.read.eq(self.takes), row.read_address.eq(self.next_column),
            row.write.eq(self.moved), row.write_address.eq(self.column), row.data.eq(codes),
        ]  # fmt: skip
        for lane in range(count):
            code, above = (one.word_select(lane, CODE_BITS) for one in (codes, row.word))
            half, left, box = (
                Signal(signed(WORD_BITS + 1), name=f"{name}_{lane}")
                for name in ("half", "left", "box")
            )
            m.d.sync += [
                half.eq(self._value(code) + Mux(self.fused, self._value(above), 0)),
                box.eq(half + Mux(self.fused, left, 0)),
            ]
            with m.If(self.summed):
                m.d.sync += left.eq(half)
            m.d.comb += self.words.word_select(lane, WORD_BITS).eq(box)
        return m

    def _value(self, code: Value) -> Value:
        return Cat(code, code[-1] & self.is_signed).as_signed()
