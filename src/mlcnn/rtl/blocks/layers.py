"""Layers one after the other: configuration, bias and scale, steps, acknowledgement."""

from amaranth.hdl import Elaboratable, Module, Mux, Signal

from mlcnn.rtl.blocks.tile import Settings, bits

__all__ = ["Layers"]

_RUN = 1


class Layers(Elaboratable):
    """Whose commands go to memory, and who gets what comes back: in the order of the commands.

    Attributes:
        start: of the program at ``program``.
        done: it is over, and another may start.
        layer_done: the last store of a layer is acknowledged.
        begin: the settings are there.
        first: in the cycle before the first step.
        running: a step is at work.
        last: in the last cycle of the last step.
        load, load_address, load_taken: commands of the loader.
        store, store_address, store_taken: commands of the output unit.
        take, words: weights that the next step loads, in beats.
        command, write, address, ready, arrives, beat, acknowledged: see ``MemoryPorts``.
        for_parameters, for_weights, for_inputs: whose the next beat is.
    """

    def __init__(self, settings: Settings, beat: Signal) -> None:
        self.settings, self.beat = settings, beat
        self.start, self.done, self.layer_done, self.begin = bits(
            "start", "done", "layer_done", "begin"
        )
        self.first, self.running, self.last = bits("first", "running", "last")
        self.load, self.load_taken, self.store, self.store_taken = bits(
            "load", "load_taken", "store", "store_taken"
        )
        self.take, self.words = Signal(), Signal(24)
        self.command, self.write, self.ready, self.arrives, self.acknowledged = bits(
            "command", "write", "ready", "arrives", "acknowledged"
        )
        self.for_parameters, self.for_weights, self.for_inputs = bits(
            "for_parameters", "for_weights", "for_inputs"
        )
        self.program, self.address = Signal(32), Signal(32)
        self.load_address, self.store_address = Signal(32), Signal(32)

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, s = Module(), self.settings
        configuring, configured, parameters_left = Signal(), Signal(2), Signal(16)
        count, place, pending, taken = Signal(16), Signal(32), Signal(16), Signal()
        m.d.comb += taken.eq(self.command & self.ready)
        m.d.sync += pending.eq(pending + (taken & self.write) - self.acknowledged)

        def idle() -> None:
            with m.If(self.start):
                m.d.sync += [place.eq(self.program), count.eq(0), configured.eq(0)]
                m.next = "configuration"

        with m.FSM(name="layers"):
            with m.State("idle"):
                idle()
            with m.State("configuration"):
                m.d.comb += [self.command.eq(count != 2), self.address.eq(place)]
                m.d.comb += configuring.eq(configured != 2)
                with m.If(taken):
                    m.d.sync += [count.eq(count + 1), place.eq(place + 1)]
                with m.If(configured == 2):
                    m.d.comb += self.begin.eq(1)
                    m.d.sync += [count.eq(0), parameters_left.eq(s.parameter_beats)]
                    m.next = "begin"
                    with m.If(s.opcode != _RUN):
                        m.next = "done"
            with m.State("begin"):
                m.next = "parameters"
            with m.State("parameters"):
                m.d.comb += [self.command.eq(1), self.address.eq(s.parameter_base + count)]
                with m.If(taken):
                    m.d.sync += count.eq(count + 1)
                    with m.If(count == s.parameter_beats - 1):
                        m.d.comb += self.first.eq(1)
                        m.next = "steps"
            with m.State("steps"):
                m.d.comb += [
                    self.running.eq(1),
                    self.command.eq(self.load | self.store),
                    self.write.eq(self.store),
                    self.address.eq(Mux(self.store, self.store_address, self.load_address)),
                    self.load_taken.eq(self.load & self.ready),
                    self.store_taken.eq(self.store & self.ready),
                ]
                with m.If(self.last):
                    m.next = "acknowledgement"
            with m.State("acknowledgement"), m.If(pending == self.acknowledged):
                m.d.comb += self.layer_done.eq(1)
                m.d.sync += [count.eq(0), configured.eq(0)]
                m.next = "configuration"
            with m.State("done"):
                m.d.comb += self.done.eq(1)
                idle()
        self._returns(m, configuring, configured, parameters_left)
        return m

    def _returns(
        self, m: Module, configuring: Signal, configured: Signal, parameters_left: Signal
    ) -> None:
        words, half = Signal(24), len(self.settings.words) // 2
        m.d.comb += [
            self.for_parameters.eq(~configuring & (parameters_left != 0)),
            self.for_weights.eq(~configuring & (parameters_left == 0) & (words != 0)),
            self.for_inputs.eq(~configuring & (parameters_left == 0) & (words == 0)),
        ]
        with m.If(self.arrives):
            with m.If(configuring):
                m.d.sync += configured.eq(configured + 1)
                for number, word in enumerate(self.settings.words):
                    with m.If(configured == number // half):
                        m.d.sync += word.eq(self.beat.word_select(number % half, len(word)))
            with m.Elif(self.for_parameters):
                m.d.sync += parameters_left.eq(parameters_left - 1)
            with m.Elif(self.for_weights):
                m.d.sync += words.eq(words - 1)
        with m.If(self.take):
            m.d.sync += words.eq(self.words)
