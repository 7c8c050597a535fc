"""The operator as a torch module: the weights of the bits are trained, the pairs stay."""

from typing import Any, cast

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mlcnn.ops.comparator.operator import BIAS, WEIGHT, pairs_of, read
from mlcnn.ops.comparator.pairs import Pairs
from mlcnn.ops.geometry import Convolution
from mlcnn.ops.trained import TrainedLayer, trained_layer

__all__ = ["ComparatorConv2d", "make_layer"]

_NEAR = 1.0
"""How far apart two taps may be for a gradient: a batch norm in front makes that their scale."""

_Run = tuple[slice, slice, int, int]
"""Maps, channels, and the two taps that they compare."""


def runs_of(pairs: Pairs) -> list[_Run]:
    """Maps side by side that compare the same taps of channels side by side."""
    found: list[_Run] = []
    each = pairs.shared
    for pattern in range(pairs.count):
        for channel in range(0, pairs.channels, each):
            first, second = (int(one[pattern, channel]) for one in (pairs.first, pairs.second))
            at = pattern * pairs.channels + channel
            found.append((slice(at, at + each), slice(channel, channel + each), first, second))
    return found


class _Compare(torch.autograd.Function):
    """Bits of pairs of taps.

    A step has no gradient: where two taps are near each other, it is that of their difference, as
    of a straight line through the step (straight-through, [BNN]).
    """

    @staticmethod
    def forward(  # pyright: ignore[reportIncompatibleMethodOverride] - its own arguments
        ctx: Any, images: Tensor, layer: "ComparatorConv2d"
    ) -> Tensor:
        windows = [layer.windows(images, axis) for axis in (0, 1)]
        bits = images.new_empty(len(images), layer.maps, *windows)
        near = torch.empty(bits.shape, dtype=torch.bool, device=images.device)
        for maps, channels, first, second in layer.runs:
            cut = images[:, channels]
            difference = layer.tap(cut, first) - layer.tap(cut, second)
            torch.gt(difference, 0, out=bits[:, maps])
            torch.le(difference.abs_(), _NEAR, out=near[:, maps])
        ctx.layer, ctx.size = layer, images.shape
        ctx.save_for_backward(near)
        return bits

    @staticmethod
    def backward(  # pyright: ignore[reportIncompatibleMethodOverride] - its own arguments
        ctx: Any, gradient: Tensor
    ) -> tuple[Tensor, None]:
        (near,) = ctx.saved_tensors
        layer: ComparatorConv2d = ctx.layer
        passed, result = gradient * near, gradient.new_zeros(ctx.size)
        for maps, channels, first, second in layer.runs:
            cut = result[:, channels]
            layer.tap(cut, first).add_(passed[:, maps])
            layer.tap(cut, second).sub_(passed[:, maps])
        return result, None


class ComparatorConv2d(nn.Module):
    """Compares pairs of taps, and adds the weights that the bits choose.

    Attributes:
        weight: shape (K, maps, 1, 1).
        bias: shape (K,), or None.
        maps: comparisons of a position.
        runs: maps that compare the same taps, together.

    Args:
        layer: its geometry.
        pairs: what it compares.
        bias: whether there is one.
    """

    weight: nn.Parameter

    def __init__(self, layer: Convolution, pairs: Pairs, *, bias: bool) -> None:
        super().__init__()
        shape = (layer.filters, pairs.maps, 1, 1)
        self.weight = nn.Parameter(torch.empty(shape, device="meta"))
        self.bias = nn.Parameter(torch.empty(layer.filters, device="meta")) if bias else None
        top, left, bottom, right = layer.pads
        self._pads = (left, right, top, bottom)
        self._kernel, self._strides, self._dilations = (
            layer.kernel, layer.strides, layer.dilations,
        )  # fmt: skip
        self.maps, self.runs, self._told = pairs.maps, runs_of(pairs), pairs

    @property
    def fan_in(self) -> int:
        """Weights that are added in an output: half of the bits are set."""
        return self.maps // 2

    @property
    def convolves(self) -> bool:
        """Whether it is a convolution, not a dense layer."""
        return True

    def windows(self, images: Tensor, axis: int) -> int:
        """Windows in padded images, along height (axis 0) or width (axis 1)."""
        extent = (self._kernel[axis] - 1) * self._dilations[axis] + 1
        return (images.shape[axis + 2] - extent) // self._strides[axis] + 1

    def tap(self, images: Tensor, tap: int) -> Tensor:
        """What all windows of padded images have at a tap, as a view."""
        places = [slice(None), slice(None)]
        for axis, at in enumerate(divmod(tap, self._kernel[1])):
            first, stride = at * self._dilations[axis], self._strides[axis]
            last = first + (self.windows(images, axis) - 1) * stride
            places.append(slice(first, last + 1, stride))
        return images[tuple(places)]

    def bits(self, images: Tensor) -> Tensor:
        """Shape (N, C, H, W) to (N, maps, P, Q), each 0 or 1."""
        padded = F.pad(images, self._pads, mode="replicate") if any(self._pads) else images
        return cast("Tensor", _Compare.apply(padded, self))

    def forward(self, images: Tensor) -> Tensor:
        """Shape (N, C, H, W) to (N, K, P, Q)."""
        return F.conv2d(self.bits(images), self.weight, self.bias)

    def extra_repr(self) -> str:
        """What torch prints."""
        told = self._told
        return f"{told.channels}, {len(self.weight)}, pairs={told.count}, shared={told.shared}"


def make_layer(site: Any) -> TrainedLayer:
    """The module of a node, its weights still to be filled in."""
    return trained_layer(
        site.node, read, lambda layer, bias: ComparatorConv2d(layer, pairs_of(layer), bias=bias),
        {"weight": WEIGHT}, BIAS,
    )  # fmt: skip
