"""Operators as ONNX functions, whose bodies are written in ONNX Script."""

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir
import onnxscript
from onnxscript.onnx_types import TensorType
from onnxscript.values import Opset

from mlcnn.graph import DOMAIN, OPERATOR_KEY

__all__ = ["Ints", "Operator", "Tensor", "function", "op"]

Tensor = TensorType
Ints = Sequence[int]
# The stubs of ONNX Script want to know which type of tensor it is; a body is for them all.
op: Any = onnxscript.opset20
"""ONNX's operators, for bodies."""


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator with a body; called with an opset, it gives a new function of that.

    Attributes:
        name: of the operator.
        domain: of the operator.
        body: ONNX Script in operators that have not changed since opset 20.
    """

    name: str
    domain: str
    body: Callable[..., Tensor]

    def __call__(self, opset: int) -> ir.Function:
        """The operator as a function that imports ``opset``."""
        made = _converted(self).clone()
        made.opset_imports[""] = opset
        return made


def function(name: str, domain: str = DOMAIN) -> Callable[[Callable[..., Tensor]], Operator]:
    """Makes an operator of its body, a function in ONNX Script.

    Parameters of type ``Tensor`` are the inputs, by their names in capitals; those of type
    ``Ints`` or ``int`` are the attributes. What is returned is the output ``Y``.

    Args:
        name: of the operator.
        domain: of the operator; methods from elsewhere have one of their own.
    """
    return functools.partial(Operator, name, domain)


@functools.cache
def _converted(operator: Operator) -> ir.Function:
    """The function in opset 20: converting takes milliseconds, a copy a tenth of one."""
    convert = onnxscript.script(Opset(operator.domain, 1), default_opset=op)
    made = convert(operator.body).function_ir
    made.name = made.graph.name = operator.name
    made.metadata_props[OPERATOR_KEY], made.doc_string = operator.name, None
    for value in made.inputs:
        value.name = (value.name or "").upper()
    for index, node in enumerate(made):  # inlined, these names must not meet those of subgraphs
        node.name = f"{operator.name}/{node.op_type}_{index}"
        node.outputs[0].name = f"{node.name}.0"
        node.metadata_props[OPERATOR_KEY] = operator.name
        node.version = None
    made.outputs[0].name = "Y"
    return made
