"""Blocks of nodes that apply one function to every element of one value."""

from dataclasses import dataclass

import onnx_ir as ir

from mlcnn.graph import Rounding, constant, is_constant, is_standard, read_rounding, stored_values

__all__ = ["BINARY", "TRANSPARENT", "UNARY", "Block", "pointwise_block"]

UNARY = frozenset({
    "Abs", "Celu", "Clip", "Elu", "Erf", "Exp", "Gelu", "HardSigmoid", "HardSwish", "LeakyRelu",
    "Log", "Mish", "Neg", "PRelu", "Pow", "Reciprocal", "Relu", "Selu", "Shrink", "Sigmoid",
    "Softplus", "Softsign", "Sqrt", "Swish", "Tanh", "ThresholdedRelu",
})  # fmt: skip
TRANSPARENT = frozenset({"Dropout", "Identity"})
_SCALING = frozenset({"Mul", "Div"})
_SHIFTING = frozenset({"Add", "Sub"})
BINARY = _SCALING | _SHIFTING | {"Max", "Min", "Pow", "PRelu"}
_MAX_NODES = 12  # a GELU by its tanh approximation takes 8


@dataclass(frozen=True, slots=True)
class Block:
    """Nodes that compute ``f(source)`` element by element.

    Attributes:
        nodes: the nodes, producers first.
        source: the one value that they read besides constants.
        exact: whether f is affine per channel, so that an average commutes with it.
        shifts: whether f(0) differs from 0 (then it does not commute with counted padding).
        scales: whether it makes differences larger or smaller.
        rounding: the steps it rounds to, for a pair of ``QuantizeLinear`` and
            ``DequantizeLinear``: an average commutes with it but for that.
    """

    nodes: tuple[ir.Node, ...]
    source: ir.Value
    exact: bool
    shifts: bool
    scales: bool = True
    rounding: Rounding | None = None


def _per_channel(value: ir.Value | None) -> bool:
    """Whether a constant holds one value per channel of an (N, C, H, W) tensor at most."""
    shape = None if value is None else value.shape
    kept = stored_values(value)
    if not kept:
        return False
    if shape is None and kept[0].const_value is not None:
        shape = kept[0].const_value.shape
    # Broadcast against (N, C, H, W) from the right: only the third axis from the end may differ.
    dims = () if shape is None else reversed(shape.dims)
    return all(size == 1 for axis, size in enumerate(dims) if axis != 2)


def _variable_inputs(node: ir.Node) -> list[ir.Value]:
    return [value for value in node.inputs if value is not None and not is_constant(value)]


def _is_pointwise(node: ir.Node) -> bool:
    if not is_standard(node) or len(node.outputs) != 1:
        return False
    if node.op_type not in UNARY | BINARY | TRANSPARENT:
        return False
    if node.op_type in BINARY:
        return all(_per_channel(v) for v in node.inputs if is_constant(v))
    return True


def _batch_norm(node: ir.Node) -> Block | None:
    training = node.attributes.get("training_mode")
    if training is not None and training.as_int():
        return None
    if not all(is_constant(value) for value in node.inputs[1:]) or node.inputs[0] is None:
        return None
    return Block((node,), node.inputs[0], exact=True, shifts=True)


def _single(node: ir.Node) -> Block | None:
    """A block of one node with one variable input, the first of the cases to try."""
    variables = _variable_inputs(node)
    if len(variables) != 1 or not _is_pointwise(node):
        return None
    source = variables[0]
    if node.op_type in TRANSPARENT:
        return Block((node,), source, exact=True, shifts=False, scales=False)
    affine = node.op_type in _SHIFTING | _SCALING
    if node.op_type == "Div" and node.inputs[0] is not source:
        affine = False
    return Block(
        (node,),
        source,
        exact=affine,
        shifts=not affine or node.op_type in _SHIFTING,
        scales=node.op_type not in _SHIFTING,
    )


def _pair(rounding: Rounding) -> Block:
    """Rounding. Where it is an activation too, an average does not commute with it."""
    shifts = not rounding.low <= 0 <= rounding.high
    return Block(
        rounding.nodes,
        rounding.source,
        exact=not rounding.activates,
        shifts=shifts,
        scales=False,
        rounding=rounding,
    )


def _inference_dropout(node: ir.Node) -> bool:
    if node.op_type != "Dropout":
        return True
    mode = node.inputs[2] if len(node.inputs) > 2 else None
    if mode is None:
        return True
    array = constant(mode)
    return array is not None and not bool(array)


def pointwise_block(value: ir.Value) -> Block | None:
    """The smallest pointwise block that ends in ``value``; None if its producer starts none.

    Finds activations that exporters spell out: SiLU as ``x * sigmoid(x)``, GELU through ``Erf``,
    HardSwish through ``Clip``; and the pairs that round in a quantised network.
    """
    node = value.producer()
    if node is None or not _inference_dropout(node):
        return None
    if node.op_type == "BatchNormalization" and is_standard(node):
        return _batch_norm(node)
    if node.op_type == "Dropout" and is_standard(node) and node.inputs[0] is not None:
        return Block((node,), node.inputs[0], exact=True, shifts=False, scales=False)
    rounding = read_rounding(value)
    if rounding is not None:
        return _pair(rounding)
    if not _is_pointwise(node):
        return None
    return _single(node) or _several(node)


def _several(node: ir.Node) -> Block | None:
    members = {node: None}
    frontier = dict.fromkeys(_variable_inputs(node))
    while len(frontier) > 1:
        if len(members) >= _MAX_NODES:
            return None
        # Open the value that depends on another one of the frontier: its producer's inputs
        # lead there. A value with consumers outside cannot be inside the block.
        opened = next(
            (v for v in frontier if _opens(v, members)),
            None,
        )
        if opened is None:
            return None
        del frontier[opened]
        producer = opened.producer()
        if producer is None:
            return None
        members[producer] = None
        for source in _variable_inputs(producer):
            if source.producer() not in members:
                frontier[source] = None
    if not frontier:
        return None
    source = next(iter(frontier))
    return Block(tuple(reversed(members)), source, exact=False, shifts=True)


def _opens(value: ir.Value, members: dict[ir.Node, None]) -> bool:
    producer = value.producer()
    if producer is None or producer in members or not _is_pointwise(producer):
        return False
    return not value.is_graph_output() and all(use.node in members for use in value.uses())
