"""Refuse what cannot fit into this machine's memory, before it is tried."""

import math
from collections.abc import Sequence

import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph import layer_name
from mlcnn.graph.memory import require_memory

__all__ = ["require_memory_for_input", "require_memory_for_run"]

_BYTES_PER_FLOAT = 4


def _bytes(value: ir.Value | None, batch: int) -> int:
    """Bytes of a value for ``batch`` images; 0 where a size but the first is dynamic."""
    if value is None or value.shape is None or value.is_initializer():
        return 0
    sizes = [
        size if isinstance(size, int) else batch if axis == 0 else 0
        for axis, size in enumerate(value.shape.dims)
    ]
    width = value.dtype.itemsize if value.dtype is not None else _BYTES_PER_FLOAT
    return math.ceil(math.prod(sizes) * width)


def _step(node: ir.Node, batch: int) -> int:
    """Bytes that a node reads and writes: it needs them at the same time."""
    return sum(_bytes(value, batch) for value in dict.fromkeys([*node.inputs, *node.outputs]))


def require_memory_for_run(model: ir.Model, batch: int) -> None:
    """Refuse a network whose largest step exceeds the memory of this machine.

    Args:
        model: the network, shapes inferred; dynamic sizes but the batch count as nothing.
        batch: images per run.

    Raises:
        InputError: it cannot be run; the message says how much it needs.
    """
    largest = max(model.graph, key=lambda node: _step(node, batch), default=None)
    if largest is not None:
        what = f"{largest.op_type} {layer_name(largest)!r} alone, at batch {batch},"
        remedy = "give a smaller --input-shape or --batch"
        require_memory(_step(largest, batch), what, remedy)


def require_memory_for_input(shape: Sequence[int]) -> None:
    """Refuse an input shape that exceeds the memory of this machine on its own.

    Raises:
        InputError: sizes that are not positive, or too large.
    """
    text = "x".join(map(str, shape))
    if not shape or min(shape) < 1:
        raise InputError(f"--input-shape {text}: positive sizes are required, batch first")
    size = math.prod(shape) * _BYTES_PER_FLOAT
    require_memory(size, f"--input-shape {text}: the input alone", "give a smaller one")
