"""A network with exits whose images all go on, or all leave: its worst and its best case."""

import numpy as np
import onnx_ir as ir

from mlcnn.graph import clone, free_name, value_names
from mlcnn.passes.early_exit import EXIT_KEY

__all__ = ["exit_extremes"]

_GOES_ON, _LEAVES = 2.0, -1.0
"""Thresholds that no probability reaches, and that each does."""


def exit_extremes(model: ir.Model) -> tuple[ir.Model, ir.Model] | None:
    """The network with thresholds that no image reaches, and with such that every one does.

    It asks as before, so that what asking takes is part of both.

    Args:
        model: the network.

    Returns:
        The worst case and the best; None where it has no exits.
    """
    if not any(EXIT_KEY in node.metadata_props for node in model.graph.all_nodes()):
        return None
    return _with_limit(model, _GOES_ON), _with_limit(model, _LEAVES)


def _with_limit(model: ir.Model, limit: float) -> ir.Model:
    copied = clone(model)
    taken = value_names(copied)
    for split in [*copied.graph.all_nodes()]:
        if EXIT_KEY not in split.metadata_props:
            continue
        asked = split.inputs[0].producer() if split.inputs[0] is not None else None
        inside = split.attributes["then_branch"].as_graph()
        each = [node for node in inside if node.op_type == "Less" and _is_limit(node, asked)]
        for node in [*([] if asked is None else [asked]), *each]:
            _replace_limit(copied, node, limit, free_name("limit", taken))
    return copied


def _is_limit(node: ir.Node, asked: ir.Node | None) -> bool:
    """Whether a comparison in the branch is of the same threshold as the one that it stands behind."""
    limits = [None if one is None else one.inputs[1] for one in (node, asked)]
    arrays = [None if v is None or v.const_value is None else v.const_value.numpy() for v in limits]
    return arrays[0] is not None and arrays[1] is not None and np.array_equal(*arrays)


def _replace_limit(model: ir.Model, node: ir.Node, limit: float, name: str) -> None:
    before = node.inputs[1]
    dtype = ir.DataType.FLOAT if before is None or before.dtype is None else before.dtype
    array = np.asarray(limit, dtype.numpy())
    value = ir.Value(
        name=name, const_value=ir.Tensor(array, name=name), shape=ir.Shape([]),
        type=ir.TensorType(dtype),
    )  # fmt: skip
    model.graph.register_initializer(value)
    node.replace_input_with(1, value)
