"""A pass: ReLU becomes ReLU6, as networks for fixed-point hardware have it."""

from dataclasses import dataclass
from typing import ClassVar

import onnx_ir as ir

from mlcnn.graph import clone, layer_name
from mlcnn.passes import Change, PassResult, Skipped

__all__ = ["ClipActivations"]


@dataclass(frozen=True, slots=True)
class ClipActivations:
    """Bound the activations of a network. Approximate: fine-tune afterwards.

    Attributes:
        ceiling: the largest value that is left.
    """

    name: ClassVar[str] = "clip-activations"
    exact: ClassVar[bool] = False
    ceiling: float = 6.0

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network with bounded activations."""
        model = clone(model)  # a pass never changes its argument
        changes, skipped = [], []
        for node in [node for node in model.graph if node.op_type == "Relu"]:
            output = node.outputs[0]
            if output.is_graph_output():
                skipped.append(Skipped(self.name, layer_name(node), "it is the network's output"))
                continue
            bounds = [
                ir.node("Constant", [], attributes={"value_float": bound})
                for bound in (0.0, self.ceiling)
            ]
            clip = ir.node("Clip", [node.inputs[0], *(bound.outputs[0] for bound in bounds)])
            clip.name = node.name
            model.graph.insert_after(node, [*bounds, clip])
            clip.outputs[0].shape, clip.outputs[0].type = output.shape, output.type
            ir.convenience.replace_all_uses_with(output, clip.outputs[0])
            changes.append(Change(self.name, (layer_name(node),), exact=False))
            model.graph.remove(node, safe=True)
        return PassResult(model, tuple(changes), tuple(skipped))
