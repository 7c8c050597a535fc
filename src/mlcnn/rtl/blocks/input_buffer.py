"""The input buffer: two halves of as many banks as a beat has groups of channels."""

from amaranth.hdl import Array, Elaboratable, Module, Mux, Signal

from mlcnn.rtl.blocks.ram import Ram
from mlcnn.rtl.blocks.slice import WORD_BITS
from mlcnn.rtl.build import Build

__all__ = ["InputBuffer"]


class InputBuffer(Elaboratable):
    """One half is written while the ways read the other.

    Group g of a position in row y of a tile stands in bank (g + y / rows of a way) mod banks, so
    that the ways, whose rows are so far apart, read different banks.

    Attributes:
        half: that is written.
        write, address, banks: of the input unit.
        read_address: of the first way, in this cycle.
        way_step: words from one way to the next.
        turn: bank of the first way.
        words: of the ways, one cycle later.
    """

    def __init__(self, build: Build) -> None:
        self.build = build
        self.banks_of = build.lanes // build.multipliers
        self.bits = WORD_BITS * build.multipliers
        self.half, self.write = Signal(), Signal()
        self.address = Signal(range(build.positions))
        self.banks = [Signal(self.bits, name=f"data_{bank}") for bank in range(self.banks_of)]
        self.read_address = Signal(range(build.positions))
        self.way_step = Signal(16)
        self.turn = Signal(range(self.banks_of))
        self.words = [Signal(self.bits, name=f"word_{way}") for way in range(build.ways)]

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m = Module()
        addresses = [Signal.like(self.read_address, name=f"of_{n}") for n in range(self.build.ways)]
        m.d.comb += [
            one.eq(self.read_address + number * self.way_step)
            for number, one in enumerate(addresses)
        ]
        # A word that was asked for in the last cycle of a step comes when the halves have changed.
        turn, half = Signal.like(self.turn), Signal()
        m.d.sync += [turn.eq(self.turn), half.eq(self.half)]
        read: list[Signal] = []
        for bank in range(self.banks_of):
            way = Signal(range(self.banks_of))
            wanted, data = Signal.like(self.read_address), Signal(self.bits)
            m.d.comb += [way.eq(bank - self.turn), wanted.eq(addresses[0])]
            for number in range(1, self.build.ways):
                with m.If(way == number):
                    m.d.comb += wanted.eq(addresses[number])
            halves = [self._half(m, bank, number, wanted) for number in range(2)]
            m.d.comb += data.eq(Mux(half, halves[0], halves[1]))
            read.append(data)
        for number, word in enumerate(self.words):
            place = Signal(range(self.banks_of), name=f"bank_of_{number}")
            m.d.comb += [place.eq(turn + number), word.eq(Array(read)[place])]
        return m

    def _half(self, m: Module, bank: int, number: int, wanted: Signal) -> Signal:
        memory = m.submodules[f"bank_{bank}_{number}"] = Ram(self.bits, self.build.positions)
        filled = self.half == number
        m.d.comb += [
            memory.read_address.eq(wanted),
            memory.read.eq(~filled),
            memory.write_address.eq(self.address),
            memory.data.eq(self.banks[bank]),
            memory.write.eq(filled & self.write),
        ]
        return memory.word
