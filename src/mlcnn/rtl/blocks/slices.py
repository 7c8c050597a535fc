"""The slices, which way and weights each works with, and the lanes that their sums leave by."""

from amaranth.hdl import (
    Array,
    Cat,
    ClockSignal,
    Elaboratable,
    Instance,
    Module,
    ResetSignal,
    Signal,
    Value,
    signed,
)  # fmt: skip

from mlcnn.rtl.blocks.output_lanes import LANES
from mlcnn.rtl.blocks.slice import WORD_BITS
from mlcnn.rtl.blocks.tile import Settings, bits
from mlcnn.rtl.build import Build

__all__ = ["Slices"]

_SUM_BITS = 32
_PARAMETER_BITS = 64


class Slices(Elaboratable):
    """With V ways each has a Vth of the slices: the first way the first ones.

    Attributes:
        words: operands of each way, a cycle after their issue.
        weights, latch, index: a beat for the shadow registers, and its number in the set.
        swap, issue, entry, first: see ``Compute``.
        half: of the accumulators, that is filled.
        out_entry, flow, way, parameters: see ``Leave``.
        data: the beat that leaves.
    """

    def __init__(self, build: Build, settings: Settings) -> None:
        self.build, self.settings = build, settings
        self.words = [
            Signal(WORD_BITS * build.multipliers, name=f"word_{way}") for way in range(build.ways)
        ]
        self.weights, self.index = Signal(8 * build.beat_bytes), Signal(8)
        self.latch, self.swap, self.issue, self.first, self.half, self.flow = bits(
            "latch", "swap", "issue", "first", "half", "flow"
        )
        self.entry, self.out_entry = Signal(range(build.entries)), Signal(range(build.entries))
        self.way = Signal(range(max(build.ways, 2)))
        self.parameters = Signal(_PARAMETER_BITS * build.output_lanes)
        self.data = Signal(8 * build.beat_bytes)

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m, build = Module(), self.build
        # What an issue is for has to wait for its word, its products and their sum.
        late: list[Value] = [self.half, self.entry, self.first, self.issue]
        for _ in range(1 + build.multiplier_stages + build.tree_stages):
            after = [Signal(one.shape()) for one in late]
            m.d.sync += [one.eq(old) for one, old in zip(after, late, strict=True)]
            late = list(after)
        names = ("half", "entry", "first", "valid")
        told = {f"i_{name}": value for name, value in zip(names, late, strict=True)}
        outs = [self._slice(m, number, told) for number in range(build.slices)]
        codes = [self._lanes(m, first, outs) for first in range(0, build.output_lanes, LANES)]
        m.d.comb += self.data.eq(Cat(*(codes * (build.lanes // build.output_lanes))))
        return m

    def _slice(self, m: Module, number: int, told: dict[str, Value]) -> Signal:
        """A slice, with the word of its way and its part of a beat of weights; what it gives."""
        build, out = self.build, Signal(signed(_SUM_BITS), name=f"out_{number}")
        groups, size = build.lanes // build.multipliers, 8 * build.multipliers
        word, weights, latch = Signal(len(self.words[0])), Signal(size), Signal()
        with m.Switch(self.settings.ways_log2):
            for log2 in range(build.ways.bit_length()):
                way, within = divmod(number, build.slices >> log2)
                with m.Case(log2):
                    m.d.comb += [
                        word.eq(self.words[way]),
                        weights.eq(self.weights.word_select(within % groups, size)),
                        latch.eq(self.latch & (self.index == within // groups)),
                    ]
        m.submodules[f"slice_{number}"] = Instance(
            "slice",
            i_clk=ClockSignal(), i_rst=ResetSignal(), i_weights=weights, i_latch=latch,
            i_swap=self.swap, i_word=word, i_is_signed=self.settings.signed,
            i_out_entry=self.out_entry, i_out_enable=self.flow, **told, o_out=out,
        )  # fmt: skip
        return out

    def _lanes(self, m: Module, first: int, outs: list[Signal]) -> Signal:
        """Eight codes of the beat that leaves, each of one of the slices that share its lane."""
        build, s = self.build, self.settings
        codes, totals = Signal(8 * LANES), Signal(_SUM_BITS * LANES)
        for lane in range(LANES):
            chosen = Signal(signed(_SUM_BITS), name=f"chosen_{lane}")
            with m.Switch(s.ways_log2):
                for log2 in range(build.ways.bit_length()):
                    side = build.slices >> log2
                    ways = [outs[way * side + (first + lane) % side] for way in range(1 << log2)]
                    with m.Case(log2):
                        m.d.comb += chosen.eq(Array(ways)[self.way])
            with m.If(self.flow):
                m.d.sync += totals.word_select(lane, _SUM_BITS).eq(chosen)
        m.submodules[f"lanes_{first}"] = Instance(
            "output_lanes",
            i_clk=ClockSignal(), i_rst=ResetSignal(), i_enable=self.flow, i_totals=totals,
            i_parameters=self.parameters.word_select(first // LANES, _PARAMETER_BITS * LANES),
            i_zero=s.zero, i_low=s.low, i_high=s.high, o_codes=codes,
        )  # fmt: skip
        return codes
