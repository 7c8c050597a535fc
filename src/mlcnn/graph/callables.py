"""Networks from a user's ``package.module:callable``, or one with literal arguments."""

import functools
import importlib
import math
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import onnx_ir as ir
import torch
from torch import nn

from mlcnn.errors import InputError
from mlcnn.graph.calls import parse_call, require_arguments
from mlcnn.graph.example import ExampleInput
from mlcnn.graph.memory import require_memory
from mlcnn.graph.quiet import to_stderr
from mlcnn.graph.torch_export import from_module
from mlcnn.graph.wording import quote

__all__ = ["find_callable", "from_callable"]

_REMEDY = (
    "give package.module:callable, where the callable returns a torch.nn.Module, or one and its "
    "example input"
)


def from_callable(
    target: str,
    input_shape: Sequence[int] | None = None,
    *,
    dropout: bool = False,
    usual_shape: Sequence[int] | None = None,
    fill: Callable[[nn.Module], None] | None = None,
) -> ir.Model:
    """A network from a callable that makes a module.

    Args:
        target: ``package.module:callable`` or ``package.module:callable(size=18)``; the current
            directory is searched too. The callable returns a module, or a module and its example
            input (a tensor, a tuple of what the module is called with, or a dict of its arguments
            by name).
        input_shape: shape of the one input, batch first; needed where the callable gives no
            example input, and takes precedence over it.
        dropout: see ``from_module``.
        usual_shape: shape of the one input where neither the callable nor ``input_shape`` tells.
        fill: puts other weights into the module.

    Raises:
        InputError: the callable is missing, takes other arguments, fails, returns something else,
            or gives a module that cannot be run on the input.
    """
    with to_stderr():
        made = _call(find_callable(target), target)
    module, example = made if isinstance(made, tuple) and len(made) == 2 else (made, None)
    if not isinstance(module, nn.Module):
        raise InputError(f"{target}: returned {_kind(made)}; {_REMEDY}")
    if fill is not None:
        fill(module)
    if example is None and input_shape is None:
        input_shape = usual_shape
    return from_module(
        module, _inputs(target, module, example, input_shape), name=target, dropout=dropout
    )


def _kind(value: object) -> str:
    if isinstance(value, tuple):
        items = cast("tuple[object, ...]", value)
        return f"a tuple of ({', '.join(type(item).__name__ for item in items)})"
    return "None" if value is None else f"a {type(value).__name__}"


def find_callable(target: str, remedy: str = _REMEDY) -> Callable[[], object]:
    """What ``package.module:callable`` names; the current directory is searched too.

    Args:
        target: the text; literal arguments may stand behind it, in parentheses.
        remedy: what the message says is required of it.

    Returns:
        A function without arguments: the given ones are bound to it.

    Raises:
        InputError: there is no such callable, or it takes other arguments.
    """
    call = parse_call(target)
    found = _found(target, call.name, remedy)
    if call.is_bare and not target.endswith(")"):
        return cast("Callable[[], object]", found)
    if isinstance(found, nn.Module):
        raise InputError(f"{target}: {call.name} is a module, made already; leave the (...) away")
    require_arguments(target, call, found)
    return functools.partial(found, *call.arguments, **call.keywords)


def _found(target: str, name: str, remedy: str) -> Callable[..., object]:
    module_name, colon, attribute = name.partition(":")
    if not colon or not module_name or not attribute:
        raise InputError(f"{target}: not of the form package.module:callable; {remedy}")
    here = str(Path.cwd())
    if here not in sys.path:
        sys.path.insert(0, here)
    try:
        found: object = importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # a user's module may do anything
        raise InputError(
            f"{target}: importing {module_name} failed: {quote(error)}; give the name of a "
            "module that Python finds from the current directory"
        ) from error
    for part in attribute.split("."):
        if not hasattr(found, part):
            raise InputError(f"{target}: {module_name} has no {attribute}; {remedy}")
        found = getattr(found, part)
    if not callable(found):
        raise InputError(f"{target}: {attribute} is {_kind(found)}, not a callable; {remedy}")
    return found


def _call(function: Callable[[], object], target: str) -> object:
    if isinstance(function, nn.Module):
        return function
    try:
        return function()
    except (Exception, SystemExit) as error:  # and so may a callable
        if isinstance(function, functools.partial):
            raise InputError(f"{target}: calling it failed: {quote(error)}; correct it") from error
        raise InputError(
            f"{target}: calling it without arguments failed: {quote(error)}; correct the "
            f"callable, or give its arguments, as {target}(size=18)"
        ) from error


def _inputs(
    target: str, module: nn.Module, example: object, input_shape: Sequence[int] | None
) -> ExampleInput:
    if input_shape is not None:
        return (_example(target, module, input_shape),)
    if example is None:
        raise InputError(
            f"{target}: its input's shape is not known; give --input-shape (batch first, for "
            "example 1x3x224x224), or let the callable return (module, example_input)"
        )
    return (example,) if isinstance(example, torch.Tensor) else cast("ExampleInput", example)


def _example(target: str, module: nn.Module, shape: Sequence[int]) -> torch.Tensor:
    if len(shape) < 1 or any(size < 1 for size in shape):
        raise InputError(f"{target}: input shape {tuple(shape)} must be positive integers")
    size = 4 * math.prod(shape)
    require_memory(size, f"{target}: an input of shape {tuple(shape)}", "give a smaller one")
    floats = (item.dtype for item in module.parameters() if item.dtype.is_floating_point)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(tuple(shape), generator=generator).to(next(floats, torch.float32))
