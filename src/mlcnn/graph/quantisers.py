"""Quantised networks: pairs of ``QuantizeLinear`` and ``DequantizeLinear`` around float operators.

A pair rounds a value to whole steps, and cuts it off at both ends of the range of its codes. The
weights behind a single ``DequantizeLinear`` are constants, stored as codes.
"""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mlcnn.graph.names import DEQUANTIZE, QUANTIZE, constant, is_constant, is_standard
from mlcnn.graph.structure import clone

__all__ = [
    "DEQUANTIZE",
    "MOVING",
    "QUANTIZE",
    "Rounding",
    "code_bits",
    "is_quantised",
    "is_quantiser",
    "read_rounding",
    "unrounded",
]


MOVING = frozenset({"Flatten", "Identity", "MaxPool", "Reshape", "Slice", "Squeeze", "Transpose"})
"""Operators that give numbers as they read them: codes stay codes through them."""


@dataclass(frozen=True, slots=True)
class Rounding:
    """A pair that rounds a value, with one scale for all of it.

    Attributes:
        nodes: ``QuantizeLinear`` and ``DequantizeLinear``.
        source: what is rounded.
        step: distance of two values that it gives.
        low: the least of them.
        high: the largest of them.
    """

    nodes: tuple[ir.Node, ir.Node]
    source: ir.Value
    step: float
    low: float
    high: float

    @property
    def activates(self) -> bool:
        """Whether it cuts off one sign, as the quantiser of a ReLU's output does.

        Quantisers leave out the ReLU then: the pair is the activation.
        """
        return self.low > -self.step / 2 or self.high < self.step / 2

    def __str__(self) -> str:
        return f"steps of {self.step:.3g} from {self.low:.3g} to {self.high:.3g}"


def is_quantiser(node: ir.Node | None, op_type: str) -> bool:
    """Whether a node is ``QuantizeLinear`` or ``DequantizeLinear``, as asked."""
    return node is not None and node.op_type == op_type and is_standard(node)


def read_rounding(value: ir.Value) -> Rounding | None:
    """The pair that ends in ``value``.

    Returns:
        None where there is none, where the codes are used elsewhere too, where the two differ in
        scale or zero point, or where these are no single constants of a whole-number type.
    """
    leave = value.producer()
    codes = None if leave is None or not leave.inputs else leave.inputs[0]
    enter = None if codes is None else codes.producer()
    if leave is None or enter is None or codes is None:
        return None
    if not is_quantiser(leave, DEQUANTIZE) or not is_quantiser(enter, QUANTIZE):
        return None
    if len(codes.uses()) > 1 or codes.is_graph_output() or enter.inputs[0] is None:
        return None
    parameters = [_parameters(node) for node in (enter, leave)]
    if parameters[0] is None or parameters[0] != parameters[1]:
        return None
    scale, zero = parameters[0]
    ends = None if codes.dtype is None else _ends(codes.dtype)
    if ends is None:
        return None
    low, high = sorted((end - zero) * scale for end in ends)
    return Rounding((enter, leave), enter.inputs[0], abs(scale), low, high)


def _parameters(node: ir.Node) -> tuple[float, int] | None:
    """(scale, zero point) of a node, where it has one for all values."""
    scale = constant(node.inputs[1])
    zero: np.ndarray | None = np.zeros(1)
    if len(node.inputs) > 2 and node.inputs[2] is not None:
        zero = constant(node.inputs[2])
    if scale is None or zero is None or scale.size != 1 or zero.size != 1:
        return None
    return float(scale.reshape(())), int(zero.reshape(()))


def _ends(dtype: ir.DataType) -> tuple[int, int] | None:
    """The least and the largest code of a type."""
    if not dtype.is_integer():
        return None
    if dtype.is_signed():
        return -(2 ** (dtype.bitwidth - 1)), 2 ** (dtype.bitwidth - 1) - 1
    return 0, 2**dtype.bitwidth - 1


def code_bits(value: ir.Value | None) -> int | None:
    """Bits of the codes that a constant is dequantised from; None where it is stored itself."""
    producer = None if value is None else value.producer()
    if producer is None or not is_quantiser(producer, DEQUANTIZE):
        return None
    codes = producer.inputs[0]
    if codes is None or not is_constant(codes):
        return None
    tensor = ir.convenience.get_const_tensor(codes)
    dtype = codes.dtype if tensor is None else tensor.dtype
    return None if dtype is None else dtype.bitwidth


def is_quantised(model: ir.Model) -> bool:
    """Whether values of a network are rounded on the way."""
    return any(is_quantiser(node, QUANTIZE) for node in model.graph)


def unrounded(model: ir.Model) -> ir.Model:
    """A copy in which no value is rounded or cut off; constants stay dequantised.

    What is an identity for numbers of any precision is one here, whatever the quantisers are.

    Args:
        model: the network.
    """
    copied = clone(model)
    for node in copied.graph:
        enters = is_quantiser(node, QUANTIZE)
        leaves = is_quantiser(node, DEQUANTIZE) and constant(node.inputs[0]) is None
        if not enters and not leaves:
            continue
        node.op_type = "Identity"
        node.attributes.clear()
        node.resize_inputs(1)
        source, output = node.inputs[0], node.outputs[0]
        output.type = None if source is None else source.type
    return copied
