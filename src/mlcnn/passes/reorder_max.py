"""``reorder-max``: the activation goes behind the max pool; exact (Daultani et al., SASIMI 2016).

    MaxPool(f(x)) = f(MaxPool(x))  for every f that never decreases

It saves f on all but one element of a window. No multiplication goes, since a maximum does not
commute with a convolution.
"""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from mlcnn.graph import clone, constant, infer_shapes, is_standard, layer_name
from mlcnn.passes.base import Change, PassResult, Skipped, append_change
from mlcnn.passes.rewriting import place
from mlcnn.passes.sites import Selection, beyond_reach, pools

__all__ = ["ReorderMax"]

_MAX_POOL = frozenset({"MaxPool"})


def _refuses(pool: ir.Node) -> str | None:
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
    return None


def _swap(model: ir.Model, pool: ir.Node, activation: ir.Node) -> None:
    pooled = ir.Node(
        "",
        "MaxPool",
        [activation.inputs[0]],
        list(pool.attributes.values()),
        name=pool.name,
        metadata_props=dict(pool.metadata_props),
    )
    moved = ir.Node(
        "",
        activation.op_type,
        [pooled.outputs[0], *activation.inputs[1:]],
        list(activation.attributes.values()),
        name=activation.name,
        metadata_props=dict(activation.metadata_props),
    )
    place(model, [pooled, moved], pool.outputs[0], moved.outputs[0])


@dataclass(frozen=True, slots=True)
class ReorderMax:
    """Swap ReLU, LeakyReLU or Clip with the max pool behind it.

    Attributes:
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
    """

    name: ClassVar[str] = "reorder-max"
    exact: ClassVar[bool] = True
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network with activations behind max pools."""
        model = clone(model)
        changes: list[Change] = []
        skipped = [Skipped(self.name, *inner) for inner in beyond_reach(model, _MAX_POOL)]
        selection = Selection(self.only, self.exclude)
        for pool in pools(model, _MAX_POOL):
            value = pool.inputs[0]
            activation = None if value is None else value.producer()
            reason = _refuses(pool)
            if reason is not None or activation is None:
                skipped.append(Skipped(self.name, layer_name(pool), reason or ""))
                continue
            nodes = (layer_name(activation), layer_name(pool))
            refusal = selection.refuses(nodes)
            source = activation.inputs[0]
            if refusal is not None or source is None:
                skipped.append(Skipped(self.name, nodes[0], refusal or ""))
                continue
            names = (source.name or "",), (pool.outputs[0].name or "",)
            through = activation.outputs[0].name
            _swap(model, pool, activation)
            change = Change(self.name, nodes, exact=True, inputs=names[0], outputs=names[1])
            append_change(changes, change, through)
        if changes:
            infer_shapes(model)
        return PassResult(model, tuple(changes), tuple(skipped))
