"""What a node is called in front of the user, and the constant behind a value."""

import ast
from functools import lru_cache

import numpy as np
import onnx_ir as ir

__all__ = [
    "DEQUANTIZE",
    "QUANTIZE",
    "STANDARD",
    "constant",
    "free_name",
    "is_constant",
    "is_standard",
    "layer_name",
    "stored_values",
    "value_names",
]

STANDARD = frozenset({"", "ai.onnx"})
QUANTIZE, DEQUANTIZE = "QuantizeLinear", "DequantizeLinear"
_ROUNDING = frozenset({QUANTIZE, DEQUANTIZE})
_CODES = "_quantized"  # what ONNX Runtime's quantiser calls the codes of a weight after it

_SCOPES = "pkg.torch.onnx.name_scopes"
_CLASSES = "pkg.torch.onnx.class_hierarchy"
_NO_SCOPE = "_empty_nn_module_stack_from_metadata_hook"
_NORM = "batch_norm"
_PARAMETERS = ("weight", "bias")


def constant(value: ir.Value | None) -> np.ndarray | None:
    """The array behind a value, if it is an initializer or the output of a ``Constant`` node.

    Args:
        value: any value of a network; None stands for an absent optional input.

    Returns:
        A read-only array that shares the weight's memory; None where the value is computed or
        fed from outside.
    """
    if value is None or (value.is_graph_input() and not value.is_initializer()):
        return None
    tensor = ir.convenience.get_const_tensor(value)
    if tensor is None or not (value.is_initializer() or value.producer() is not None):
        return None
    array = tensor.numpy().view()
    array.flags.writeable = False
    return array


def is_standard(node: ir.Node) -> bool:
    """Whether a node is one of ONNX's own operators."""
    return node.domain in STANDARD


def is_constant(value: ir.Value | None) -> bool:
    """Whether a value is stored, or dequantised from what is stored."""
    return bool(stored_values(value))


def stored_values(value: ir.Value | None) -> tuple[ir.Value, ...]:
    """What the network keeps of a constant: itself, or what it is rounded and dequantised from.

    Args:
        value: any value of a network; None stands for an absent optional input.

    Returns:
        Nothing where the value is computed from inputs, or fed from outside.
    """
    found: list[ir.Value] = []
    pending = [] if value is None else [value]
    while pending:
        item = pending.pop()
        node = item.producer()
        if constant(item) is not None:
            found.append(item)
        elif node is None or node.op_type not in _ROUNDING or not is_standard(node):
            return ()
        else:
            pending.extend(part for part in reversed(node.inputs) if part is not None)
    return tuple(found)


def value_names(model: ir.Model) -> set[str]:
    """The names of all values of a network, those in subgraphs too: new ones must differ."""
    values = (
        value
        for graph in model.graphs()
        for value in (
            *graph.inputs,
            *graph.initializers.values(),
            *(output for node in graph for output in node.outputs),
        )
    )
    return {value.name for value in values if value.name}


def free_name(wanted: str, taken: set[str]) -> str:
    """``wanted``, or the first of ``wanted_1``, ``wanted_2``... that is not taken; it is now.

    Args:
        wanted: the name to have.
        taken: the names in use; the result is added.
    """
    name, count = wanted, 0
    while name in taken:
        count += 1
        name = f"{wanted}_{count}"
    taken.add(name)
    return name


def layer_name(node: ir.Node) -> str:
    """The name of the module that a node came from, as its author wrote it.

    Args:
        node: a node of a network.

    Returns:
        The module (``features.3``) from the exporter's metadata, or else from the name of the
        node's weight, or else the node's own name; an operator that a module calls as a function
        is ``module.function``.
    """
    weight = _weight_module(node)
    module = _exported_module(node, weight)
    if module:
        return module
    if weight:
        return weight
    return _scripted_module(node) or node.name or _output_name(node)


def _output_name(node: ir.Node) -> str:
    return next((output.name for output in node.outputs if output.name), None) or node.op_type


def _weight_module(node: ir.Node) -> str:
    """``features.3`` for a node with a weight ``features.3.weight``; empty if it has none."""
    for read in node.inputs[1:3]:
        value = next(iter(stored_values(read)), read)
        if value is None or not value.is_initializer() or not value.name:
            continue
        name = value.name if value is read else value.name.removesuffix(_CODES)
        module, _, parameter = name.rpartition(".")
        if module and parameter in _PARAMETERS:
            return module
    return ""


@lru_cache(maxsize=4096)
def _literal_list(text: str) -> tuple[str, ...]:
    try:
        parsed: object = ast.literal_eval(text)
    except (ValueError, SyntaxError, MemoryError, RecursionError):
        return ()
    if not isinstance(parsed, list):
        return ()
    return tuple(str(item) for item in parsed)  # pyright: ignore[reportUnknownVariableType]


def _exported_module(node: ir.Node, weight: str) -> str:
    scopes = _literal_list(node.metadata_props.get(_SCOPES, ""))
    if len(scopes) < 2:
        return ""
    module = "" if scopes[-2] == _NO_SCOPE else scopes[-2].partition("@")[0]
    function = scopes[-1]
    classes = _literal_list(node.metadata_props.get(_CLASSES, ""))
    if weight and classes and _NORM in classes[-1] and node.op_type != "BatchNormalization":
        return weight  # the exporter folded a batch norm, and noted where that came from
    is_leaf = len(classes) > 1 and classes[-2].startswith("torch.nn.modules.")
    if module and (is_leaf or weight == module):
        return module
    if weight:
        return weight
    return f"{module}.{function}" if module else function


def _scripted_module(node: ir.Node) -> str:
    """``layer1.0.conv1`` for a node ``/layer1/layer1.0/conv1/Conv`` of torch's older exporter."""
    name = node.name or ""
    if not name.startswith("/"):
        return ""
    path: list[str] = []
    for part in name.split("/")[1:-1]:
        if path and part.startswith(f"{path[-1]}."):
            path.pop()
        path.append(part)
    return ".".join(path)
