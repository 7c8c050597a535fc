"""Whole channels that go while a network trains, with everything that makes or reads them."""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import onnx_ir as ir
import torch
from torch import Tensor, nn

from mlcnn.errors import InputError
from mlcnn.training.channel_groups import ChannelGroup, channel_groups
from mlcnn.training.pruning import Kernel, Part

__all__ = ["IMPORTANCES", "ChannelCut", "channel_cut"]


def _size(group: ChannelGroup, module: nn.Module) -> Tensor:
    return group.squares(module).detach().sqrt()


def _absolute(group: ChannelGroup, module: nn.Module) -> Tensor:
    sums = [s.sums(module.get_parameter(s.parameter).detach().abs()) for s in group.kernels]
    return torch.stack(sums).sum(0)


def _taylor(group: ChannelGroup, module: nn.Module) -> Tensor:
    """How much the loss changes without the channel, to first order [Molchanov 2019]."""
    parts = [
        s.sums(parameter.detach() * parameter.grad)
        for s in (*group.kernels, *group.others)
        if (parameter := module.get_parameter(s.parameter)).grad is not None
    ]
    return torch.stack(parts).abs().sum(0) if parts else _size(group, module)


IMPORTANCES: Mapping[str, Callable[[ChannelGroup, nn.Module], Tensor]] = {
    "l2": _size,
    "l1": _absolute,
    "taylor": _taylor,
}
"""How a channel is judged: takes the group and the module, returns shape (channels,)."""

_SLACK = 0.02
"""How much less than asked for may be left, where smaller blocks are there."""

_Block = tuple[int, tuple[int, ...]]
"""A group's index, and channels of it that go at a time."""

_RELATIVE = frozenset({"l1", "l2"})


@dataclass(frozen=True, slots=True)
class ChannelCut:
    """Channels, the least important of all groups first, in blocks; one of each group stays.

    Engines compute channels in blocks of a register's width: 9 take the time of 16. Sums of weights
    are compared with the mean of their group: their size differs from layer to layer and says
    nothing there.

    Attributes:
        kernels: all of the network.
        groups: the channels that may go.
        importance: one of ``IMPORTANCES``.
        multiple: of what is left in each group; of less in small ones.
        evenly: whether of each group the same share goes, in place of the least important ones.
        target: share that is left in the end, of however many cuts; a block that would leave much
            less (one of a residual stream is 31 % of a ResNet-20) is passed over while others are
            there. 0 for none.
    """

    kernels: tuple[Kernel, ...]
    groups: tuple[ChannelGroup, ...]
    importance: str = "l2"
    multiple: int = 1
    evenly: bool = False
    target: float = 0.0

    @property
    def told(self) -> str:
        """Of how many groups, judged by what."""
        blocks = f", in blocks of {self.multiple}" if self.multiple > 1 else ""
        even = " evenly" if self.evenly else ""
        return f"channels of {len(self.groups)} groups{even} by {self.importance}{blocks}"

    @property
    def least(self) -> float:
        """What is left with one block in each group."""
        return self._costs([self._step(group) for group in self.groups]).total / self._whole

    def parts(self) -> tuple[Part, ...]:
        """See ``Cut``."""
        layers = {kernel.parameter: kernel.layer for kernel in self.kernels}
        counts, found = [group.channels for group in self.groups], list[Part]()
        for index, group in enumerate(self.groups):
            step = self._step(group)
            half = max(1, group.channels // 2 // step) * step
            halved = [*counts[:index], half, *counts[index + 1 :]]
            share = self._costs(halved).total / self._whole
            name = layers[group.kernels[0].parameter]
            found.append(Part(name, replace(self, groups=(group,), target=0.0), share))
        return tuple(found)

    def left(self, module: nn.Module) -> float:
        """See ``Cut``."""
        return self._costs([int(g.live(module).sum()) for g in self.groups]).total / self._whole

    def _costs(self, counts: Sequence[int]) -> "_Costs":
        return _Costs(self.kernels, self.groups, counts)

    @property
    def _whole(self) -> float:
        return self._costs([group.channels for group in self.groups]).total

    def cut(self, module: nn.Module, share: float) -> None:
        """See ``Cut``."""
        live = [group.live(module) for group in self.groups]
        costs = self._costs([int(each.sum()) for each in live])
        limit = share * self._whole * (1 + 1e-9)
        blocks = [(index, channels) for _, index, channels in sorted(self._ranked(module, live))]
        for least in ((self.target - _SLACK) * self._whole, 0.0):
            blocks = _taken(blocks, live, costs, limit, least)
        for group, kept in zip(self.groups, live, strict=True):
            for part in (*group.kernels, *group.others):
                parameter = module.get_parameter(part.parameter)
                parameter.mul_(part.spread(kept, parameter))

    def _ranked(
        self, module: nn.Module, live: Sequence[Tensor]
    ) -> list[tuple[float, int, tuple[int, ...]]]:
        """Rank, group and channels of all blocks that may go, in order in a group.

        The rank is the mean importance, or what share of the group is gone with the block.
        """
        found: list[tuple[float, int, tuple[int, ...]]] = []
        for index, (group, there) in enumerate(zip(self.groups, live, strict=True)):
            values = IMPORTANCES[self.importance](group, module)
            if self.importance in _RELATIVE:
                values = values / values[there].mean()
            numbers = values.tolist()
            there_are = there.nonzero().flatten().tolist()
            order = [channel for _, channel in sorted((numbers[c], c) for c in there_are)]
            gone = group.channels - len(order)
            for block in _blocks(order, self._step(group)):
                gone += len(block)
                mean = sum(numbers[c] for c in block) / len(block)
                found.append((gone / group.channels if self.evenly else mean, index, block))
        return found

    def _step(self, group: ChannelGroup) -> int:
        """Channels that go at a time: of a small group a half."""
        return max(1, min(self.multiple, group.channels // 2))

    def masks(self, module: nn.Module) -> dict[str, Tensor]:
        """See ``Cut``; single weights that are zero stay so, too."""
        found = {
            part.parameter: module.get_parameter(part.parameter) != 0
            for group in self.groups
            for part in group.kernels
        }
        for group in self.groups:
            live = group.live(module)
            for part in group.others:
                parameter = module.get_parameter(part.parameter)
                mask = part.spread(live, parameter).expand_as(parameter)
                found[part.parameter] = found.get(part.parameter, mask) & mask
        return found


def _taken(
    blocks: Sequence[_Block], live: Sequence[Tensor], costs: "_Costs", limit: float, least: float
) -> list[_Block]:
    """Let blocks go in order until the limit; return those that would leave less than the least."""
    passed: list[_Block] = []
    closed: set[int] = set()
    for index, channels in blocks:
        if costs.total <= limit:
            break
        costs.counts[index] -= len(channels)
        if index in closed or costs.total < least:
            costs.counts[index] += len(channels)
            closed.add(index)
            passed.append((index, channels))
        else:
            live[index][list(channels)] = False
    return passed


def _blocks(order: Sequence[int], step: int) -> list[tuple[int, ...]]:
    """Blocks of channels from the first on, so that a multiple of ``step`` is left; never all."""
    ends = [0, *range(len(order) % step or step, len(order) + 1, step)]
    return [tuple(order[start:end]) for start, end in pairwise(ends)][:-1]


class _Costs:
    """What the network costs with so many channels in each group."""

    def __init__(
        self, kernels: Sequence[Kernel], groups: Sequence[ChannelGroup], counts: Sequence[int]
    ) -> None:
        self.counts = list(counts)
        self._terms = [_Term(kernel, groups) for kernel in kernels]

    @property
    def total(self) -> float:
        """Of all kernels."""
        return sum(term.of(self.counts) for term in self._terms)


class _Term:
    """What a kernel costs: so much for each pair of entries along the axes that have groups."""

    def __init__(self, kernel: Kernel, groups: Sequence[ChannelGroup]) -> None:
        axes: dict[int, list[tuple[int, int]]] = {}
        for index, group in enumerate(groups):
            for part in group.kernels:
                if part.parameter == kernel.parameter:
                    axes.setdefault(part.axis, []).append((index, part.entries))
        others = {
            axis: kernel.shape[axis] - sum(groups[i].channels * entries for i, entries in found)
            for axis, found in axes.items()
        }
        self._axes = tuple((others[axis], tuple(found)) for axis, found in axes.items())
        self._unit = kernel.cost / math.prod(kernel.shape[axis] for axis in axes)

    def of(self, counts: Sequence[int]) -> float:
        """With so many channels in each group."""
        return self._unit * math.prod(
            others + sum(counts[index] * entries for index, entries in found)
            for others, found in self._axes
        )


def channel_cut(
    model: ir.Model,
    kernels: tuple[Kernel, ...],
    importance: str = "l2",
    multiple: int = 1,
    *,
    evenly: bool = False,
    target: float = 0.0,
) -> ChannelCut:
    """The channels of a network that may go; those of its outputs and of what is fixed stay.

    Residual streams stay as wide as they are where the channels inside of blocks suffice for the
    target: of a ResNet-20 at half the multiplications that is faster, and loses less.

    Args:
        model: the network.
        kernels: see ``kernels_of``.
        importance: one of ``IMPORTANCES``.
        multiple: see ``ChannelCut``.
        evenly: take the same share of each group inside of a block; streams stay always.
        target: see ``ChannelCut``.

    Raises:
        InputError: there are none, a multiple below 1, or no importance of this name.
    """
    if importance not in IMPORTANCES:
        raise InputError(f"importance {importance!r}: {', '.join(IMPORTANCES)} are the ways")
    if multiple < 1:
        raise InputError(f"--multiple {multiple}: at least 1 is required")
    groups = channel_groups(model, kernels)
    shared = {kernel.parameter for kernel in kernels if kernel.factor is not None}
    free = tuple(g for g in groups if shared.isdisjoint(part.parameter for part in g.kernels))
    if not free:
        raise InputError("no channel of this network can go: kernels of each are shared ones")
    if evenly and all(group.added for group in free):
        raise InputError("--evenly: all channels are those of residual streams; leave it away")
    inner = tuple(group for group in free if not group.added)
    cut = ChannelCut(kernels, inner or free, importance, multiple, evenly, target)
    return cut if evenly or cut.least <= target else replace(cut, groups=free)
