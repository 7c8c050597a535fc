"""Form ``matmul``: few pooled outputs, so the convolution becomes two matrix products.

The means under every kernel tap of every pooled output are one product with a constant matrix
(``M``: one row per input position, one column per output and tap), and the convolution is a
product of those means with the weights. Deep layers with small maps run so several times faster
than as a convolution, at larger batches above all.
"""

import math
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.graph import constant
from mlcnn.ops.amounts import MACS_PER_ELEMENT, NODE, fused_macs, traffic
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.ops.matvec import means_and_products, tap_means
from mlcnn.ops.regions import fused_regions
from mlcnn.workload import ConvLayer, Layer, Operations

__all__ = ["MatMul", "conv_pool_matmul"]

_MOST_OUTPUTS = 16  # the constant matrix grows with outputs times inputs
_MOST_INPUTS = 256


@function("ConvPoolMatMul")
def conv_pool_matmul(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, m: Tensor, w: Tensor, b: Tensor,
    flat_shape: Ints, means_shape: Ints, output_shape: Ints,
) -> Tensor:  # fmt: skip
    """``mlcnn::ConvPoolMatMul(X, M, W, B)``: means per output and tap, then a matrix product."""
    flat = op.Reshape(x, op.Constant(value_ints=flat_shape))
    # The constant stands on the right: on the left, ONNX Runtime fails on an empty batch.
    means = op.Transpose(op.MatMul(flat, m), perm=(0, 2, 1))
    patches = op.Reshape(means, op.Constant(value_ints=means_shape))
    filters = op.Transpose(op.Add(op.MatMul(patches, w), b), perm=(0, 2, 1))
    return op.Reshape(filters, op.Constant(value_ints=output_shape))


class MatMul:
    """Means per pooled output and kernel tap, then one matrix product."""

    name: ClassVar[str] = "matmul"
    rank: ClassVar[int | None] = None

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the pair; None if it can."""
        if convolution.rigid is not None:
            return convolution.rigid
        if convolution.groups != 1:
            return "the convolution has groups"
        regions = fused_regions(convolution, pooling)
        if isinstance(regions, str):
            return regions
        if len(regions) != 1 or len(regions[0]) != 1 or regions[0][0].scale != 1.0:
            return "the pool has a border"
        rows, columns = regions[0][0].axes
        if None in {rows.size, columns.size, rows.outputs, columns.outputs}:
            return "height or width are dynamic"
        outputs = (rows.outputs or 0) * (columns.outputs or 0)
        inputs = (rows.size or 0) * (columns.size or 0)
        if outputs > _MOST_OUTPUTS or inputs > _MOST_INPUTS:
            return (
                f"{outputs} pooled outputs of {inputs} inputs: at most {_MOST_OUTPUTS} of "
                f"{_MOST_INPUTS} are worth a matrix product"
            )
        return None

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output, shape (N, K, pooled height, width)."""
        regions = fused_regions(convolution, pooling)
        weight = constant(convolution.weight)
        if isinstance(regions, str) or weight is None:
            raise ValueError("not a site of this form")
        rows, columns = (tap_means(axis) for axis in regions[0][0].axes)
        means = np.einsum("phr,qws->pqrshw", rows, columns)
        outputs, taps = rows.shape[0] * columns.shape[0], convolution.kernel
        products = taps[0] * taps[1] * convolution.channels
        matrix = weight.transpose(2, 3, 1, 0).reshape(products, convolution.filters)
        bias = convolution.bias
        if bias is None:
            bias = emitter.weight(np.zeros(convolution.filters), "bias")
        return emitter.call(
            conv_pool_matmul,
            [
                convolution.node.inputs[0],
                emitter.weight(means.reshape(outputs * taps[0] * taps[1], -1).T, "means"),
                emitter.weight(matrix, "weight"),
                bias,
            ],
            flat_shape=(0, convolution.channels, rows.shape[1] * columns.shape[1]),
            means_shape=(0, outputs, products),
            output_shape=(0, convolution.filters, rows.shape[0], columns.shape[0]),
        )

    def operations(self, layer: Layer) -> Operations | None:
        """The means under every tap of every output, then the convolution."""
        return None if layer.pool is None else means_and_products(layer.nest)

    def estimate(self, layer: ConvLayer) -> float:
        """Two matrix products."""
        means = layer.C * layer.kernel_area * math.prod(layer.pooled)
        work = fused_macs(layer) + means * layer.H * layer.W
        return work + MACS_PER_ELEMENT * 2 * (traffic(layer) + means) + 6 * NODE
