"""The accelerator's core with a reset that leaves no beat behind."""

from amaranth.hdl import Elaboratable, Module, ResetInserter, Signal

from mlcnn.rtl.blocks.core import Core, MemoryPorts
from mlcnn.rtl.blocks.tile import bits
from mlcnn.rtl.build import Build

__all__ = ["Heart"]


class Heart(Elaboratable):
    """A core whose reset waits for the beats that are on their way.

    Attributes:
        reset: stop the program. No command goes out until all that are out came back; then the core
            is as after power-on, but for what is in its memories.
        start, program, done, layer_done, steps_begin, step_done: see ``Core``; ``start`` in the
            cycle before the first command.
        idle: nothing is on its way, and no reset at work.
        memory: the ports.
    """

    def __init__(self, build: Build) -> None:
        self.build = build
        self.reset, self.idle = Signal(), Signal()
        self.start, self.done, self.layer_done, self.steps_begin, self.step_done = bits(
            "start", "done", "layer_done", "steps_begin", "step_done"
        )
        self.program = Signal(32)
        self.memory = MemoryPorts(build)

    @property
    def ports(self) -> dict[str, Signal]:
        """By name."""
        names = (
            "reset",
            "idle",
            "start",
            "program",
            "done",
            "layer_done",
            "steps_begin",
            "step_done",
        )
        return {name: getattr(self, name) for name in names} | dict(vars(self.memory))

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, outside = Module(), self.memory
        core, clear, stopping, pending = Core(self.build), Signal(), Signal(), Signal(16)
        m.submodules.core = ResetInserter(clear)(core)
        inside = core.memory
        stop = self.reset | stopping
        taken = outside.command & outside.ready
        came = outside.arrives + outside.acknowledged
        m.d.sync += [pending.eq(pending + taken - came), stopping.eq(stop & ~clear)]
        m.d.comb += [
            clear.eq(stopping & (pending == came)),
            self.idle.eq(~stop & (pending == 0)),
            core.start.eq(self.start),
            core.program.eq(self.program),
            self.done.eq(core.done),
            self.layer_done.eq(core.layer_done & ~stop),
            self.steps_begin.eq(core.steps_begin & ~stop),
            self.step_done.eq(core.step_done & ~stop),
            outside.command.eq(inside.command & ~stop),
            outside.write.eq(inside.write),
            outside.address.eq(inside.address),
            outside.data.eq(inside.data),
            outside.strobe.eq(inside.strobe),
            inside.ready.eq(outside.ready & ~stop),
            inside.arrives.eq(outside.arrives),
            inside.beat.eq(outside.beat),
            inside.acknowledged.eq(outside.acknowledged),
        ]
        return m
