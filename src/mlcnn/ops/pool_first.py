"""Form ``pool-first``: a 1x1 convolution commutes with the average pool, so the pool goes first.

    AvgPool(conv_1x1(x) + b) = conv_1x1(AvgPool(x)) + b

Padding and partial windows move along unchanged, as long as no bias meets counted padding.
"""

import math
from typing import ClassVar

import onnx_ir as ir

from mlcnn.ops.amounts import MACS_PER_ELEMENT, NODE, convolution, fused_macs, traffic
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, Pooling, average_pool_node
from mlcnn.workload import DENSE, ConvLayer, Layer, Operations, Pool

__all__ = ["PoolFirst", "global_pool_conv", "pool_conv", "pooled_first"]


@function("PoolConv")
def pool_conv(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, w: Tensor, b: Tensor, pool_kernel: Ints, pool_strides: Ints, pool_pads: Ints,
    ceil_mode: int, count_include_pad: int, group: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::PoolConv(X, W, B)``: average pool, then a 1x1 convolution."""
    pooled = op.AveragePool(
        x,
        kernel_shape=pool_kernel,
        strides=pool_strides,
        pads=pool_pads,
        ceil_mode=ceil_mode,
        count_include_pad=count_include_pad,
    )
    return op.Conv(pooled, w, b, group=group)


@function("GlobalPoolConv")
def global_pool_conv(x: Tensor, w: Tensor, b: Tensor, group: int) -> Tensor:
    """``mlcnn::GlobalPoolConv(X, W, B)``: global average pool, then a 1x1 convolution."""
    return op.Conv(op.GlobalAveragePool(x), w, b, group=group)


class PoolFirst:
    """The average pool in front of a 1x1 convolution."""

    name: ClassVar[str] = "pool-first"
    rank: ClassVar[int | None] = 0

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the pair; None if it can."""
        if pooling is None:
            return "there is no pool"
        if convolution.nonlinear is not None:
            return convolution.nonlinear
        if convolution.kernel != (1, 1):
            return "the kernel is not 1x1"
        if convolution.strides != (1, 1) or any(convolution.pads):
            return "the 1x1 convolution has strides or padding"
        if pooling.counts_padding and convolution.bias is not None:
            return "the pool counts its padding and the convolution has a bias"
        return None

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output, shape (N, K, pooled height, width)."""
        source = convolution.node.inputs[0]
        if pooling is None or source is None:
            raise ValueError("not a site of this form")
        if convolution.weights != DENSE:
            pooled = emitter.add(average_pool_node(pooling, source))
            return convolution.emit(emitter, pooled, (1, 1), (0, 0, 0, 0))
        inputs = [source, convolution.weight, convolution.bias]
        pool = pooling.pool
        if pool is None or pooling.is_global:
            return emitter.call(global_pool_conv, inputs, group=convolution.groups)
        return emitter.call(
            pool_conv,
            inputs,
            pool_kernel=pool.kernel,
            pool_strides=pool.strides,
            pool_pads=pool.pads,
            ceil_mode=int(pool.ceil_mode),
            count_include_pad=int(pool.count_include_pad),
            group=convolution.groups,
        )

    def operations(self, layer: Layer) -> Operations | None:
        """A mean for every pooled input, then the convolution."""
        nest, pool = layer.nest, layer.pool
        return None if pool is None or layer.weights != DENSE else pooled_first(nest, pool)

    def estimate(self, layer: ConvLayer) -> float:
        """The pool reads the input, and the convolution what is left of it."""
        moved = traffic(layer) + 2 * layer.C * math.prod(layer.pooled)
        return fused_macs(layer) + MACS_PER_ELEMENT * moved + 2 * NODE


def pooled_first(layer: ConvLayer, pool: Pool) -> Operations:
    """What a pool and a convolution behind it compute."""
    pooled = layer.C * math.prod(layer.pooled)
    means = Operations(additions=pooled * (math.prod(pool.kernel) - 1))
    return layer.N * means + convolution(layer)
