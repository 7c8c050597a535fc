"""A convolution, with the pool behind it if there is one, as a loop nest N K C P Q R S (+ G)."""

import math
from dataclasses import dataclass

from mlcnn.graph import conv_outputs, pool_outputs
from mlcnn.workload.operations import Operations

__all__ = ["ConvAxis", "ConvLayer", "Pool", "Window"]

Pair = tuple[int, int]
Pads = tuple[int, int, int, int]


@dataclass(frozen=True, slots=True)
class Window:
    """One pool window along one axis, clipped to the valid range.

    Attributes:
        start: first valid position.
        length: number of valid positions (0 where the window lies in the padding).
        padded: number of positions inside the valid range and its padding: the divisor when
            padding is counted.
    """

    start: int
    length: int
    padded: int


@dataclass(frozen=True, slots=True)
class Pool:
    """An average pool over height and width. A dense layer or plain convolution has none.

    Attributes:
        kernel: (height, width).
        strides: (height, width).
        pads: (top, left, bottom, right), zeros around the pool's input.
        ceil_mode: keep a last window that is only partly inside.
        count_include_pad: divide by the padded window, not by the valid part of it.
    """

    kernel: Pair
    strides: Pair
    pads: Pads = (0, 0, 0, 0)
    ceil_mode: bool = False
    count_include_pad: bool = False

    def __post_init__(self) -> None:
        if min(self.kernel) < 1 or min(self.strides) < 1 or min(self.pads) < 0:
            msg = f"pool kernel and strides must be positive and pads not negative, got {self}"
            raise ValueError(msg)

    def output_size(self, size: int, axis: int) -> int:
        """Number of windows along ``axis`` (0 height, 1 width) over ``size`` positions."""
        kernel, stride = self.kernel[axis], self.strides[axis]
        before, after = self.pads[axis], self.pads[axis + 2]
        return pool_outputs(size, kernel, stride, before, after, ceil_mode=self.ceil_mode)

    def windows(self, size: int, axis: int) -> tuple[Window, ...]:
        """The windows along ``axis`` over ``size`` positions, clipped."""
        kernel, stride = self.kernel[axis], self.strides[axis]
        before, after = self.pads[axis], self.pads[axis + 2]
        result: list[Window] = []
        for index in range(self.output_size(size, axis)):
            first = index * stride - before
            start, stop = max(first, 0), min(first + kernel, size)
            padded = min(first + kernel, size + after) - first
            result.append(Window(min(start, size), max(stop - start, 0), padded))
        return tuple(result)

    def is_plain(self, height: int, width: int) -> bool:
        """Whether every window over (height, width) is whole: no padding, no partial window."""
        return all(
            window.length == self.kernel[axis]
            for axis, size in enumerate((height, width))
            for window in self.windows(size, axis)
        )


@dataclass(frozen=True, slots=True)
class ConvAxis:
    """One axis of a convolution.

    Attributes:
        size: inputs, without padding.
        kernel: taps.
        stride: inputs from one output to the next.
        dilation: inputs from one tap to the next.
        pads: (before, after).
    """

    size: int
    kernel: int
    stride: int = 1
    dilation: int = 1
    pads: Pair = (0, 0)

    def __post_init__(self) -> None:
        if min(self.size, self.kernel, self.stride, self.dilation) < 1:
            msg = f"size, kernel, stride and dilation of an axis must be positive, got {self}"
            raise ValueError(msg)

    @property
    def outputs(self) -> int:
        """Number of outputs."""
        extent = (self.kernel - 1) * self.dilation + 1
        return conv_outputs(self.size, extent, self.stride, *self.pads)


@dataclass(frozen=True, slots=True)
class ConvLayer:
    """A convolution as a loop nest; ``pool`` is the average pool that it is fused with, if any.

    Attributes:
        name: name of the layer's module or weight.
        N: batch.
        K: output channels, over all groups.
        C: input channels, over all groups.
        H: input height, without padding.
        W: input width, without padding.
        R: kernel height.
        S: kernel width.
        G: groups.
        strides: (height, width).
        dilations: (height, width).
        pads: (top, left, bottom, right).
        pool: the pool behind the convolution.
        depth: the axis in front of height in a 3-D convolution, which has no pool; else None.
    """

    name: str
    N: int
    K: int
    C: int
    H: int
    W: int
    R: int
    S: int
    G: int = 1
    strides: Pair = (1, 1)
    dilations: Pair = (1, 1)
    pads: Pads = (0, 0, 0, 0)
    pool: Pool | None = None
    depth: ConvAxis | None = None

    def __post_init__(self) -> None:
        sizes = (self.N, self.K, self.C, self.H, self.W, self.R, self.S, self.G)
        if min(sizes) < 1 or min(self.strides) < 1 or min(self.dilations) < 1:
            msg = f"layer {self.name}: sizes, strides and dilations must be positive, got {self}"
            raise ValueError(msg)
        if self.C % self.G or self.K % self.G:
            msg = f"layer {self.name}: {self.G} groups must divide C={self.C} and K={self.K}"
            raise ValueError(msg)
        if self.depth is not None and self.pool is not None:
            msg = f"layer {self.name}: a convolution with a depth is fused with no pool, got {self}"
            raise ValueError(msg)

    def _output(self, size: int, kernel: int, axis: int) -> int:
        extent = (kernel - 1) * self.dilations[axis] + 1
        before, after = self.pads[axis], self.pads[axis + 2]
        return conv_outputs(size, extent, self.strides[axis], before, after)

    @property
    def P(self) -> int:  # noqa: N802 - the field's loop dimension
        """Output height of the convolution, before the pool."""
        return self._output(self.H, self.R, 0)

    @property
    def Q(self) -> int:  # noqa: N802 - the field's loop dimension
        """Output width of the convolution, before the pool."""
        return self._output(self.W, self.S, 1)

    @property
    def pooled(self) -> Pair:
        """(height, width) of the output, behind the pool if there is one."""
        if self.pool is None:
            return self.P, self.Q
        return self.pool.output_size(self.P, 0), self.pool.output_size(self.Q, 1)

    @property
    def outputs(self) -> int:
        """Positions that one filter gives for one image, before the pool."""
        return self.P * self.Q * (1 if self.depth is None else self.depth.outputs)

    @property
    def products(self) -> int:
        """Products that form one output: the weights of one filter."""
        taps = self.kernel_area * (1 if self.depth is None else self.depth.kernel)
        return self.C // self.G * taps

    @property
    def macs(self) -> int:
        """Multiply-accumulates of the plain convolution, over the whole batch."""
        return self.N * self.K * self.products * self.outputs

    @property
    def weights(self) -> int:
        """Number of weights, bias not included."""
        return self.K * self.products

    @property
    def operations(self) -> Operations:
        """The convolution and the pool behind it, separately.

        K*P*Q*(C/G*R*S - 1) additions of the convolution and, per pooled output, k*k' - 1 of the
        pool, for the whole batch.
        """
        outputs = self.K * self.outputs
        additions = outputs * (self.products - 1)
        if self.pool is not None:
            additions += self.K * math.prod(self.pooled) * (math.prod(self.pool.kernel) - 1)
        return self.N * Operations(outputs * self.products, additions)

    @property
    def kernel_area(self) -> int:
        """R * S."""
        return math.prod((self.R, self.S))
