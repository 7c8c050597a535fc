"""Where a mask comes from: a score of every position of a value; what reaches a threshold is kept.

Each source is a few standard operators on the value, image by image.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.ops.emitter import Emitter

__all__ = ["SOURCES", "MaskSource", "Scored"]

_SMOOTHED = 5
"""Side of the window over which a contrast is averaged."""
_SEED = 0


@dataclass(frozen=True, slots=True)
class Scored:
    """What is scored.

    Attributes:
        value: shape (N, C, height, width).
        channels: C.
        size: height and width.
        prior: weight of the position beside what the value says.
        background: the value where there is nothing to see, channel by channel, or one for all.
    """

    value: ir.Value
    channels: int
    size: tuple[int, int]
    prior: float = 1.0
    background: tuple[float, ...] = (0.0,)


@dataclass(frozen=True, slots=True)
class MaskSource:
    """One way to tell what matters.

    Attributes:
        name: how the user names it.
        score: builds its nodes; gives the scores, shape (N, 1, height, width).
        summary: what it does, in a line.
    """

    name: str
    score: Callable[[Emitter, Scored], ir.Value]
    summary: str


def _brightness(emitter: Emitter, scored: Scored) -> ir.Value:
    channels = emitter.integers([1], "channels")
    return emitter.op("ReduceSum", [scored.value, channels], keepdims=1)


def _contrast(emitter: Emitter, scored: Scored) -> ir.Value:
    """The distance from the mean at the border over its mean, smoothed; and the position."""
    spatial = emitter.integers((2, 3), "spatial")
    border = emitter.weight(_border(scored.size), "border")
    at_border = emitter.op("Mul", [scored.value, border])
    mean = emitter.op("ReduceSum", [at_border, spatial], keepdims=1)
    apart = emitter.op("Sub", [scored.value, mean])
    squares = emitter.op("Mul", [apart, apart])
    # A convolution, so that it is counted among the layers.
    ones = emitter.weight(np.ones((1, scored.channels, 1, 1)), "ones")
    distance = emitter.op("Sqrt", [emitter.op("Conv", [squares, ones])])
    smooth = emitter.op(
        "AveragePool", [distance], kernel_shape=(_SMOOTHED,) * 2, pads=(_SMOOTHED // 2,) * 4
    )
    usual = emitter.op("ReduceMean", [smooth, spatial], keepdims=1)
    least = emitter.weight(np.asarray(1e-6), "least")
    relative = emitter.op("Div", [smooth, emitter.op("Max", [usual, least])])
    place = emitter.weight(scored.prior * _centred(scored.size), "position")
    return emitter.op("Add", [relative, place])


def _departure(emitter: Emitter, scored: Scored) -> ir.Value:
    """How far the value is from the background, in the channel where it is farthest."""
    background = np.asarray(scored.background).reshape(1, -1, 1, 1)
    apart = emitter.op("Sub", [scored.value, emitter.weight(background, "background")])
    channels = emitter.integers([1], "channels")
    return emitter.op("ReduceMax", [emitter.op("Abs", [apart]), channels], keepdims=1)


def _prior(emitter: Emitter, scored: Scored) -> ir.Value:
    """Of positions that are equally far from the middle the later ones count more, by a little."""
    order = np.arange(scored.size[0] * scored.size[1]).reshape(1, 1, *scored.size)
    return _fixed(emitter, scored, _centred(scored.size) + 1e-3 * order / order.size)


def _random(emitter: Emitter, scored: Scored) -> ir.Value:
    drawn = np.random.default_rng(_SEED).uniform(size=(1, 1, *scored.size))
    return _fixed(emitter, scored, drawn)


def _fixed(emitter: Emitter, scored: Scored, scores: NDArray[np.float64]) -> ir.Value:
    """The same scores for every image."""
    images = emitter.op("Shape", [scored.value], start=0, end=1)
    rest = emitter.integers((1, 1, 1), "rest")
    shape = emitter.op("Concat", [images, rest], axis=0)
    return emitter.op("Expand", [emitter.weight(scores, "scores"), shape])


def _border(size: tuple[int, int]) -> NDArray[np.float64]:
    """The same weight for every position at the border, 1 together: shape (1, 1, H, W)."""
    border = np.ones(size)
    border[1:-1, 1:-1] = 0
    return (border / border.sum())[None, None]


def _centred(size: tuple[int, int]) -> NDArray[np.float64]:
    """1 in the middle, 0 in the corners: shape (1, 1, H, W)."""
    rows, columns = ((2 * np.arange(n) - (n - 1)) / max(n - 1, 1) for n in size)
    return (1 - np.sqrt(np.add.outer(rows**2, columns**2) / 2))[None, None]


_ALL = (
    MaskSource("contrast", _contrast, "distance from the mean at the border, and from the middle"),
    MaskSource("brightness", _brightness, "the sum over the channels, as published"),
    MaskSource("constant", _departure, "what is not the background, whose outputs are known"),
    MaskSource("centre", _prior, "the middle of every image alike"),
    MaskSource("random", _random, "random positions, the same of every image"),
)

SOURCES: Mapping[str, MaskSource] = {source.name: source for source in _ALL}
"""All sources by name."""
