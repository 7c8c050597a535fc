"""A network with masks that keep every position: its worst case."""

import numpy as np
import onnx_ir as ir

from mlcnn.graph import clone
from mlcnn.passes.rewriting import replace_scalar

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
    for node in asked:
        replace_scalar(copied, node, 1, -np.inf)
    return copied if asked else None
