"""The operators as torch modules: what is trained is what is stored."""

from collections.abc import Sequence
from typing import Any

import onnx_ir as ir
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mlcnn.ops.block_circulant.operator import Blocks, blocks_of, is_dense, read
from mlcnn.ops.geometry import Convolution
from mlcnn.ops.trained import TrainedLayer, TrainedWeight

__all__ = ["BlockCirculantConv2d", "BlockCirculantLinear", "dense_tensor", "make_layer"]


def dense_tensor(weight: Tensor, blocks: Blocks) -> Tensor:
    """The dense weight of compact ones, with gradients; see ``dense_weight``."""
    size, taps = blocks.size, weight.shape[3:]
    # Row t of a block, from column 0 on: w[t], w[t - 1], ...: a window of the reversed sequence,
    # which is written twice. The gradient of a window is a sum, where that of a gather scatters.
    mirrored = weight.flip(2)
    twice = torch.cat([mirrored, mirrored[:, :, :-1]], 2)
    rows = twice.unfold(2, size, 1).flip(2)  # (G p, q, t, ..., c)
    split = rows.reshape(blocks.groups, blocks.rows, blocks.columns, size, *taps, size)
    last = split.ndim - 1
    moved = split.permute(0, 3, 1, last, 2, *range(4, last))
    whole = moved.reshape(blocks.padded[0], blocks.columns * size, *taps)
    return whole[: blocks.filters, : blocks.channels // blocks.groups]


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
    def fan_in(self) -> int:
        """Products of an output, as of the dense layer."""
        return self.blocks.channels // self.blocks.groups * self.weight[0, 0, 0].numel()

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
        weight = dense_tensor(self.weight, self.blocks)
        left, right, top, bottom = self.pads
        padding = (top, left)
        if (top, left) != (bottom, right):
            images, padding = F.pad(images, self.pads), (0, 0)
        return F.conv2d(
            images, weight, self.bias, self.strides, padding, self.dilations, self.blocks.groups
        )


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
        return F.linear(inputs, dense_tensor(self.weight, self.blocks), self.bias)


def make_layer(site: Any) -> TrainedLayer:
    """The module of a node, its weights still to be filled in."""
    node: ir.Node = site.node
    layer = read(node)
    if isinstance(layer, str):
        raise ValueError(layer)
    bias = layer.bias is not None
    make = BlockCirculantLinear if is_dense(node) else BlockCirculantConv2d
    weights = (TrainedWeight("weight", 1), *((TrainedWeight("bias", 2),) if bias else ()))
    return TrainedLayer(make(layer, bias=bias), weights)
