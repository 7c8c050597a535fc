"""Dropout: kept for training, at rest in inference, gone from what is delivered."""

import re
from itertools import zip_longest

import onnx_ir as ir
import torch
from torch.export import ExportedProgram
from torch.fx import Node

from mlcnn.errors import InputError
from mlcnn.graph.structure import clone

__all__ = ["require_same_operators", "rest_dropout", "without_dropout"]

_ATEN = torch.ops.aten
_DROPOUT = frozenset({_ATEN.dropout.default})
# The exporter spells these out as random numbers; a network is trained without them.
_WHOLE_CHANNELS = frozenset({
    _ATEN.feature_dropout.default,
    _ATEN.alpha_dropout.default,
    _ATEN.feature_alpha_dropout.default,
})  # fmt: skip
_PLACE = re.compile(r'File "([^"]+)", line (\d+)')


def require_same_operators(
    inference: ExportedProgram, training: ExportedProgram, name: str
) -> None:
    """Refuse a module that branches on whether it is training; dropout may differ.

    Dropout of whole channels is put to rest in ``training``, in place.

    Args:
        inference: the module's program in inference.
        training: its program in training.
        name: what the message begins with.

    Raises:
        InputError: the programs take other operators; the message names the file and line.
    """
    for node in _calls(training):
        if node.target in _WHOLE_CHANNELS:
            node.update_arg(2, False)
    there, here = _steps(inference), _steps(training)
    for one, other in zip_longest(there, here):
        if one is None or other is None or one.target != other.target:
            raise InputError(
                f"{name}: computes something else in training than in inference "
                f"({_place(other or one)}); a rewrite needs one graph for both: move what depends "
                "on self.training out of the module, dropout and norms apart"
            )


def _calls(program: ExportedProgram) -> list[Node]:
    return [node for node in program.graph.nodes if node.op == "call_function"]


def _steps(program: ExportedProgram) -> list[Node]:
    """The operators but for dropout, which a module may call in training alone."""
    return [node for node in _calls(program) if node.target not in _DROPOUT | _WHOLE_CHANNELS]


def _place(node: Node | None) -> str:
    """File and line of the module's own code that a node comes from."""
    trace = "" if node is None else str(node.meta.get("stack_trace", ""))
    found = [place for place in _PLACE.findall(trace) if "/torch/" not in place[0]]
    return f"{found[-1][0]}:{found[-1][1]}" if found else f"at {node}"


def rest_dropout(model: ir.Model) -> None:
    """Take the mode of training from every ``Dropout``, in place: it then does nothing."""
    for node in model.graph.all_nodes():
        if node.op_type != "Dropout" or len(node.inputs) < 3:
            continue
        mode = node.inputs[2]
        node.resize_inputs(2)
        if mode is not None and mode.is_initializer() and not mode.uses():
            model.graph.initializers.pop(mode.name or "", None)


def without_dropout(model: ir.Model) -> ir.Model:
    """A copy of a network without ``Dropout``, for inference."""
    result = clone(model)
    for node in [n for n in result.graph if n.op_type == "Dropout" and not n.domain]:
        before, after = node.inputs[0], node.outputs[0]
        if before is None or after.is_graph_output():
            continue
        after.replace_all_uses_with(before)
        result.graph.remove(node, safe=True)
    return result
