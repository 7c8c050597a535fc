"""``inline``: operators that hide a layer from other passes become standard operators; exact.

Behind a fused layer may stand another pool, or a batch norm. To a pass the fused operator is
opaque; in standard operators it is what it computes, a strided convolution, which takes them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from mlcnn.graph import clone, infer_shapes, inline, is_operator, is_standard, layer_name
from mlcnn.ops import POOL_OPERATORS, method_of
from mlcnn.passes.base import PassResult
from mlcnn.passes.pointwise import pointwise_block
from mlcnn.passes.sites import Selection, shared

__all__ = ["Inline", "hidden_layers"]

_OVERLOAD = "inlined"
_NORM = "BatchNormalization"


def _producers(node: ir.Node) -> Iterator[ir.Node]:
    """What ends the ways from a pool, or a batch norm, towards the inputs."""
    pending = [(node.inputs[0], frozenset({node}))]
    while pending:
        value, users = pending.pop()
        producer = None if value is None else value.producer()
        if value is None or producer is None or shared(value, users) is not None:
            continue
        block = None if node.op_type == _NORM else pointwise_block(value)
        if block is not None:
            pending.append((block.source, frozenset(block.nodes)))
        elif node.op_type != _NORM and producer.op_type in {"Concat", "Add"}:
            pending += [(source, frozenset({producer})) for source in producer.inputs]
        else:
            yield producer


def hidden_layers(model: ir.Model) -> tuple[ir.Node, ...]:
    """The operators that would take a pool or a batch norm behind them, were they not opaque."""
    operators = {key for key, function in model.functions.items() if is_operator(function)}
    if not operators:
        return ()
    starts = [n for n in model.graph if n.op_type in POOL_OPERATORS | {_NORM} and is_standard(n)]
    found = dict.fromkeys(producer for node in starts for producer in _producers(node))
    return tuple(n for n in found if n.op_identifier() in operators and method_of(n) is None)


@dataclass(frozen=True, slots=True)
class Inline:
    """Spell operators out where a pool or a batch norm behind them could be taken.

    A run of passes does so by itself when it is through, and goes on with what it finds then.

    Attributes:
        only: layer names; touch only these.
        exclude: layer names; leave these alone.
    """

    name: ClassVar[str] = "inline"
    exact: ClassVar[bool] = True
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network with these operators in standard operators: no change of its own."""
        model = clone(model)
        selection = Selection(self.only, self.exclude)
        for node in hidden_layers(model):
            if selection.refuses((layer_name(node),)) is None:
                function = model.functions[node.op_identifier()].clone()
                node.overload = function.overload = _OVERLOAD
                model.functions.setdefault(function.identifier(), function)
        model = inline(model, keep=lambda function: function.overload != _OVERLOAD)
        called = {node.op_identifier() for node in model.graph.all_nodes()}
        for function in model.functions.values():
            called.update(node.op_identifier() for node in function.all_nodes())
        for key, function in tuple(model.functions.items()):
            if is_operator(function) and key not in called:
                del model.functions[key]
        infer_shapes(model)
        return PassResult(model)
