"""An export against its module: PyTorch's exporter drops what it does not know."""

import logging
from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.export.graph_signature import ConstantArgument, InputKind
from torch.utils import _pytree as pytree

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph.names import layer_name
from mlcnn.graph.reference import Array, Difference, Reference, difference

__all__ = ["check_export"]

_LOGGER = logging.getLogger(__name__)


def check_export(
    model: ir.Model, program: ExportedProgram, module: Callable[..., object], name: str
) -> None:
    """Compare a network with the module that it was exported from, on its example input.

    An example without information (all of one value), or one that a file is not trusted with, is
    replaced by random numbers.

    Args:
        model: the network.
        program: what it was exported from; its example inputs are used.
        module: what computes the right outputs.
        name: what the network is called in messages.

    Raises:
        InputError: they differ; the message names the first node where they part.
    """
    example = program.example_inputs or _made_up(program)
    if example is None:
        return
    arguments, keywords = _informative(example)
    tensors = [item for item in pytree.tree_leaves((arguments, keywords)) if _is_tensor(item)]
    inputs = [value for value in model.graph.inputs if not value.is_initializer()]
    if len(tensors) != len(inputs):
        return  # an input that the exporter left out: which one is not known
    try:
        arrays = {str(v.name): _array(t) for v, t in zip(inputs, tensors, strict=True)}
        expected = _outputs(module, arguments, keywords)
        again = _outputs(module, arguments, keywords)
        found = Reference(model).run(arrays)
    except (RuntimeError, TypeError, ValueError, UnsupportedError) as error:
        _LOGGER.warning("%s: the export is not compared with the module: %s", name, error)
        return
    if any(not difference("", a, b).ok for a, b in zip(expected, again, strict=True)):
        return  # it is random, or has a state
    rows = [difference(n, e, f) for (n, f), e in zip(found.items(), expected, strict=False)]
    wrong = next((row for row in rows if not row.ok), None)
    if wrong is not None:
        where = _first_difference(model, program, arrays, (arguments, keywords))
        raise InputError(
            f"{name}: PyTorch's exporter to ONNX does not keep what the module computes: on the "
            f"example input, {wrong}{where}; write the module in another way, or export it to "
            ".onnx yourself"
        )


def _is_tensor(item: object) -> bool:
    return isinstance(item, Tensor)


def _informative(example: Any) -> tuple[tuple[object, ...], dict[str, object]]:
    """The example inputs, constant floats in them replaced by random ones."""
    generator = torch.Generator().manual_seed(0)

    def replaced(item: object) -> object:
        if not isinstance(item, Tensor):
            return item
        item = item.detach()
        is_constant = item.numel() > 1 and bool((item == item.flatten()[0]).all())
        if not (item.is_floating_point() and is_constant):
            return item
        return torch.randn(item.shape, generator=generator).to(item.dtype)

    return pytree.tree_map(replaced, example)


def _made_up(program: ExportedProgram) -> Any:
    """Inputs of the shapes and types that a program takes; None where a size is not known."""
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    leaves: list[object] = []
    for spec in program.graph_signature.input_specs:
        if spec.kind is not InputKind.USER_INPUT:
            continue
        if isinstance(spec.arg, ConstantArgument):
            leaves.append(spec.arg.value)
            continue
        value = values.get(spec.arg.name)
        if not isinstance(value, Tensor):
            return None
        sizes = [_size(size) for size in value.shape]
        if None in sizes:
            return None
        leaves.append(torch.zeros([size or 0 for size in sizes], dtype=value.dtype))
    spec = program.call_spec.in_spec
    return None if spec is None else pytree.tree_unflatten(leaves, spec)


def _size(size: int | torch.SymInt) -> int | None:
    """A size, or what a dynamic one was when the program was made."""
    return size if isinstance(size, int) else size.node.hint  # pyright: ignore[reportUnnecessaryIsInstance]


def _copied(item: object) -> object:
    return item.clone() if isinstance(item, Tensor) else item


def _array(tensor: Tensor) -> Array:
    return cast("Array", tensor.detach().cpu().numpy())


def _outputs(
    module: Callable[..., object], arguments: tuple[object, ...], keywords: Mapping[str, object]
) -> list[Array]:
    with torch.no_grad():
        copies = pytree.tree_map(_copied, (arguments, keywords))
        result = module(*copies[0], **copies[1])
    return [_array(item) for item in pytree.tree_leaves(result) if isinstance(item, Tensor)]


class _Recorder(torch.fx.Interpreter):
    """Runs a program and keeps every tensor that one of its nodes gives, by the node's name."""

    def __init__(self, module: torch.fx.GraphModule) -> None:
        super().__init__(module)
        self.seen: dict[str, Array] = {}

    def run_node(self, n: torch.fx.Node) -> Any:
        result = super().run_node(n)
        if isinstance(result, Tensor):
            self.seen[n.name] = _array(result)
        return result


def _first_difference(
    model: ir.Model,
    program: ExportedProgram,
    arrays: Mapping[str, Array],
    example: tuple[tuple[object, ...], Mapping[str, object]],
) -> str:
    """Where the network first leaves the program, as the end of a message; empty if unknown."""
    recorder = _Recorder(program.module())
    flat: Sequence[Any] = pytree.tree_leaves(example)
    try:
        with torch.no_grad():
            recorder.run(*flat)
        values = {v.name: v for n in model.graph for v in n.outputs if v.name in recorder.seen}
        found = Reference(model, inner=[str(name) for name in values]).run(arrays)
    except (RuntimeError, TypeError, ValueError, UnsupportedError):
        return ""
    for name, value in values.items():
        node, row = value.producer(), _compared(str(name), recorder.seen, found)
        if node is not None and not row.ok:
            return f"; they part at {layer_name(node)} ({node.op_type}), by {row.relative:.0%}"
    return ""


def _compared(name: str, seen: Mapping[str, Array], found: Mapping[str, Array]) -> Difference:
    expected, actual = seen[name], found[name]
    if expected.dtype != actual.dtype:
        expected = expected.astype(np.asarray(actual).dtype)
    return difference(name, expected, actual)
