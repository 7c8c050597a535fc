"""An output lane: bias, scale, rounding to even, saturation."""

from amaranth.hdl import Elaboratable, Module, Signal, signed

from mlcnn.rtl.layer import SIGNIFICAND_BITS

__all__ = ["STAGES", "OutputLane"]

STAGES = 4
"""From a sum to its code, each a cycle: bias; scale; rounding; saturation."""
_SUM_BITS = 32


class OutputLane(Elaboratable):
    """``clamp(round((total + bias) * significand / 2**shift) + zero, low, high)``.

    Attributes:
        enable: go on.
        total: a sum.
        bias, significand, shift: of its channel, at the same time.
        zero, low, high: of the layer.
        code: of the output, ``STAGES`` cycles later.
    """

    def __init__(self) -> None:
        self.enable = Signal()
        self.total, self.bias = Signal(signed(_SUM_BITS)), Signal(signed(_SUM_BITS))
        self.significand, self.shift = Signal(SIGNIFICAND_BITS), Signal(6)
        self.zero, self.low, self.high = (Signal(signed(9)) for _ in range(3))
        self.code = Signal(8)

    @property
    def ports(self) -> dict[str, Signal]:
        """By name."""
        names = (
            "enable", "total", "bias", "significand", "shift", "zero", "low", "high", "code",
        )  # fmt: skip
        return {name: getattr(self, name) for name in names}

    def elaborate(self, platform: object) -> Module:
        """The circuit."""
        del platform
        m = Module()
        biased, scale, shift = Signal(signed(_SUM_BITS + 1)), Signal(SIGNIFICAND_BITS), Signal(6)
        product = Signal(signed(_SUM_BITS + 1 + SIGNIFICAND_BITS + 1))
        by = Signal(6)
        rounded = Signal(signed(len(product) + 1))
        whole, rest, half = Signal.like(product), Signal(64), Signal(64)
        moved = Signal(signed(len(rounded) + 1))
        m.d.comb += [
            whole.eq(product >> by),
            half.eq((1 << by) >> 1),
            rest.eq(product & ((1 << by) - 1)),
            moved.eq(rounded + self.zero),
        ]
        up = Signal()
        m.d.comb += up.eq((by != 0) & ((rest > half) | ((rest == half) & whole[0])))
        with m.If(self.enable):
            m.d.sync += [
                biased.eq(self.total + self.bias), scale.eq(self.significand), shift.eq(self.shift),
                product.eq(biased * scale), by.eq(shift),
                rounded.eq(whole + up),
                self.code.eq(moved),
            ]  # fmt: skip
            with m.If(moved < self.low):
                m.d.sync += self.code.eq(self.low)
            with m.Elif(moved > self.high):
                m.d.sync += self.code.eq(self.high)
        return m
