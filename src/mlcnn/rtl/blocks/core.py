"""The units of the accelerator, and the steps that they take together."""

from dataclasses import dataclass

from amaranth.hdl import (
    Array,
    Cat,
    ClockSignal,
    Elaboratable,
    Instance,
    Module,
    Mux,
    ResetSignal,
    Signal,
    Value,
    signed,
)  # fmt: skip

from mlcnn.rtl.blocks.compute import Compute
from mlcnn.rtl.blocks.input_buffer import InputBuffer
from mlcnn.rtl.blocks.input_unit import InputUnit
from mlcnn.rtl.blocks.leave import Leave
from mlcnn.rtl.blocks.loader import Loader
from mlcnn.rtl.blocks.output_lanes import LANES
from mlcnn.rtl.blocks.tile import Settings, Tile, bits
from mlcnn.rtl.blocks.tiles import Tiles
from mlcnn.rtl.blocks.weight_prefetch import WeightPrefetch
from mlcnn.rtl.build import Build

__all__ = ["Core", "Memory"]


class Memory:
    """The ports to memory: a command a cycle, and what was read in the order of the commands.

    Attributes:
        command: there is one at ``address``.
        write: it stores the bytes of ``data`` that ``strobe`` marks.
        ready: it is taken in this cycle.
        arrives, beat: what a command has read.
        acknowledged: a store is done.
    """

    def __init__(self, build: Build) -> None:
        self.command, self.write, self.ready = Signal(), Signal(), Signal()
        self.address, self.strobe = Signal(32), Signal(build.beat_bytes)
        self.data, self.beat = Signal(8 * build.beat_bytes), Signal(8 * build.beat_bytes)
        self.arrives, self.acknowledged = Signal(), Signal()


class Core(Elaboratable):
    """Runs a program: layer by layer, step by step.

    A step starts all units in one cycle and ends in the cycle in which the slowest ends.

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
        self.memory = Memory(build)

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, build = Module(), self.build
        s = self.settings = Settings()
        tiles = m.submodules.tiles = Tiles(build, s)
        loaded, computed, left = (Tile(name) for name in ("loaded", "computed", "left"))
        u = _Units(
            Loader(s, tiles.tile), InputUnit(build, s, tiles.tile), InputBuffer(build),
            WeightPrefetch(build), Compute(build, s, computed), Leave(build, s, left),
        )  # fmt: skip
        for name in _Units.__slots__:
            m.submodules[name] = getattr(u, name)
        self._steps(m, u, tiles, (loaded, computed, left))
        self._layers(m, u, tiles)
        self._returns(m, u, tiles)
        self._array(m, u, computed)
        return m

    def _steps(
        self, m: Module, u: "_Units", tiles: Tiles, records: tuple[Tile, Tile, Tile]
    ) -> None:
        """The barrier: what is loaded is computed next, what is computed leaves next."""
        loaded, computed, left = records
        advance, first = Signal(), Signal()
        self.running, self.first_step, self.last_step = Signal(), first, Signal()
        loads, computes, leaves = Signal(), Signal(), Signal()
        load_done, compute_done, leave_done = Signal(), Signal(), Signal()
        fill, half = Signal(), Signal()
        self.half = half
        over = computes & computed.last_chunk
        age = Signal(range(self.build.hardware(1, 1).depth + 1))
        m.d.comb += [
            advance.eq(
                self.running
                & (load_done | u.input_unit.last)
                & (compute_done | u.compute.last)
                & (leave_done | u.leave.last)
                | first
            ),
            self.steps_begin.eq(first),
            self.step_done.eq(advance & ~first),
            self.last_step.eq(advance & ~tiles.there & ~loads & ~over),
            tiles.take.eq(advance & tiles.there),
            u.loader.start.eq(tiles.take),
            u.input_unit.start.eq(tiles.take),
            u.prefetch.start.eq(advance),
            u.prefetch.words.eq(Mux(loads, loaded.words, 0)),
            u.prefetch.fill.eq(computed.fill),
            u.prefetch.half.eq(fill),
            u.buffer.half.eq(fill),
            u.compute.start.eq(advance),
            u.compute.active.eq(computes & ~compute_done),
            u.leave.start.eq(advance),
            u.leave.active.eq(leaves),
            u.leave.begin.eq(u.loader.done & (age == self.build.hardware(1, 1).depth)),
        ]
        m.d.sync += [
            load_done.eq(load_done | u.input_unit.last),
            compute_done.eq(compute_done | u.compute.last),
            leave_done.eq(leave_done | u.leave.last),
            age.eq(Mux(age == self.build.hardware(1, 1).depth, age, age + 1)),
        ]
        with m.If(advance):
            m.d.sync += [
                *loaded.eq(tiles.tile), loads.eq(tiles.there), load_done.eq(~tiles.there),
                *computed.eq(loaded), computes.eq(loads), compute_done.eq(~loads),
                *left.eq(computed), leaves.eq(over), leave_done.eq(~over),
                fill.eq(~fill), age.eq(0),
            ]  # fmt: skip
            with m.If(over):
                m.d.sync += half.eq(~half)

    def _layers(self, m: Module, u: "_Units", tiles: Tiles) -> None:
        """Configuration, bias and scale, steps, acknowledgement; and the commands of all."""
        memory, s = self.memory, self.settings
        address, count, pending = Signal(32), Signal(16), Signal(16)
        self.configured = Signal(2)
        command, at = Signal(), Signal(32)
        taken = memory.command & memory.ready
        stores = taken & memory.write
        m.d.sync += pending.eq(pending + stores - memory.acknowledged)
        m.d.comb += [
            memory.command.eq(command), memory.address.eq(at),
            memory.strobe.eq(u.leave.strobe),
            u.loader.taken.eq(0), u.leave.taken.eq(0),
        ]  # fmt: skip
        self.to_configure, self.parameters_left = Signal(), Signal(16)

        def begins() -> None:
            with m.If(self.start):
                m.d.sync += [address.eq(self.program), count.eq(0), self.configured.eq(0)]
                m.next = "configuration"

        with m.FSM(name="layers"):
            with m.State("idle"):
                begins()
            with m.State("configuration"):
                m.d.comb += [command.eq(count != 2), at.eq(address), self.to_configure.eq(1)]
                with m.If(taken):
                    m.d.sync += [count.eq(count + 1), address.eq(address + 1)]
                with m.If(self.configured == 2):
                    m.d.comb += self.to_configure.eq(0)
                    m.d.sync += [count.eq(0), self.parameters_left.eq(s.parameter_beats)]
                    m.d.comb += [tiles.begin.eq(1), u.leave.parameter_clear.eq(1)]
                    m.next = "begin"
                    with m.If(s.opcode != 1):
                        m.next = "done"
            with m.State("begin"):
                m.next = "parameters"
            with m.State("parameters"):
                m.d.comb += [command.eq(1), at.eq(s.parameter_base + count)]
                with m.If(taken):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == s.parameter_beats - 1):
                        m.d.comb += self.first_step.eq(1)
                        m.next = "steps"
            with m.State("steps"):
                m.d.comb += [
                    self.running.eq(1),
                    command.eq(u.loader.command | u.leave.store),
                    at.eq(Mux(u.leave.store, u.leave.address, u.loader.address)),
                    memory.write.eq(u.leave.store),
                    u.loader.taken.eq(u.loader.command & memory.ready),
                    u.leave.taken.eq(u.leave.store & memory.ready),
                ]
                with m.If(self.last_step):
                    m.next = "acknowledgement"
            with m.State("acknowledgement"), m.If(pending - memory.acknowledged == 0):
                m.d.comb += self.layer_done.eq(1)
                m.d.sync += [count.eq(0), self.configured.eq(0)]
                m.next = "configuration"
            with m.State("done"):
                m.d.comb += self.done.eq(1)
                begins()

    def _returns(self, m: Module, u: "_Units", tiles: Tiles) -> None:
        """To whom a beat from memory goes: in the order of the commands."""
        memory, words = self.memory, Signal(24)
        parameter, weight = Signal(), Signal()
        m.d.comb += [
            parameter.eq(~self.to_configure & (self.parameters_left != 0)),
            weight.eq(~self.to_configure & (self.parameters_left == 0) & (words != 0)),
            u.input_unit.enable.eq((self.parameters_left == 0) & (words == 0)),
            u.input_unit.arrives.eq(memory.arrives & u.input_unit.enable),
            u.input_unit.beat.eq(memory.beat),
            u.prefetch.write.eq(memory.arrives & weight),
            u.prefetch.beat.eq(memory.beat),
            u.leave.parameter_write.eq(memory.arrives & parameter),
            u.leave.parameter_beat.eq(memory.beat),
        ]
        with m.If(memory.arrives):
            with m.If(self.to_configure):
                half = len(self.settings.words) // 2
                m.d.sync += self.configured.eq(self.configured + 1)
                for number, word in enumerate(self.settings.words):
                    with m.If(self.configured == number // half):
                        m.d.sync += word.eq(memory.beat.word_select(number % half, 32))
            with m.Elif(parameter):
                m.d.sync += self.parameters_left.eq(self.parameters_left - 1)
            with m.Elif(weight):
                m.d.sync += words.eq(words - 1)
        with m.If(tiles.take):
            m.d.sync += words.eq(tiles.tile.words)

    def _array(self, m: Module, u: "_Units", computed: Tile) -> None:
        """Buffer, slices, output lanes."""
        build, s, memory = self.build, self.settings, self.memory
        m.d.comb += [
            u.buffer.write.eq(u.input_unit.write),
            u.buffer.address.eq(u.input_unit.address),
            *(one.eq(other) for one, other in zip(u.buffer.banks, u.input_unit.banks, strict=True)),
            u.buffer.read_address.eq(u.compute.address),
            u.buffer.way_step.eq(computed.way_step),
            u.buffer.turn.eq(u.compute.turn),
            u.compute.ready.eq(u.prefetch.ready),
            u.prefetch.swap.eq(u.compute.swap),
        ]
        depth = build.multiplier_stages + build.tree_stages + 1
        late: list[Value] = [self.half, u.compute.entry, u.compute.first, u.compute.issue]
        for _ in range(depth):
            after = [Signal(one.shape()) for one in late]
            m.d.sync += [one.eq(old) for one, old in zip(after, late, strict=True)]
            late = list(after)
        outs: list[Value] = []
        for number in range(build.slices):
            out = Signal(signed(32), name=f"out_{number}")
            word, weights, latch = self._of_slice(m, u, number)
            names = ("half", "entry", "first", "valid")
            m.submodules[f"slice_{number}"] = Instance(
                "slice",
                i_clk=ClockSignal(), i_rst=ResetSignal(),
                i_weights=weights, i_latch=latch, i_swap=u.compute.swap, i_word=word,
                i_is_signed=s.signed, i_out_entry=u.leave.entry, i_out_enable=u.leave.flow,
                **{f"i_{name}": value for name, value in zip(names, late, strict=True)},
                o_out=out,
            )  # fmt: skip
            outs.append(out)
        codes = [self._lanes(m, u, first, outs) for first in range(0, build.output_lanes, LANES)]
        m.d.comb += memory.data.eq(Cat(*(codes * (build.lanes // build.output_lanes))))

    def _of_slice(self, m: Module, u: "_Units", number: int) -> tuple[Value, Value, Value]:
        """Its operands; its part of a beat of weights, and whether the beat is its own."""
        build, ways_log2 = self.build, self.settings.ways_log2
        groups, bits = build.lanes // build.multipliers, 8 * build.multipliers
        word, weights, latch = Signal(len(u.buffer.words[0])), Signal(bits), Signal()
        with m.Switch(ways_log2):
            for log2 in range(build.ways.bit_length()):
                side = build.slices >> log2
                within = number % side
                with m.Case(log2):
                    m.d.comb += [
                        word.eq(u.buffer.words[number // side]),
                        weights.eq(u.prefetch.word.word_select(within % groups, bits)),
                        latch.eq(u.prefetch.latch & (u.prefetch.index == within // groups)),
                    ]
        return word, weights, latch

    def _lanes(self, m: Module, u: "_Units", first: int, outs: list[Value]) -> Value:
        """Eight codes of the beat that leaves: each of the slices that share its lane."""
        build, s = self.build, self.settings
        codes, totals = Signal(8 * LANES), Signal(32 * LANES)
        for lane in range(LANES):
            total, chosen = totals.word_select(lane, 32), Signal(signed(32))
            with m.Switch(s.ways_log2):
                for log2 in range(build.ways.bit_length()):
                    side = build.slices >> log2
                    ways = [outs[way * side + (first + lane) % side] for way in range(1 << log2)]
                    with m.Case(log2):
                        m.d.comb += chosen.eq(Array(ways)[u.leave.way])
            with m.If(u.leave.flow):
                m.d.sync += total.eq(chosen)
        m.submodules[f"lanes_{first}"] = Instance(
            "output_lanes",
            i_clk=ClockSignal(), i_rst=ResetSignal(), i_enable=u.leave.flow, i_totals=totals,
            i_parameters=u.leave.parameters.word_select(first // LANES, 64 * LANES),
            i_zero=s.zero, i_low=s.low, i_high=s.high, o_codes=codes,
        )  # fmt: skip
        return codes


@dataclass(slots=True)
class _Units:
    loader: Loader
    input_unit: InputUnit
    buffer: InputBuffer
    prefetch: WeightPrefetch
    compute: Compute
    leave: Leave
