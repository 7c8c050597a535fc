"""How much memory a network needs at least, against what the machine has."""

import math

import onnx_ir as ir
import psutil

from mlcnn.errors import InputError
from mlcnn.graph.names import layer_name

__all__ = ["require_memory", "require_memory_for_activations"]


def _text(size: int) -> str:
    amount, unit = float(size), "bytes"
    for unit in ("bytes", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"):
        if amount < 1024 or unit == "EiB":
            break
        amount /= 1024
    return f"{amount:,.1f} {unit}" if unit != "bytes" else f"{size} bytes"


def require_memory(size: int, what: str, remedy: str) -> None:
    """Refuse what the machine cannot hold.

    Args:
        size: bytes needed.
        what: the subject of the message.
        remedy: what to change.

    Raises:
        InputError: the machine has less memory than that.
    """
    total = psutil.virtual_memory().total
    if size > total:
        raise InputError(
            f"{what} needs {_text(size)} of memory and this machine has {_text(total)}: {remedy}"
        )


def require_memory_for_activations(model: ir.Model, where: str) -> None:
    """Refuse a network one of whose values alone does not fit into memory.

    Args:
        model: a network with inferred shapes; a dynamic dimension counts as 1.
        where: the file or object it came from, for messages.

    Raises:
        InputError: names the node, the shape and the bytes.
    """
    for value in model.graph.inputs:
        _require(value, f"{where}: input {value.name!r}")
    for node in model.graph.all_nodes():
        for value in node.outputs:
            _require(value, f"{where}: the output of {node.op_type} {layer_name(node)!r}")


def _require(value: ir.Value, what: str) -> None:
    dtype = value.dtype
    if value.shape is None or dtype is None or dtype in {ir.DataType.STRING, ir.DataType.UNDEFINED}:
        return
    dims = [dim if isinstance(dim, int) else 1 for dim in value.shape.dims]
    size = math.ceil(math.prod(dims) * dtype.itemsize)
    require_memory(size, f"{what} of shape {value.shape}", "use a smaller input")
