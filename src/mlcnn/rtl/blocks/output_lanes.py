"""Output lanes: bias, scale, rounding to even, saturation."""

from amaranth.hdl import Elaboratable, Module, Signal, Value, signed

from mlcnn.rtl.layer import SIGNIFICAND_BITS

__all__ = ["LANES", "STAGES", "OutputLanes"]

STAGES = 4
"""From a sum to its code, each a cycle: bias; scale; rounding; saturation."""
LANES = 8
"""Of a module."""
_SUM_BITS = 32
_PARAMETER_BITS = 64


class OutputLanes(Elaboratable):
    """``clamp(round((total + bias) * significand / 2**shift) + zero, low, high)``, eight times.

    Attributes:
        enable: go on.
        totals: sums, 32 bits each.
        parameters: of their channels, at the same time: bias, significand and shift, 64 bits each.
        zero, low, high: of the layer.
        codes: of the outputs, ``STAGES`` cycles later.
    """

    def __init__(self) -> None:
        self.enable = Signal()
        self.totals, self.parameters = Signal(_SUM_BITS * LANES), Signal(_PARAMETER_BITS * LANES)
        self.zero, self.low, self.high = (
            Signal(signed(9), name=name) for name in ("zero", "low", "high")
        )
        self.codes = Signal(8 * LANES)

    @property
    def ports(self) -> dict[str, Signal]:
        """By name."""
        names = "enable", "totals", "parameters", "zero", "low", "high", "codes"
        return {name: getattr(self, name) for name in names}

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m = Module()
        for lane in range(LANES):
            total = self.totals.word_select(lane, _SUM_BITS).as_signed()
            channel = self.parameters.word_select(lane, _PARAMETER_BITS)
            m.d.comb += self.codes.word_select(lane, 8).eq(self._code(m, total, channel))
        return m

    def _code(self, m: Module, total: Value, channel: Value) -> Signal:
        significand, shift = channel[_SUM_BITS:][:SIGNIFICAND_BITS], channel[-8:][:6]
        biased, scale, by = Signal(signed(_SUM_BITS + 1)), Signal(SIGNIFICAND_BITS), Signal(6)
        product, then = Signal(signed(_SUM_BITS + 1 + SIGNIFICAND_BITS)), Signal(6)
        whole, rest, half = Signal.like(product), Signal(64), Signal(64)
        rounded, up, code = Signal.like(product), Signal(), Signal(8)
        moved = Signal(signed(len(product) + 1))
        m.d.comb += [
            whole.eq(product >> then),
            half.eq((1 << then) >> 1),
            rest.eq(product & ((1 << then) - 1)),
            up.eq((then != 0) & ((rest > half) | ((rest == half) & whole[0]))),
            moved.eq(rounded + self.zero),
        ]
        with m.If(self.enable):
            m.d.sync += [
                biased.eq(total + channel[:_SUM_BITS].as_signed()),
                scale.eq(significand), by.eq(shift), product.eq(biased * scale), then.eq(by),
                rounded.eq(whole + up), code.eq(moved),
            ]  # fmt: skip
            with m.If(moved < self.low):
                m.d.sync += code.eq(self.low)
            with m.Elif(moved > self.high):
                m.d.sync += code.eq(self.high)
        return code
