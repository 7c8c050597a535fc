"""The form: each tap in use is a slice of the images, and a pool goes between bits and weights."""

import math
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.ops.amounts import MACS_PER_ELEMENT, NODE, traffic
from mlcnn.ops.comparator.operator import KIND, pairs_of
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.geometry import Convolution, Pooling, average_pool_node
from mlcnn.workload import ConvLayer, Layer, Operations

__all__ = ["Compared", "maps_of"]

_USUAL = 4
"""Pairs of a channel in an estimate: a loop nest does not tell their number."""
_END = np.iinfo(np.int64).max


def maps_of(layer: Layer) -> int:
    """Comparisons of a position."""
    return layer.nest.C * int(dict(layer.weights.options)["pairs"])


class Compared:
    """Slices, a comparison, and a 1x1 convolution of the bits, or of their means over a pool.

    The weights stand behind the bits linearly, so the mean of what they give is what they give for
    the mean of the bits: a quarter of the additions of a 2x2 pool are left.
    """

    name: ClassVar[str] = "compare"
    rank: ClassVar[int | None] = 0

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        if convolution.weights.kind != KIND:
            return f"its weights are not {KIND}"
        if pooling is not None and pooling.counts_padding and convolution.bias is not None:
            return "the pool counts its padding and the layer has a bias"
        return None

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        layer, pairs = convolution, pairs_of(convolution)
        taps, places = np.unique(np.stack([pairs.first, pairs.second]), return_inverse=True)
        source = _padded(emitter, layer)
        slices = [_slice(emitter, layer, source, int(tap)) for tap in taps]
        every = slices[0] if len(slices) == 1 else emitter.op("Concat", slices, axis=1)
        at = places.reshape(2, *pairs.first.shape) * layer.channels + np.arange(layer.channels)
        first, second = (
            emitter.op("Gather", [every, emitter.integers(one.reshape(-1).tolist(), role)], axis=1)
            for one, role in zip(at, ("first", "second"), strict=True)
        )
        dtype = ir.DataType.FLOAT if layer.weight.dtype is None else layer.weight.dtype
        bits = emitter.op("Cast", [emitter.op("Greater", [first, second])], to=dtype.value)
        if pooling is not None:
            bits = emitter.add(average_pool_node(pooling, bits))
        return emitter.op("Conv", [bits, layer.weight, layer.bias])

    def operations(self, layer: Layer) -> Operations | None:
        """Comparisons at every position; additions of the chosen weights, and of pooled bits.

        Bits choose what is added, so nothing is multiplied; a bias is the first summand.
        """
        nest, maps = layer.nest, maps_of(layer)
        outputs = math.prod(nest.pooled)
        pooled = 0 if nest.pool is None else math.prod(nest.pool.kernel) - 1
        additions = nest.K * outputs * maps + pooled * maps * outputs
        return nest.N * Operations(additions=additions, comparisons=maps * nest.outputs)

    def estimate(self, layer: ConvLayer) -> float:
        """Cost of one image with four pairs a channel: bits are moved, and multiplied as floats."""
        maps = _USUAL * layer.C
        work = layer.K * math.prod(layer.pooled) * maps
        return work + MACS_PER_ELEMENT * (traffic(layer) + 6 * maps * layer.outputs) + 10 * NODE


def _padded(emitter: Emitter, layer: Convolution) -> ir.Value | None:
    """The images, their edges repeated."""
    source = layer.node.inputs[0]
    if not any(layer.pads):
        return source
    top, left, bottom, right = layer.pads
    around = emitter.integers((0, 0, top, left, 0, 0, bottom, right), "edges")
    padded = emitter.op("Pad", [source, around])
    emitter.nodes[-1].attributes["mode"] = ir.AttrString("mode", "edge")
    return padded


def _slice(emitter: Emitter, layer: Convolution, source: ir.Value | None, tap: int) -> ir.Value:
    """What all windows have at one of their taps."""
    places = divmod(tap, layer.kernel[1])
    starts, ends = list[int](), list[int]()
    for at, kernel, dilation in zip(places, layer.kernel, layer.dilations, strict=True):
        behind = (kernel - 1 - at) * dilation
        starts.append(at * dilation)
        ends.append(-behind if behind else _END)
    return emitter.op("Slice", [source, *_numbers(emitter, starts, ends, layer.strides)])


def _numbers(emitter: Emitter, *values: Sequence[int]) -> list[ir.Value]:
    starts, ends, steps = values
    named = (starts, "starts"), (ends, "ends"), ((2, 3), "axes"), (steps, "steps")
    return [emitter.integers(given, role) for given, role in named]
