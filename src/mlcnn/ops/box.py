"""Form ``box``: average every window of inputs once, then convolve with the stride of both.

    AvgPool_{k,s}(conv_{K,S}(x) + b) = conv_{K, stride s*S}(Mean_k(x_padded)) + b

([MLCNN] Eq. 3). The means are shared by all filters. Multiplications fall by 1 - P*Q / (Ho*Wo).
"""

from collections.abc import Mapping, Sequence
from functools import partial
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.ops.emitter import Emitter, function
from mlcnn.ops.form import by_regions, padding, pads_of
from mlcnn.ops.geometry import Convolution, Pooling
from mlcnn.ops.regions import Axis, Region, fused_regions

__all__ = ["Box", "BoxDepthwise", "conv_pool_box", "conv_pool_box_depthwise"]

_INTS, _INT = ir.AttributeType.INTS, ir.AttributeType.INT
_CONV = {"conv_strides": _INTS, "conv_pads": _INTS, "conv_dilations": _INTS, "group": _INT}


def _reference(name: str, formal: str, kind: ir.AttributeType) -> ir.Attr:
    return ir.RefAttr(name, formal, kind)


def _conv(source: ir.Value, values: Mapping[str, ir.Value]) -> ir.Node:
    attributes = [
        _reference("strides", "conv_strides", _INTS),
        _reference("pads", "conv_pads", _INTS),
        _reference("dilations", "conv_dilations", _INTS),
        _reference("group", "group", _INT),
    ]
    return ir.Node("", "Conv", [source, values["W"], values["B"]], attributes)


def conv_pool_box(opset: int) -> ir.Function:
    """``mlcnn::ConvPoolBox(X, W, B)``: means of windows that touch, then the convolution."""

    def body(values: Mapping[str, ir.Value]) -> Sequence[ir.Node]:
        attributes = [
            _reference("kernel_shape", "box_kernel", _INTS),
            _reference("pads", "box_pads", _INTS),
            ir.AttrInt64("count_include_pad", 1),
        ]
        box = ir.Node("", "AveragePool", [values["X"]], attributes)
        return [box, _conv(box.outputs[0], values)]

    formal = {"box_kernel": _INTS, "box_pads": _INTS} | _CONV
    return function("ConvPoolBox", ("X", "W", "B"), formal, body, opset)


def conv_pool_box_depthwise(opset: int) -> ir.Function:
    """``mlcnn::ConvPoolBoxDepthwise(X, M, W, B)``: the mean is a depth-wise convolution.

    M is the constant kernel of the mean. Inputs of a window may lie apart: engines run a dilated
    average pool slowly or not at all.
    """

    def body(values: Mapping[str, ir.Value]) -> Sequence[ir.Node]:
        attributes = [
            _reference("pads", "box_pads", _INTS),
            _reference("dilations", "box_dilations", _INTS),
            _reference("group", "channels", _INT),
        ]
        box = ir.Node("", "Conv", [values["X"], values["M"]], attributes)
        return [box, _conv(box.outputs[0], values)]

    formal = {"box_pads": _INTS, "box_dilations": _INTS, "channels": _INT} | _CONV
    return function("ConvPoolBoxDepthwise", ("X", "M", "W", "B"), formal, body, opset)


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
    depthwise: bool = False,
) -> ir.Value:
    rows, columns = region.axes
    row_pads, column_pads = _split_pads(rows), _split_pads(columns)
    box_pads = pads_of(row_pads[0], column_pads[0])
    window = (rows.window, columns.window)
    conv_attributes = {
        "conv_strides": (rows.stride, columns.stride),
        "conv_pads": pads_of(row_pads[1], column_pads[1]),
        "conv_dilations": (rows.dilation, columns.dilation),
        "group": convolution.groups,
    }
    if window == (1, 1):
        return emitter.op(
            "Conv",
            [source, convolution.weight, convolution.bias],
            strides=(rows.stride, columns.stride),
            pads=pads_of(padding(rows), padding(columns)),
            dilations=(rows.dilation, columns.dilation),
            group=convolution.groups,
        )
    touching = all(axis.conv_stride == 1 or axis.window == 1 for axis in region.axes)
    if touching and not depthwise:
        return emitter.call(
            conv_pool_box,
            [source, convolution.weight, convolution.bias],
            box_kernel=window,
            box_pads=box_pads,
            **conv_attributes,
        )
    mean = np.full((convolution.channels, 1, *window), 1 / (window[0] * window[1]))
    return emitter.call(
        conv_pool_box_depthwise,
        [source, emitter.weight(mean, "box"), convolution.weight, convolution.bias],
        box_pads=box_pads,
        box_dilations=(rows.conv_stride, columns.conv_stride),
        channels=convolution.channels,
        **conv_attributes,
    )


class BoxDepthwise:
    """As ``box``, the mean always by a depth-wise convolution: faster where pools run slowly."""

    name: ClassVar[str] = "box-depthwise"

    def refuses(self, convolution: Convolution, pooling: Pooling) -> str | None:
        """Why this form cannot compute the pair; None if it can."""
        regions = fused_regions(convolution, pooling)
        return regions if isinstance(regions, str) else None

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling) -> ir.Value:
        """Build the form's nodes; return their output, shape (N, K, pooled height, width)."""
        return by_regions(emitter, convolution, pooling, partial(_piece, depthwise=True))


class Box:
    """Mean over every window, then one strided convolution with the original weights."""

    name: ClassVar[str] = "box"

    def refuses(self, convolution: Convolution, pooling: Pooling) -> str | None:
        """Why this form cannot compute the pair; None if it can."""
        regions = fused_regions(convolution, pooling)
        return regions if isinstance(regions, str) else None

    def emit(self, emitter: Emitter, convolution: Convolution, pooling: Pooling) -> ir.Value:
        """Build the form's nodes; return their output, shape (N, K, pooled height, width)."""
        return by_regions(emitter, convolution, pooling, _piece)
