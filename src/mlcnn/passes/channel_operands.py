"""What a node says of itself and of its constants, as far as channels are concerned."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant

__all__ = [
    "POOLS",
    "REDUCTIONS",
    "channel_axis",
    "dense_bias",
    "has",
    "integer",
    "integers",
    "is_padded",
    "pads_zeros",
]

POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
REDUCTIONS = ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")


def integer(node: ir.Node, name: str, otherwise: int) -> int:
    """An attribute, or what it is where it is missing."""
    return node.attributes[name].as_int() if name in node.attributes else otherwise


def integers(node: ir.Node, name: str, index: int) -> tuple[int, ...]:
    """Numbers that are an attribute or an input, by opset; none where they are computed."""
    if name in node.attributes:
        return tuple(node.attributes[name].as_ints())
    array = constant(node.inputs[index]) if len(node.inputs) > index else None
    return () if array is None else tuple(int(number) for number in array.reshape(-1))


def has(node: ir.Node, index: int) -> bool:
    """Whether an optional input is there."""
    return len(node.inputs) > index and node.inputs[index] is not None


def is_padded(node: ir.Node) -> bool:
    """Whether a convolution reads zeros beside its input."""
    pads = node.attributes["pads"].as_ints() if "pads" in node.attributes else ()
    auto = node.attributes["auto_pad"].as_string() if "auto_pad" in node.attributes else "NOTSET"
    return any(pads) or auto not in {"NOTSET", "VALID"}


def pads_zeros(node: ir.Node) -> bool:
    """Whether a padding adds zeros, and nothing else."""
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    value = constant(node.inputs[2]) if has(node, 2) else np.zeros(1)
    number = node.attributes["value"].as_float() if "value" in node.attributes else 0.0
    return mode == "constant" and value is not None and not value.any() and not number


def dense_bias(node: ir.Node, outputs: int) -> NDArray[np.float64] | None:
    """One number for each output; None where the addend is something else."""
    if node.op_type != "Gemm" or not has(node, 2):
        return np.zeros(outputs)
    addend = constant(node.inputs[2])
    if addend is None or addend.size != outputs or addend.shape[-1:] != (outputs,):
        return None
    return addend.astype(np.float64).reshape(-1)


def channel_axis(value: ir.Value, rank: int, channels: int) -> int | bool | None:
    """The axis of a constant that has the channels; None: the same for all; False: neither."""
    stored = constant(value)
    shape: Sequence[int] = () if stored is None else stored.shape
    axis = len(shape) - rank + 1
    if len(shape) > rank:
        return False
    if axis < 0 or shape[axis] == 1:
        return None
    return axis if shape[axis] == channels else False
