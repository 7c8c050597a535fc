"""The operators as torch modules: what is trained is what is stored."""

import math
from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mlcnn.ops.block_circulant.operator import Blocks, blocks_of, is_dense, read
from mlcnn.ops.block_circulant.roads import (
    by_bins,
    convolved_by_bins,
    dense_tensor,
    multiplied_by_bins,
)
from mlcnn.ops.geometry import Convolution
from mlcnn.ops.trained import TrainedLayer, trained_layer

__all__ = ["BlockCirculantConv2d", "BlockCirculantLinear", "make_layer"]


class _Compact(nn.Module):
    """A layer that keeps first columns of circulant blocks.

    Args:
        blocks: how the weight is divided.
        taps: of a filter; none for a dense layer.
        bias: whether there is one.
    """

    weight: nn.Parameter

    def __init__(self, blocks: Blocks, taps: Sequence[int], *, bias: bool) -> None:
        super().__init__()
        self.blocks = blocks
        shape = (blocks.groups * blocks.rows, blocks.columns, blocks.size, *taps)
        self.weight = nn.Parameter(torch.empty(shape, device="meta"))
        self.bias = nn.Parameter(torch.empty(blocks.filters, device="meta")) if bias else None

    @property
    def taps(self) -> int:
        """Of a filter."""
        return math.prod(self.weight.shape[3:])

    @property
    def fan_in(self) -> int:
        """Products of an output, as of the dense layer."""
        return self.blocks.channels // self.blocks.groups * self.taps

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution, not a dense layer."""
        return self.weight.ndim > 3

    def extra_repr(self) -> str:
        """What torch prints."""
        blocks = self.blocks
        return f"{blocks.channels}, {blocks.filters}, block={blocks.size}"


class BlockCirculantConv2d(_Compact):
    """A convolution whose weight is block-circulant.

    Args:
        layer: its geometry.
        bias: whether there is one.
    """

    def __init__(self, layer: Convolution, *, bias: bool) -> None:
        super().__init__(blocks_of(layer), layer.kernel, bias=bias)
        top, left, bottom, right = layer.pads
        self.pads = (left, right, top, bottom)
        self.strides, self.dilations = layer.strides, layer.dilations

    def forward(self, images: Tensor) -> Tensor:
        """Shape (N, C, H, W) to (N, K, P, Q)."""
        left, right, top, bottom = self.pads
        padding = (top, left)
        if (top, left) != (bottom, right):
            images, padding = F.pad(images, self.pads), (0, 0)
        blocks, place = self.blocks, (self.strides, padding, self.dilations)
        if not by_bins(blocks, self.taps, images):
            weight = dense_tensor(self.weight, blocks)
            return F.conv2d(images, weight, self.bias, *place, blocks.groups)
        sums = convolved_by_bins(images, self.weight, blocks, *place)
        return sums if self.bias is None else sums + self.bias.to(sums.dtype)[:, None, None]


class BlockCirculantLinear(_Compact):
    """A dense layer whose weight is block-circulant.

    Args:
        layer: its geometry.
        bias: whether there is one.
    """

    def __init__(self, layer: Convolution, *, bias: bool) -> None:
        super().__init__(blocks_of(layer), (), bias=bias)

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (N, C) to (N, K)."""
        if not by_bins(self.blocks, self.taps, inputs):
            return F.linear(inputs, dense_tensor(self.weight, self.blocks), self.bias)
        sums = multiplied_by_bins(inputs, self.weight, self.blocks)
        return sums if self.bias is None else sums + self.bias.to(sums.dtype)


def make_layer(site: Any) -> TrainedLayer:
    """The module of a node, its weights still to be filled in."""
    make = BlockCirculantLinear if is_dense(site.node) else BlockCirculantConv2d
    return trained_layer(
        site.node, read, lambda layer, bias: make(layer, bias=bias), {"weight": 1}, 2
    )  # fmt: skip
