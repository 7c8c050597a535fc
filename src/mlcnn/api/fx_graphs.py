"""Graphs of TorchDynamo: what is in them, and the same with weights as constants."""

import gc
import inspect
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, fx, nn
from torch.nn import functional
from torch.nn.modules.batchnorm import (
    _NormBase as _Norm,  # pyright: ignore[reportPrivateUsage] - of all batch norms
)

from mlcnn.errors import UnsupportedError

__all__ = ["Part", "counters_of", "is_worth_it", "text_of", "trained", "with_constants"]

_FUNCTIONS = frozenset(
    {"conv1d", "conv2d", "conv3d", "conv_transpose1d", "conv_transpose2d", "conv_transpose3d"}
    | {"linear", "matmul", "mm", "bmm", "addmm", "addbmm", "baddbmm", "einsum", "bilinear"}
    | {"scaled_dot_product_attention", "multi_head_attention_forward"}
)
"""What takes nearly all of the time of a network: without one of these there is nothing to gain."""

_STATIC = "_dynamo_static_input_type"
_MODES = ("training", "use_input_stats")
_TRAINED = frozenset({"batch_norm", "dropout", "dropout1d", "dropout2d", "dropout3d"}) | {
    "alpha_dropout", "feature_alpha_dropout", "rrelu",
}  # fmt: skip


def _name(node: fx.Node) -> str:
    return node.target if isinstance(node.target, str) else getattr(node.target, "__name__", "")


def is_worth_it(module: fx.GraphModule) -> bool:
    """Whether a graph has a convolution or a product of matrices."""
    return any(
        _name(node).rstrip("_") in _FUNCTIONS or node.target is operator.matmul
        for node in module.graph.nodes
        if node.op in {"call_function", "call_method"}
    )


def trained(module: fx.GraphModule) -> str | None:
    """Why a graph is one of training; None for inference."""
    for node in module.graph.nodes:
        name = _name(node)
        if node.op != "call_function" or name not in _TRAINED:
            continue
        bound = inspect.signature(getattr(functional, name)).bind(*node.args, **node.kwargs)
        if any(bound.arguments.get(mode) is True for mode in _MODES):
            return f"it is in training mode ({name}), so PyTorch runs eagerly; call .eval() first"
    return None


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """A graph, and which of its inputs and outputs a network has.

    Attributes:
        module: the graph.
        weights: places of the inputs that are parameters and buffers.
        tensors: places of the other tensors among the inputs.
        sizes: by place of an input that is a size: the place of a tensor that has it, and where.
        made: places of the outputs that are computed.
        passed: by place of an output that is an input: the input's place.
    """

    module: fx.GraphModule
    weights: tuple[int, ...]
    tensors: tuple[int, ...]
    sizes: dict[int, tuple[int, int]]
    made: tuple[int, ...]
    passed: dict[int, int]

    @classmethod
    def of(cls, module: fx.GraphModule, inputs: Sequence[Any]) -> "Part":
        """Read a graph.

        Raises:
            UnsupportedError: an input that is neither a tensor nor a size of one; no input at all.
        """
        weights, tensors = list[int](), list[int]()
        placeholders = [node for node in module.graph.nodes if node.op == "placeholder"]
        for place, item in enumerate(inputs):
            if isinstance(item, nn.Parameter) or getattr(item, _STATIC, None) is not None:
                weights.append(place)
            elif isinstance(item, Tensor):
                tensors.append(place)
        sizes = {
            place: _size_of(placeholders, place, tensors)
            for place, item in enumerate(inputs)
            if not isinstance(item, Tensor)
        }
        if not tensors:
            raise UnsupportedError("a graph takes no tensors, so PyTorch runs it eagerly")
        (outputs,) = next(n for n in reversed(module.graph.nodes) if n.op == "output").args
        at = {node: place for place, node in enumerate(placeholders)}
        passed = {place: at[node] for place, node in enumerate(outputs) if node in at}
        made = tuple(place for place in range(len(outputs)) if place not in passed)
        return cls(module, tuple(weights), tuple(tensors), sizes, made, passed)

    def filled(self, found: Sequence[Tensor], arguments: Sequence[Any]) -> tuple[Any, ...]:
        """All outputs, of those that were computed and the inputs."""
        if not self.passed:
            return tuple(found)
        outputs = {place: arguments[at] for place, at in self.passed.items()}
        outputs |= dict(zip(self.made, found, strict=True))
        return tuple(outputs[place] for place in range(len(outputs)))


def _size_of(
    placeholders: Sequence[fx.Node], place: int, tensors: Sequence[int]
) -> tuple[int, int]:
    """Which size of which tensor a symbolic size is."""
    wanted = placeholders[place].meta.get("example_value")
    for at in tensors:
        found = placeholders[at].meta.get("example_value")
        for dimension, size in enumerate(found.shape if isinstance(found, Tensor) else ()):
            if isinstance(size, torch.SymInt) and str(size) == str(wanted):
                return at, dimension
    raise UnsupportedError(
        "a graph takes a number that is no size of its tensors, so PyTorch runs it eagerly"
    )


def counters_of(module: fx.GraphModule, tensors: Sequence[Tensor]) -> list[Tensor]:
    """How often batch norms updated their statistics.

    Torch counts no changes of these, and the counters are no inputs of a graph: they are in the
    batch norms alone, wherever these are.

    Args:
        module: the graph.
        tensors: its parameters and buffers.
    """
    names = (str(node.target) for node in module.graph.nodes if node.op == "placeholder")
    if not any("running_mean" in name for name in names):
        return []
    wanted = set(map(id, tensors))
    norms: list[Any] = [item for item in gc.get_objects() if issubclass(type(item), _Norm)]
    return [
        norm.num_batches_tracked
        for norm in norms
        if id(norm.running_mean) in wanted and norm.num_batches_tracked is not None
    ]


def with_constants(part: Part, weights: Sequence[Tensor]) -> fx.GraphModule:
    """The graph as a module of its tensors alone, which returns what is computed.

    Args:
        part: the graph.
        weights: what is constant in it, in the order of ``part.weights``.
    """
    made = fx.Graph()
    names = {place: f"weight_{index}" for index, place in enumerate(part.weights)}
    root = nn.Module()
    for place, tensor in zip(part.weights, weights, strict=True):
        root.register_buffer(names[place], tensor.detach())
    old = [node for node in part.module.graph.nodes if node.op == "placeholder"]
    copied: dict[fx.Node, fx.Node] = {}
    for place in part.tensors:
        copied[old[place]] = made.placeholder(old[place].name)
    for place, name in names.items():
        copied[old[place]] = made.get_attr(name)
    for place, (at, dimension) in part.sizes.items():
        copied[old[place]] = made.call_method("size", (copied[old[at]], dimension))
    for node in part.module.graph.nodes:
        if node.op == "placeholder":
            continue
        if node.op == "output":
            made.output(tuple(copied[node.args[0][place]] for place in part.made))
        elif _name(node) != "_set_grad_enabled":  # in inference it changes nothing
            if node.op == "get_attr":
                _copy_attribute(part.module, root, str(node.target))
            copied[node] = made.node_copy(node, copied.__getitem__)
    return fx.GraphModule(root, made)


def _copy_attribute(source: nn.Module, root: nn.Module, name: str) -> None:
    value: Any = source
    for part in name.split("."):
        value = getattr(value, part)
    if "." in name:
        raise UnsupportedError(f"a graph has a module in it ({name}), so PyTorch runs it eagerly")
    setattr(root, name, value)


def text_of(module: fx.GraphModule) -> str | None:
    """What a graph computes, but for which sizes are dynamic; None where constants are in it."""
    nodes = list(module.graph.nodes)
    if any(node.op in {"get_attr", "call_module"} for node in nodes):
        return None
    lines = (
        f"{node.name}={node.op}:{node.target}{node.args}{node.kwargs}"
        for node in nodes
        if node.users or not isinstance(node.meta.get("example_value"), torch.SymInt)
    )
    return "\n".join(lines)
