"""The operator: taps of a channel are compared in pairs, and the bits select what is added.

    b_j = 1 where X[c, tap first_j] > X[c, tap second_j], else 0
    Y_k = sum_j W_kj b_j + B_k

A reconstruction of the layer of CMPNET [CMP-PIM], whose abstract alone is public. Windows that
reach beyond the image see its edge repeated, not zeros: so any increasing function of a channel in
front, a batch norm with positive factors too, changes no bit. What is not a number is greater than
nothing, and nothing is greater than it.
"""

import math
from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph import DOMAIN, constant, is_constant
from mlcnn.ops.comparator.pairs import Pairs
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.functions import Ints, Tensor, function, op
from mlcnn.ops.geometry import Convolution, spatial_size
from mlcnn.workload import Arithmetic, Weights

__all__ = [
    "BIAS",
    "KIND",
    "OPERATORS",
    "WEIGHT",
    "comparator_conv",
    "compare",
    "emit",
    "monotone",
    "pairs_of",
    "read",
    "structure",
]

KIND = "comparator"
Pair = tuple[int, int]
Pads = tuple[int, int, int, int]
FIRST, SECOND, WEIGHT, BIAS = 1, 2, 3, 4
"""Inputs of a node behind its images."""


@function("ComparatorConv")
def comparator_conv(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, first: Tensor, second: Tensor, w: Tensor, b: Tensor, kernel: Ints,
    every: Ints, edges: Ints, strides: Ints, dilations: Ints,
) -> Tensor:  # fmt: skip
    """``mlcnn::ComparatorConv(X, FIRST (M), SECOND (M), W (K, M, 1, 1), B (K))``."""
    zero = op.Constant(value_ints=[0])
    one = op.Constant(value_ints=[1])
    padded = op.Pad(x, op.Constant(value_ints=edges), mode="edge")
    # Only for the number of windows: what infers shapes knows it of a pool, not of a Range.
    pooled = op.MaxPool(padded, kernel_shape=kernel, strides=strides, dilations=dilations)
    counts = op.Shape(pooled, start=2)
    taps = op.Constant(value_ints=kernel)
    step = op.Constant(value_ints=strides)
    apart = op.Constant(value_ints=dilations)
    scalar = op.Constant(value_int=0)
    unit = op.Constant(value_int=1)
    rows = op.Add(
        op.Unsqueeze(op.Mul(op.Range(scalar, op.Gather(taps, scalar), unit),
                            op.Gather(apart, scalar)), one),
        op.Unsqueeze(op.Mul(op.Range(scalar, op.Gather(counts, scalar), unit),
                            op.Gather(step, scalar)), zero),
    )  # fmt: skip
    columns = op.Add(
        op.Unsqueeze(op.Mul(op.Range(scalar, op.Gather(taps, unit), unit),
                            op.Gather(apart, unit)), one),
        op.Unsqueeze(op.Mul(op.Range(scalar, op.Gather(counts, unit), unit),
                            op.Gather(step, unit)), zero),
    )  # fmt: skip
    windows = op.Gather(op.Gather(padded, rows, axis=2), columns, axis=4)
    ordered = op.Transpose(windows, perm=[0, 1, 2, 4, 3, 5])
    spread = op.Reshape(ordered, op.Concat(zero, op.Constant(value_ints=every), counts, axis=0))
    bits = op.Greater(op.Gather(spread, first, axis=1), op.Gather(spread, second, axis=1))
    # As constants, which keep the layer's record: a type that is read from W loses it when a file
    # is loaded.
    true = op.CastLike(op.Constant(value_float=1.0), w)
    false = op.CastLike(op.Constant(value_float=0.0), w)
    return op.Conv(op.Where(bits, true, false), w, b)


OPERATORS = ((DOMAIN, comparator_conv.name),)


def compare(
    emitter: Emitter, source: ir.Value | None, pairs: Pairs, weight: ir.Value,
    bias: ir.Value | None, *, strides: Pair = (1, 1), pads: Pads = (0, 0, 0, 0),
    dilations: Pair = (1, 1),
) -> ir.Value:  # fmt: skip
    """A node of the operator.

    Args:
        emitter: what builds the node.
        source: the images, shape (N, C, H, W).
        pairs: what is compared.
        weight: shape (K, maps, 1, 1).
        bias: shape (K,), or None.
        strides: (height, width).
        pads: (top, left, bottom, right) by which the images' edges are repeated.
        dilations: (height, width).
    """
    top, left, bottom, right = pads
    first, second = pairs.flat()
    return emitter.call(
        comparator_conv,
        [source, emitter.integers(first.tolist(), "first"),
         emitter.integers(second.tolist(), "second"), weight, bias],
        kernel=pairs.kernel,
        edges=(0, 0, top, left, 0, 0, bottom, right),
        strides=strides,
        dilations=dilations,
        every=(pairs.channels * math.prod(pairs.kernel),),
    )  # fmt: skip


def structure(pairs: Pairs) -> Weights:
    """What a layer's record says of it."""
    return Weights(KIND, (("pairs", pairs.count), ("share", pairs.shared)))


def emit(
    emitter: Emitter, layer: Convolution, source: ir.Value, strides: Pair, pads: Pads
) -> ir.Value:
    """The operator on another input."""
    return compare(
        emitter, source, pairs_of(layer), layer.weight, layer.bias, strides=strides, pads=pads,
        dilations=layer.dilations,
    )  # fmt: skip


def pairs_of(layer: Convolution) -> Pairs:
    """What a layer that ``read`` read compares."""
    found = _pairs(layer.node, layer.channels, layer.kernel)
    if isinstance(found, str):
        raise ValueError(found)
    return found


def _pairs(node: ir.Node, channels: int, kernel: Pair) -> Pairs | str:
    first, second = constant(node.inputs[FIRST]), constant(node.inputs[SECOND])
    if first is None or second is None:
        return "what it compares is not constant"
    if first.size % channels or first.size != second.size:
        return f"it has {first.size} and {second.size} taps to compare of {channels} channels"
    try:
        return Pairs.from_flat(first, second, channels, kernel)
    except InputError as error:
        return str(error)


def read(node: ir.Node) -> Convolution | str:
    """An operator as a convolution; its weight is that of the bits."""
    source, weight = node.inputs[0], node.inputs[WEIGHT]
    size = None if source is None else spatial_size(source)
    channels = None if source is None or source.shape is None else source.shape[1]
    if weight is None or weight.shape is None or not is_constant(weight):
        return "its weight is not a constant"
    if size is None or not isinstance(channels, int):
        return "its shapes are unknown"
    kernel, edges, strides, dilations = (
        tuple(node.attributes[name].as_ints())
        for name in ("kernel", "edges", "strides", "dilations")
    )
    pairs = _pairs(node, channels, (kernel[0], kernel[1]))
    if isinstance(pairs, str):
        return pairs
    return Convolution(
        node, weight, node.inputs[BIAS] if len(node.inputs) > BIAS else None,
        int(weight.shape[0]), channels, pairs.kernel, (strides[0], strides[1]),  # pyright: ignore[reportArgumentType]
        (dilations[0], dilations[1]), (edges[2], edges[3], edges[6], edges[7]), 1, size,
        weights=structure(pairs), emitter=emit, arithmetic=Arithmetic.COMPARE,
    )  # fmt: skip


def monotone(
    emitter: Emitter, node: ir.Node, factors: np.ndarray
) -> Sequence[ir.Value | None] | None:
    """The inputs of an operator on channels that are not multiplied by these factors any more.

    A positive factor changes no bit, a negative one turns the pair, and of a channel that is all
    one number no bit is ever set.

    Returns:
        None where a layer cannot be read.
    """
    layer = read(node)
    if isinstance(layer, str):
        return None
    pairs = pairs_of(layer).turned(factors)
    first, second = pairs.flat()
    weight: ir.Value | None = layer.weight
    if (factors == 0).any():
        kept = constant(layer.weight)
        if kept is None:
            return None
        silent = np.tile(factors == 0, pairs.count)[None, :, None, None]
        weight = emitter.weight(np.where(silent, 0, kept.astype(np.float64)), "weight")
    return [
        emitter.integers(first.tolist(), "first"), emitter.integers(second.tolist(), "second"),
        weight, layer.bias,
    ]  # fmt: skip
