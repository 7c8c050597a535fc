"""The forms: rows of kept positions and a product, the box around them, or the dense layer.

All keep the weights as they are stored: engines lay them out when they load the network.
"""

from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.ops.amounts import MACS_PER_ELEMENT, NODE, traffic, untouched
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.focused.operator import focused_conv, mask_of
from mlcnn.ops.functions import function
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.workload import ConvLayer, Layer, Operations

__all__ = ["Gathered", "Masked", "Rectangle"]

_USUAL = 0.5
"""Share of the positions in an estimate: a loop nest does not tell it."""
_ROWS = 1.3
"""How much longer a product of rows takes than a convolution, for one multiply-accumulate."""

masked = function("FocusedConvMasked")(focused_conv.body)


class _OfMask:
    """What the forms have in common."""

    rank: ClassVar[int | None] = None

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        if pooling is not None:
            return "this form has no pool"
        return "its height or width is dynamic" if None in convolution.size else None

    def operations(self, layer: Layer) -> Operations | None:
        """What it computes at most, all positions kept."""
        nest = layer.nest
        return Operations(nest.macs, nest.macs - nest.N * nest.K * nest.outputs)


class Masked(_OfMask):
    """The dense layer, and zeros: nothing is gained, and every engine runs it."""

    name: ClassVar[str] = "mask"
    rank: ClassVar[int | None] = 0

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the layer; None if it can."""
        del convolution
        return None if pooling is None else "this form has no pool"

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        del pooling
        return emitter.call(
            masked,
            [convolution.node.inputs[0], mask_of(convolution), convolution.weight,
             convolution.bias],
            strides=convolution.strides,
            pads=convolution.pads,
            dilations=convolution.dilations,
            group=convolution.groups,
        )  # fmt: skip

    def estimate(self, layer: ConvLayer) -> float:
        """A pass over the outputs more than the dense layer."""
        return untouched(layer) + MACS_PER_ELEMENT * layer.K * layer.outputs + NODE


class Gathered(_OfMask):
    """The patches of the kept positions as rows, a product with the filters, and the rows back."""

    name: ClassVar[str] = "gather"

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        del pooling
        layer, ints = convolution, emitter.integers
        every = emitter.op("Reshape", [mask_of(layer), ints([-1], "flat")])
        found = emitter.op("NonZero", [every])
        rows = _products(emitter, layer, _patches(emitter, layer, found))
        if layer.bias is not None:
            rows = emitter.op("Add", [rows, layer.bias])
        count = emitter.op("Shape", [every])
        shape = emitter.op("Concat", [count, ints([layer.filters], "filters")], axis=0)
        empty = emitter.op("Expand", [emitter.weight(np.zeros(1), "zero"), shape])
        column = emitter.op("Transpose", [found], perm=(1, 0))
        put = emitter.op("ScatterND", [empty, column, rows])
        grid = ints([-1, *_grid(layer), layer.filters], "grid")
        return emitter.op("Transpose", [emitter.op("Reshape", [put, grid])], perm=(0, 3, 1, 2))

    def estimate(self, layer: ConvLayer) -> float:
        """Cost of one image, half of the positions kept."""
        kept = _USUAL * layer.outputs
        work = _ROWS * _USUAL * layer.K * layer.products * layer.outputs
        moved = 2 * traffic(layer) + kept * (layer.C * layer.kernel_area + layer.K)
        return work + MACS_PER_ELEMENT * moved + 12 * NODE


class Rectangle(_OfMask):
    """The box around the kept positions, cut out with its true neighbours, and padded again.

    In a batch the box is that of all its images: it gains image by image.
    """

    name: ClassVar[str] = "rect"

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output."""
        del pooling
        layer, mask, ints = convolution, mask_of(convolution), emitter.integers
        corner, last = _box(emitter, mask)
        axes, one = ints((2, 3), "axes"), ints((1, 1), "one")
        behind = emitter.op("Add", [last, one])
        extent = [(k - 1) * d + 1 for k, d in zip(layer.kernel, layer.dilations, strict=True)]
        strides = ints(layer.strides, "strides")
        start = emitter.op("Mul", [corner, strides])
        end = emitter.op("Add", [emitter.op("Mul", [last, strides]), ints(extent, "extent")])
        source = _padded(emitter, layer.node.inputs[0], (0, 0, *layer.pads[:2]),
                         (0, 0, *layer.pads[2:]))  # fmt: skip
        cut = emitter.op("Slice", [source, start, end, axes])
        sums = layer.emit(emitter, cut, layer.strides, (0, 0, 0, 0))
        inside = emitter.op("Slice", [mask, corner, behind, axes])
        kept = emitter.op("Where", [inside, sums, emitter.weight(np.zeros(()), "zero")])
        none = ints((0, 0), "none")
        rest = emitter.op("Sub", [ints(_grid(layer), "grid"), behind])
        pads = emitter.op("Concat", [none, corner, none, rest], axis=0)
        return emitter.op("Pad", [kept, pads])

    def estimate(self, layer: ConvLayer) -> float:
        """Cost of one image, half of the positions in the box."""
        work = _USUAL * layer.K * layer.products * layer.outputs
        return work + MACS_PER_ELEMENT * 2 * traffic(layer) + 12 * NODE


def _grid(layer: Convolution) -> tuple[int, int]:
    """Height and width of the output."""
    height, width = layer.output_size(0), layer.output_size(1)
    if height is None or width is None:
        raise ValueError("a layer of dynamic size")
    return height, width


def _padded(
    emitter: Emitter, source: ir.Value | None, before: tuple[int, ...], after: tuple[int, ...]
) -> ir.Value:
    if source is None:
        raise ValueError("a layer without input")
    if not any((*before, *after)):
        return source
    return emitter.op("Pad", [source, emitter.integers((*before, *after), "pads")])


def _patches(emitter: Emitter, layer: Convolution, found: ir.Value) -> ir.Value:
    """What each kept position reads, shape (kept, R S, C).

    The pixels of all padded images stand in rows; each position has the row of its first tap, and
    every tap is as many rows behind that.
    """
    ints, (height, width) = emitter.integers, layer.size
    top, left, bottom, right = layer.pads
    pixels = _padded(emitter, layer.node.inputs[0], (0, 0, top, left), (0, 0, bottom, right))
    pixels = emitter.op("Transpose", [pixels], perm=(0, 2, 3, 1))
    flat = emitter.op("Reshape", [pixels, ints([-1, layer.channels], "row")])
    wide = (width or 0) + left + right
    rows, columns = _grid(layer)
    starts = np.add.outer(
        np.arange(rows) * layer.strides[0] * wide, np.arange(columns) * layer.strides[1]
    )
    taps = np.add.outer(
        np.arange(layer.kernel[0]) * layer.dilations[0] * wide,
        np.arange(layer.kernel[1]) * layer.dilations[1],
    )
    place = emitter.op("Reshape", [found, ints([-1], "flat")])
    first = ints(starts.reshape(-1).tolist(), "starts")
    if _is_single(layer):
        first = emitter.op("Gather", [first, place])
    else:
        count = ints([rows * columns], "places")
        image = emitter.op("Div", [place, count])
        within = emitter.op("Sub", [place, emitter.op("Mul", [image, count])])
        area = ints([wide * ((height or 0) + top + bottom)], "area")
        before = emitter.op("Mul", [image, area])
        first = emitter.op("Add", [emitter.op("Gather", [first, within]), before])
    column = emitter.op("Unsqueeze", [first, ints([1], "axis")])
    index = emitter.op("Add", [column, ints(taps.reshape(-1).tolist(), "taps")])
    return emitter.op("Gather", [flat, index])


def _is_single(layer: Convolution) -> bool:
    """Whether the network is for one image."""
    source = layer.node.inputs[0]
    return source is not None and source.shape is not None and source.shape.dims[0] == 1


def _products(emitter: Emitter, layer: Convolution, patches: ir.Value) -> ir.Value:
    """Each patch with all filters, shape (kept, filters)."""
    ints, groups, taps = emitter.integers, layer.groups, layer.kernel[0] * layer.kernel[1]
    each, filters = layer.channels // groups, layer.filters // groups
    if groups == 1:
        rows = emitter.op("Reshape", [patches, ints([-1, taps * each], "patch")])
        weight = emitter.op("Transpose", [layer.weight], perm=(2, 3, 1, 0))
        matrix = emitter.op("Reshape", [weight, ints([-1, filters], "matrix")])
        return emitter.op("MatMul", [rows, matrix])
    split = emitter.op("Reshape", [patches, ints([-1, taps, groups, each], "patch")])
    split = emitter.op("Transpose", [split], perm=(2, 0, 1, 3))
    rows = emitter.op("Reshape", [split, ints([groups, -1, taps * each], "rows")])
    weight = emitter.op("Reshape", [layer.weight, ints([groups, filters, each, taps], "split")])
    weight = emitter.op("Transpose", [weight], perm=(0, 3, 2, 1))
    matrix = emitter.op("Reshape", [weight, ints([groups, taps * each, filters], "matrix")])
    sums = emitter.op("Transpose", [emitter.op("MatMul", [rows, matrix])], perm=(1, 0, 2))
    return emitter.op("Reshape", [sums, ints([-1, layer.filters], "sums")])


def _box(emitter: Emitter, mask: ir.Value) -> tuple[ir.Value, ir.Value]:
    """First and last kept position, (row, column) each; of an empty mask those of the grid."""
    numbers = emitter.op("Cast", [mask], to=ir.DataType.FLOAT.value)
    first: list[ir.Value] = []
    last: list[ir.Value] = []
    for axes in ((0, 1, 3), (0, 1, 2)):
        line = emitter.op("ReduceMax", [numbers, emitter.integers(axes, "across")], keepdims=0)
        first.append(emitter.op("ArgMax", [line], axis=0))
        last.append(emitter.op("ArgMax", [line], axis=0, select_last_index=1))
    return emitter.op("Concat", first, axis=0), emitter.op("Concat", last, axis=0)
