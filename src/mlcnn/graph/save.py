"""Networks to ONNX files, never half-written."""

import os
import tempfile
from pathlib import Path

import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph.structure import inline, to_proto

__all__ = ["check_output", "save"]


def check_output(path: str | Path) -> Path:
    """Check that a file can be written, before the work that fills it."""
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory; give a file name")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no directory {path.parent}")
    if not os.access(path.parent, os.W_OK):
        raise InputError(f"{path}: the directory {path.parent} is not writable")
    return path


def save(model: ir.Model, path: str | Path, *, functions: bool = False) -> None:
    """Write a network to an ``.onnx`` file.

    Args:
        model: the network.
        path: the file; an existing one is replaced at once, when the new one is complete.
        functions: keep ``mlcnn`` operators as functions instead of standard operators.
    """
    path = check_output(path)
    proto = to_proto(model if functions else inline(model))
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(proto.SerializeToString())
    Path(file.name).replace(path)
