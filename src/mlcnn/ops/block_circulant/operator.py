"""The operators: a convolution and a dense layer with block-circulant weights.

Block (i, j) of a weight is circulant: its entry at row t and column c is ``w[i, j, (t - c) mod k]``
(w is its first column). The channels of a block do not lie side by side: output t of block row i is
channel ``t p + i``, input c of block column j is channel ``c q + j``, within a group. So a
transform of all blocks is one matrix product over the tensor as it lies. Neighbouring channels, as
the papers draw blocks, are the same but for the order of channels.
"""

from collections.abc import Sequence
from dataclasses import dataclass
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
    "Blocks",
    "block_circulant_conv",
    "block_circulant_dense",
    "blocks_of",
    "convolve",
    "dense_weight",
    "emit",
    "is_dense",
    "multiply",
    "projected",
    "read",
    "structure",
]

KIND = "block-circulant"
Pair = tuple[int, int]
Float = TypeVar("Float", bound=np.floating)
Pads = tuple[int, int, int, int]


@function("BlockCirculantConv")
def block_circulant_conv(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, w: Tensor, b: Tensor, block: int, blocks_shape: Ints, dense_shape: Ints,
    limits: Ints, strides: Ints, pads: Ints, dilations: Ints, group: int,
) -> Tensor:  # fmt: skip
    """``mlcnn::BlockCirculantConv(X, W, B)``: W (G p, q, k, R, S), gathered to the dense weight."""
    row = op.Range(op.Constant(value_int=0), op.Constant(value_int=block), op.Constant(value_int=1))
    lag = op.Sub(op.Unsqueeze(row, op.Constant(value_ints=[1])), row)
    gathered = op.Gather(w, op.Mod(lag, op.Constant(value_int=block)), axis=2)
    split = op.Reshape(gathered, op.Constant(value_ints=blocks_shape))
    dense = op.Reshape(
        op.Transpose(split, perm=[0, 3, 1, 4, 2, 5, 6]), op.Constant(value_ints=dense_shape)
    )
    weight = op.Slice(
        dense,
        op.Constant(value_ints=[0, 0]),
        op.Constant(value_ints=limits),
        op.Constant(value_ints=[0, 1]),
    )
    return op.Conv(x, weight, b, strides=strides, pads=pads, dilations=dilations, group=group)


@function("BlockCirculantDense")
def block_circulant_dense(  # noqa: PLR0917 - inputs and attributes
    x: Tensor, w: Tensor, b: Tensor, block: int, dense_shape: Ints, limits: Ints
) -> Tensor:
    """``mlcnn::BlockCirculantDense(X, W, B)``: W (p, q, k), gathered to the dense weight."""
    row = op.Range(op.Constant(value_int=0), op.Constant(value_int=block), op.Constant(value_int=1))
    lag = op.Sub(op.Unsqueeze(row, op.Constant(value_ints=[1])), row)
    gathered = op.Gather(w, op.Mod(lag, op.Constant(value_int=block)), axis=2)
    # (p, q, t, c) to inputs by outputs.
    dense = op.Reshape(
        op.Transpose(gathered, perm=[3, 1, 2, 0]), op.Constant(value_ints=dense_shape)
    )
    weight = op.Slice(
        dense,
        op.Constant(value_ints=[0, 0]),
        op.Constant(value_ints=limits),
        op.Constant(value_ints=[0, 1]),
    )
    return op.Gemm(x, weight, b)


CONV, DENSE_LAYER = (o.name for o in (block_circulant_conv, block_circulant_dense))
OPERATORS = ((DOMAIN, CONV), (DOMAIN, DENSE_LAYER))


@dataclass(frozen=True, slots=True)
class Blocks:
    """How a weight is divided.

    Attributes:
        size: k, of a block.
        rows: p, of blocks in a group: outputs of a group / k, rounded up.
        columns: q, likewise of its inputs.
        filters: outputs, over all groups.
        channels: inputs, over all groups.
        groups: of the convolution.
    """

    size: int
    filters: int
    channels: int
    groups: int = 1

    @property
    def rows(self) -> int:
        """p: rows of blocks in a group."""
        return -(-self.filters // (self.groups * self.size))

    @property
    def columns(self) -> int:
        """q: columns of blocks in a group."""
        return -(-self.channels // (self.groups * self.size))

    @property
    def padded(self) -> Pair:
        """Outputs and inputs of all groups, padded to whole blocks."""
        per_group = self.groups * self.size
        return self.rows * per_group, self.columns * per_group

    def refuses(self) -> str | None:
        """Why a weight cannot be divided so; None if it can."""
        if self.groups > 1 and (
            self.filters % (self.groups * self.size) or self.channels % (self.groups * self.size)
        ):
            return (
                f"blocks of {self.size} do not divide its {self.groups} groups of "
                f"{self.channels // self.groups} inputs and {self.filters // self.groups} outputs"
            )
        return None


def is_dense(node: ir.Node) -> bool:
    """Whether an operator is a dense layer."""
    return node.op_type.startswith(DENSE_LAYER)


def structure(block: int) -> Weights:
    """What a layer's record says of its weights."""
    return Weights(KIND, (("block", block),))


def blocks_of(layer: Convolution) -> Blocks:
    """The division of a layer that ``read`` read."""
    (_, size), *_ = layer.weights.options
    return Blocks(int(size), layer.filters, layer.channels, layer.groups)


def dense_weight(compact: NDArray[Float], blocks: Blocks) -> NDArray[Float]:
    """The dense weight that compact ones stand for.

    Args:
        compact: first columns, shape (G p, q, k, ...).
        blocks: the division.

    Returns:
        Shape (filters, channels / groups, ...).
    """
    size, taps = blocks.size, compact.shape[3:]
    lag = np.subtract.outer(np.arange(size), np.arange(size)) % size
    split = compact[:, :, lag].reshape(
        blocks.groups, blocks.rows, blocks.columns, size, size, *taps
    )
    moved = np.moveaxis(split, (3, 4), (1, 3))  # (group, t, row, c, column, ...)
    whole = moved.reshape(blocks.padded[0], blocks.columns * size, *taps)
    return whole[: blocks.filters, : blocks.channels // blocks.groups]


def projected(weight: NDArray[np.float64], blocks: Blocks) -> NDArray[np.float64]:
    """The nearest block-circulant weight: the mean of each wrapped diagonal [CircConv].

    Args:
        weight: shape (filters, channels / groups, ...).
        blocks: how it is divided; what pads it has no part in the means.

    Returns:
        First columns, shape (G p, q, k, ...).
    """
    size, groups = blocks.size, blocks.groups
    taps = weight.shape[2:]
    padded = np.zeros((blocks.padded[0], blocks.columns * size, *taps))
    there = np.zeros(padded.shape[:2])
    padded[: weight.shape[0], : weight.shape[1]] = weight
    there[: weight.shape[0], : weight.shape[1]] = 1

    def summed(values: NDArray[np.float64]) -> NDArray[np.float64]:
        rest = values.shape[2:]
        split = values.reshape(groups, size, blocks.rows, size, blocks.columns, *rest)
        row = np.arange(size)
        # Of every lag: rows t, and columns t - lag.
        parts = [split[:, row, :, (row - lag) % size].sum(0) for lag in range(size)]
        sums = np.stack(parts, 3)  # (group, row, column, lag, ...)
        return sums.reshape(groups * blocks.rows, blocks.columns, size, *rest)

    counts = np.maximum(summed(there), 1)
    return summed(padded) / counts.reshape(*counts.shape, *[1] * len(taps))


def emit(
    emitter: Emitter,
    layer: Convolution,
    source: ir.Value,
    strides: Pair,
    pads: Pads,
) -> ir.Value:
    """The operator on another input, for what is put in front of it."""
    node = layer.node
    return convolve(
        emitter, [source, node.inputs[1], layer.bias], blocks_of(layer), layer.kernel,
        strides=strides, pads=pads, dilations=layer.dilations,
    )  # fmt: skip


def convolve(
    emitter: Emitter,
    inputs: Sequence[ir.Value | None],
    blocks: Blocks,
    kernel: Pair,
    *,
    strides: Pair = (1, 1),
    pads: Pads = (0, 0, 0, 0),
    dilations: Pair = (1, 1),
) -> ir.Value:
    """A node of the convolution; inputs are the images, the weight and the bias."""
    size, groups = blocks.size, blocks.groups
    return emitter.call(
        block_circulant_conv,
        inputs,
        block=size,
        blocks_shape=(groups, blocks.rows, blocks.columns, size, size, *kernel),
        dense_shape=(blocks.padded[0], blocks.columns * size, *kernel),
        limits=(blocks.filters, blocks.channels // groups),
        strides=strides,
        pads=pads,
        dilations=dilations,
        group=groups,
    )


def multiply(emitter: Emitter, inputs: Sequence[ir.Value | None], blocks: Blocks) -> ir.Value:
    """A node of the dense layer; inputs are the features, the weight and the bias."""
    return emitter.call(
        block_circulant_dense,
        inputs,
        block=blocks.size,
        dense_shape=blocks.padded[::-1],
        limits=(blocks.channels, blocks.filters),
    )


def read(node: ir.Node) -> Convolution | str:
    """An operator as a convolution; a dense layer as one of a single position."""
    weight = node.inputs[1]
    bias = node.inputs[2] if len(node.inputs) > 2 else None
    if weight is None or weight.shape is None or constant(weight) is None:
        return "its weight is not a constant"
    limits = tuple(node.attributes["limits"].as_ints())
    block = node.attributes["block"].as_int()
    if is_dense(node):
        channels, filters = limits
        return Convolution(
            node, weight, bias, filters, channels, (1, 1), (1, 1), (1, 1), (0, 0, 0, 0), 1, (1, 1),
            weights=structure(block),
        )  # fmt: skip
    size = None if node.inputs[0] is None else spatial_size(node.inputs[0])
    if size is None:
        return "its shapes are unknown"
    group = node.attributes["group"].as_int()
    strides, dilations, pads = (
        tuple(node.attributes[name].as_ints()) for name in ("strides", "dilations", "pads")
    )
    rows, columns = node.attributes["dense_shape"].as_ints()[2:]
    return Convolution(
        node, weight, bias, limits[0], limits[1] * group, (rows, columns),
        (strides[0], strides[1]), (dilations[0], dilations[1]),
        (pads[0], pads[1], pads[2], pads[3]), group, size,
        weights=structure(block), emitter=emit,
    )  # fmt: skip
