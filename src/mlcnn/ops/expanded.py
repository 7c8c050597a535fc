"""Form ``expanded``: one convolution whose kernel is the weight spread over the pool's window.

    AvgPool_{k,s}(conv_{K,S}(x) + b) = conv_{K + k - 1, stride s*S}(x; W * 1_k / k^2) + b

Fewer multiplications are saved than by ``box``, (K+k-1)^2 instead of K^2 a pooled output, but
there is no intermediate tensor: often the fastest form for small layers. Taps that only ever
meet padding are trimmed.
"""

import math
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.graph import constant
from mlcnn.ops.amounts import (
    MACS_PER_ELEMENT,
    NODE,
    STRIDED,
    products,
    traffic,
    untouched,
)
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.form import by_regions, pads_of
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.ops.regions import Axis, Region, fused_axis, fused_regions
from mlcnn.workload import ConvLayer, Layer, Operations, Pool

__all__ = ["Expanded", "conv_pool_expanded", "spread"]


@function("ConvPoolExpanded")
def conv_pool_expanded(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, e: Tensor, b: Tensor,
    conv_strides: Ints, conv_pads: Ints, conv_dilations: Ints, group: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::ConvPoolExpanded(X, E, B)``: a convolution with the expanded kernel E."""
    return op.Conv(
        x, e, b, strides=conv_strides, pads=conv_pads, dilations=conv_dilations, group=group
    )


def spread(weight: np.ndarray, axis: Axis, dimension: int) -> np.ndarray:
    """Spread ``weight`` along ``dimension`` over the window of ``axis``, as a mean.

    Args:
        weight: float64, shape (..., kernel, ...).
        axis: the axis of the region.
        dimension: which dimension of ``weight`` the axis is.

    Returns:
        float64, shape (..., axis.taps, ...).
    """
    weight = np.moveaxis(weight, dimension, -1)
    result = np.zeros((*weight.shape[:-1], axis.taps))
    tap, shift = axis.dilation // axis.step, axis.conv_stride // axis.step
    for index in range(axis.window):
        first = index * shift
        stop = first + (axis.kernel - 1) * tap + 1
        result[..., first : stop : max(tap, 1)] += weight / axis.window
    return np.moveaxis(result, -1, dimension)


def _piece(
    emitter: Emitter, convolution: Convolution, region: Region, source: ir.Value
) -> ir.Value:
    weight = constant(convolution.weight)
    if weight is None:
        raise ValueError("the weight is not a constant")
    kernel = weight.astype(np.float64)
    pads: list[tuple[int, int]] = []
    for dimension, axis in enumerate(region.axes, start=2):
        lead, trail = axis.trimmed
        kernel = spread(kernel, axis, dimension)
        kernel = np.take(kernel, range(lead, kernel.shape[dimension] - trail), axis=dimension)
        pads.append((axis.before - lead * axis.step, axis.after - trail * axis.step))
    rows, columns = region.axes
    return emitter.call(
        conv_pool_expanded,
        [source, emitter.weight(kernel, "weight", filters=0), convolution.bias],
        conv_strides=(rows.stride, columns.stride),
        conv_pads=pads_of(pads[0], pads[1]),
        conv_dilations=(rows.step, columns.step),
        group=convolution.groups,
    )


def _taps(layer: ConvLayer, pool: Pool) -> int:
    """Taps of the expanded kernel: the merged one without what only meets padding.

    The kernel's taps lie d apart and the window's outputs S apart, so the merged kernel has a tap
    at each multiple of gcd(d, S): ((K-1)*d + (k-1)*S) / gcd + 1 of them ([derived]).
    """
    axes = (fused_axis(layer, pool, axis) for axis in (0, 1))
    return math.prod(axis.taps - sum(axis.trimmed) for axis in axes)


class Expanded:
    """One strided convolution with a larger kernel."""

    name: ClassVar[str] = "expanded"
    rank: ClassVar[int | None] = 2

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the pair; None if it can."""
        if convolution.rigid is not None:
            return convolution.rigid
        regions = fused_regions(convolution, pooling)
        return regions if isinstance(regions, str) else None

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output, shape (N, K, pooled height, width)."""
        return by_regions(emitter, convolution, pooling, _piece)

    def operations(self, layer: Layer) -> Operations | None:
        """Products with every tap of the larger kernel."""
        nest, pool = layer.nest, layer.pool
        if pool is None:
            return None
        taps = _taps(nest, pool)
        return products(nest, nest.K * math.prod(nest.pooled), nest.C // nest.G * taps)

    def estimate(self, layer: ConvLayer) -> float:
        """One strided convolution with the larger kernel."""
        if layer.pool is None:
            return untouched(layer)
        taps = _taps(layer, layer.pool)
        work = layer.K * math.prod(layer.pooled) * (layer.C // layer.G) * taps * STRIDED
        return work + MACS_PER_ELEMENT * traffic(layer) + NODE
