"""The commands of a step's loads: weights, then every position of the input."""

from amaranth.hdl import Elaboratable, Module, Signal

from mlcnn.rtl.blocks.tile import Settings, Tile, bits
from mlcnn.rtl.blocks.walker import Walker

__all__ = ["Loader"]


class Loader(Elaboratable):
    """A command a cycle. A position of the padding takes its cycle without one.

    Attributes:
        start: of a step that loads ``tile``, from the next cycle on.
        command, address: to memory.
        taken: it goes out.
        done: no commands are left.
    """

    def __init__(self, settings: Settings, tile: Tile) -> None:
        self.tile = tile
        self.start, self.command, self.taken, self.done = bits("start", "command", "taken", "done")
        self.address = Signal(32)
        self.walker = Walker(settings, tile)

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, walker = Module(), self.walker
        m.submodules.walker = walker
        left, weights = Signal(24), Signal(32)
        m.d.comb += [
            walker.start.eq(self.start),
            self.address.eq(walker.address),
            self.done.eq((left == 0) & ~walker.busy),
        ]
        with m.If(left != 0):
            m.d.comb += [self.command.eq(1), self.address.eq(weights)]
            with m.If(self.taken):
                m.d.sync += [left.eq(left - 1), weights.eq(weights + 1)]
        with m.Elif(walker.busy):
            m.d.comb += [
                self.command.eq(walker.inside),
                walker.step.eq(~walker.inside | self.taken),
            ]
        with m.If(self.start):
            m.d.sync += [left.eq(self.tile.words), weights.eq(self.tile.weight_address)]
        return m
