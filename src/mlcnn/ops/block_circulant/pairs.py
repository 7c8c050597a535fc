"""Form ``spectral-pairs``: a dense layer whose weights are read once for two products each.

Real and imaginary part of a bin are two positions of a grouped convolution, and so are the parts of
its weight two outputs: four products a bin where three would do, of k weights a block where the
three need 3k/2 - 1. One image is as fast as its weights are read, so this is the form for it.

    product k -> k -> (k/2, 2, q) -> convolution in k/2 groups of q -> 2p at 2 positions
    -> (4 k/2, p) -> product 2k -> k
"""

import functools
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.ops.amounts import MACS_PER_ELEMENT, NODE
from mlcnn.ops.block_circulant.operator import Blocks, is_dense
from mlcnn.ops.block_circulant.spectral import InBins, Scheme, spread_bias
from mlcnn.ops.block_circulant.transforms import Bin, Counted, Floats, N, inverse, transform
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.workload import ConvLayer, Operations

__all__ = [
    "SpectralPairs",
    "bias_to_blocks",
    "compact_of_pairs",
    "pair_backward",
    "pair_forward",
    "pair_weights",
    "spectral_dense_pairs",
]

_USUAL = 8


@function("SpectralDensePairs")
def spectral_dense_pairs(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, t: Tensor, v: Tensor, b: Tensor, s: Tensor, in_shape: Ints, pairs_shape: Ints,
    bins_shape: Ints, sums_shape: Ints, products_shape: Ints, out_shape: Ints, pairs: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::SpectralDensePairs(X, T, V, B, S)``: V (pairs 2p, q, 1, 1), two positions."""
    blocks = op.Reshape(x, op.Constant(value_ints=in_shape))
    rows = op.Reshape(op.MatMul(t, blocks), op.Constant(value_ints=pairs_shape))
    positions = op.Reshape(op.Transpose(rows, perm=[0, 2, 1]), op.Constant(value_ints=bins_shape))
    sums = op.Reshape(op.Conv(positions, v, b, group=pairs), op.Constant(value_ints=sums_shape))
    columns = op.Reshape(op.Transpose(sums, perm=[0, 2, 1]), op.Constant(value_ints=products_shape))
    return op.Reshape(op.MatMul(s, columns), op.Constant(value_ints=out_shape))


def _pairs(block: int) -> int:
    """Pairs of numbers of a block of size k: its two real bins, and each complex one."""
    return (block + 1) // 2


def _products(block: int) -> int:
    """Products that are used: those of the two real bins with each other are not."""
    return 1 + (block % 2 == 0) + 4 * ((block - 1) // 2)


def _bins(rows: list[N], block: int) -> list[Bin[N]]:
    """The bins from the products of each pair: au, av, bu, bv."""
    middle: list[Bin[N]] = []
    for index in range(4, len(rows), 4):
        first_u, first_v, second_u, second_v = rows[index : index + 4]
        middle.append((first_u - second_v, first_v + second_u))
    last: list[Bin[N]] = [] if block % 2 else [(rows[3], None)]
    return [(rows[0], None), *middle, *last]


@functools.cache
def pair_forward(block: int) -> Floats:
    """From a block of inputs to pairs: the first and the last bin, then the parts of each other.

    Shape (2 pairs, k). The last bin of an odd size is 0.
    """
    bins = transform([*np.eye(block)])
    rows = [bins[0][0], np.zeros(block) if block % 2 else bins[-1][0]]
    for real, imaginary in bins:
        rows += [] if imaginary is None else [real, imaginary]
    return np.stack(rows)


@functools.cache
def pair_backward(block: int) -> Floats:
    """From the four products of each pair to a block of outputs, times k: (k, 4 pairs)."""
    units = [*np.eye(4 * _pairs(block))]
    return np.stack(inverse(_bins(units, block), block))


def pair_weights(weights: Floats) -> Floats:
    """What the pairs are multiplied with, divided by k.

    Args:
        weights: first columns of circulant blocks, shape (p, q, k).

    Returns:
        Shape (pairs, 2, p, q).
    """
    size = weights.shape[2]
    bins = np.moveaxis(np.fft.rfft(weights, axis=2) / size, 2, 0)
    last = np.zeros_like(bins[0].real) if size % 2 else bins[-1].real
    rest = bins[1 : (size + 1) // 2]
    return np.stack(
        [np.stack([bins[0].real, last]), *(np.stack([bin_.real, bin_.imag]) for bin_ in rest)]
    )


def bias_to_blocks(block: int) -> Floats:
    """From biases of a pair's two outputs, each added at both positions: (k, 2 pairs)."""
    pairs = _pairs(block)
    return pair_backward(block).reshape(block, pairs, 2, 2).sum(2).reshape(block, 2 * pairs)


def compact_of_pairs(values: Floats, size: int) -> Floats:
    """First columns (p, q, k) from what ``pair_weights`` made of them."""
    first, last = values[0]
    rest = [pair[0] + 1j * pair[1] for pair in values[1:]]
    bins = np.stack([first + 0j, *rest, *([] if size % 2 else [last + 0j])], axis=2)
    return np.fft.irfft(bins * size, n=size, axis=2)


@functools.cache
def _forward_operations(block: int) -> Operations:
    counts = [0, 0]
    transform([Counted(counts) for _ in range(block)])
    return Operations(*counts)


@functools.cache
def _backward_operations(block: int) -> Operations:
    counts = [0, 0]
    inverse(_bins([Counted(counts) for _ in range(4 * _pairs(block))], block), block)
    return Operations(*counts)


class SpectralPairs(InBins):
    """A dense layer with two products for each weight that is read: best for one image."""

    name: ClassVar[str] = "spectral-pairs"
    scheme: ClassVar[Scheme] = Scheme(_products, _forward_operations, _backward_operations)

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        if not is_dense(convolution.node):
            return "it is no dense layer"
        return super().refuses(convolution, pooling)

    def estimate(self, layer: ConvLayer) -> float:
        """Cost of one image with blocks of 8: an eighth of the weights is read."""
        return (
            layer.macs / layer.N / _USUAL + MACS_PER_ELEMENT * 6 * (layer.C + layer.K) + 11 * NODE
        )

    def build(
        self,
        emitter: Emitter,
        convolution: Convolution,
        blocks: Blocks,
        weight: Floats,
        source: ir.Value,
    ) -> ir.Value:
        """The form for whole blocks."""
        size, rows, columns, pairs = blocks.size, blocks.rows, blocks.columns, _pairs(blocks.size)
        bias = spread_bias(convolution, blocks, bias_to_blocks(size))
        return emitter.call(
            spectral_dense_pairs,
            [
                source,
                emitter.weight(pair_forward(size), "forward"),
                emitter.weight(
                    pair_weights(weight).reshape(-1, columns, 1, 1), "weight", filters=0
                ),
                emitter.weight(bias.reshape(-1), "bias"),
                emitter.weight(pair_backward(size), "backward"),
            ],
            in_shape=(0, size, columns),
            pairs_shape=(-1, 2, columns),
            bins_shape=(-1, pairs * columns, 1, 2),
            sums_shape=(-1, 2 * rows, 2),
            products_shape=(-1, 4 * pairs, rows),
            out_shape=(0, blocks.padded[0]),
            pairs=pairs,
        )
