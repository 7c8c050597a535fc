"""Form ``spectral``: r small products for the k^2 of a block, between two transforms.

    reshape (N, k, q H, W) -> 1x1 convolution k -> r -> reshape -> convolution in r groups of q -> p
    -> reshape -> 1x1 convolution r -> k

Because the channels of a block have the same distance, both transforms are 1x1 convolutions over
the tensor as it lies. Real arithmetic in standard operators; the bias goes along inside.
"""

import math
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant
from mlcnn.ops.amounts import MACS_PER_ELEMENT, NODE
from mlcnn.ops.block_circulant.operator import DENSE_LAYER, KIND, Blocks, blocks_of
from mlcnn.ops.block_circulant.transforms import (
    backward_matrix,
    backward_operations,
    forward_matrix,
    forward_operations,
    products,
    spectral_weights,
)
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.workload import ConvLayer, Layer, Operations

__all__ = ["Spectral", "compact_weight", "spectral_conv", "spectral_dense"]

Floats = NDArray[np.float64]


@function("SpectralConv")
def spectral_conv(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, t: Tensor, v: Tensor, b: Tensor, s: Tensor, in_shape: Ints, bins_shape: Ints,
    sums_shape: Ints, out_shape: Ints, strides: Ints, pads: Ints, dilations: Ints, group: int,
    bins: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::SpectralConv(X, T, V, B, S)``: transform, products bin by bin, transform back."""
    blocks = op.Reshape(x, op.Constant(value_ints=in_shape))
    rows = op.Reshape(op.Conv(blocks, t, group=group), op.Constant(value_ints=bins_shape))
    sums = op.Conv(rows, v, b, strides=strides, pads=pads, dilations=dilations, group=bins)
    columns = op.Reshape(sums, op.Constant(value_ints=sums_shape))
    return op.Reshape(op.Conv(columns, s, group=group), op.Constant(value_ints=out_shape))


@function("SpectralDense")
def spectral_dense(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, t: Tensor, v: Tensor, b: Tensor, s: Tensor, in_shape: Ints, out_shape: Ints
) -> Tensor:
    """``mlcnn::SpectralDense(X, T, V, B, S)``: the same with matrix products, V (r, q, p)."""
    blocks = op.Reshape(x, op.Constant(value_ints=in_shape))
    rows = op.Transpose(op.MatMul(t, blocks), perm=[1, 0, 2])
    sums = op.Transpose(op.MatMul(rows, v), perm=[1, 0, 2])
    return op.Add(op.Reshape(op.MatMul(s, sums), op.Constant(value_ints=out_shape)), b)


class Spectral:
    """Transforms, and r products for the k^2 of a block."""

    name: ClassVar[str] = "spectral"
    rank: ClassVar[int | None] = 0

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        if convolution.weights.kind != KIND:
            return f"its weights are not {KIND}"
        return None if pooling is None else "this form has no pool: fuse puts it in front"

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        del pooling
        source = convolution.node.inputs[0]
        if source is None:
            raise ValueError("a layer without input")
        blocks, weight, bias = _arrays(convolution)
        values = spectral_weights(weight, 2)  # (G p, q, r, R, S)
        extra = blocks.padded[1] - blocks.channels
        if extra:
            rank = 2 if convolution.node.op_type.startswith(DENSE_LAYER) else 4
            pads = [0] * (2 * rank)
            pads[rank + 1] = extra
            source = emitter.op("Pad", [source, emitter.integers(pads, "pads")])
        make = _dense if convolution.node.op_type.startswith(DENSE_LAYER) else _conv
        result = make(emitter, convolution, source, blocks, values, bias)
        if blocks.padded[0] == blocks.filters:
            return result
        ends = emitter.integers([blocks.filters], "ends")
        first, axis = emitter.integers([0], "starts"), emitter.integers([1], "axes")
        return emitter.op("Slice", [result, first, ends, axis])

    def operations(self, layer: Layer) -> Operations | None:
        """Transforms as butterflies, then r products of q terms for every output of a block.

        Not those of the matrices that stand for the transforms in standard operators.
        """
        nest = layer.nest
        (_, size), *_ = layer.weights.options
        blocks = Blocks(int(size), nest.K, nest.C, nest.G)
        inputs = nest.G * blocks.columns * nest.H * nest.W
        outputs = nest.G * blocks.rows * nest.outputs
        terms = blocks.columns * nest.kernel_area
        count = products(blocks.size)
        each = Operations(count * terms, count * (terms - 1))
        total = (
            inputs * forward_operations(blocks.size)
            + outputs * each
            + outputs * backward_operations(blocks.size)
        )
        return nest.N * total

    def estimate(self, layer: ConvLayer) -> float:
        """Needs the block size, which a loop nest lacks: the rule is to measure."""
        moved = layer.C * layer.H * layer.W + layer.K * math.prod(layer.pooled)
        return layer.macs / layer.N / 4 + MACS_PER_ELEMENT * 3 * moved + 4 * NODE


def _arrays(layer: Convolution) -> tuple[Blocks, Floats, Floats | None]:
    weight = constant(layer.weight)
    bias = None if layer.bias is None else constant(layer.bias)
    if weight is None:
        raise ValueError("not a layer of this form")
    wide = None if bias is None else bias.astype(np.float64)
    return blocks_of(layer), weight.astype(np.float64), wide


def _spread_bias(bias: Floats | None, blocks: Blocks) -> Floats:
    """The least numbers (G, r, p) whose transform back is the bias."""
    inverse = np.linalg.pinv(backward_matrix(blocks.size))
    whole = np.zeros(blocks.padded[0])
    if bias is not None:
        whole[: len(bias)] = bias
    return inverse @ whole.reshape(blocks.groups, blocks.size, blocks.rows)


def _conv(
    emitter: Emitter, layer: Convolution, source: ir.Value, blocks: Blocks, values: Floats,
    bias: Floats | None,
) -> ir.Value:  # fmt: skip
    groups, size, rows, columns = blocks.groups, blocks.size, blocks.rows, blocks.columns
    bins, taps = products(size), values.shape[3:]
    # (G, p, q, r, R, S) to (G, r, p, q, R, S): a group of the convolution is a bin of a group.
    ordered = values.reshape(groups, rows, columns, bins, *taps).transpose(0, 3, 1, 2, 4, 5)
    forward = np.tile(forward_matrix(size), (groups, 1))[:, :, None, None]
    backward = np.tile(backward_matrix(size), (groups, 1))[:, :, None, None]
    return emitter.call(
        spectral_conv,
        [
            source,
            emitter.weight(forward, "forward"),
            emitter.weight(ordered.reshape(-1, columns, *taps), "weight", filters=0),
            emitter.weight(_spread_bias(bias, blocks).reshape(-1), "bias"),
            emitter.weight(backward, "backward"),
        ],
        in_shape=(0, groups * size, -1, 0),
        bins_shape=(0, groups * bins * columns, -1, 0),
        sums_shape=(0, groups * bins, -1, 0),
        out_shape=(0, blocks.padded[0], -1, 0),
        strides=layer.strides,
        pads=layer.pads,
        dilations=layer.dilations,
        group=groups,
        bins=groups * bins,
    )


def _dense(
    emitter: Emitter, layer: Convolution, source: ir.Value, blocks: Blocks, values: Floats,
    bias: Floats | None,
) -> ir.Value:  # fmt: skip
    del layer
    size = blocks.size
    whole = np.zeros(blocks.padded[0])
    if bias is not None:
        whole[: len(bias)] = bias
    return emitter.call(
        spectral_dense,
        [
            source,
            emitter.weight(forward_matrix(size), "forward"),
            emitter.weight(values.transpose(2, 1, 0), "weight"),
            emitter.weight(whole, "bias"),
            emitter.weight(backward_matrix(size), "backward"),
        ],
        in_shape=(0, size, blocks.columns),
        out_shape=(0, blocks.padded[0]),
    )


def compact_weight(values: Floats, size: int) -> Floats:
    """First columns from what ``spectral_weights`` made of them, the rows along the first axis."""
    whole = 1 + (size % 2 == 0)
    bins = [values[0].astype(complex)]
    for index in range(whole, len(values), 3):
        bins.append(values[index] + 1j * (values[index + 1] + values[index]))
    if whole == 2:
        bins.append(values[1].astype(complex))
    return np.fft.irfft(np.stack(bins) * size, n=size, axis=0)
