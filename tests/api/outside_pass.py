"""A pass as somebody outside the package writes it: it knows nothing of records or forms."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx
import onnx_ir as ir
from onnx import TensorProto, helper, numpy_helper

from mlcnn.passes import Change, PassResult


@dataclass(frozen=True)
class ShareFilters:
    """Compute equal filters of a convolution once, and copy their outputs by a 1x1 convolution.

    As the weights are it moves no output; with others it would, so it calls itself approximate.
    """

    name: ClassVar[str] = "share-filters"
    exact: ClassVar[bool] = False
    keep_name: bool = False

    def apply(self, model: ir.Model) -> PassResult:
        model, changes = model.clone(), []
        for node in [node for node in model.graph if node.op_type == "Conv"]:
            weight, layer = (
                node.inputs[1].const_value.numpy(),
                node.inputs[1].name[: -len(".weight")],
            )
            rows = weight.reshape(len(weight), -1)
            distinct, copies = np.unique(rows, axis=0, return_inverse=True)
            if 2 * len(distinct) > len(rows):
                continue
            second = np.eye(len(distinct), dtype=weight.dtype)[copies.reshape(-1)][:, :, None, None]
            arrays = {
                f"{layer}/once.weight": distinct.reshape(-1, *weight.shape[1:]),
                f"{layer}.weight" if self.keep_name else f"{layer}/copies.weight": second,
            }
            node.inputs[1].name += ".old"
            one, two = (
                ir.val(key, const_value=ir.tensor(v, name=key)) for key, v in arrays.items()
            )
            once = ir.node(
                "Conv", [node.inputs[0], one], dict(node.attributes), name=f"{layer}/once"
            )
            copied = ir.node("Conv", [once.outputs[0], two], name=f"{layer}/copies")
            old, new = node.outputs[0], copied.outputs[0]
            changes.append(
                Change(self.name, (layer,), False, None, (node.inputs[0].name,), (old.name,))
            )
            new.shape, new.type = old.shape, old.type
            ir.convenience.replace_nodes_and_values(
                model.graph, node, [node], [once, copied], [old], [new]
            )
            for value in (one, two):
                model.graph.register_initializer(value)
        return PassResult(model, tuple(changes))


def repeated_filters() -> onnx.ModelProto:
    """A 3x3 convolution of 8 filters, 2 of them different, ReLU, and a 1x1 convolution."""
    generator = np.random.default_rng(3)
    two = generator.standard_normal((2, 3, 3, 3)).astype(np.float32)
    weights = {
        "conv.weight": two[[0, 1, 0, 1, 1, 0, 1, 0]],
        "head.weight": generator.standard_normal((4, 8, 1, 1)).astype(np.float32),
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["c"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "head.weight"], ["y"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "repeated",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)
