"""What decides the branch of an ``If``, in operations: small, and charged all the same."""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import onnx_ir as ir

from mlcnn.graph import layer_name
from mlcnn.workload.operations import Operations
from mlcnn.workload.sizes import sizes_of

__all__ = ["Gate", "branches", "read_gate"]

_LAYERS = frozenset({"Conv", "Gemm", "MatMul"})
_REDUCED = frozenset({"ArgMax", "ArgMin", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum"})
_COMPARED = frozenset({"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"})
_SHAPING = frozenset({"Flatten", "Identity", "Reshape", "Slice", "Squeeze"})
_POOLS = frozenset({"AveragePool", "GlobalAveragePool", "MaxPool", "GlobalMaxPool", "ReduceMean"})
_EXPONENTIAL = 4
"""Products, and as many sums, of an exponential: a polynomial of degree four."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What an ``If`` asks before it takes a branch.

    Attributes:
        condition: the branch that it stands in; empty where it always runs.
        branches: names of its two branches.
        operations: from the scores of the last layer to the answer: softmax, comparisons.
        pooling: sums of a pool in front of that layer.
    """

    condition: str
    branches: tuple[str, ...]
    operations: Operations
    pooling: int = 0


def branches(node: ir.Node) -> list[tuple[str, ir.Graph]]:
    """The two branches of an ``If``, each with the name that ``Layer.condition`` has of it."""
    sides = ("then_branch", "else_branch")
    where = node.name or layer_name(node)
    return [(f"{where}.{side}", node.attributes[side].as_graph()) for side in sides]


def read_gate(node: ir.Node, condition: str) -> Gate:
    """The gate of an ``If`` in a network whose sizes are numbers.

    Args:
        node: the ``If``.
        condition: the branch that it stands in.
    """
    found = [*_deciding(node.inputs[0])]
    operations = sum((_operations(each) for each in found), Operations())
    pooled = sum(_pooled(each) for each in found if each.op_type in _LAYERS)
    return Gate(condition, tuple(name for name, _ in branches(node)), operations, pooled)


def _deciding(value: ir.Value | None) -> Iterator[ir.Node]:
    """The nodes behind the last layers, each once, and these layers."""
    pending, seen = [value], set[ir.Node]()
    while pending:
        source = pending.pop()
        node = None if source is None else source.producer()
        if node is None or node in seen:
            continue
        seen.add(node)
        yield node
        if node.op_type not in _LAYERS:
            pending.extend(node.inputs)


def _pooled(layer: ir.Node) -> int:
    """Sums of the pool in front of a layer; 0 where there is none."""
    value = layer.inputs[0]
    node = None if value is None else value.producer()
    while node is not None and node.op_type in _SHAPING:
        value = node.inputs[0]
        node = None if value is None else value.producer()
    return 0 if node is None or node.op_type not in _POOLS else _size(node.inputs[0])


def _operations(node: ir.Node) -> Operations:
    """A comparison is an addition, and so is a sum; what only moves values is nothing."""
    given = _size(node.inputs[0]) if node.inputs else 0
    if node.op_type == "Softmax":
        return Operations((_EXPONENTIAL + 1) * given, (_EXPONENTIAL + 1) * given)
    if node.op_type in _REDUCED:
        return Operations(0, max(given - _size(node.outputs[0]), 0))
    return Operations(0, _size(node.outputs[0]) if node.op_type in _COMPARED else 0)


def _size(value: ir.Value | None) -> int:
    """How many numbers a value has; 0 where that is not known."""
    sizes = None if value is None else sizes_of(value)
    return 0 if sizes is None else math.prod(sizes)
