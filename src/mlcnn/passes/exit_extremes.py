"""A network with exits whose images all go on, or all leave: its worst and its best case."""

import onnx_ir as ir

from mlcnn.graph import clone
from mlcnn.passes.early_exit import EXIT_KEY
from mlcnn.passes.rewriting import replace_scalar

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
    for split in [*copied.graph.all_nodes()]:
        if EXIT_KEY not in split.metadata_props:
            continue
        condition = split.inputs[0]
        asked = None if condition is None else condition.producer()
        before = None if asked is None else _threshold(asked)
        if asked is None or before is None:
            continue
        # Which images go on is asked again in the branch, with the same threshold.
        inside = split.attributes["then_branch"].as_graph()
        for node in (asked, *(n for n in inside if n.op_type == "Less")):
            if node is asked or _threshold(node) == before:
                replace_scalar(copied, node, 1, limit)
    return copied


def _threshold(node: ir.Node) -> float | None:
    value = node.inputs[1]
    tensor = None if value is None else value.const_value
    return None if tensor is None or tensor.size != 1 else float(tensor.numpy().item())
