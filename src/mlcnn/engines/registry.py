"""Engines by name."""

import importlib
from collections.abc import Callable
from importlib.util import find_spec

from mlcnn.engines.compilers import c_compiler
from mlcnn.engines.engine import Engine
from mlcnn.engines.precision import EITHER
from mlcnn.errors import InputError, UnsupportedError, did_you_mean

__all__ = ["available", "get", "names"]

# Named, not imported: openvino is an extra, and torch's compiler takes a second to import.
_ENGINES = {
    "onnxruntime": "mlcnn.engines.onnx_runtime:OnnxRuntime",
    "openvino": "mlcnn.engines.open_vino:OpenVino",
    "native": "mlcnn.engines.native:Native",
    "torch": "mlcnn.engines.torch_eager:TorchEager",
    "torch-compile": "mlcnn.engines.torch_compile:TorchCompile",
}
_OPTIONS = {"onnxruntime": "provider", "native": "algorithm"}
_EXTRAS = {"openvino": "openvino"}


def names() -> tuple[str, ...]:
    """Names of all engines, installed or not."""
    return tuple(_ENGINES)


def available() -> tuple[str, ...]:
    """Names of the engines whose packages, or whose compiler, are installed."""
    return tuple(name for name in _ENGINES if _installed(name))


def _installed(name: str) -> bool:
    if name == "native":
        return c_compiler() is not None
    return name not in _EXTRAS or find_spec(_EXTRAS[name]) is not None


def get(name: str, precision: str | None = None) -> Engine:
    """The engine of that name.

    Args:
        name: see ``names``. Behind a colon ``onnxruntime`` takes an execution provider
            (``onnxruntime:CPUExecutionProvider``), ``native`` an algorithm (``native:direct``).
        precision: in which an engine computes that can compute a quantised network in either; see
            ``precision_of``.

    Raises:
        InputError: there is no such engine or provider; the message names the nearest.
        UnsupportedError: its package is not installed.

    Example:
        >>> get("onnxruntime").name
        'onnxruntime'
    """
    engine, separator, option = name.partition(":")
    if engine not in _ENGINES or (separator and engine not in _OPTIONS):
        hint = did_you_mean(engine, _ENGINES)
        raise InputError(f"unknown engine {name!r}{hint} (known engines: {', '.join(_ENGINES)})")
    module_name, _, attribute = _ENGINES[engine].partition(":")
    extra = _EXTRAS.get(engine)
    if extra is not None and find_spec(extra) is None:
        raise UnsupportedError(
            f"engine {engine!r}: the package {extra!r} is not installed; run "
            f"`pip install mlcnn[{extra}]`"
        )
    make: Callable[..., Engine] = getattr(importlib.import_module(module_name), attribute)
    options = {_OPTIONS[engine]: option} if option else {}
    if precision is not None and engine in EITHER:
        options["precision"] = precision
    return make(**options)
