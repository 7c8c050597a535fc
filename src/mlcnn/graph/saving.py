"""Networks to ONNX files, never half-written."""

import contextlib
import logging
import os
import uuid
from collections.abc import Generator
from pathlib import Path
from typing import BinaryIO

import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph.message import elements, write_message
from mlcnn.graph.sparse import make_sparse
from mlcnn.graph.structure import clone, inline, to_proto, weight_bytes

__all__ = ["check_output", "replacing", "save"]

_LOGGER = logging.getLogger(__name__)
_LARGEST_MESSAGE = 2**31 - 2**26
"""Bytes of weights that still fit into one message, with room for the graph."""

_SMALLEST_EXTERNAL = 1024
_ALIGNMENT = 4096


def check_output(path: str | Path) -> Path:
    """Check that a file can be written, before the work that fills it.

    Args:
        path: the file; it may exist.

    Returns:
        The path.

    Raises:
        InputError: it is a directory, its directory is missing, or it cannot be written.
    """
    path = Path(path)
    if path.is_dir():
        raise InputError(f"{path}: is a directory; give the name of a file in it")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no directory {path.parent}; create it first")
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise InputError(f"{path}: the directory {path.parent} is not writable; choose another")
    if path.exists() and not os.access(path, os.W_OK):
        raise InputError(f"{path}: the file is read-only; choose another name")
    return path


def save(
    model: ir.Model, path: str | Path, *, functions: bool = False, sparse: bool = False
) -> None:
    """Write a network to an ``.onnx`` file.

    The file appears, or replaces an older one, at once and complete. Weights that exceed what one
    ONNX message can hold (2 GiB) go to ``<name>.onnx.data`` beside it.

    Args:
        model: the network; it is not changed.
        path: the file.
        functions: keep ``mlcnn`` operators as functions instead of standard operators.
        sparse: keep of weights what is not zero, where that is smaller. ONNX Runtime reads such a
            file, as ``mlcnn`` does; OpenVINO does not, and ``onnx-ir`` drops such weights silently.

    Raises:
        InputError: the file cannot be written, or is ``sparse`` and larger than one message.
    """
    path = check_output(path)
    _LOGGER.info("write %s", path)
    copied = clone(model) if functions else inline(model)
    try:
        with contextlib.ExitStack() as stack:
            # Entered first, so replaced last: the model appears after the data it refers to.
            file = stack.enter_context(replacing(path))
            if sparse:
                proto = to_proto(copied)
                make_sparse(proto)
                file.write(proto.SerializeToString())
                return
            if weight_bytes(copied) > _LARGEST_MESSAGE:
                data_path = path.with_name(f"{path.name}.data")
                data = stack.enter_context(replacing(check_output(data_path)))
                _move_weights(copied, data, data_path.name)
            write_message(copied, file)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error


@contextlib.contextmanager
def replacing(path: Path) -> Generator[BinaryIO]:
    """A file that takes the place of ``path`` on success, and leaves nothing behind otherwise.

    Args:
        path: the file; an older one stays until the new one is complete.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}.part")
    try:
        with temporary.open("xb") as file:
            yield file
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def _move_weights(model: ir.Model, data: BinaryIO, location: str) -> None:
    """Write the large weights to ``data`` and let the network refer to them."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is None or tensor.dtype == ir.DataType.STRING or not value.name:
                continue
            if tensor.nbytes < _SMALLEST_EXTERNAL:
                continue
            data.write(b"\0" * (-data.tell() % _ALIGNMENT))
            offset = data.tell()
            data.write(elements(tensor))
            value.const_value = ir.ExternalTensor(
                location,
                offset,
                data.tell() - offset,
                tensor.dtype,
                shape=ir.Shape(tensor.shape.numpy()),
                name=value.name,
            )
