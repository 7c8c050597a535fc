"""Form ``box``: average every window of inputs once, then convolve with the stride of both.

    AvgPool_{k,s}(conv_{K,S}(x) + b) = conv_{K, stride s*S}(Mean_k(x_padded)) + b

([MLCNN] Eq. 3). The means are shared by all filters. Multiplications fall by 1 - P*Q / (Ho*Wo).
"""

import math
from collections.abc import Iterable
from functools import partial
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.ops.amounts import (
    MACS_PER_ELEMENT,
    NODE,
    STRIDED,
    fused_macs,
    products,
    traffic,
)
from mlcnn.ops.amounts import convolution as dense_convolution
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.form import by_regions, padding, pads_of
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.ops.regions import Axis, Region, fused_axis, fused_regions
from mlcnn.workload import DENSE, ConvLayer, Layer, Operations, Pool

__all__ = ["Box", "BoxDepthwise", "conv_pool_box", "conv_pool_box_depthwise", "means"]


@function("ConvPoolBox")
def conv_pool_box(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, w: Tensor, b: Tensor, box_kernel: Ints, box_pads: Ints,
    conv_strides: Ints, conv_pads: Ints, conv_dilations: Ints, group: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::ConvPoolBox(X, W, B)``: means of windows that touch, then the convolution."""
    means = op.AveragePool(x, kernel_shape=box_kernel, pads=box_pads, count_include_pad=1)
    return op.Conv(
        means, w, b, strides=conv_strides, pads=conv_pads, dilations=conv_dilations, group=group
    )


@function("ConvPoolBoxDepthwise")
def conv_pool_box_depthwise(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, m: Tensor, w: Tensor, b: Tensor, box_pads: Ints, box_dilations: Ints, channels: int,
    conv_strides: Ints, conv_pads: Ints, conv_dilations: Ints, group: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::ConvPoolBoxDepthwise(X, M, W, B)``: the mean is a depth-wise convolution.

    M is the constant kernel of the mean. Inputs of a window may lie apart: engines run a dilated
    average pool slowly or not at all.
    """
    means = op.Conv(x, m, pads=box_pads, dilations=box_dilations, group=channels)
    return op.Conv(
        means, w, b, strides=conv_strides, pads=conv_pads, dilations=conv_dilations, group=group
    )


def _split_pads(axis: Axis) -> tuple[tuple[int, int], tuple[int, int]]:
    """Pads of the box and of the convolution.

    A window that lies in the zeros alone has mean zero: the convolution's own padding gives it.
    So the box never pads by more than it spans, which engines require.
    """
    box = (min(axis.before, axis.box_extent), min(axis.after, axis.box_extent))
    return box, (axis.before - box[0], axis.after - box[1])


def _piece(
    emitter: Emitter,
    convolution: Convolution,
    region: Region,
    source: ir.Value,
    *,
    depthwise: bool,
) -> ir.Value:
    rows, columns = region.axes
    row_pads, column_pads = _split_pads(rows), _split_pads(columns)
    box_pads = pads_of(row_pads[0], column_pads[0])
    window = (rows.window, columns.window)
    strides = (rows.stride, columns.stride)
    conv_attributes = {
        "conv_strides": strides,
        "conv_pads": pads_of(row_pads[1], column_pads[1]),
        "conv_dilations": (rows.dilation, columns.dilation),
        "group": convolution.groups,
    }
    if window == (1, 1):
        return convolution.emit(emitter, source, strides, pads_of(padding(rows), padding(columns)))
    pooled = _touching(region.axes) and not depthwise
    if convolution.weights != DENSE:
        mean = _mean(emitter, convolution, region, source, box_pads, pooled)
        return convolution.emit(emitter, mean, strides, pads_of(row_pads[1], column_pads[1]))
    if pooled:
        return emitter.call(
            conv_pool_box,
            [source, convolution.weight, convolution.bias],
            box_kernel=window,
            box_pads=box_pads,
            **conv_attributes,
        )
    return emitter.call(
        conv_pool_box_depthwise,
        [source, _kernel(emitter, convolution, window), convolution.weight, convolution.bias],
        box_pads=box_pads,
        box_dilations=(rows.conv_stride, columns.conv_stride),
        channels=convolution.channels,
        **conv_attributes,
    )


def _mean(  # noqa: PLR0917 - the parts of one site
    emitter: Emitter,
    convolution: Convolution,
    region: Region,
    source: ir.Value,
    pads: tuple[int, int, int, int],
    pooled: bool,
) -> ir.Value:
    """The mean of every window by an operator of its own, for an inner layer that is not dense."""
    rows, columns = region.axes
    window = (rows.window, columns.window)
    if pooled:
        return emitter.op(
            "AveragePool", [source], kernel_shape=window, pads=pads, count_include_pad=1
        )
    return emitter.op(
        "Conv",
        [source, _kernel(emitter, convolution, window)],
        pads=pads,
        dilations=(rows.conv_stride, columns.conv_stride),
        group=convolution.channels,
    )


def _kernel(emitter: Emitter, convolution: Convolution, window: tuple[int, int]) -> ir.Value:
    """The mean over a window as a depth-wise kernel."""
    mean = np.full((convolution.channels, 1, *window), 1 / math.prod(window))
    return emitter.weight(mean, "box")


def _touching(axes: Iterable[Axis]) -> bool:
    """Whether the inputs of a window lie side by side."""
    return all(axis.conv_stride == 1 or axis.window == 1 for axis in axes)


class Box:
    """Mean over every window, then one strided convolution with the original weights."""

    name: ClassVar[str] = "box"
    rank: ClassVar[int | None] = 1
    depthwise: ClassVar[bool] = False

    def refuses(self, convolution: Convolution, pooling: Pooling | None) -> str | None:
        """Why this form cannot compute the pair; None if it can."""
        regions = fused_regions(convolution, pooling)
        return regions if isinstance(regions, str) else None

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling | None) -> ir.Value:
        """Build the form's nodes; return their output, shape (N, K, pooled height, width)."""
        piece = partial(_piece, depthwise=self.depthwise)
        return by_regions(emitter, convolution, pooling, piece)

    def operations(self, layer: Layer) -> Operations | None:
        """A mean for every window of inputs, then the convolution.

        Where the mean is a depth-wise convolution, it takes a product for every input of a window.
        """
        pool = layer.pool
        if pool is None:
            return None
        found = _means(layer.nest, pool, depthwise=self.depthwise)
        if layer.weights == DENSE:
            return found + dense_convolution(layer.nest)
        # An inner layer of another structure counts as its operators stand there, among them a
        # mean that is a convolution.
        inner = sum((part.operations for part in layer.parts), Operations())
        return inner if found.multiplications else found + inner

    def estimate(self, layer: ConvLayer) -> float:
        """A strided convolution at the pooled outputs, and a mean at every input."""
        window = math.prod(layer.pool.kernel) if layer.pool is not None else 1
        boxes = layer.C * layer.H * layer.W
        work = fused_macs(layer) * STRIDED + boxes * window
        return work + MACS_PER_ELEMENT * (traffic(layer) + 2 * boxes) + 2 * NODE


class BoxDepthwise(Box):
    """As ``box``, the mean always by a depth-wise convolution: faster where pools run slowly."""

    name: ClassVar[str] = "box-depthwise"
    rank: ClassVar[int | None] = None
    depthwise: ClassVar[bool] = True


def means(layer: Layer) -> Operations:
    """What the means in front of a layer in these forms take; nothing in front of others."""
    pool = layer.pool
    if pool is None or layer.form not in {Box.name, BoxDepthwise.name}:
        return Operations()
    return _means(layer.nest, pool, depthwise=layer.form == BoxDepthwise.name)


def _means(nest: ConvLayer, pool: Pool, *, depthwise: bool) -> Operations:
    axes, inputs = [fused_axis(nest, pool, axis) for axis in (0, 1)], math.prod(pool.kernel)
    boxes = nest.C * math.prod(axis.boxes for axis in axes)  # all that fit, needed or not
    if depthwise or not _touching(axes):
        return products(nest, boxes, inputs)
    return nest.N * Operations(additions=boxes * (inputs - 1))
