"""Networks from PyTorch modules and exported programs."""

import copy
import logging
import threading
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import onnx_ir as ir
import torch
from torch import nn
from torch.export import ExportedProgram

from mlcnn.errors import InputError
from mlcnn.graph.normalise import normalise

__all__ = ["from_module", "from_program"]

_LOCK = threading.Lock()
_NOISE = ("pkg.torch.onnx.stack_trace", "pkg.torch.onnx.fx_node", "namespace")


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's own messages from the user; errors come out as exceptions."""
    logger = logging.getLogger("torch")
    level = logger.level
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        logger.setLevel(logging.CRITICAL)
        try:
            yield
        finally:
            logger.setLevel(level)


def from_module(
    module: nn.Module, example_inputs: tuple[torch.Tensor, ...], *, name: str = "module"
) -> ir.Model:
    """A network from a PyTorch module, in inference.

    Args:
        module: the module; it is not changed.
        example_inputs: what it is called with; the first dimension of each is the batch.
        name: what the network is called, in messages and in the file.

    Raises:
        InputError: the module cannot be run or exported.
    """
    copied = copy.deepcopy(module).eval()
    dynamic = tuple({0: torch.export.Dim.DYNAMIC} for _ in example_inputs)
    with _LOCK, _quiet():
        program = torch.onnx.export(
            copied,
            example_inputs,
            dynamo=True,
            optimize=False,
            verbose=False,
            dynamic_shapes=dynamic,
        )
    if program is None:
        raise InputError(f"{name}: torch.onnx.export gave no program")
    return _finish(program.model, name)


def from_program(program: ExportedProgram, *, name: str = "program") -> ir.Model:
    """A network from an exported program.

    Args:
        program: what ``torch.export.export`` gave, for inference.
        name: what the network is called, in messages and in the file.
    """
    with _LOCK, _quiet():
        exported = torch.onnx.export(program, (), dynamo=True, optimize=False, verbose=False)
    if exported is None:
        raise InputError(f"{name}: torch.onnx.export gave no program")
    return _finish(exported.model, name)


def _finish(model: ir.Model, name: str) -> ir.Model:
    for node in model.graph.all_nodes():
        for key in _NOISE:
            node.metadata_props.pop(key, None)
    for value in model.graph.initializers.values():
        if value.const_value is not None:
            value.const_value = ir.Tensor(value.const_value.numpy(), name=value.name)
    model.graph.name = name
    return normalise(model)
