"""Two ways from compact weights to outputs in torch, both with gradients of any order.

*Gathered*: the dense weight is written out in every step, then the dense operator runs.
*By bins*: q + p transforms of a block's inputs and outputs, and r = 3k/2 - 1 products between
(``transforms``), as in form ``spectral``; autograd turns that into the backward pass of [CirCNN],
products with conjugates. The weight is never written out.
"""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from mlcnn.ops.block_circulant.operator import Blocks
from mlcnn.ops.block_circulant.transforms import (
    Floats,
    backward_matrix,
    forward_matrix,
    products,
    weight_matrix,
)

__all__ = ["by_bins", "convolved_by_bins", "dense_tensor", "multiplied_by_bins"]

_FEATURES = 2  # dimensions of what a dense layer reads
_LANES = {2: 16, 4: 8, 8: 8}
# Products in the time of one number that the transforms read or write: of images, which the inner
# caches seldom hold, and of features.
_MOVED_IMAGES, _MOVED_FEATURES = 90, 40


def by_bins(blocks: Blocks, taps: int, inputs: Tensor) -> bool:
    """Whether a step by bins is expected to be faster than the dense one.

    By an estimate of both for a place of the images, in products: r p q taps of the bins, p and q
    rounded up to whole vectors, which grouped operators compute on; and what the transforms move,
    (k + r) (p + q) numbers. It is fitted to steps on one thread of a processor with AVX-512
    (``python -m benchmarks.training_layers``), 3 x 3 convolutions of 64 to 512 channels: the road
    that it takes is 0.1 to 1.1 of the dense step there, and where it gathers the other road would
    save little or lose. What remains slow is a dense layer of few features: 128 take twice as long
    as dense on either road. Only processors were measured.

    Args:
        blocks: how the weight is divided.
        taps: of a filter.
        inputs: of the layer; their type, or that of autocast, says how long vectors are.
    """
    if inputs.device.type != "cpu" or blocks.size == 1:
        return False
    short = torch.is_autocast_enabled("cpu")
    lanes = _LANES[torch.get_autocast_dtype("cpu").itemsize if short else inputs.dtype.itemsize]
    size, count, rows, columns = blocks.size, products(blocks.size), blocks.rows, blocks.columns
    multiplied = count * taps * (-(-rows // lanes) * lanes) * (-(-columns // lanes) * lanes)
    moved = (size + count) * (rows + columns)
    moved *= _MOVED_IMAGES if inputs.ndim > _FEATURES else _MOVED_FEATURES
    return multiplied + moved < size**2 * rows * columns * taps


def dense_tensor(weight: Tensor, blocks: Blocks) -> Tensor:
    """The dense weight of compact ones, with gradients; see ``dense_weight``."""
    size, taps = blocks.size, weight.shape[3:]
    row = torch.arange(size, device=weight.device)
    # Lags first: what is copied, and summed on the way back, then lies in long runs.
    columns = weight.movedim(2, 0).contiguous()
    gathered = columns[(row[:, None] - row) % size]  # (t, c, G p, q, ...)
    split = gathered.unflatten(2, (blocks.groups, blocks.rows)).movedim(2, 0).transpose(2, 3)
    whole = split.reshape(blocks.padded[0], blocks.columns * size, *taps)
    return whole[: blocks.filters, : blocks.channels // blocks.groups]


def convolved_by_bins(  # noqa: PLR0917 - as of conv2d
    images: Tensor,
    weight: Tensor,
    blocks: Blocks,
    strides: Sequence[int],
    padding: Sequence[int],
    dilations: Sequence[int],
) -> Tensor:
    """A convolution without bias.

    Args:
        images: shape (N, C, H, W).
        weight: first columns, shape (G p, q, k, R, S).
        blocks: how the weight is divided.
        strides: of the convolution.
        padding: above and below, left and right.
        dilations: of the taps.

    Returns:
        Shape (N, K, P, Q).
    """
    count, groups, size = len(images), blocks.groups, blocks.size
    padded = _padded(images, blocks)
    columns = padded.reshape(count, groups, size, math.prod(padded.shape[2:]) * blocks.columns)
    rows = torch.matmul(_like(forward_matrix(size), images), columns)
    values = _bins_of(weight).unflatten(1, (groups, blocks.rows)).transpose(0, 1)
    bins = groups * values.shape[1]
    sums = F.conv2d(
        rows.reshape(count, bins * blocks.columns, *images.shape[2:]),
        values.reshape(bins * blocks.rows, blocks.columns, *weight.shape[3:]),
        None, strides, padding, dilations, bins,
    )  # fmt: skip
    place = sums.shape[2:]
    outputs = torch.matmul(
        _like(backward_matrix(size), sums), sums.reshape(count, groups, bins // groups, -1)
    )
    return outputs.reshape(count, blocks.padded[0], *place)[:, : blocks.filters]


def multiplied_by_bins(inputs: Tensor, weight: Tensor, blocks: Blocks) -> Tensor:
    """A dense layer without bias.

    Args:
        inputs: shape (N, C).
        weight: first columns, shape (p, q, k).
        blocks: how the weight is divided.

    Returns:
        Shape (N, K).
    """
    columns = _padded(inputs, blocks).unflatten(1, (blocks.size, blocks.columns))
    # One product over all images, and not one for each: q alone is short.
    rows = _mixed(forward_matrix(blocks.size), columns.movedim(1, 0))
    sums = torch.bmm(rows, _bins_of(weight).mT)
    outputs = _mixed(backward_matrix(blocks.size), sums)
    return outputs.movedim(0, 1).flatten(1)[:, : blocks.filters]


def _bins_of(weight: Tensor) -> Tensor:
    """What the rows are multiplied with: (G p, q, k, ...) to (r, G p, q, ...)."""
    return _mixed(weight_matrix(weight.shape[2]), weight.movedim(2, 0))


def _mixed(matrix: Floats, values: Tensor) -> Tensor:
    """A matrix (r, k) times values (k, ...)."""
    return (_like(matrix, values) @ values.flatten(1)).unflatten(1, values.shape[1:])


def _padded(inputs: Tensor, blocks: Blocks) -> Tensor:
    """With channels up to whole blocks."""
    extra = blocks.padded[1] - blocks.channels
    return F.pad(inputs, (0,) * (2 * inputs.ndim - 3) + (extra,)) if extra else inputs


def _like(matrix: Floats, tensor: Tensor) -> Tensor:
    return torch.as_tensor(matrix, dtype=tensor.dtype, device=tensor.device)
