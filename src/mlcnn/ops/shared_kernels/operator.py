"""The operator: a convolution whose kernels are all sums of the same few basis kernels [PENNI].

Kernel (k, c) of a layer is ``sum_j coefficients[k, c, j] basis[j]``: so d depthwise convolutions
with the basis, and a 1x1 convolution over their C d maps, give what the dense one gives. Map j of
channel c is number ``c d + j``.

The authors subtract the mean kernel before they look for the basis and then forget it; here the
basis comes from the singular values of the kernels as they are, so that R S of them are exact.
"""

from collections.abc import Sequence
from typing import TypeVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import DOMAIN, constant
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, spatial_size
from mlcnn.workload import Weights

__all__ = [
    "KIND",
    "OPERATORS",
    "basis_of",
    "convolve",
    "decomposed",
    "dense_weight",
    "emit",
    "energies",
    "read",
    "shared_kernel_conv",
    "structure",
]

KIND = "shared-kernels"
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
Floats = NDArray[np.float64]
Float = TypeVar("Float", bound=np.floating)


@function("SharedKernelConv")
def shared_kernel_conv(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, basis: Tensor, coefficients: Tensor, b: Tensor, copies: Ints, channels: int,
    strides: Ints, pads: Ints, dilations: Ints, group: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::SharedKernelConv(X, BASIS (d, R, S), COEFFICIENTS (K, C / G, d), B)``."""
    each = op.Tile(op.Unsqueeze(basis, op.Constant(value_ints=[1])), op.Constant(value_ints=copies))
    maps = op.Conv(x, each, strides=strides, pads=pads, dilations=dilations, group=channels)
    mix = op.Reshape(coefficients, op.Constant(value_ints=[0, -1, 1, 1]))
    return op.Conv(maps, mix, b, group=group)


OPERATORS = ((DOMAIN, shared_kernel_conv.name),)


def structure(basis: int) -> Weights:
    """What a layer's record says of its weights."""
    return Weights(KIND, (("basis", basis),))


def basis_of(layer: Convolution) -> ir.Value:
    """The basis kernels of a layer that ``read`` read, shape (d, R, S)."""
    value = layer.node.inputs[1]
    if value is None:
        raise ValueError("a layer without basis")
    return value


def energies(weight: Floats) -> Floats:
    """The share of a weight's energy that the best 1, 2, ... basis kernels keep.

    Args:
        weight: shape (K, C / G, R, S).

    Returns:
        Shape (min(K C / G, R S),), rising to 1.
    """
    values: Floats = np.linalg.svd(_kernels(weight), compute_uv=False).astype(np.float64) ** 2
    return values.cumsum() / max(float(values.sum()), 1e-300)


def decomposed(weight: Floats, basis: int) -> tuple[Floats, Floats]:
    """The nearest kernels that are sums of so many, by singular values.

    Args:
        weight: shape (K, C / G, R, S).
        basis: d, from 1 to R S.

    Returns:
        Orthonormal basis kernels, shape (d, R, S), the largest entry of each positive, and
        coefficients, shape (K, C / G, d).
    """
    kernels = _kernels(weight)
    # All R S directions even where there are fewer kernels.
    _, _, directions = np.linalg.svd(kernels.T @ kernels)
    first = directions[:basis]
    largest = np.take_along_axis(first, np.abs(first).argmax(1)[:, None], 1)
    first = first * np.where(largest < 0, -1.0, 1.0)
    coefficients = (kernels @ first.T).reshape(*weight.shape[:2], basis)
    return first.reshape(basis, *weight.shape[2:]), coefficients


def _kernels(weight: Floats) -> Floats:
    return weight.reshape(-1, weight.shape[2] * weight.shape[3])


def dense_weight(basis: NDArray[Float], coefficients: NDArray[Float]) -> NDArray[Float]:
    """The dense weight that both stand for, shape (K, C / G, R, S).

    Args:
        basis: shape (d, R, S).
        coefficients: shape (K, C / G, d).
    """
    return np.tensordot(coefficients, basis, 1)


def emit(
    emitter: Emitter, layer: Convolution, source: ir.Value, strides: Pair, pads: Pads
) -> ir.Value:
    """The operator on another input, for what is put in front of it."""
    return convolve(
        emitter, [source, basis_of(layer), layer.weight, layer.bias], layer.channels,
        strides=strides, pads=pads, dilations=layer.dilations, groups=layer.groups,
    )  # fmt: skip


def convolve(
    emitter: Emitter,
    inputs: Sequence[ir.Value | None],
    channels: int,
    *,
    strides: Pair = (1, 1),
    pads: Pads = (0, 0, 0, 0),
    dilations: Pair = (1, 1),
    groups: int = 1,
) -> ir.Value:
    """A node of the operator; inputs are the images, the basis, the coefficients and the bias."""
    return emitter.call(
        shared_kernel_conv,
        inputs,
        copies=(channels, 1, 1, 1),
        channels=channels,
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=groups,
    )


def read(node: ir.Node) -> Convolution | str:
    """An operator as a convolution; its weight is the coefficients."""
    basis, weight = node.inputs[1], node.inputs[2]
    bias = node.inputs[3] if len(node.inputs) > 3 else None
    kernels, coefficients = constant(basis), constant(weight)
    if weight is None or kernels is None or coefficients is None:
        return "its weight is not a constant"
    size = None if node.inputs[0] is None else spatial_size(node.inputs[0])
    if size is None:
        return "its shapes are unknown"
    strides, dilations, pads = (
        tuple(node.attributes[name].as_ints()) for name in ("strides", "dilations", "pads")
    )
    groups = node.attributes["group"].as_int()
    filters, per_group, count = coefficients.shape
    return Convolution(
        node, weight, bias, filters, per_group * groups, (kernels.shape[1], kernels.shape[2]),
        (strides[0], strides[1]), (dilations[0], dilations[1]),
        (pads[0], pads[1], pads[2], pads[3]), groups, size,
        weights=structure(count), emitter=emit,
    )  # fmt: skip
