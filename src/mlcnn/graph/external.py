"""Weights that lie in a file beside the model: read once, and only from the model's own folder."""

from pathlib import Path, PureWindowsPath

import numpy as np
import onnx
import onnx_ir as ir

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph.memory import require_memory
from mlcnn.graph.names import layer_name
from mlcnn.graph.validate import storage_bytes

__all__ = ["external_values", "load_external"]


def load_external(model: ir.Model, folder: Path, where: str, links: Path | None = None) -> None:
    """Read every external tensor of a network into memory, in place.

    A tensor that stayed on disk would change when its file does: when the network is saved over
    it, for example.

    Args:
        model: the network.
        folder: the model file's folder.
        where: the model file, for messages.
        links: folder that links may lead into; the model file's by default.

    Raises:
        InputError: a tensor points outside the folder, or its file is missing or too short.
    """
    _refuse_attributes(model, where)
    values = external_values(model)
    total = sum(_bytes(value) for value in values)
    require_memory(total, f"{where}: the external data", "use a machine with more memory")
    for value in values:
        value.const_value = _read(value, folder, where, links or folder)


def external_values(model: ir.Model) -> list[ir.Value]:
    """The initializers whose data lies outside the message."""
    return [
        value
        for graph in model.graphs()
        for value in graph.initializers.values()
        if isinstance(value.const_value, ir.ExternalTensor)
    ]


def _refuse_attributes(model: ir.Model, where: str) -> None:
    nodes = [*model.graph.all_nodes()]
    for function in model.functions.values():
        nodes.extend(function.all_nodes())
    for node in nodes:
        for attribute in node.attributes.values():
            if not attribute.is_ref() and isinstance(attribute.value, ir.ExternalTensor):
                raise UnsupportedError(
                    f"{where}: attribute {attribute.name!r} of {node.op_type} "
                    f"{layer_name(node)!r} is external data; store it as an initializer"
                )


def _tensor(value: ir.Value) -> ir.ExternalTensor:
    tensor = value.const_value
    if not isinstance(tensor, ir.ExternalTensor):
        raise TypeError(f"{value.name} is not external")
    return tensor


def _bytes(value: ir.Value) -> int:
    tensor = _tensor(value)
    return storage_bytes(tensor.dtype.value, tuple(tensor.shape.numpy()))


def _read(value: ir.Value, folder: Path, where: str, links: Path) -> ir.TensorProtocol:
    tensor = _tensor(value)
    path = _locate(str(tensor.location), folder, f"{where}: initializer {value.name!r}", links)
    offset, size = tensor.offset or 0, _bytes(value)
    available = path.stat().st_size - offset
    if offset < 0 or size > available or tensor.length not in {None, size}:
        raise InputError(
            f"{where}: initializer {value.name!r} of shape {tensor.shape} needs {size} bytes from "
            f"offset {offset} of {path.name}, which gives {tensor.length or max(available, 0)}: "
            "the file is damaged or incomplete"
        )
    raw = np.fromfile(path, np.uint8, count=size, offset=offset)
    dtype = tensor.dtype
    if dtype.bitwidth < 8:
        packed = onnx.TensorProto(
            data_type=dtype.value, dims=tensor.shape.numpy(), raw_data=raw.tobytes()
        )
        return ir.Tensor(ir.from_proto(packed).numpy(), dtype=dtype, name=value.name)
    array = raw.view(dtype.numpy().newbyteorder("<")).reshape(tensor.shape.numpy())
    return ir.Tensor(array, dtype=dtype, name=value.name)


def _locate(location: str, folder: Path, what: str, links: Path) -> Path:
    """The data file, if it is one inside ``folder``, and where links lead inside ``links``."""
    windows = PureWindowsPath(location)
    parts = windows.parts
    if not location or windows.is_absolute() or windows.drive or windows.root or ".." in parts:
        raise InputError(
            f"{what} points to external data at {location!r}, outside the model's folder; put "
            "the data file beside the model and refer to it by name"
        )
    path = folder / location
    if not path.resolve().is_relative_to(links.resolve()):
        raise InputError(
            f"{what} points to external data at {location!r}, a link that leads outside the "
            "model's folder; put the data file itself beside the model"
        )
    if not path.is_file():
        raise InputError(
            f"{what} points to external data in {location!r}, which is missing beside the model; "
            "copy that file there too"
        )
    return path
