"""The operator: a convolution of some input channels, and zero in some output channels.

The zero stands behind the bias, and so behind a batch norm that was folded into it: a channel that
is left out gives nothing at all to the next layer, not the norm's shift.
"""

import onnx_ir as ir

from mlcnn.graph import DOMAIN
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, read_convolution

__all__ = ["KIND", "OPERATORS", "masks_of", "read", "select", "selected_conv"]

KIND = "selected"


@function("SelectedConv")
def selected_conv(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, out_channels: Tensor, in_channels: Tensor, w: Tensor, b: Tensor,
    strides: Ints, pads: Ints, dilations: Ints, group: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::SelectedConv(X, OUT_CHANNELS (N, K), IN_CHANNELS (N, C), W, B)``; masks of bool."""
    zero = op.CastLike(op.Constant(value_float=0.0), w)
    place = op.Constant(value_ints=[2, 3])
    kept = op.Where(op.Unsqueeze(in_channels, place), x, zero)
    y = op.Conv(kept, w, b, strides=strides, pads=pads, dilations=dilations, group=group)
    return op.Where(op.Unsqueeze(out_channels, place), y, zero)


OPERATORS = ((DOMAIN, selected_conv.name),)


def select(
    emitter: Emitter, layer: Convolution, out_channels: ir.Value, in_channels: ir.Value
) -> ir.Value:
    """The operator in place of a convolution.

    Args:
        emitter: what builds the node.
        layer: the dense convolution.
        out_channels: which outputs are computed, boolean, shape (N, K).
        in_channels: which inputs count, boolean, shape (N, C).
    """
    return emitter.call(
        selected_conv,
        [layer.node.inputs[0], out_channels, in_channels, layer.weight, layer.bias],
        strides=layer.strides,
        pads=layer.pads,
        dilations=layer.dilations,
        group=layer.groups,
    )


def read(node: ir.Node) -> Convolution | str:
    """An operator as a convolution."""
    return read_convolution(node, at=3)


def masks_of(layer: Convolution) -> tuple[ir.Value, ir.Value]:
    """The masks of a layer that ``read`` read: outputs, shape (N, K), and inputs, (N, C)."""
    outs, ins = layer.node.inputs[1:3]
    if outs is None or ins is None:
        raise ValueError("a selected layer without masks")
    return outs, ins
