"""A network with masks that keep every position: its worst case."""

import numpy as np
import onnx_ir as ir

from mlcnn.graph import clone, free_name, value_names

__all__ = ["all_kept"]

_SCORE = "focus/score"


def all_kept(model: ir.Model) -> ir.Model | None:
    """The network with a threshold that every score reaches; None where it has no such masks.

    Args:
        model: the network.
    """
    copied = clone(model)
    asked = [
        node
        for node in copied.graph
        if node.op_type == "GreaterOrEqual" and (node.name or "").startswith(_SCORE)
    ]
    taken = value_names(copied)
    for node in asked:
        before = node.inputs[1]
        dtype = ir.DataType.FLOAT if before is None or before.dtype is None else before.dtype
        name = free_name(f"{_SCORE}.least", taken)
        least = ir.Tensor(np.asarray(-np.inf, dtype.numpy()), name=name)
        value = ir.Value(
            name=name, const_value=least, shape=ir.Shape([]), type=ir.TensorType(dtype)
        )
        copied.graph.register_initializer(value)
        node.replace_input_with(1, value)
    return copied if asked else None
