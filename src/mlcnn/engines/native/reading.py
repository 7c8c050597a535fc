"""What a node says: shapes, constants, bounds, and how a node that has no kernel is refused."""

from math import inf

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.program import Floats, Value
from mlcnn.errors import UnsupportedError
from mlcnn.graph import constant
from mlcnn.nn.site import Site

__all__ = [
    "Shape",
    "bias_of",
    "bounds_of",
    "constant_of",
    "dense_strides",
    "is_known",
    "no_kernel",
    "numbers_of",
    "per_channel",
    "rank_of",
    "refusal",
    "shape_of",
    "sizes_of",
    "weights_of",
]

Shape = tuple[int, int, int, int]


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


def shape_of(value: ir.Value) -> Shape:
    """(images, channels, rows, columns) of a value of rank 2 to 4."""
    sizes = tuple(value.shape or ())
    known = [size for size in sizes if isinstance(size, int)]
    if value.dtype not in {None, ir.DataType.FLOAT}:
        raise UnsupportedError(f"native: value {value.name!r} is {value.dtype}; it takes float32")
    if value.shape is None or len(known) != len(sizes) or not 2 <= len(sizes) <= 4 or 0 in sizes:
        raise UnsupportedError(
            f"native: value {value.name!r} has shape {value.shape or '?'}; it takes images "
            "(N, C, H, W) and rows (N, C); use engine 'onnxruntime'"
        )
    images, channels, rows, columns = (*known, 1, 1)[:4]
    return images, channels, rows, columns


def dense_strides(shape: Shape) -> Shape:
    """Of a dense array."""
    _, channels, rows, columns = shape
    return channels * rows * columns, rows * columns, columns, 1


def sizes_of(value: ir.Value | None) -> tuple[int, ...]:
    """Shape of a value whose sizes are known."""
    sizes = (None if value is None else value.shape) or ()
    return tuple(size for size in sizes if isinstance(size, int))


def is_known(value: ir.Value) -> bool:
    """Whether a value does not depend on the inputs."""
    return constant(value) is not None


def rank_of(site: Site) -> int:
    """Rank of a node's first input."""
    value = site.node.inputs[0]
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


def bias_of(site: Site, channels: int) -> Floats:
    """The bias of a convolution or dense layer, zeros where there is none."""
    if not site.spec.has_input(2):
        return np.zeros(channels, np.float32)
    return np.broadcast_to(weights_of(site, 2).reshape(-1), channels)


def numbers_of(site: Site, index: int, attribute: str) -> tuple[int, ...] | None:
    """Integers given as a constant input, or in old opsets as an attribute."""
    tensor = site.tensor(index)
    if tensor is not None:
        return tuple(int(number) for number in tensor.flatten().tolist())
    return site.spec.integers(attribute)


def per_channel(array: Floats, site: Site, source: Value) -> Floats | None:
    """One number per channel, if the array is one, or one per channel."""
    if array.size == 1:
        return np.full(source.channels, array.reshape(-1)[0], np.float32)
    rank = len(site.node.outputs[0].shape or ())
    shape = (1,) * (rank - array.ndim) + array.shape
    fits = len(shape) == rank and shape[1] == array.size == source.channels
    return array.reshape(-1) if fits else None


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
