"""The geometry of a fused convolution and average pool: windows of convolutions, region by region.

A window that is whole sums the same number of convolution outputs wherever it lies; a window on
the border of a padded or partial pool sums fewer. So the pooled output splits into rectangles,
*regions*, inside which every window has one size. In each region

    AvgPool_{k,s}(conv_{K,S}(x) + b) = scale * (conv_{K, stride s*S}(Mean_k(x_padded)) + b)

holds exactly ([MLCNN] Eq. 3 for k = 2), with Mean_k the average over k x k inputs that lie S
apart. ``scale`` is 1 unless the pool divides by padding, which it counts.
"""

import math
from dataclasses import dataclass

import numpy as np

from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.workload import ConvLayer, Pool, Window

__all__ = ["MAX_REGIONS", "Axis", "Region", "fused_axis", "fused_regions"]

# Three runs of windows an axis (first, middle, last) is what a padded pool over one image needs.
MAX_REGIONS = 9


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a fused layer, or of a region of it.

    Attributes:
        kernel: taps of the convolution.
        dilation: distance of the taps.
        conv_stride: stride of the convolution.
        window: convolution outputs averaged per pooled output.
        pool_stride: stride of the pool.
        before: zeros in front of the input slice.
        after: zeros behind it.
        start: first input position read; 0 where ``size`` is dynamic.
        size: input positions read; None for all of a dynamic axis.
        outputs: pooled outputs; None where dynamic.
        full: input size before slicing; None where dynamic.
    """

    kernel: int
    dilation: int
    conv_stride: int
    window: int
    pool_stride: int
    before: int
    after: int
    start: int
    size: int | None
    outputs: int | None
    full: int | None

    @property
    def sliced(self) -> bool:
        """Whether the region reads only a part of the input along this axis."""
        return self.size is not None and self.size != self.full

    @property
    def stride(self) -> int:
        """Stride of the fused convolution."""
        return self.conv_stride * self.pool_stride

    @property
    def box_extent(self) -> int:
        """Input positions that one window spans, minus one."""
        return (self.window - 1) * self.conv_stride

    @property
    def step(self) -> int:
        """Dilation of the merged kernel: taps lie at multiples of it."""
        return (
            math.gcd(
                self.dilation if self.kernel > 1 else 0, self.conv_stride if self.window > 1 else 0
            )
            or 1
        )

    @property
    def taps(self) -> int:
        """Taps of the merged kernel, before trimming."""
        return ((self.kernel - 1) * self.dilation + self.box_extent) // self.step + 1

    @property
    def trimmed(self) -> tuple[int, int]:
        """How many leading and trailing taps of the merged kernel never meet an input."""
        if self.size is None or self.outputs is None:
            return 0, 0
        first = np.arange(self.outputs)[:, None] * self.stride - self.before
        positions = first + np.arange(self.taps) * self.step
        used = np.flatnonzero(((positions >= 0) & (positions < self.size)).any(axis=0))
        if used.size == 0:  # only padding is met
            return 0, 0
        lead = min(int(used[0]), self.before // self.step)
        trail = min(self.taps - 1 - int(used[-1]), self.after // self.step)
        return lead, trail

    @property
    def boxes(self) -> int:
        """Windows of inputs that form ``box`` averages: all that fit, needed or not.

        It pads by no more than a window reaches.
        """
        reach = self.box_extent
        return (self.size or 0) + min(self.before, reach) + min(self.after, reach) - reach


@dataclass(frozen=True, slots=True)
class Region:
    """A rectangle of pooled outputs whose windows all have the same size.

    Attributes:
        rows: the height axis.
        columns: the width axis.
        scale: factor on the mean over the window (below 1 where padding is counted).
    """

    rows: Axis
    columns: Axis
    scale: float

    @property
    def axes(self) -> tuple[Axis, Axis]:
        """(rows, columns)."""
        return self.rows, self.columns


@dataclass(frozen=True, slots=True)
class _Run:
    start: int
    window: int
    padded: int
    outputs: int | None


def _runs(windows: tuple[Window, ...], stride: int) -> list[_Run] | str:
    runs: list[_Run] = []
    for window in windows:
        if window.length == 0:
            return "a pool window lies in the padding alone"
        last = runs[-1] if runs else None
        if (
            last is not None
            and last.outputs is not None
            and (last.window, last.padded) == (window.length, window.padded)
            and window.start == last.start + last.outputs * stride
        ):
            runs[-1] = _Run(last.start, last.window, last.padded, last.outputs + 1)
        else:
            runs.append(_Run(window.start, window.length, window.padded, 1))
    return runs


def _axis_runs(convolution: Convolution, pooling: Pooling, axis: int) -> list[_Run] | str:
    pool = pooling.pool
    outputs = convolution.output_size(axis)
    if pool is None:
        return "the pool is global and height or width are dynamic"
    if outputs is not None:
        return _runs(pool.windows(outputs, axis), pool.strides[axis])
    if pool.pads[axis] or pool.pads[axis + 2] or pool.ceil_mode:
        return "the pool's border depends on height or width, which are dynamic"
    return [_Run(0, pool.kernel[axis], pool.kernel[axis], None)]


def _axis(convolution: Convolution, pool_stride: int, run: _Run, axis: int, *, whole: bool) -> Axis:
    stride, pad = convolution.strides[axis], convolution.pads[axis]
    kernel, dilation = convolution.kernel[axis], convolution.dilations[axis]
    full = convolution.size[axis]
    if whole or full is None or run.outputs is None:
        # One run covers the axis: the strided convolution stops where the pool does, since
        # floor(floor(a / S) / s) = floor(a / (S * s)).
        before, after, start, size = pad, convolution.pads[axis + 2], 0, full
    else:
        first = run.start * stride - pad
        reach = (run.outputs - 1) * pool_stride + run.window - 1
        last = first + reach * stride + (kernel - 1) * dilation
        start, stop = max(first, 0), min(last + 1, full)
        before, after, size = max(-first, 0), max(last + 1 - full, 0), stop - start
    return Axis(
        kernel, dilation, stride, run.window, pool_stride,
        before, after, start, size, run.outputs, full,
    )  # fmt: skip


def fused_axis(layer: ConvLayer, pool: Pool, axis: int) -> Axis:
    """One axis (0 height, 1 width) of a whole layer fused with a pool, whose windows are whole.

    Padding of the pool becomes padding of the input: what counts and estimates are made of.
    """
    stride, size = layer.strides[axis], (layer.H, layer.W)[axis]
    return Axis(
        kernel=(layer.R, layer.S)[axis],
        dilation=layer.dilations[axis],
        conv_stride=stride,
        window=pool.kernel[axis],
        pool_stride=pool.strides[axis],
        before=layer.pads[axis] + pool.pads[axis] * stride,
        after=layer.pads[axis + 2] + pool.pads[axis + 2] * stride,
        start=0,
        size=size,
        outputs=pool.output_size((layer.P, layer.Q)[axis], axis),
        full=size,
    )


def fused_regions(
    convolution: Convolution, pooling: Pooling | None
) -> tuple[tuple[Region, ...], ...] | str:
    """The regions of ``pooling`` behind ``convolution``, as rows of columns, or why there are none.

    Returns:
        Rows of regions, top to bottom and left to right; or the reason why the pair is not fused.
    """
    if pooling is None:
        return "there is no pool"
    if convolution.nonlinear is not None:
        return convolution.nonlinear
    pool = pooling.pool
    rows = _axis_runs(convolution, pooling, 0)
    columns = _axis_runs(convolution, pooling, 1)
    if isinstance(rows, str):
        return rows
    if isinstance(columns, str):
        return columns
    if pool is None:
        return "the pool is global and height or width are dynamic"
    if len(rows) * len(columns) > MAX_REGIONS:
        return (
            f"the pool's border splits the output into {len(rows) * len(columns)} regions, "
            f"more than {MAX_REGIONS}: more convolutions than it saves"
        )
    result: list[tuple[Region, ...]] = []
    for row in rows:
        line: list[Region] = []
        for column in columns:
            axes = (
                _axis(convolution, pool.strides[0], row, 0, whole=len(rows) == 1),
                _axis(convolution, pool.strides[1], column, 1, whole=len(columns) == 1),
            )
            if any(axis.size is not None and axis.size < 1 for axis in axes):
                return "a region reads only padding"
            scale = 1.0
            if pool.count_include_pad:
                scale = (row.window * column.window) / (row.padded * column.padded)
            line.append(Region(*axes, scale))
        result.append(tuple(line))
    return tuple(result)
