"""The weight buffer, and what fills the shadow registers of the slices from it."""

from amaranth.hdl import Elaboratable, Module, Mux, Signal

from mlcnn.rtl.blocks.ram import Ram
from mlcnn.rtl.blocks.tile import bits
from mlcnn.rtl.build import Build

__all__ = ["WeightPrefetch"]


class WeightPrefetch(Elaboratable):
    """A word of the buffer is a beat: the weights of so many slices as a beat has groups.

    A set of ``fill`` words is read in as many cycles and stands in the registers after one more;
    the next is read once it is swapped in.

    Attributes:
        start: of a step: the halves have changed places in the next cycle.
        half: that is written.
        write, beat: a word from memory; words come in the order in which they are read.
        fill: words of a set.
        words: of the step's sets together.
        swap: the set that is ready is taken.
        ready: there is one.
        latch, index: a word is at ``word``, and its number in the set.
    """

    def __init__(self, build: Build) -> None:
        self.build = build
        self.start, self.half, self.write, self.swap, self.ready, self.latch = bits(
            "start", "half", "write", "swap", "ready", "latch"
        )
        self.beat, self.word = Signal(8 * build.beat_bytes), Signal(8 * build.beat_bytes)
        self.fill, self.index, self.words = Signal(8), Signal(8), Signal(24)

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, depth = Module(), self.build.weight_beats
        written, wanted, left = Signal(range(depth)), Signal(range(depth)), Signal(24)
        count, reads = Signal(8), Signal()
        data: list[Signal] = []
        for number in range(2):
            memory = m.submodules[f"weights_{number}"] = Ram(len(self.beat), depth)
            filled = self.half == number
            m.d.comb += [
                memory.read_address.eq(wanted), memory.read.eq(~filled & reads),
                memory.write_address.eq(written), memory.data.eq(self.beat),
                memory.write.eq(filled & self.write),
            ]  # fmt: skip
            data.append(memory.word)
        m.d.comb += [
            reads.eq((count != self.fill) & (left != 0)),
            self.word.eq(Mux(self.half, data[0], data[1])),
        ]
        m.d.sync += [self.latch.eq(reads), self.index.eq(count)]
        ends = Signal()
        m.d.sync += ends.eq(reads & (count == self.fill - 1))
        with m.If(self.swap):
            m.d.sync += [self.ready.eq(0), count.eq(0)]
        with m.If(ends):
            m.d.sync += self.ready.eq(1)
        with m.If(reads):
            m.d.sync += [wanted.eq(wanted + 1), left.eq(left - 1), count.eq(count + 1)]
        with m.If(self.write):
            m.d.sync += written.eq(written + 1)
        with m.If(self.start):
            # A word that is in flight now would stand for the next step's first.
            m.d.sync += [
                written.eq(0), wanted.eq(0), count.eq(0), left.eq(self.words), ends.eq(0),
                self.latch.eq(0), self.ready.eq(0),
            ]  # fmt: skip
        return m
