"""The barrier: all units begin a step together, and what one had goes on to the next."""

from amaranth.hdl import Elaboratable, Module, Mux, Signal

from mlcnn.rtl.blocks.tile import Tile, bits
from mlcnn.rtl.build import Build

__all__ = ["Barrier"]


class Barrier(Elaboratable):
    """A step ends in the cycle in which the last of three units does: it costs no cycle.

    Attributes:
        upcoming, there: what is to be loaded next, and whether there is anything.
        running: a step is at work.
        first: in the cycle before a layer's first step.
        load_last, compute_last, leave_last: in a unit's last busy cycle.
        loaded, computed, left: what the units have in this step.
        loads, computes, leaves: whether they have anything.
        advance: in the last cycle of a step, and before the first.
        take: ``upcoming`` is loaded in the next step.
        last: in the last cycle of a layer's last step.
        fill: half of the buffers that is filled.
        half: half of the accumulators that is filled.
        settled: the sums of the step before are in the accumulators.
    """

    def __init__(self, build: Build, upcoming: Tile) -> None:
        self.depth = build.hardware(1, 1).depth
        self.upcoming = upcoming
        self.loaded, self.computed, self.left = (
            Tile(name) for name in ("loaded", "computed", "left")
        )
        self.there, self.running, self.first = bits("there", "running", "first")
        self.load_last, self.compute_last, self.leave_last = bits(
            "load_last", "compute_last", "leave_last"
        )
        self.loads, self.computes, self.leaves = bits("loads", "computes", "leaves")
        self.advance, self.take, self.last = bits("advance", "take", "last")
        self.fill, self.half, self.settled = bits("fill", "half", "settled")

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, age = Module(), Signal(range(self.depth + 1))
        load_done, compute_done, leave_done = bits("load_done", "compute_done", "leave_done")
        computing, over = bits("computing", "over")
        ends = (
            (load_done | self.load_last)
            & (compute_done | self.compute_last)
            & (leave_done | self.leave_last)
        )
        m.d.comb += [
            self.advance.eq(self.first | (self.running & ends)),
            self.take.eq(self.advance & self.there),
            over.eq(computing & self.computed.last_chunk),
            self.last.eq(self.advance & ~self.there & ~self.loads & ~over),
            self.computes.eq(computing & ~compute_done),
            self.settled.eq(age == self.depth),
        ]
        m.d.sync += [
            load_done.eq(load_done | self.load_last),
            compute_done.eq(compute_done | self.compute_last),
            leave_done.eq(leave_done | self.leave_last),
            age.eq(Mux(self.settled, age, age + 1)),
        ]
        with m.If(self.advance):
            m.d.sync += [
                *self.loaded.eq(self.upcoming), self.loads.eq(self.there),
                load_done.eq(~self.there),
                *self.computed.eq(self.loaded), computing.eq(self.loads),
                compute_done.eq(~self.loads),
                *self.left.eq(self.computed), self.leaves.eq(over), leave_done.eq(~over),
                self.fill.eq(~self.fill), self.half.eq(self.half ^ over), age.eq(0),
            ]  # fmt: skip
        return m
