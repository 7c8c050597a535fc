"""Channels of a network that are interchangeable: they may change places, or go, one by one.

A *channel space* is a set of channels that stand side by side wherever one of them is: in the same
values, along the same axes of the same weights. A convolution makes a new one; an addition joins
those of its operands, a zero-padded one with its offset, so that what a residual stream has behind
a padding are two spaces: the channels that came in, and those that were added. Which channels are
the same ones is read from ``Flow``; those that it says are needed are in no space.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.passes.channel_edits import Follower
from mlcnn.passes.channel_flow import Flow
from mlcnn.passes.channel_lanes import Classes, alike

__all__ = ["Axis", "Space", "channel_spaces", "permute"]


@dataclass(frozen=True, slots=True, eq=False)
class Axis:
    """One axis of a weight that has the channels of a space, maybe beside others.

    Attributes:
        weight: an initializer that nothing else reads.
        axis: of it.
        places: where each channel is along it, shape (channels, entries): several entries where a
            dense layer reads flattened images.
    """

    weight: ir.Value
    axis: int
    places: NDArray[np.intp]


@dataclass(frozen=True, slots=True, eq=False)
class Space:
    """Channels that may be put in any order.

    Attributes:
        channels: how many.
        axes: of all weights that follow.
        added: whether they are those of a sum of several values, a residual stream.
    """

    channels: int
    axes: tuple[Axis, ...]
    added: bool = False


def permute(space: Space, order: NDArray[np.integer]) -> None:
    """Put the channels of a space in another order, in place.

    Args:
        space: of the network, as ``channel_spaces`` found it.
        order: which channel comes to each place, shape (channels,).
    """
    for follower in space.axes:
        tensor = follower.weight.const_value
        if tensor is None:
            raise ValueError("the weight of a channel space is gone")
        array = tensor.numpy()
        source = np.arange(array.shape[follower.axis])
        source[follower.places] = follower.places[order]
        moved = np.take(array, source, follower.axis)
        follower.weight.const_value = ir.Tensor(moved, dtype=tensor.dtype, name=tensor.name)


def channel_spaces(model: ir.Model) -> tuple[Space, ...]:
    """The channel spaces of the main graph whose order is free, in the order of their layers."""
    flow = Flow(model)
    edits = [edit for edit in flow.edits if isinstance(edit, Follower)]
    weights = [
        _Weight(e.value, e.axis, flow.roots(e.classes)) for e in edits if e.value is not None
    ]
    values = [flow.roots(lanes.classes) for lanes in flow.lanes.values()]
    bound = {*flow.needs}
    for classes in (
        *(flow.roots(item.inside.classes) for item in flow.shared),
        *(weight.classes for weight in weights if not weight.is_alone),
    ):
        bound.update(classes.tolist())
    found = alike((*values, *(weight.classes for weight in weights)))
    spaces: list[Space] = []
    for items, places in found:
        axes = [weights[at - len(values)].axis_of(items) for at in places if at >= len(values)]
        if axes and len(items) > 1 and bound.isdisjoint(items):
            spaces.append(Space(len(items), tuple(axes), not flow.added.isdisjoint(items)))
    return tuple(spaces)


@dataclass(frozen=True, slots=True, eq=False)
class _Weight:
    """A constant with an axis of channels.

    Attributes:
        value: it.
        axis: of it.
        classes: along that.
    """

    value: ir.Value
    axis: int
    classes: Classes

    @property
    def is_alone(self) -> bool:
        """Whether nothing else reads it, so that it may change where it is."""
        value = self.value
        return value.is_initializer() and len(value.uses()) == 1 and not value.is_graph_output()

    def axis_of(self, items: Sequence[int]) -> Axis:
        """Where some classes are."""
        places = np.array([np.flatnonzero(self.classes == item) for item in items])
        return Axis(self.value, self.axis, places)
