"""Networks from PyTorch modules and exported programs."""

import contextlib
import copy
import logging
import re
import threading
from collections.abc import Callable, Generator
from pathlib import PurePath

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from mlcnn.errors import InputError, MlcnnError
from mlcnn.graph.dropout import mark_dropout, require_same_operators, rest_dropout
from mlcnn.graph.example import Example, ExampleInput
from mlcnn.graph.export_check import check_export
from mlcnn.graph.export_rewrites import keep_divisors
from mlcnn.graph.memory import require_memory_for_activations
from mlcnn.graph.names import constant
from mlcnn.graph.normalise import normalise
from mlcnn.graph.quiet import quiet
from mlcnn.graph.weights import warn_of_weights
from mlcnn.graph.wording import innermost, quote

__all__ = ["exclusive", "from_module", "from_program"]

_LOGGER = logging.getLogger(__name__)
_LOCK = threading.Lock()

_NUMBERED = re.compile(r"s\d+")
_NOISE = ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node", "namespace")
"""What the exporter notes on every node: source code and file paths of the machine."""


def from_module(
    module: nn.Module,
    example_inputs: ExampleInput,
    *,
    name: str = "network",
    dropout: bool = False,
) -> ir.Model:
    """A network from a PyTorch module, in inference.

    The batch (the first dimension of the inputs) stays dynamic where the module allows it; where
    it does not, a warning is logged.

    Args:
        module: the module; neither it nor its mode is changed.
        example_inputs: what it is called with, batch first; a dict holds arguments by name. Only
            shapes and types count.
        name: what the network is called, in messages and in the file.
        dropout: keep dropout as operators that do nothing in inference, so that the network can be
            trained; ``without_dropout`` removes them.

    Returns:
        The network, normalised; weights keep the names that they have in the module.

    Raises:
        InputError: the module cannot be run on the inputs, or cannot be exported; with
            ``dropout``, it does more in training than dropout: the message names the place.
    """
    example = Example.of(example_inputs, name)
    with exclusive():
        copied = _copy(module, name)
        program, is_dynamic = _export(copied, example, name)
        if dropout:
            program = _with_dropout(copied, program, example, name)
    if not is_dynamic:
        first = example.tensors[0]
        _LOGGER.warning(
            "%s: the module works for one batch size only: it is fixed at %s",
            name,
            first.shape[0] if first.ndim else 1,
        )
    return from_program(program, name=name, module=copied)


def from_program(
    program: ExportedProgram,
    *,
    name: str = "network",
    module: Callable[..., object] | None = None,
) -> ir.Model:
    """A network from an exported program.

    Args:
        program: what ``torch.export.export`` gave for a module in inference.
        name: what the network is called, in messages and in the file.
        module: what the program was made from, which the network is compared with; by default
            the program itself.

    Returns:
        The network, normalised.

    Raises:
        InputError: the program holds operators that have no counterpart in ONNX, or the network
            does not compute the same on the example input.
    """
    with exclusive():
        reference = module or program.module()
        keep_divisors(program)
        try:
            exported = torch.onnx.export(program, (), dynamo=True, optimize=False, verbose=False)
        except Exception as error:  # the exporter passes on whatever it meets
            reason = quote(innermost(error))
            raise InputError(f"{name}: cannot be exported to ONNX: {reason}") from error
        if exported is None:
            raise InputError(f"{name}: cannot be exported to ONNX: the exporter gave nothing")
        model = exported.model
        mark_dropout(model, program)
        _detach(model)
    model.graph.name = PurePath(name).stem
    given = set(model.graph.initializers)
    model = normalise(model)
    rest_dropout(model)  # now only: at rest it would have been removed
    _drop_zero_biases(model, given)
    _name_batch(model)
    check_export(model, program, reference, name)
    require_memory_for_activations(model, name)
    warn_of_weights(model, name)
    return model


@contextlib.contextmanager
def exclusive() -> Generator[None]:
    """One use of torch's exporter at a time, without its messages to the terminal.

    It keeps global state and is not thread-safe; its errors come out as exceptions.
    """
    with _LOCK, quiet("torch"):
        yield


def _copy(module: nn.Module, name: str) -> nn.Module:
    """A copy of a module, in inference, with all its tensors as parameters or buffers.

    Python cannot copy a tensor that was computed from parameters, nor the exporter trace one that
    is a plain attribute.
    """
    computed = {
        id(value): value.detach().clone()
        for part in module.modules()
        for value in vars(part).values()
        if isinstance(value, Tensor) and not value.is_leaf
    }
    try:
        copied = copy.deepcopy(module, dict[int, object](computed))
    except Exception as error:  # a module's parts may refuse in their own ways
        raise InputError(
            f"{name}: the module cannot be copied, and export works on a copy: {quote(error)}"
        ) from error
    for part in copied.modules():
        for key, value in tuple(vars(part).items()):
            if isinstance(value, Tensor) and not hasattr(type(part), key):
                delattr(part, key)
                part.register_buffer(key, value.detach(), persistent=False)
    return copied.eval()


def _export(module: nn.Module, example: Example, name: str) -> tuple[ExportedProgram, bool]:
    """The module as a program, and whether its batch is dynamic."""
    for choice in _dynamic_batches(example.tensors):
        with contextlib.suppress(Exception):  # tried again with a fixed batch, and reported there
            given = _doubled(example)
            dynamic = _dynamic_shapes(module, example, choice)
            return (
                torch.export.export(
                    module, given.arguments, dict(given.keywords), dynamic_shapes=dynamic
                ),
                True,
            )
    try:
        given = _fresh(example)
        return torch.export.export(module, given.arguments, dict(given.keywords)), False
    except Exception as error:  # a user's module may raise anything
        raise _failure(module, example, name, error) from error


def _with_dropout(
    module: nn.Module, inference: ExportedProgram, example: Example, name: str
) -> ExportedProgram:
    """The module as a program in training, but for its norms, which keep their statistics.

    Raises:
        InputError: it takes other operators in training than in inference.
    """
    live = copy.deepcopy(module).train()
    for part in live.modules():
        if hasattr(part, "running_mean"):
            part.eval()
    program, _ = _export(live, example, name)
    require_same_operators(inference, program, name)
    return program


def _dynamic_batches(inputs: tuple[Tensor, ...]) -> list[list[bool]]:
    """Which inputs may have a dynamic batch: all that have as many images, or the first only."""
    if not inputs[0].ndim:
        return []
    is_batched = [bool(item.ndim) and item.shape[0] == inputs[0].shape[0] for item in inputs]
    first = [index == 0 for index in range(len(inputs))]
    return [is_batched] if is_batched == first else [is_batched, first]


def _dynamic_shapes(
    module: nn.Module, example: Example, choice: list[bool]
) -> tuple[object, ...] | dict[str, object]:
    """The dynamic sizes in the form that ``torch.export`` takes."""
    chosen = iter(choice)
    batch = {0: torch.export.Dim.DYNAMIC}
    shapes = example.mapped(lambda _: batch if next(chosen) else None)
    return shapes.by_argument(module) if shapes.keywords else shapes.arguments


def _doubled(example: Example) -> Example:
    """The inputs with a batch of two: the exporter takes a size of one as fixed."""
    if example.tensors[0].shape[0] != 1:
        return _fresh(example)

    def doubled(item: Tensor) -> Tensor:
        return torch.cat([item, item]) if item.ndim and item.shape[0] == 1 else item.clone()

    return example.mapped(doubled)


def _fresh(example: Example) -> Example:
    """Copies: the exporter notes on its inputs which of their sizes are dynamic."""
    return example.mapped(lambda item: item.detach().clone())


def _failure(module: nn.Module, example: Example, name: str, error: Exception) -> MlcnnError:
    """What to tell the user: the module's own error if it cannot even be called."""
    try:
        with torch.no_grad():
            example.call(module)
    except Exception as own:  # noqa: BLE001 - a user's module may raise anything
        return InputError(
            f"{name}: the module fails on an input of shape {example}: {quote(own)}; give one "
            "of the shape that it takes, batch first"
        )
    return InputError(
        f"{name}: runs on an input of shape {example}, but torch.export cannot trace it: "
        f"{quote(error)}; remove control flow that depends on the data, or export it to .onnx "
        "yourself"
    )


def _detach(model: ir.Model) -> None:
    """Turn torch tensors into plain ones and drop what names this machine's files."""
    for node in model.graph.all_nodes():
        for key in _NOISE:
            node.metadata_props.pop(key, None)
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is not None:
            value.const_value = ir.Tensor(tensor.numpy(), dtype=tensor.dtype, name=value.name)


def _drop_zero_biases(model: ir.Model, given: set[str]) -> None:
    """Remove the zeros that the exporter computes as bias of a convolution without one."""
    for node in model.graph.all_nodes():
        if node.op_type not in {"Conv", "ConvTranspose"} or len(node.inputs) < 3:
            continue
        bias = node.inputs[2]
        array = constant(bias)
        if bias is None or array is None or not bias.name or bias.name in given or np.any(array):
            continue
        node.resize_inputs(2)
        if not bias.uses():
            model.graph.initializers.pop(bias.name, None)


def _name_batch(model: ir.Model) -> None:
    """Call the batch ``batch`` instead of a number of the exporter (``s77``)."""
    symbols = {
        dim.value
        for value in model.graph.inputs
        if value.shape is not None and value.shape.rank()
        if isinstance(dim := value.shape[0], ir.SymbolicDim)
    }
    symbol = symbols.pop() if len(symbols) == 1 else None
    if symbol is None or not _NUMBERED.fullmatch(symbol):
        return
    values = [*model.graph.inputs, *(v for n in model.graph.all_nodes() for v in n.outputs)]
    for value in values:
        if value.shape is not None and not value.shape.is_static():
            value.shape = ir.Shape(
                "batch" if isinstance(dim, ir.SymbolicDim) and dim.value == symbol else dim
                for dim in value.shape.dims
            )
