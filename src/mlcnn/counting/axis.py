"""Which positions along one axis the fused windows of a layer touch.

The window of the pooled output ``i`` and the kernel tap ``c`` sums ``k`` inputs that lie ``S``
apart, from position ``i*s*S + c*d`` on (conv stride S, dilation d, pool stride s). Distinct
positions are counted as sets: that holds for every geometry, and it equals the closed forms of
[MLCNN] where those apply (``K + (N-1)*2*S`` sums a row for a 2x2 pool, for instance).
"""

from dataclasses import dataclass
from functools import lru_cache

from mlcnn.ops.regions import fused_axis
from mlcnn.workload import ConvLayer, Pool

__all__ = ["AxisCounts", "axis_counts"]


@dataclass(frozen=True, slots=True)
class AxisCounts:
    """Numbers of positions along one axis, on the padded input.

    Attributes:
        kernel: taps of the convolution.
        window: convolution outputs that one pooled output sums.
        outputs: outputs behind the pool.
        sums: distinct windows of inputs, over all outputs.
        inputs: distinct inputs in those windows, over all outputs.
        inputs_per_output: distinct inputs in the windows of one output.
    """

    kernel: int
    window: int
    outputs: int
    sums: int
    inputs: int
    inputs_per_output: int


@lru_cache(maxsize=4096)
def _distinct(starts: range, kernel: int, dilation: int, window: range) -> tuple[int, int]:
    """Numbers of distinct windows and of distinct inputs in them."""
    sums = {start + tap * dilation for start in starts for tap in range(kernel)}
    inputs = {first + offset for first in sums for offset in window}
    return len(sums), len(inputs)


def axis_counts(layer: ConvLayer, pool: Pool, axis: int) -> AxisCounts:
    """Count positions along ``axis`` (0 height, 1 width) of ``layer`` fused with ``pool``.

    Windows that a padded or partial pool cuts off count as whole ones: see ``mlcnn.counting``.
    """
    along = fused_axis(layer, pool, axis)
    outputs = along.outputs or 0
    starts = range(0, outputs * along.stride, along.stride)
    window = range(0, along.window * along.conv_stride, along.conv_stride)
    sums, inputs = _distinct(starts, along.kernel, along.dilation, window)
    _, single = _distinct(starts[:1], along.kernel, along.dilation, window)
    return AxisCounts(along.kernel, along.window, outputs, sums, inputs, single)
