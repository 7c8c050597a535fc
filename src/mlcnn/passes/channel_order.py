"""A search for an order of channels that a method's weights lose the least in.

The layers of a network share their channels, so a swap that one layer gains by may cost another
one: random swaps are kept where all layers together gain.
"""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import Protocol, runtime_checkable

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.passes.channel_spaces import Axis, Space

__all__ = ["SWAPS_PER_CHANNEL", "ChannelOrder", "Objective", "search"]

SWAPS_PER_CHANNEL = 24
"""Tried of each space: 1,536 of 64 channels."""


class ChannelOrder(StrEnum):
    """In which order channels are."""

    GIVEN = "given"
    SEARCHED = "searched"


@runtime_checkable
class Objective(Protocol):
    """What a weight is worth in some order of its channels."""

    def swap(self, axis: int, first: int, second: int) -> float:
        """Let two entries change places.

        Args:
            axis: of the weight as the network stores it.
            first: an index along it.
            second: another one.

        Returns:
            What the weight is worth now, less what it was worth.
        """
        ...


def search(
    spaces: Sequence[Space],
    objectives: Mapping[ir.Value, Objective],
    *,
    swaps_per_channel: int = SWAPS_PER_CHANNEL,
    seed: int = 0,
) -> tuple[NDArray[np.intp], ...]:
    """Random swaps within spaces, each kept where the objectives' sum grows.

    Args:
        spaces: channels that may change places.
        objectives: of weights; they are left in the order that was found.
        swaps_per_channel: to try.
        seed: of the swaps.

    Returns:
        The order of each space, as ``permute`` takes it.
    """
    generator = np.random.default_rng(seed)
    orders = tuple(np.arange(space.channels) for space in spaces)
    valued = [[axis for axis in space.axes if axis.weight in objectives] for space in spaces]
    tries = [
        swaps_per_channel * space.channels if axes and space.channels > 1 else 0
        for space, axes in zip(spaces, valued, strict=True)
    ]
    for index in generator.permutation(np.repeat(np.arange(len(spaces)), tries)):
        channels = spaces[index].channels
        first, distance = (int(generator.integers(low, channels)) for low in (0, 1))
        second = (first + distance) % channels
        if _swap(valued[index], objectives, first, second) > 0:
            orders[index][[first, second]] = orders[index][[second, first]]
        else:
            _swap(valued[index], objectives, first, second)  # back again
    return orders


def _swap(
    axes: Sequence[Axis], objectives: Mapping[ir.Value, Objective], first: int, second: int
) -> float:
    """Let two channels change places in all weights; what they gain together."""
    return sum(
        objectives[a.weight].swap(a.axis, int(one), int(other))
        for a in axes
        for one, other in zip(a.places[first], a.places[second], strict=True)
    )
