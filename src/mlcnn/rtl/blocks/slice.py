"""A slice: multipliers, their adder tree and a bank of accumulators."""

from amaranth.hdl import Cat, Elaboratable, Module, Mux, Signal, Value, signed

from mlcnn.rtl.blocks.ram import Ram
from mlcnn.rtl.blocks.tile import bits
from mlcnn.rtl.build import Build

__all__ = ["WORD_BITS", "Slice"]

WORD_BITS = 10
"""Of an input in its buffer: a code, or the sum of four."""
_WEIGHT_BITS = 8
_SUM_BITS = 32


class Slice(Elaboratable):
    """Adds ``multipliers`` products to an entry of its accumulators in each cycle.

    Weights come into shadow registers and are swapped in together. An operand word that stands at
    ``word`` in cycle t + 1 is in the accumulators at the end of cycle t + depth; the entry can be
    added to again by the issue ``accumulator_stages`` cycles later. One half of the accumulators is
    filled while the other is read out; each has one port to read and one to write.

    Attributes:
        weights: for the shadow registers.
        latch: take them.
        swap: make them those that multiply from the next cycle on.
        word: operands.
        is_signed: whether they are signed.
        half, entry, first, valid: which half is filled, where the tree's sum of this cycle goes,
            whether it is the first there, and whether there is one.
        out_entry, out_enable: read from the other half.
        out: what was read, one cycle later.
    """

    def __init__(self, build: Build) -> None:
        self.build = build
        entries = range(build.entries)
        self.weights = Signal(_WEIGHT_BITS * build.multipliers)
        self.latch, self.swap, self.is_signed, self.half = bits(
            "latch", "swap", "is_signed", "half"
        )
        self.word = Signal(WORD_BITS * build.multipliers)
        self.entry, self.first, self.valid = Signal(entries), Signal(), Signal()
        self.out_entry, self.out_enable = Signal(entries), Signal()
        self.out = Signal(signed(_SUM_BITS))

    @property
    def ports(self) -> dict[str, Signal]:
        """By name."""
        names = (
            "weights", "latch", "swap", "word", "is_signed", "half", "entry", "first", "valid",
            "out_entry", "out_enable", "out",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, count = Module(), self.build.multipliers
        shadow, active = Signal(len(self.weights)), Signal(len(self.weights))
        with m.If(self.latch):
            m.d.sync += shadow.eq(self.weights)
        with m.If(self.swap):
            m.d.sync += active.eq(shadow)
        products: list[Value] = []
        for number in range(count):
            word = self.word.word_select(number, WORD_BITS)
            operand = Cat(word, word[-1] & self.is_signed).as_signed()
            weight = active.word_select(number, _WEIGHT_BITS).as_signed()
            products.append(operand * weight)
        products = self._delayed(m, products, self.build.multiplier_stages)
        spare = self.build.tree_stages - (count - 1).bit_length()
        while len(products) > 1:
            pairs = zip(products[::2], products[1::2], strict=True)
            products = self._delayed(m, [one + other for one, other in pairs], 1)
        self._accumulate(m, self._delayed(m, products, spare)[0])
        return m

    @staticmethod
    def _delayed(m: Module, values: list[Value], cycles: int) -> list[Value]:
        for _ in range(cycles):
            after = [Signal(value.shape()) for value in values]
            m.d.sync += [one.eq(value) for one, value in zip(after, values, strict=True)]
            values = list(after)
        return values

    def _accumulate(self, m: Module, total: Value) -> None:
        """Add the tree's sum to its entry: read, add, write."""
        now = [self.half, self.entry, self.first, self.valid]
        half, entry, first, valid = self._delayed(m, now, 1)
        half_then, entry_then, valid_then = self._delayed(m, [half, entry, valid], 1)
        held, added = Signal(signed(_SUM_BITS)), Signal(signed(_SUM_BITS))
        read: list[Value] = []
        for number in range(2):
            memory = m.submodules[f"accumulators_{number}"] = Ram(_SUM_BITS, self.build.entries)
            filled = self.half == number
            m.d.comb += [
                memory.read_address.eq(Mux(filled, self.entry, self.out_entry)),
                memory.read.eq(filled | self.out_enable),
                memory.write_address.eq(entry_then),
                memory.data.eq(added),
                memory.write.eq((half_then == number) & valid_then),
            ]
            read.append(memory.word.as_signed())
        m.d.sync += held.eq(total)
        m.d.sync += added.eq(held + Mux(first, 0, Mux(half, read[1], read[0])))
        # (By the time that sums leave, the halves have long changed.)
        m.d.comb += self.out.eq(Mux(half, read[0], read[1]))
