"""What a node says: shapes, constants, bounds, and how a node that has no kernel is refused."""

from math import inf

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.program import Floats
from mlcnn.errors import UnsupportedError
from mlcnn.graph import constant
from mlcnn.nn.site import Site

__all__ = [
    "DENSE_ORDER",
    "MAP_RANK",
    "Shape",
    "bounds_of",
    "constant_of",
    "dense_strides",
    "is_known",
    "no_kernel",
    "numbers_of",
    "padded",
    "rank_of",
    "refusal",
    "shape_of",
    "sizes_of",
    "weights_of",
]

Shape = tuple[int, int, int, int]
MAP_RANK = 4
"""Axes of an input of flags that says something of positions: (N, 1, H, W)."""
DENSE_ORDER = frozenset({"Dropout", "Flatten", "Identity", "Reshape", "Squeeze", "Unsqueeze"})
"""Operators that change a shape, and not the order of the numbers."""


def no_kernel(site: Site) -> UnsupportedError:
    """The error for an operator that the kernels lack."""
    return UnsupportedError(
        f"native: {site.spec.where}: operator {site.node.op_type!r} has no kernel; use engine "
        "'onnxruntime'"
    )


def refusal(site: Site, what: str) -> UnsupportedError:
    """The error for a way to use an operator that the kernels lack."""
    return UnsupportedError(
        f"native: {site.spec.where}: {what} is not supported; use engine 'onnxruntime'"
    )


_TYPES = frozenset({None, ir.DataType.FLOAT, ir.DataType.BOOL})
_CODES = frozenset({ir.DataType.UINT8, ir.DataType.INT8})


def sizes_of(value: ir.Value | None, where: str, *, codes: bool = False) -> tuple[int, ...]:
    """Shape of a value of floats, or of booleans as 0 and 1, whose sizes are known.

    Args:
        value: the value.
        where: what reads or makes it, for messages.
        codes: it may be of codes, too.

    Raises:
        UnsupportedError: another type, an unknown shape, or a size of 0.
    """
    shape = None if value is None else value.shape
    sizes = tuple(size for size in shape or () if isinstance(size, int))
    name = None if value is None else value.name
    types = _TYPES | _CODES if codes else _TYPES
    if value is not None and value.dtype not in types:
        raise UnsupportedError(
            f"native: {where}: value {name!r} is {value.dtype}; it takes float32; use engine "
            "'onnxruntime'"
        )
    if shape is None or len(sizes) != len(shape) or min(sizes, default=1) < 1:
        raise UnsupportedError(
            f"native: {where}: value {name!r} has shape {shape or '?'}; all sizes have to be known "
            "and 1 or more; use engine 'onnxruntime'"
        )
    return sizes


def shape_of(value: ir.Value, where: str) -> Shape:
    """(images, channels, rows, columns) of a value of rank 4 at most; see ``sizes_of``."""
    sizes = sizes_of(value, where)
    if len(sizes) > 4:
        raise UnsupportedError(
            f"native: {where}: value {value.name!r} has shape {list(sizes)}; it takes images "
            "(N, C, H, W) and rows (N, C); use engine 'onnxruntime'"
        )
    return padded(sizes)


def padded(sizes: tuple[int, ...]) -> Shape:
    """Up to four sizes, with ones behind them."""
    images, channels, rows, columns = (*sizes, 1, 1, 1, 1)[:4]
    return images, channels, rows, columns


def dense_strides(shape: Shape) -> Shape:
    """Of a dense array."""
    _, channels, rows, columns = shape
    return channels * rows * columns, rows * columns, columns, 1


def is_known(value: ir.Value) -> bool:
    """Whether a value does not depend on the inputs."""
    return constant(value) is not None


def rank_of(site: Site, index: int = 0) -> int:
    """Rank of a node's input; 0 where it is not known."""
    value = site.value(index)
    return 0 if value is None else len(value.shape or ())


def constant_of(value: ir.Value | None) -> Floats | None:
    """The float32 array of a constant, None for other values."""
    tensor = constant(value)
    return None if tensor is None else tensor.astype(np.float32)


def weights_of(site: Site, index: int) -> Floats:
    """The constant input of that index.

    Raises:
        UnsupportedError: it is not constant.
    """
    found = constant_of(site.node.inputs[index]) if index < len(site.node.inputs) else None
    if found is None:
        raise refusal(site, "a weight that is not constant")
    return found


def numbers_of(site: Site, index: int, attribute: str) -> tuple[int, ...] | None:
    """Integers given as a constant input, or in old opsets as an attribute."""
    tensor = site.tensor(index)
    if tensor is not None:
        return tuple(int(number) for number in tensor.flatten().tolist())
    return site.spec.integers(attribute)


def bounds_of(site: Site) -> tuple[float, float] | None:
    """Least and greatest result of a Relu, or of a Clip with constant bounds."""
    if site.node.op_type == "Relu":
        return 0.0, inf
    if site.node.op_type != "Clip":
        return None
    bounds = [site.spec.real("min", -inf), site.spec.real("max", inf)]
    for index in (1, 2):
        if site.spec.has_input(index):
            tensor = site.tensor(index)
            if tensor is None:
                return None
            bounds[index - 1] = float(tensor)
    return bounds[0], bounds[1]
