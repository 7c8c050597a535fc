"""The operator as a torch module: basis and coefficients are trained, and are what is stored."""

from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mlcnn.ops.geometry import Convolution
from mlcnn.ops.shared_kernels.operator import read
from mlcnn.ops.trained import TrainedLayer, trained_layer

__all__ = ["SharedKernelConv2d", "make_layer"]


class SharedKernelConv2d(nn.Module):
    """A convolution whose kernels are sums of basis kernels.

    Attributes:
        basis: shape (d, R, S).
        weight: the coefficients, shape (K, C / G, d).
        bias: shape (K,), or None.

    Args:
        layer: its geometry.
        bias: whether there is one.
    """

    basis: nn.Parameter
    weight: nn.Parameter

    def __init__(self, layer: Convolution, *, bias: bool) -> None:
        super().__init__()
        (_, count), *_ = layer.weights.options
        shape = (layer.filters, layer.channels // layer.groups, int(count))
        self.basis = nn.Parameter(torch.empty((int(count), *layer.kernel), device="meta"))
        self.weight = nn.Parameter(torch.empty(shape, device="meta"))
        self.bias = nn.Parameter(torch.empty(layer.filters, device="meta")) if bias else None
        top, left, bottom, right = layer.pads
        self.pads = (left, right, top, bottom)
        self.strides, self.dilations, self.groups = layer.strides, layer.dilations, layer.groups

    @property
    def fan_in(self) -> int:
        """Numbers that an output is scaled by: the basis kernels are orthonormal."""
        return self.weight[0].numel()

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution, not a dense layer."""
        return True

    def dense(self) -> Tensor:
        """The dense kernels, shape (K, C / G, R, S), with gradients to both factors."""
        return torch.tensordot(self.weight, self.basis, 1)

    def forward(self, images: Tensor) -> Tensor:
        """Shape (N, C, H, W) to (N, K, P, Q)."""
        left, right, top, bottom = self.pads
        padding = (top, left)
        if (top, left) != (bottom, right):
            images, padding = F.pad(images, self.pads), (0, 0)
        return F.conv2d(
            images, self.dense(), self.bias, self.strides, padding, self.dilations, self.groups
        )

    def extra_repr(self) -> str:
        """What torch prints."""
        filters, channels, count = self.weight.shape
        return f"{channels * self.groups}, {filters}, basis={count}"


def make_layer(site: Any) -> TrainedLayer:
    """The module of a node, its weights still to be filled in."""
    return trained_layer(
        site.node, read, lambda layer, bias: SharedKernelConv2d(layer, bias=bias),
        {"basis": 1, "weight": 2}, 3,
    )  # fmt: skip
