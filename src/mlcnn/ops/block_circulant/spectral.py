"""Form ``spectral``: r small products for the k^2 of a block, between two transforms.

    reshape (N, k, q H W) -> product k -> r -> reshape -> convolution in r groups of q -> p
    -> reshape -> product r -> k

Because the channels of a block have the same distance, both transforms are matrix products over
the tensor as it lies. Real arithmetic in standard operators; the bias goes along inside.
"""

import abc
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant
from mlcnn.ops.amounts import MACS_PER_ELEMENT, NODE
from mlcnn.ops.block_circulant.operator import KIND, Blocks, blocks_of, is_dense
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

__all__ = [
    "InBins",
    "Scheme",
    "Spectral",
    "SpectralBatch",
    "compact_weight",
    "spectral_conv",
    "spectral_conv_open",
    "spectral_dense",
    "spectral_dense_batch",
    "spread_bias",
]

Floats = NDArray[np.float64]
_USUAL = 8


@function("SpectralConv")
def spectral_conv(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, t: Tensor, v: Tensor, b: Tensor, s: Tensor, in_shape: Ints, bins_shape: Ints,
    sums_shape: Ints, out_shape: Ints, strides: Ints, pads: Ints, dilations: Ints, bins: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::SpectralConv(X, T, V, B, S)``: transform, products bin by bin, transform back."""
    blocks = op.Reshape(x, op.Constant(value_ints=in_shape))
    rows = op.Reshape(op.MatMul(t, blocks), op.Constant(value_ints=bins_shape))
    sums = op.Conv(rows, v, b, strides=strides, pads=pads, dilations=dilations, group=bins)
    columns = op.Reshape(sums, op.Constant(value_ints=sums_shape))
    return op.Reshape(op.MatMul(s, columns), op.Constant(value_ints=out_shape))


@function("SpectralConvOpen")
def spectral_conv_open(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, t: Tensor, v: Tensor, b: Tensor, s: Tensor, in_shape: Ints, bins_shape: Ints,
    sums_shape: Ints, out_shape: Ints, strides: Ints, pads: Ints, dilations: Ints, group: int,
    bins: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::SpectralConvOpen(X, T, V, B, S)``: the same for groups and any height and width.

    1x1 convolutions keep the width apart, and take up to twice as long as matrix products.
    """
    blocks = op.Reshape(x, op.Constant(value_ints=in_shape))
    rows = op.Reshape(op.Conv(blocks, t, group=group), op.Constant(value_ints=bins_shape))
    sums = op.Conv(rows, v, b, strides=strides, pads=pads, dilations=dilations, group=bins)
    columns = op.Reshape(sums, op.Constant(value_ints=sums_shape))
    return op.Reshape(op.Conv(columns, s, group=group), op.Constant(value_ints=out_shape))


@function("SpectralDense")
def spectral_dense(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, t: Tensor, v: Tensor, b: Tensor, s: Tensor, in_shape: Ints, bins_shape: Ints,
    sums_shape: Ints, out_shape: Ints, bins: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::SpectralDense(X, T, V, B, S)``: the same for a dense layer, V (r p, q, 1, 1).

    A grouped convolution reads its weights once; a batched matrix product of one row does not.
    """
    blocks = op.Reshape(x, op.Constant(value_ints=in_shape))
    rows = op.Reshape(op.MatMul(t, blocks), op.Constant(value_ints=bins_shape))
    columns = op.Reshape(op.Conv(rows, v, b, group=bins), op.Constant(value_ints=sums_shape))
    return op.Reshape(op.MatMul(s, columns), op.Constant(value_ints=out_shape))


@function("SpectralDenseBatch")
def spectral_dense_batch(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, t: Tensor, v: Tensor, b: Tensor, s: Tensor, in_shape: Ints, out_shape: Ints
) -> Tensor:
    """``mlcnn::SpectralDenseBatch(X, T, V, B, S)``: matrix products over a batch, V (r, p, q)."""
    blocks = op.Reshape(x, op.Constant(value_ints=in_shape))
    rows = op.Transpose(op.MatMul(t, blocks), perm=[1, 2, 0])
    sums = op.Transpose(op.Add(op.MatMul(v, rows), b), perm=[2, 0, 1])
    return op.Reshape(op.MatMul(s, sums), op.Constant(value_ints=out_shape))


@dataclass(frozen=True, slots=True)
class Scheme:
    """What the bins of a block of size k take.

    Attributes:
        products: real products of all of them.
        forward: operations from a block of inputs to what is multiplied.
        backward: operations from the products to a block of outputs.
    """

    products: Callable[[int], int]
    forward: Callable[[int], Operations]
    backward: Callable[[int], Operations]


class InBins(abc.ABC):
    """What the forms have in common: products bin by bin, between two transforms."""

    rank: ClassVar[int | None] = None
    scheme: ClassVar[Scheme] = Scheme(products, forward_operations, backward_operations)

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        if convolution.weights.kind != KIND:
            return f"its weights are not {KIND}"
        return None if pooling is None else "this form has no pool: fuse puts it in front"

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        del pooling
        source, weight = convolution.node.inputs[0], constant(convolution.weight)
        if source is None or weight is None:
            raise ValueError("not a layer of this form")
        blocks, wide = blocks_of(convolution), weight.astype(np.float64)
        padded = _padded(emitter, convolution, source)
        return _cut(emitter, self.build(emitter, convolution, blocks, wide, padded), blocks)

    @abc.abstractmethod
    def build(
        self,
        emitter: Emitter,
        convolution: Convolution,
        blocks: Blocks,
        weight: Floats,
        source: ir.Value,
    ) -> ir.Value:
        """The form for whole blocks.

        Args:
            emitter: builds the nodes.
            convolution: the layer.
            blocks: how its weight is divided.
            weight: first columns (G p, q, k, ...).
            source: the input, its channels padded to whole blocks.
        """

    def operations(self, layer: Layer) -> Operations | None:
        """Transforms as butterflies, then r products of q terms for every output of a block.

        Not those of the matrices that stand for the transforms in standard operators.
        """
        nest = layer.nest
        (_, size), *_ = layer.weights.options
        blocks = Blocks(int(size), nest.K, nest.C, nest.G)
        inputs = nest.G * blocks.columns * nest.H * nest.W
        outputs = nest.G * blocks.rows * nest.outputs
        count, terms = self.scheme.products(blocks.size), blocks.columns * nest.kernel_area
        total = (
            inputs * self.scheme.forward(blocks.size)
            + outputs * Operations(count * terms, count * (terms - 1))
            + outputs * self.scheme.backward(blocks.size)
        )
        return nest.N * total

    def estimate(self, layer: ConvLayer) -> float:
        """Cost of one image with blocks of 8: a loop nest does not tell their size."""
        moved = layer.C * layer.H * layer.W + layer.K * math.prod(layer.pooled)
        work = layer.macs / layer.N * products(_USUAL) / _USUAL**2
        return work + MACS_PER_ELEMENT * 4 * moved + 7 * NODE


class _ThreeProducts(InBins):
    """Three real products for each complex bin."""

    def build(
        self,
        emitter: Emitter,
        convolution: Convolution,
        blocks: Blocks,
        weight: Floats,
        source: ir.Value,
    ) -> ir.Value:
        """The form for whole blocks."""
        bias = spread_bias(convolution, blocks, backward_matrix(blocks.size))
        parts = _Parts(emitter, convolution, blocks, spectral_weights(weight, 2), bias)
        return self._emit(parts, source)

    @abc.abstractmethod
    def _emit(self, parts: "_Parts", source: ir.Value) -> ir.Value: ...


class Spectral(_ThreeProducts):
    """A convolution with a group for each bin, between two transforms."""

    name: ClassVar[str] = "spectral"
    rank: ClassVar[int | None] = 0

    def _emit(self, parts: "_Parts", source: ir.Value) -> ir.Value:
        return parts.dense(source) if parts.is_dense else parts.convolution(source)


class SpectralBatch(_ThreeProducts):
    """A dense layer as a matrix product for each bin: best for many images."""

    name: ClassVar[str] = "spectral-batch"

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        if not is_dense(convolution.node):
            return "it is no dense layer"
        return super().refuses(convolution, pooling)

    def _emit(self, parts: "_Parts", source: ir.Value) -> ir.Value:
        return parts.dense_batch(source)


@dataclass(frozen=True, slots=True)
class _Parts:
    """What the nodes of a layer are made of.

    Attributes:
        values: spectral weights (G p, q, r, R, S); (p, q, r) of a dense layer.
        bias: (G, r, p).
    """

    emitter: Emitter
    layer: Convolution
    blocks: Blocks
    values: Floats
    bias: Floats

    @property
    def is_dense(self) -> bool:
        return is_dense(self.layer.node)

    @property
    def bins(self) -> int:
        return products(self.blocks.size)

    def _matrix(self, matrix: Floats, role: str) -> ir.Value:
        return self.emitter.weight(matrix, role)

    def convolution(self, source: ir.Value) -> ir.Value:
        """Of images."""
        blocks, layer, bins = self.blocks, self.layer, self.bins
        groups, size, taps = blocks.groups, blocks.size, self.values.shape[3:]
        # (G p, q, r, R, S) to (G r p, q, R, S): a group of the convolution is a bin of a group.
        split = self.values.reshape(groups, blocks.rows, blocks.columns, bins, *taps)
        weight = split.transpose(0, 3, 1, 2, 4, 5).reshape(-1, blocks.columns, *taps)
        forward, backward = forward_matrix(size), backward_matrix(size)
        height, width = layer.size
        open_sizes = height is None or width is None or groups > 1
        if open_sizes:
            forward = np.tile(forward, (groups, 1))[:, :, None, None]
            backward = np.tile(backward, (groups, 1))[:, :, None, None]
        inputs = [
            source,
            self._matrix(forward, "forward"),
            self.emitter.weight(weight, "weight", filters=0),
            self.emitter.weight(self.bias.reshape(-1), "bias"),
            self._matrix(backward, "backward"),
        ]
        attributes = {
            "strides": layer.strides, "pads": layer.pads, "dilations": layer.dilations,
            "bins": groups * bins,
        }  # fmt: skip
        if open_sizes:
            return self.emitter.call(
                spectral_conv_open,
                inputs,
                in_shape=(0, groups * size, -1, 0),
                bins_shape=(0, groups * bins * blocks.columns, -1, 0),
                sums_shape=(0, groups * bins, -1, 0),
                out_shape=(0, blocks.padded[0], -1, 0),
                group=groups,
                **attributes,
            )
        return self.emitter.call(
            spectral_conv,
            inputs,
            in_shape=(0, size, -1),
            bins_shape=(0, bins * blocks.columns, height or 0, width or 0),
            sums_shape=(0, bins, -1),
            out_shape=(0, blocks.padded[0], layer.nest.P, layer.nest.Q),
            **attributes,
        )

    def dense(self, source: ir.Value) -> ir.Value:
        """Of features, few images."""
        blocks, bins = self.blocks, self.bins
        weight = self.values.transpose(2, 0, 1).reshape(-1, blocks.columns, 1, 1)
        return self.emitter.call(
            spectral_dense,
            [
                source,
                self._matrix(forward_matrix(blocks.size), "forward"),
                self.emitter.weight(weight, "weight", filters=0),
                self.emitter.weight(self.bias.reshape(-1), "bias"),
                self._matrix(backward_matrix(blocks.size), "backward"),
            ],
            in_shape=(0, blocks.size, blocks.columns),
            bins_shape=(0, bins * blocks.columns, 1, 1),
            sums_shape=(0, bins, blocks.rows),
            out_shape=(0, blocks.padded[0]),
            bins=bins,
        )

    def dense_batch(self, source: ir.Value) -> ir.Value:
        """Of features, many images."""
        blocks = self.blocks
        return self.emitter.call(
            spectral_dense_batch,
            [
                source,
                self._matrix(forward_matrix(blocks.size), "forward"),
                self.emitter.weight(self.values.transpose(2, 0, 1), "weight"),
                self.emitter.weight(self.bias.reshape(self.bins, blocks.rows, 1), "bias"),
                self._matrix(backward_matrix(blocks.size), "backward"),
            ],
            in_shape=(0, blocks.size, blocks.columns),
            out_shape=(0, blocks.padded[0]),
        )


def _padded(emitter: Emitter, layer: Convolution, source: ir.Value) -> ir.Value:
    """The input with channels up to whole blocks."""
    blocks = blocks_of(layer)
    extra = blocks.padded[1] - blocks.channels
    if not extra:
        return source
    rank = 2 if is_dense(layer.node) else 4
    pads = [0] * (2 * rank)
    pads[rank + 1] = extra
    return emitter.op("Pad", [source, emitter.integers(pads, "pads")])


def _cut(emitter: Emitter, result: ir.Value, blocks: Blocks) -> ir.Value:
    """The outputs without those that fill the last blocks."""
    if blocks.padded[0] == blocks.filters:
        return result
    ends = emitter.integers([blocks.filters], "ends")
    return emitter.op(
        "Slice", [result, emitter.integers([0], "starts"), ends, emitter.integers([1], "axes")]
    )


def spread_bias(layer: Convolution, blocks: Blocks, backward: Floats) -> Floats:
    """The least numbers (G, r, p) that ``backward`` (k, r) makes the bias of."""
    bias = None if layer.bias is None else constant(layer.bias)
    whole = np.zeros(blocks.padded[0])
    if bias is not None:
        whole[: bias.size] = bias.reshape(-1)
    return np.linalg.pinv(backward) @ whole.reshape(blocks.groups, blocks.size, blocks.rows)


def compact_weight(values: Floats, size: int) -> Floats:
    """First columns from what ``spectral_weights`` made of them, the rows along the first axis."""
    whole = 1 + (size % 2 == 0)
    real, imaginary = values[whole::3], values[whole::3] + values[whole + 1 :: 3]
    bins = np.concatenate([values[:1], real + 1j * imaginary, values[1:whole]])
    return np.fft.irfft(bins * size, n=size, axis=0)
