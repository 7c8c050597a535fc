"""The units of the accelerator beside each other: what is wired to what."""

from amaranth.hdl import Elaboratable, Module, Mux, Signal

from mlcnn.rtl.blocks.barrier import Barrier
from mlcnn.rtl.blocks.compute import Compute
from mlcnn.rtl.blocks.input_buffer import InputBuffer
from mlcnn.rtl.blocks.input_unit import InputUnit
from mlcnn.rtl.blocks.layers import Layers
from mlcnn.rtl.blocks.leave import Leave
from mlcnn.rtl.blocks.loader import Loader
from mlcnn.rtl.blocks.slices import Slices
from mlcnn.rtl.blocks.tile import Settings, bits
from mlcnn.rtl.blocks.tiles import Tiles
from mlcnn.rtl.blocks.weight_prefetch import WeightPrefetch
from mlcnn.rtl.build import Build

__all__ = ["Core", "MemoryPorts"]


class MemoryPorts:
    """A command a cycle, and what was read in the order of the commands.

    Attributes:
        command: there is one at ``address``.
        write: it stores the bytes of ``data`` that ``strobe`` marks.
        ready: it is taken in this cycle.
        arrives, beat: what a command has read.
        acknowledged: a store is done.
    """

    def __init__(self, build: Build) -> None:
        self.command, self.write, self.ready = bits("command", "write", "ready")
        self.address, self.strobe = Signal(32), Signal(build.beat_bytes)
        self.data, self.beat = Signal(8 * build.beat_bytes), Signal(8 * build.beat_bytes)
        self.arrives, self.acknowledged = bits("arrives", "acknowledged")


class Core(Elaboratable):
    """Runs a program: layer by layer, step by step.

    Attributes:
        start: of the program at ``program``.
        done: it is over, and another may start.
        layer_done: the last store of a layer is acknowledged.
        steps_begin: in the cycle before the first step of a layer.
        step_done: in the last cycle of a step.
        memory: the ports.
    """

    def __init__(self, build: Build) -> None:
        self.build = build
        self.start, self.done, self.layer_done, self.steps_begin, self.step_done = bits(
            "start", "done", "layer_done", "steps_begin", "step_done"
        )
        self.program = Signal(32)
        self.memory = MemoryPorts(build)

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, build, memory, s = Module(), self.build, self.memory, Settings()
        layers = m.submodules.layers = Layers(s, memory.beat)
        tiles = m.submodules.tiles = Tiles(build, s)
        barrier = m.submodules.barrier = Barrier(build, tiles.tile)
        loader = m.submodules.loader = Loader(s, tiles.tile)
        unit = m.submodules.input_unit = InputUnit(build, s, tiles.tile)
        buffer = m.submodules.buffer = InputBuffer(build)
        prefetch = m.submodules.prefetch = WeightPrefetch(build)
        compute = m.submodules.compute = Compute(build, s, barrier.computed)
        slices = m.submodules.slices = Slices(build, s)
        leave = m.submodules.leave = Leave(build, s, barrier.left)
        m.d.comb += [
            layers.start.eq(self.start), layers.program.eq(self.program),
            self.done.eq(layers.done), self.layer_done.eq(layers.layer_done),
            self.steps_begin.eq(layers.first),
            self.step_done.eq(barrier.advance & ~layers.first),
            # memory
            memory.command.eq(layers.command), memory.write.eq(layers.write),
            memory.address.eq(layers.address), memory.data.eq(slices.data),
            memory.strobe.eq(leave.strobe), layers.ready.eq(memory.ready),
            layers.arrives.eq(memory.arrives), layers.acknowledged.eq(memory.acknowledged),
            layers.load.eq(loader.command), layers.load_address.eq(loader.address),
            loader.taken.eq(layers.load_taken),
            layers.store.eq(leave.store), layers.store_address.eq(leave.address),
            leave.taken.eq(layers.store_taken),
            # steps
            tiles.begin.eq(layers.begin), tiles.take.eq(barrier.take),
            barrier.there.eq(tiles.there), barrier.running.eq(layers.running),
            barrier.first.eq(layers.first), layers.last.eq(barrier.last),
            barrier.load_last.eq(unit.last), barrier.compute_last.eq(compute.last),
            barrier.leave_last.eq(leave.last),
            layers.take.eq(barrier.take), layers.words.eq(tiles.tile.words),
            loader.start.eq(barrier.take), unit.start.eq(barrier.take),
            prefetch.start.eq(barrier.advance), compute.start.eq(barrier.advance),
            leave.start.eq(barrier.advance),
            compute.active.eq(barrier.computes), leave.active.eq(barrier.leaves),
            leave.begin.eq(loader.done & barrier.settled),
            # what comes in
            unit.enable.eq(layers.for_inputs), unit.beat.eq(memory.beat),
            unit.arrives.eq(memory.arrives & layers.for_inputs),
            prefetch.beat.eq(memory.beat), prefetch.write.eq(memory.arrives & layers.for_weights),
            leave.parameter_clear.eq(layers.begin), leave.parameter_beat.eq(memory.beat),
            leave.parameter_write.eq(memory.arrives & layers.for_parameters),
            buffer.half.eq(barrier.fill), buffer.write.eq(unit.write),
            buffer.address.eq(unit.address),
            *(one.eq(other) for one, other in zip(buffer.banks, unit.banks, strict=True)),
            # what is computed
            prefetch.half.eq(barrier.fill), prefetch.fill.eq(barrier.computed.fill),
            prefetch.words.eq(Mux(barrier.loads, barrier.loaded.words, 0)),
            prefetch.swap.eq(compute.swap), compute.ready.eq(prefetch.ready),
            buffer.read_address.eq(compute.address), buffer.turn.eq(compute.turn),
            buffer.way_step.eq(barrier.computed.way_step),
            *(one.eq(other) for one, other in zip(slices.words, buffer.words, strict=True)),
            slices.weights.eq(prefetch.word), slices.latch.eq(prefetch.latch),
            slices.index.eq(prefetch.index), slices.swap.eq(compute.swap),
            slices.issue.eq(compute.issue), slices.entry.eq(compute.entry),
            slices.first.eq(compute.first), slices.half.eq(barrier.half),
            # what leaves
            slices.out_entry.eq(leave.entry), slices.flow.eq(leave.flow),
            slices.way.eq(leave.way), slices.parameters.eq(leave.parameters),
        ]  # fmt: skip
        return m
