"""Constant folding that never makes a network much larger than it is."""

import math
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import psutil
from onnxscript.optimizer import fold_constants as _fold

from mlcnn.graph.structure import OPERATOR_KEY, clone

__all__ = ["fold_constants", "has_texts", "spreads"]

_LIMIT = 2**16
"""Elements that a folded constant may have, beyond those of the constants that it replaces."""
_SMALL = 256  # elements of shapes, indices and the like

# fmt: off
_FOLDED = frozenset({
    "Abs", "Add", "And", "ArgMax", "ArgMin", "BitShift", "Cast", "CastLike", "Ceil", "Clip",
    "Compress", "Concat", "ConstantOfShape", "Cos", "CumSum", "Div", "Equal", "Erf", "Exp",
    "Expand", "EyeLike", "Flatten", "Floor", "Gather", "GatherElements", "GatherND", "Gemm",
    "Greater", "GreaterOrEqual", "Identity", "IsInf", "IsNaN", "Less", "LessOrEqual", "Log",
    "MatMul", "Max", "Mean", "Min", "Mod", "Mul", "Neg", "NonZero", "Not", "OneHot", "Or",
    "Pad", "Pow", "Range", "Reciprocal", "ReduceL1", "ReduceL2", "ReduceLogSum",
    "ReduceLogSumExp", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceProd", "ReduceSum",
    "ReduceSumSquare", "Relu", "Reshape", "Round", "ScatterElements", "ScatterND", "Shape",
    "Sigmoid", "Sign", "Sin", "Size", "Slice", "Softmax", "Sqrt", "Squeeze", "Sub", "Sum",
    "Tanh", "Tile", "Transpose", "Trilu", "Unsqueeze", "Where", "Xor",
})
# fmt: on
"""Operators that are cheap to compute and whose output's size is known beforehand.

Not among them: ``QuantizeLinear`` and ``DequantizeLinear``, whose fusion engines rely on.
"""


_WEIGHTED = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "BatchNormalization"})


def fold_constants(model: ir.Model, *, spread: bool = False) -> ir.Model:
    """A copy in which what does not depend on the inputs is computed.

    Args:
        model: the network.
        spread: also what an operator's body makes of few weights, see ``spreads``.

    Raises:
        RuntimeError: an operator breaks the rules that its folding relies on.
    """
    folded = clone(model)
    types = {value.name: value.type for node in folded.graph for value in node.outputs}
    with np.errstate(all="ignore"):
        _fold(
            folded,
            onnx_shape_inference=True,
            output_size_limit=np.iinfo(np.int64).max,
            should_fold=_Limit(psutil.virtual_memory().available // 2, spread=spread),
        )
    for node in folded.graph:
        for value in node.outputs:
            # The folder forgets the types of operators that it cannot infer.
            value.type = value.type or types.get(value.name)
    return folded


@dataclass(slots=True)
class _Limit:
    """Decides which nodes are folded.

    Attributes:
        budget: bytes that generated weights may still take.
        spread: fold also what ``spreads``.
    """

    budget: float
    spread: bool

    def __call__(self, node: ir.Node) -> bool:
        if node.domain or node.op_type not in _FOLDED or has_texts(node):
            return False
        if spreads(node):
            return self.spread
        size = max((_elements(output, node) for output in node.outputs), default=math.inf)
        if node.op_type == "ConstantOfShape" and _is_weight(node.outputs[0]):
            self.budget -= 8 * size
            return self.budget >= 0
        freed = sum(
            value.const_value.size
            for value in node.inputs
            if value is not None and value.const_value is not None and len(value.uses()) == 1
        )
        return size <= _LIMIT + freed


def spreads(node: ir.Node) -> bool:
    """Whether a node of an operator's body makes more numbers of a weight than it has.

    Folded, a network would be as large as without the operator, and no operator any more.
    """
    if OPERATOR_KEY not in node.metadata_props:
        return False
    kept = sum(
        value.const_value.size
        for value in node.inputs
        if value is not None and value.const_value is not None
    )
    made = max((_elements(output, node) for output in node.outputs), default=0.0)
    return made > max(kept, _SMALL)


def _elements(value: ir.Value, node: ir.Node) -> float:
    """Elements of a node's output, or a bound where the operator selects among its input's."""
    if value.shape is not None and value.shape.is_static():
        return math.prod(value.shape.numpy())
    if node.op_type not in {"NonZero", "Compress"}:
        return math.inf
    tensors = [item.const_value for item in node.inputs if item is not None]
    return sum(tensor.size * max(len(tensor.shape), 1) for tensor in tensors if tensor is not None)


def has_texts(node: ir.Node) -> bool:
    """Whether a node reads or makes texts, which the folder turns into tensors of no type.

    Args:
        node: the node, with inferred types.
    """
    values = [value for value in (*node.inputs, *node.outputs) if value is not None]
    tensors = [value.const_value for value in values if value.const_value is not None]
    types = {item.dtype for item in (*values, *tensors)}
    target = node.attributes.get("to")
    if target is not None and not target.is_ref():
        types.add(ir.DataType(target.as_int()))
    return ir.DataType.STRING in types


def _is_weight(value: ir.Value) -> bool:
    return any(use.node.op_type in _WEIGHTED and use.idx > 0 for use in value.uses())
