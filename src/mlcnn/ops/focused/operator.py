"""The operator: a convolution, and zero where a mask of its output grid says so.

The zero stands behind the bias, and so behind a batch norm that was folded into it: in front of the
norm it is another network, whose background is the norm's shift.
"""

import onnx_ir as ir

from mlcnn.graph import DOMAIN
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, read_convolution

__all__ = ["KIND", "OPERATORS", "focus", "focused_conv", "mask_of", "read"]

KIND = "focused"


@function("FocusedConv")
def focused_conv(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, mask: Tensor, w: Tensor, b: Tensor, strides: Ints, pads: Ints, dilations: Ints,
    group: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::FocusedConv(X, MASK (N, 1, P, Q) of bool, W, B)``: dense, then zero outside."""
    y = op.Conv(x, w, b, strides=strides, pads=pads, dilations=dilations, group=group)
    return op.Where(mask, y, op.CastLike(op.Constant(value_float=0.0), w))


OPERATORS = ((DOMAIN, focused_conv.name),)


def focus(
    emitter: Emitter,
    layer: Convolution,
    mask: ir.Value,
    instead: tuple[ir.Value | None, ir.Value] | None = None,
) -> ir.Value:
    """The operator in place of a convolution.

    Args:
        emitter: what builds the node.
        layer: the dense convolution.
        mask: which outputs are computed, boolean, shape (N, 1, P, Q).
        instead: an input and a bias in place of the layer's.
    """
    source, bias = instead or (layer.node.inputs[0], layer.bias)
    return emitter.call(
        focused_conv,
        [source, mask, layer.weight, bias],
        strides=layer.strides,
        pads=layer.pads,
        dilations=layer.dilations,
        group=layer.groups,
    )


def read(node: ir.Node) -> Convolution | str:
    """An operator as a convolution."""
    return read_convolution(node, at=2)


def mask_of(layer: Convolution) -> ir.Value:
    """The mask of a layer that ``read`` read, shape (N, 1, P, Q)."""
    value = layer.node.inputs[1]
    if value is None:
        raise ValueError("a focused layer without mask")
    return value
