"""How far the sums of a fused layer are reused, and what each choice costs."""

import math
from enum import StrEnum

from mlcnn.counting.axis import AxisCounts, axis_counts
from mlcnn.workload import ConvLayer, Operations

__all__ = ["Reuse", "fused", "original"]


class Reuse(StrEnum):
    """How long a sum of inputs is kept.

    A *half* sum adds the ``k`` inputs of one column of a window, a *full* sum adds the ``k'``
    half sums of the window ([MLCNN] Algorithm 1, with k = k' = 2).
    """

    NONE = "none"
    """Every sum is formed where it is needed: only multiplications are saved (RME)."""
    LAR = "lar"
    """Half sums are shared inside one pooled output of one filter ([MLCNN] Eq. 1)."""
    GAR = "gar"
    """Full sums are shared along one pooled row of one filter ([MLCNN] Eq. 2)."""
    PAPER = "paper"
    """Both: half and full sums are shared along one pooled row of one filter ([MLCNN] Eq. 7)."""
    ALGORITHM = "algorithm"
    """Algorithm 1 as printed: half sums once per input channel, full sums once per filter."""
    SHARED = "shared"
    """Half and full sums once per input channel, for all filters: they depend on no weight."""


def original(layer: ConvLayer) -> Operations:
    """The convolution and the pool behind it, separately; see ``ConvLayer.operations``."""
    return layer.operations


def fused(layer: ConvLayer, reuse: Reuse) -> Operations:
    """The fused layer: sums of inputs, then one convolution with the stride of both.

    Multiplications are K*C/G*R*S per pooled output whatever the reuse. A layer without pool
    stays what it is.
    """
    if layer.pool is None:
        return original(layer)
    channels = layer.C // layer.G
    pooled = layer.K * math.prod(layer.pooled)
    products = pooled * channels * layer.kernel_area
    rows, columns = (axis_counts(layer, layer.pool, axis) for axis in (0, 1))
    sums = _sums(rows, columns, reuse, filters=layer.K * channels, channels=layer.C)
    return layer.N * Operations(products, sums + products - pooled)


def _sums(
    rows: AxisCounts, columns: AxisCounts, reuse: Reuse, *, filters: int, channels: int
) -> int:
    """Additions that form the sums of inputs, over all pairs of filter and input channel."""
    half, full = rows.window - 1, columns.window - 1
    area, outputs = rows.kernel * columns.kernel, rows.outputs * columns.outputs
    whole = rows.window * columns.window - 1
    match reuse:
        case Reuse.NONE:
            return filters * outputs * area * whole
        case Reuse.LAR:
            per_output = rows.kernel * columns.inputs_per_output * half + area * full
            return filters * outputs * per_output
        case Reuse.GAR:
            return filters * rows.outputs * rows.kernel * columns.sums * whole
        case Reuse.PAPER:
            per_row = rows.kernel * (columns.inputs * half + columns.sums * full)
            return filters * rows.outputs * per_row
        case Reuse.ALGORITHM:
            halves = channels * rows.sums * columns.inputs * half
            return halves + filters * rows.sums * columns.sums * full
        case Reuse.SHARED:
            return channels * rows.sums * (columns.inputs * half + columns.sums * full)
