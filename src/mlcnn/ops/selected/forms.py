"""The forms: the dense layer and zeros, or a smaller layer of the weights that are needed."""

from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.ops.amounts import MACS_PER_ELEMENT, NODE, traffic, untouched
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import function
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.ops.selected.operator import masks_of, selected_conv
from mlcnn.workload import ConvLayer, Layer, Operations

__all__ = ["Gathered", "Masked"]

_USUAL = 0.75
"""Share of the channels in an estimate: a loop nest does not tell it."""

masked = function("SelectedConvMasked")(selected_conv.body)


class _OfMasks:
    """What the forms have in common."""

    rank: ClassVar[int | None] = None

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        del convolution
        return None if pooling is None else "this form has no pool"

    def operations(self, layer: Layer) -> Operations | None:
        """What it computes at most, all channels kept."""
        nest = layer.nest
        return Operations(nest.macs, nest.macs - nest.N * nest.K * nest.outputs)


class Masked(_OfMasks):
    """The dense layer, and zeros: nothing is gained, and every engine runs it at any batch."""

    name: ClassVar[str] = "select-mask"
    rank: ClassVar[int | None] = 0

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        del pooling
        return emitter.call(
            masked,
            [convolution.node.inputs[0], *masks_of(convolution), convolution.weight,
             convolution.bias],
            strides=convolution.strides,
            pads=convolution.pads,
            dilations=convolution.dilations,
            group=convolution.groups,
        )  # fmt: skip

    def estimate(self, layer: ConvLayer) -> float:
        """A pass over inputs and outputs more than the dense layer."""
        return untouched(layer) + MACS_PER_ELEMENT * traffic(layer) + 2 * NODE


class Gathered(_OfMasks):
    """The weights and inputs that are needed side by side, a dense layer, and its outputs back.

    Engines lay out weights that they know beforehand; these they lay out for each image.
    """

    name: ClassVar[str] = "select-gather"

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        if convolution.groups != 1:
            return "the layer has groups: an input channel belongs to some outputs alone"
        source = convolution.node.inputs[0]
        batch = None if source is None or source.shape is None else source.shape[0]
        if batch != 1:
            return f"the images of a batch choose different channels: batch 1 only, here {batch}"
        return super().refuses(convolution, pooling)

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        del pooling
        layer, ints = convolution, emitter.integers
        outs, ins = masks_of(layer)
        flat = ints([-1], "flat")
        kept = _positions(emitter, outs, flat)
        some = _at_least_one(emitter, ins, layer.channels)
        read = _positions(emitter, some, flat)
        source = emitter.op("Gather", [layer.node.inputs[0], read], axis=1)
        source = emitter.op("Where", [_column(emitter, ins, read), source,
                                      emitter.weight(np.zeros(()), "zero")])  # fmt: skip
        weight = emitter.op("Gather", [layer.weight, kept], axis=0)
        weight = emitter.op("Gather", [weight, read], axis=1)
        bias = None if layer.bias is None else emitter.op("Gather", [layer.bias, kept], axis=0)
        sums = emitter.op(
            "Conv", [source, weight, bias], kernel_shape=layer.kernel, strides=layer.strides,
            pads=layer.pads, dilations=layer.dilations,
        )  # fmt: skip
        return _put_back(emitter, sums, kept, layer.filters)

    def estimate(self, layer: ConvLayer) -> float:
        """Cost of one image, three quarters of the channels kept; weights are copied twice."""
        weights = _USUAL * layer.K * layer.C * layer.kernel_area * (1 + _USUAL)
        work = _USUAL**2 * layer.macs / layer.N
        return work + MACS_PER_ELEMENT * (2 * traffic(layer) + 2 * weights) + 10 * NODE


def _positions(emitter: Emitter, mask: ir.Value, flat: ir.Value) -> ir.Value:
    """The channels that a mask, shape (1, C), keeps."""
    every = emitter.op("Reshape", [mask, flat])
    return emitter.op("Reshape", [emitter.op("NonZero", [every]), flat])


def _at_least_one(emitter: Emitter, mask: ir.Value, channels: int) -> ir.Value:
    """A mask with its first channel where it has none: ONNX Runtime 1.31 dies of a Conv of none."""
    numbers = emitter.op("Cast", [mask], to=ir.DataType.INT32.value)
    best = emitter.op("ArgMax", [numbers], axis=1)
    first = emitter.op("Equal", [best, emitter.integers(range(channels), "numbers")])
    return emitter.op("Or", [mask, first])


def _column(emitter: Emitter, mask: ir.Value, positions: ir.Value) -> ir.Value:
    """What a mask says of channels, shape (1, channels, 1, 1)."""
    said = emitter.op("Gather", [mask, positions], axis=1)
    return emitter.op("Unsqueeze", [said, emitter.integers((2, 3), "place")])


def _put_back(emitter: Emitter, sums: ir.Value, kept: ir.Value, filters: int) -> ir.Value:
    """Computed channels in their places among zeros, shape (1, filters, P, Q)."""
    first, one = emitter.integers([0], "batch"), emitter.integers([1], "channel")
    rows = emitter.op("Squeeze", [sums, first])
    grid = emitter.op("Shape", [rows], start=1)
    shape = emitter.op("Concat", [emitter.integers([filters], "filters"), grid], axis=0)
    empty = emitter.op("Expand", [emitter.weight(np.zeros(1), "nothing"), shape])
    put = emitter.op("ScatterND", [empty, emitter.op("Unsqueeze", [kept, one]), rows])
    return emitter.op("Unsqueeze", [put, first])
