"""``reorder-max``: the activation goes behind the max pool; exact (Daultani et al., SASIMI 2016).

    MaxPool(f(x)) = f(MaxPool(x))  for every f that never decreases

It saves f on all but one element of a window. No multiplication goes, since a maximum does not
commute with a convolution.
"""

from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import onnx_ir as ir

from mlcnn.graph import constant, is_standard, layer_name
from mlcnn.passes.base import Change
from mlcnn.passes.rewriting import copy_node, place
from mlcnn.passes.skeleton import MAX_POOLS, Candidate, SitePass, names

__all__ = ["ReorderMax"]


def _activation(pool: ir.Node) -> ir.Node | str:
    """The activation that the pool can go in front of, or why there is none."""
    value = pool.inputs[0]
    node = None if value is None else value.producer()
    if value is None or node is None or not is_standard(node):
        return "no activation stands before the pool"
    if node.op_type == "LeakyRelu":
        slope = node.attributes.get("alpha")
        monotone = slope is None or slope.as_float() >= 0
    elif node.op_type == "Clip":
        bounds = [bound for bound in node.inputs[1:] if bound is not None]
        monotone = all(constant(bound) is not None for bound in bounds)
    else:
        monotone = node.op_type == "Relu"
    if not monotone:
        return f"{node.op_type} ({layer_name(node)}) is not an activation that never decreases"
    if len(value.uses()) > 1 or value.is_graph_output():
        return f"{value.name} is used elsewhere too"
    if any(output.uses() or output.is_graph_output() for output in pool.outputs[1:]):
        return "the pool's indices are used"
    return node


@dataclass(frozen=True, slots=True)
class ReorderMax(SitePass):
    """Swap ReLU, LeakyReLU or Clip with the max pool behind it.

    Attributes:
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
    """

    name: ClassVar[str] = "reorder-max"
    exact: ClassVar[bool] = True
    operators: ClassVar[frozenset[str]] = MAX_POOLS
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def look(self, model: ir.Model, node: ir.Node) -> Candidate | str:
        """A max pool with an activation directly before it."""
        activation = _activation(node)
        if isinstance(activation, str):
            return activation
        nodes = (layer_name(activation), layer_name(node))
        swap = partial(self._swap, model, node, activation, nodes)
        return Candidate(nodes, nodes[0], swap, through=activation.outputs[0].name)

    def _swap(
        self, model: ir.Model, pool: ir.Node, activation: ir.Node, nodes: tuple[str, str]
    ) -> Change:
        source, output = activation.inputs[0], pool.outputs[0]
        change = Change(self.name, nodes, True, inputs=names(source), outputs=names(output))
        pooled = copy_node(pool, [source])
        moved = copy_node(activation, [pooled.outputs[0], *activation.inputs[1:]])
        place(model, [pooled, moved], output, moved.outputs[0])
        return change
