"""Refuse what cannot fit into this machine's memory, before it is tried."""

import math
from collections.abc import Iterator, Sequence

import onnx_ir as ir
import psutil

from mlcnn.errors import InputError

__all__ = ["largest_step_bytes", "require_memory", "require_memory_for_input"]

_BYTES_PER_FLOAT = 4
_GIB = 2**30


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


def _steps(model: ir.Model, batch: int) -> Iterator[tuple[int, ir.Node]]:
    for node in model.graph:
        values = dict.fromkeys([*node.inputs, *node.outputs])
        yield sum(_bytes(value, batch) for value in values), node


def largest_step_bytes(model: ir.Model, batch: int = 1) -> int:
    """The memory that one node needs at the same time, at least: what it reads and writes."""
    return max((size for size, _ in _steps(model, batch)), default=0)


def require_memory(model: ir.Model, batch: int = 1) -> None:
    """Refuse a network whose largest step exceeds the memory of this machine.

    Args:
        model: the network, shapes inferred; dynamic sizes but the batch count as nothing.
        batch: images per run.

    Raises:
        InputError: it cannot be run; the message says how much it needs.
    """
    size, node = max(_steps(model, batch), default=(0, None), key=lambda step: step[0])
    total = psutil.virtual_memory().total
    if node is not None and size > total:
        raise InputError(
            f"{node.op_type} {node.name!r} alone reads and writes {size / _GIB:,.1f} GiB at batch "
            f"{batch}, this machine has {total / _GIB:,.1f} GiB: give a smaller --input-shape or "
            "--batch"
        )


def require_memory_for_input(shape: Sequence[int]) -> None:
    """Refuse an input shape that exceeds the memory of this machine on its own.

    Raises:
        InputError: sizes that are not positive, or too large.
    """
    text = "x".join(map(str, shape))
    if not shape or min(shape) < 1:
        raise InputError(f"--input-shape {text}: positive sizes are required, batch first")
    size, total = math.prod(shape) * _BYTES_PER_FLOAT, psutil.virtual_memory().total
    if size > total:
        raise InputError(
            f"--input-shape {text}: the input alone takes {size / _GIB:,.1f} GiB, this machine "
            f"has {total / _GIB:,.1f} GiB"
        )
