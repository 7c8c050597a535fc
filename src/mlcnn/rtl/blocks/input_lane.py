"""A lane of the input unit: one channel, its row of codes above, and the sum of a window."""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, Value, signed

from mlcnn.rtl.blocks.ram import Ram
from mlcnn.rtl.blocks.slice import WORD_BITS
from mlcnn.rtl.blocks.tile import bits
from mlcnn.rtl.build import Build

__all__ = ["CODE_BITS", "InputLane"]

CODE_BITS = 8


class InputLane(Elaboratable):
    """Code, plus the one above it, plus both of the column before; or the code as it is.

    Attributes:
        code, padding, inside: from memory; of the padding; which of them counts.
        takes, next_column: a position of this column is taken.
        moved, column: one was, a cycle ago; of what column.
        summed: one was, two cycles ago.
        fused: whether sums are formed.
        is_signed: whether codes are signed.
        word: three cycles after its last code.
    """

    def __init__(self, build: Build) -> None:
        self.build = build
        self.code, self.padding = Signal(CODE_BITS), Signal(CODE_BITS)
        self.next_column = Signal(range(build.row_columns))
        self.column = Signal(range(build.row_columns))
        self.inside, self.takes, self.moved, self.summed, self.fused, self.is_signed = bits(
            "inside", "takes", "moved", "summed", "fused", "is_signed"
        )
        self.word = Signal(WORD_BITS)

    @property
    def ports(self) -> dict[str, Signal]:
        """By name."""
        names = (
            "code", "padding", "inside", "takes", "next_column", "moved", "column", "summed",
            "fused", "is_signed", "word",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, code = Module(), Signal(CODE_BITS)
        row = m.submodules.row = Ram(CODE_BITS, self.build.row_columns)
        sum_shape = signed(WORD_BITS + 1)
        half, left, box = Signal(sum_shape), Signal(sum_shape), Signal(sum_shape)
        m.d.comb += [
            row.read.eq(self.takes), row.read_address.eq(self.next_column),
            row.write.eq(self.moved), row.write_address.eq(self.column), row.data.eq(code),
            self.word.eq(box),
        ]  # fmt: skip
        m.d.sync += [
            code.eq(Mux(self.inside, self.code, self.padding)),
            half.eq(self._value(code) + Mux(self.fused, self._value(row.word), 0)),
            box.eq(half + Mux(self.fused, left, 0)),
        ]
        with m.If(self.summed):
            m.d.sync += left.eq(half)
        return m

    def _value(self, code: Value) -> Value:
        return Cat(code, code[-1] & self.is_signed).as_signed()
