"""Dropout: kept for training, at rest in inference, gone from what is delivered."""

import re
from enum import StrEnum
from itertools import zip_longest
from typing import cast

import onnx_ir as ir
import torch
from torch.export import ExportedProgram
from torch.fx import Node

from mlcnn.errors import InputError
from mlcnn.graph.structure import clone

__all__ = [
    "DropoutKind",
    "dropout_kind",
    "mark_dropout",
    "require_same_operators",
    "rest_dropout",
    "without_dropout",
]

_ATEN = torch.ops.aten
_PLAIN = _ATEN.dropout.default


class DropoutKind(StrEnum):
    """What a ``Dropout`` drops while it trains, if not single values, which become zero."""

    CHANNELS = "channels"
    ALPHA = "alpha"
    ALPHA_CHANNELS = "alpha-channels"


# The exporter would spell these out as random numbers. All take (input, probability, whether it
# trains), as plain dropout does.
_IN_PLACE = {
    _ATEN.dropout_.default: None,
    _ATEN.feature_dropout_.default: DropoutKind.CHANNELS,
    _ATEN.alpha_dropout_.default: DropoutKind.ALPHA,
    _ATEN.feature_alpha_dropout_.default: DropoutKind.ALPHA_CHANNELS,
}
_KINDS: dict[object, DropoutKind | None] = {
    _ATEN.feature_dropout.default: DropoutKind.CHANNELS,
    _ATEN.alpha_dropout.default: DropoutKind.ALPHA,
    _ATEN.feature_alpha_dropout.default: DropoutKind.ALPHA_CHANNELS,
    **_IN_PLACE,
}
_KEY = "mlcnn.dropout"
"""Metadata of a ``Dropout`` of another kind than ONNX has, and of the exporter's node for it."""

_PLACE = re.compile(r'File "([^"]+)", line (\d+)')


def require_same_operators(
    inference: ExportedProgram, training: ExportedProgram, name: str
) -> None:
    """Refuse a module that branches on whether it is training; dropout may differ.

    Dropout of other kinds, and dropout that writes over its input, become plain dropout in
    ``training``, in place; ``mark_dropout`` knows which was which.

    Args:
        inference: the module's program in inference.
        training: its program in training.
        name: what the message begins with.

    Raises:
        InputError: the programs take other operators; the message names the file and line.
    """
    for node in _calls(training):
        if node.target in _KINDS:
            _make_plain(node)
    there, here = _steps(inference), _steps(training)
    for one, other in zip_longest(there, here):
        if one is None or other is None or one.target != other.target:
            raise InputError(
                f"{name}: computes something else in training than in inference "
                f"({_place(other or one)}); a rewrite needs one graph for both: move what depends "
                "on self.training out of the module, dropout and norms apart"
            )


def _make_plain(node: Node) -> None:
    """Turn a dropout into one of single values that leaves its input as it is."""
    if node.target in _IN_PLACE:
        source = cast("Node", node.args[0])
        source.replace_all_uses_with(node, lambda user: node < user)  # what reads it afterwards
    node.meta[_KEY], node.target = _KINDS[node.target], _PLAIN


def _calls(program: ExportedProgram) -> list[Node]:
    return [node for node in program.graph.nodes if node.op == "call_function"]


def _steps(program: ExportedProgram) -> list[Node]:
    """The operators but for dropout, which a module may call in training alone."""
    return [node for node in _calls(program) if node.target not in {_PLAIN, *_KINDS}]


def _place(node: Node | None) -> str:
    """File and line of the module's own code that a node comes from."""
    trace = "" if node is None else str(node.meta.get("stack_trace", ""))
    found = [place for place in _PLACE.findall(trace) if "/torch/" not in place[0]]
    return f"{found[-1][0]}:{found[-1][1]}" if found else f"at {node}"


def mark_dropout(model: ir.Model, program: ExportedProgram) -> None:
    """Note on every ``Dropout`` of another kind which kind it is, in place.

    Args:
        model: what the exporter made of ``program``, node by node in its order.
        program: after ``require_same_operators``.
    """
    dropouts = [node for node in _calls(program) if node.target is _PLAIN]
    kinds = [node.meta.get(_KEY) for node in dropouts if node.args[2] is not False]
    if not any(kinds):
        return
    made = [node for node in model.graph if node.op_type == "Dropout"]
    for node, kind in zip(made, kinds, strict=True):
        if kind is not None:
            node.metadata_props[_KEY] = kind


def dropout_kind(node: ir.Node) -> DropoutKind | None:
    """What a ``Dropout`` drops; None for single values."""
    kind = node.metadata_props.get(_KEY)
    return DropoutKind(kind) if kind in {*DropoutKind} else None


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
