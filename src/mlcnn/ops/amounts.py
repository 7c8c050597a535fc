"""How much a form computes and moves: what its counts and estimates are made of."""

import math
from dataclasses import dataclass

from mlcnn.workload import ConvLayer, Operations, Pool

__all__ = [
    "MACS_PER_ELEMENT",
    "NODE",
    "STRIDED",
    "FusedAxis",
    "convolution",
    "fused_axis",
    "fused_macs",
    "products",
    "traffic",
    "untouched",
]

# Relative costs, fitted to no network here: a convolution runs near the machine's peak, a strided
# one reads its input in pieces, and everything that only moves data is bound by memory.
MACS_PER_ELEMENT = 16.0
"""Multiply-accumulates in the time that one element is read or written."""
STRIDED = 1.4
"""How much longer a strided convolution takes for one multiply-accumulate."""
NODE = 20_000.0
"""Multiply-accumulates in the time that one more node takes to start."""


@dataclass(frozen=True, slots=True)
class FusedAxis:
    """One axis of a fused layer.

    Attributes:
        size: inputs.
        kernel: taps of the convolution.
        window: convolution outputs that one pooled output averages.
        stride: of the convolution.
        dilation: of the convolution.
        step: inputs between two pooled outputs.
        before: zeros in front of the input.
        after: zeros behind it.
        outputs: pooled outputs.
    """

    size: int
    kernel: int
    window: int
    stride: int
    dilation: int
    step: int
    before: int
    after: int
    outputs: int

    @property
    def boxes(self) -> int:
        """Windows of inputs that form ``box`` averages: all that fit, needed or not.

        It pads by no more than a window reaches.
        """
        reach = (self.window - 1) * self.stride
        return self.size + min(self.before, reach) + min(self.after, reach) - reach

    @property
    def taps(self) -> int:
        """Taps of the expanded kernel, without those at its ends that only meet padding.

        The kernel's taps lie d apart and the window's outputs S apart, so the merged kernel has
        a tap at each multiple of gcd(d, S): ((K-1)*d + (k-1)*S) / gcd + 1 of them ([derived]).
        """
        dilation = self.dilation if self.kernel > 1 else 0
        apart = math.gcd(dilation, self.stride if self.window > 1 else 0) or 1
        reach = (self.kernel - 1) * self.dilation + (self.window - 1) * self.stride
        taps = reach // apart + 1
        starts = [output * self.step - self.before for output in range(self.outputs)]
        used = [
            tap
            for tap in range(taps)
            if any(0 <= start + tap * apart < self.size for start in starts)
        ]
        if not used:
            return taps
        lead = min(used[0], self.before // apart)
        return taps - lead - min(taps - 1 - used[-1], self.after // apart)


def fused_axis(layer: ConvLayer, pool: Pool, axis: int) -> FusedAxis:
    """One axis (0 height, 1 width) of a layer fused with a pool."""
    stride = layer.strides[axis]
    return FusedAxis(
        size=(layer.H, layer.W)[axis],
        kernel=(layer.R, layer.S)[axis],
        window=pool.kernel[axis],
        stride=stride,
        dilation=layer.dilations[axis],
        step=stride * pool.strides[axis],
        before=layer.pads[axis] + pool.pads[axis] * stride,
        after=layer.pads[axis + 2] + pool.pads[axis + 2] * stride,
        outputs=layer.pooled[axis],
    )


def products(layer: ConvLayer, outputs: int, terms: int) -> Operations:
    """``outputs`` sums of ``terms`` products each, for every image."""
    return layer.N * Operations(outputs * terms, outputs * (terms - 1))


def convolution(layer: ConvLayer) -> Operations:
    """The convolution behind the means: the original weights at the pooled outputs."""
    terms = layer.C // layer.G * layer.kernel_area
    return products(layer, layer.K * math.prod(layer.pooled), terms)


def fused_macs(layer: ConvLayer) -> float:
    """Multiply-accumulates of that convolution for one image."""
    return layer.K * math.prod(layer.pooled) * (layer.C // layer.G) * layer.kernel_area


def traffic(layer: ConvLayer) -> float:
    """Elements of the input and of the pooled output of one image."""
    return layer.C * layer.H * layer.W + layer.K * math.prod(layer.pooled)


def untouched(layer: ConvLayer) -> float:
    """Estimated cost of one image where convolution and pool stay as they are.

    In multiply-accumulates.
    """
    macs = layer.K * layer.products * layer.outputs
    if layer.pool is None:
        return macs + MACS_PER_ELEMENT * traffic(layer) + NODE
    outputs, conv_outputs = layer.K * math.prod(layer.pooled), layer.K * layer.P * layer.Q
    work = layer.macs + outputs * math.prod(layer.pool.kernel)
    moved = layer.C * layer.H * layer.W + 2 * conv_outputs + outputs
    return work + MACS_PER_ELEMENT * moved + 2 * NODE
