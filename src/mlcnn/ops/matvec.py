"""Form ``matvec``: before a global pool the whole convolution is one matrix-vector product.

One pooled output per filter is left: the mean over all positions of an input per kernel tap
(``M``: one column per tap), times the weights as a matrix. Where the input has no more positions
than the kernel has taps, the weights are spread over the input itself and ``M`` goes.
"""

import math
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.graph import constant
from mlcnn.ops.amounts import MACS_PER_ELEMENT, NODE, fused_macs, products, traffic
from mlcnn.ops.amounts import convolution as convolution_operations
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.ops.pool_first import pooled_first
from mlcnn.ops.regions import Axis, fused_regions
from mlcnn.workload import ConvLayer, Layer, Operations

__all__ = [
    "MatVec",
    "conv_pool_gemm",
    "conv_pool_matvec",
    "global_pool_gemm",
    "means_and_products",
    "tap_means",
]


@function("ConvPoolMatVec")
def conv_pool_matvec(x: Tensor, m: Tensor, w: Tensor, b: Tensor, flat_shape: Ints) -> Tensor:
    """``mlcnn::ConvPoolMatVec(X, M, W, B)``: means per kernel tap, then a matrix product."""
    # Sizes in numbers: with an empty batch, -1 could be anything.
    means = op.MatMul(op.Reshape(x, op.Constant(value_ints=flat_shape)), m)
    product = op.Gemm(op.Flatten(means, axis=1), w, b, transB=1)
    return op.Unsqueeze(product, op.Constant(value_ints=(2, 3)))


@function("ConvPoolGemm")
def conv_pool_gemm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """``mlcnn::ConvPoolGemm(X, W, B)``: the weights spread over the whole input."""
    product = op.Gemm(op.Flatten(x, axis=1), w, b, transB=1)
    return op.Unsqueeze(product, op.Constant(value_ints=(2, 3)))


@function("GlobalPoolGemm")
def global_pool_gemm(x: Tensor, w: Tensor, b: Tensor) -> Tensor:
    """``mlcnn::GlobalPoolGemm(X, W, B)``: a 1x1 convolution behind a global pool."""
    product = op.Gemm(op.Flatten(op.GlobalAveragePool(x), axis=1), w, b, transB=1)
    return op.Unsqueeze(product, op.Constant(value_ints=(2, 3)))


def tap_means(axis: Axis) -> np.ndarray:
    """Share that every input position has in the mean under every kernel tap.

    Returns:
        float64, shape (outputs, size, kernel); the axis must have static sizes.
    """
    matrix = np.zeros((axis.outputs or 0, axis.size or 0, axis.kernel))
    for output, index, tap in np.ndindex(matrix.shape[0], axis.window, axis.kernel):
        position = (output * axis.pool_stride + index) * axis.conv_stride
        position += tap * axis.dilation - axis.before
        if 0 <= position < matrix.shape[1]:
            matrix[output, position, tap] += 1 / axis.window
    return matrix


class MatVec:
    """Means per kernel tap, then one matrix-vector product."""

    name: ClassVar[str] = "matvec"
    rank: ClassVar[int | None] = None

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the pair; None if it can."""
        if convolution.rigid is not None:
            return convolution.rigid
        if pooling is None:
            return "there is no pool"
        if convolution.groups != 1:
            return "the convolution has groups"
        if convolution.kernel == (1, 1) and pooling.is_global:
            plain = convolution.strides == (1, 1) and not any(convolution.pads)
            return None if plain else "the 1x1 convolution has strides or padding"
        regions = fused_regions(convolution, pooling)
        if isinstance(regions, str):
            return regions
        region = regions[0][0]
        outputs = [len(regions), len(regions[0]), region.rows.outputs, region.columns.outputs]
        if outputs != [1, 1, 1, 1] or region.scale != 1.0:
            return "the pool leaves more than one output"
        return None

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output, shape (N, K, 1, 1)."""
        source, bias = convolution.node.inputs[0], convolution.bias
        weight = constant(convolution.weight)
        if weight is None or pooling is None:
            raise ValueError("not a site of this form")
        if convolution.kernel == (1, 1) and pooling.is_global:
            matrix = emitter.weight(weight.reshape(convolution.filters, -1), "weight")
            return emitter.call(global_pool_gemm, [source, matrix, bias])
        regions = fused_regions(convolution, pooling)
        if isinstance(regions, str):
            raise ValueError(regions)
        rows, columns = (tap_means(axis)[0] for axis in regions[0][0].axes)
        if rows.shape[0] * columns.shape[0] <= weight.shape[2] * weight.shape[3]:
            spread = np.einsum("kcrs,hr,ws->kchw", weight.astype(np.float64), rows, columns)
            matrix = emitter.weight(spread.reshape(convolution.filters, -1), "weight", filters=0)
            return emitter.call(conv_pool_gemm, [source, matrix, bias])
        means = np.einsum("hr,ws->hwrs", rows, columns)
        taps = means.reshape(rows.shape[0] * columns.shape[0], -1)
        matrix = emitter.weight(weight.reshape(convolution.filters, -1), "weight")
        return emitter.call(
            conv_pool_matvec,
            [source, emitter.weight(taps, "means"), matrix, bias],
            flat_shape=(0, convolution.channels, taps.shape[0]),
        )

    def operations(self, layer: Layer) -> Operations | None:
        """The products, and the means where there are any."""
        nest, pool = layer.nest, layer.pool
        if pool is None:
            return None
        if nest.kernel_area == 1 and pool.kernel == (nest.H, nest.W):
            return pooled_first(nest, pool)
        if nest.kernel_area >= nest.H * nest.W:
            return products(nest, nest.K, nest.C * nest.H * nest.W)
        return means_and_products(nest)

    def estimate(self, layer: ConvLayer) -> float:
        """A matrix-vector product, behind a mean for every tap where there is one."""
        inputs, taps = layer.C * layer.H * layer.W, layer.kernel_area
        if 1 < layer.H * layer.W <= taps:
            return layer.K * inputs + MACS_PER_ELEMENT * traffic(layer) + 3 * NODE
        means = 0 if taps == 1 else inputs * taps
        moved = traffic(layer) + layer.C * taps
        return fused_macs(layer) + means + MACS_PER_ELEMENT * moved + 4 * NODE


def means_and_products(layer: ConvLayer) -> Operations:
    """A mean over all inputs for every tap of every output, then the convolution."""
    means = layer.C * layer.kernel_area * math.prod(layer.pooled)
    return products(layer, means, layer.H * layer.W) + convolution_operations(layer)
