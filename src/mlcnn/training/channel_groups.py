"""Channels of a network's module that can only go together, in all weights at once."""

from dataclasses import dataclass

import onnx_ir as ir
import torch
from torch import Tensor, nn

from mlcnn.errors import InputError
from mlcnn.nn.assemble import assemble
from mlcnn.passes.channel_spaces import Axis, channel_spaces
from mlcnn.training.pruning import Kernel

__all__ = ["ChannelGroup", "Slice", "channel_groups"]


@dataclass(frozen=True, slots=True, eq=False)
class Slice:
    """Where a parameter has the channels of a group.

    Attributes:
        parameter: its name in the module.
        axis: of it.
        places: where each channel is along it, shape (channels, entries).
    """

    parameter: str
    axis: int
    places: Tensor

    @property
    def entries(self) -> int:
        """Of one channel along the axis."""
        return self.places.shape[1]

    def sums(self, tensor: Tensor) -> Tensor:
        """The sum of the tensor over all but the channels, float32, shape (channels,)."""
        moved = tensor.float().movedim(self.axis, 0)
        return moved.reshape(moved.shape[0], -1).sum(1)[self.places].sum(1)

    def spread(self, live: Tensor, like: Tensor) -> Tensor:
        """A value for each channel, 1 for channels of other groups, in a shape that multiplies."""
        values = live.new_ones(like.shape[self.axis])
        values[self.places] = live[:, None].expand(self.places.shape)
        shape = [1] * like.ndim
        shape[self.axis] = -1
        return values.reshape(shape)


@dataclass(frozen=True, slots=True, eq=False)
class ChannelGroup:
    """Channels that can only go together, in all weights at once.

    Attributes:
        channels: how many.
        kernels: where convolutions and dense layers have them.
        others: where norms, biases and the like have them.
        added: whether they are those of a residual stream.
    """

    channels: int
    kernels: tuple[Slice, ...]
    others: tuple[Slice, ...]
    added: bool = False

    def live(self, module: nn.Module) -> Tensor:
        """Which channels are there: some weight of a kernel is not zero; shape (channels,)."""
        parts = [s.sums((module.get_parameter(s.parameter) != 0).detach()) for s in self.kernels]
        return torch.stack(parts).sum(0) > 0

    def squares(self, module: nn.Module) -> Tensor:
        """The sum of the squares of the kernels' weights of each channel, shape (channels,)."""
        parts = [s.sums(module.get_parameter(s.parameter).square()) for s in self.kernels]
        return torch.stack(parts).sum(0)

    def weights(self, module: nn.Module) -> int:
        """How many weights of kernels a channel has, zeros too."""
        found = [(module.get_parameter(s.parameter), s) for s in self.kernels]
        return sum(p.numel() // p.shape[s.axis] * s.entries for p, s in found)


def channel_groups(model: ir.Model, kernels: tuple[Kernel, ...]) -> tuple[ChannelGroup, ...]:
    """The channels of a network that may go; those of its outputs and of what is fixed stay.

    A residual stream that zero-padded shortcuts widen is a group for each of its widths: the
    channels that come in, through all of it, and those that each padding adds, from there on.

    Args:
        model: the network.
        kernels: see ``kernels_of``.

    Raises:
        InputError: there are none.
    """
    assembly = assemble(model)
    parameters = dict(assembly.module.named_parameters())
    names = {
        binding.initializer: (f"{binding.path}.{binding.weight.name}", binding.weight.transposed)
        for binding in assembly.bindings
    }
    known = {kernel.parameter for kernel in kernels}

    def placed(axis: Axis) -> Slice | None:
        name, transposed = names.get(axis.weight.name or "", ("", False))
        if name not in parameters:
            return None  # a running statistic, or a constant: it may stay as it is
        place = 1 - axis.axis if transposed else axis.axis
        return Slice(name, place, torch.from_numpy(axis.places))

    groups: list[ChannelGroup] = []
    for space in channel_spaces(model):
        parts = [part for axis in space.axes if (part := placed(axis)) is not None]
        inner = tuple(part for part in parts if part.parameter in known)
        others = tuple(part for part in parts if part.parameter not in known)
        if len(inner) > 1:
            groups.append(ChannelGroup(space.channels, inner, others, space.added))
    if not groups:
        raise InputError(
            "no channel of this network can go: each reaches an output, or an operator that does "
            "not keep channels apart"
        )
    return tuple(groups)
