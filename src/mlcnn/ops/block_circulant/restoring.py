"""A layer as its operator again, from the standard operators of its body or of its form."""

from collections.abc import Iterable, Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant
from mlcnn.ops.block_circulant.operator import Blocks, convolve, multiply
from mlcnn.ops.block_circulant.pairs import SpectralPairs, bias_to_blocks, compact_of_pairs
from mlcnn.ops.block_circulant.spectral import Spectral, SpectralBatch, compact_weight
from mlcnn.ops.block_circulant.transforms import products
from mlcnn.ops.emitter import Emitter
from mlcnn.workload import Record

__all__ = ["restore"]

Floats = NDArray[np.floating]


def restore(
    emitter: Emitter, record: Record, source: ir.Value, nodes: Sequence[ir.Node]
) -> ir.Value | None:
    """The operator's node; None where the compact weights are not to be found any more."""
    nest, ((_, size), *_) = record.geometry, record.weights.options
    blocks = Blocks(int(size), nest.K, nest.C, nest.G)
    found = _READERS.get(record.form, _from_body)(blocks, record, nodes)
    if found is None:
        return None
    weight, bias = found
    kept = emitter.weight(weight, "weight")
    added = None if bias is None else emitter.weight(bias, "bias")
    if record.operator != "Conv":
        return multiply(emitter, [source, kept, added], blocks)
    return convolve(
        emitter, [source, kept, added], blocks, (nest.R, nest.S), strides=nest.strides,
        pads=nest.pads, dilations=nest.dilations,
    )  # fmt: skip


_Found = tuple[Floats, Floats | None]


def _from_body(blocks: Blocks, record: Record, nodes: Sequence[ir.Node]) -> _Found | None:
    """What is gathered, and the bias of what it is gathered for."""
    del record
    gathered = _first(nodes, "Gather")
    layer = _first(nodes, "Conv", "Gemm")
    weight = None if gathered is None else constant(gathered.inputs[0])
    if weight is None or layer is None or weight.shape[2] != blocks.size:
        return None
    bias = constant(layer.inputs[2]) if len(layer.inputs) > 2 else None
    return weight, bias


def _from_form(blocks: Blocks, record: Record, nodes: Sequence[ir.Node]) -> _Found | None:
    """From the weights of the bins, and from the bias that was spread over them."""
    groups, rows, columns, bins = (
        blocks.groups, blocks.rows, blocks.columns, products(blocks.size),
    )  # fmt: skip
    arrays = _arrays(nodes)
    taps = (record.geometry.R, record.geometry.S)
    shapes = {(groups * bins * rows, columns, *taps), (bins, rows, columns)}
    sums = {(groups * bins * rows,), (bins, rows, 1)}
    values = next((a for a in arrays if a.shape in shapes), None)
    spread = next((a for a in arrays if a.shape in sums), None)
    backward = next((a for a in arrays if a.shape[:2] == (groups * blocks.size, bins)), None)
    if values is None or spread is None or backward is None:
        return None
    split = values.astype(np.float64).reshape(groups, bins, rows, columns, *taps)
    compact = compact_weight(split.transpose(1, 0, 2, 3, 4, 5), blocks.size)
    first = compact.transpose(1, 2, 3, 0, 4, 5)  # (group, row, column, k, R, S)
    matrix = backward.reshape(groups, blocks.size, bins)[0].astype(np.float64)
    bias = (matrix @ spread.astype(np.float64).reshape(groups, bins, rows)).reshape(-1)
    shape = (groups * rows, columns, blocks.size)
    kept = first.reshape(*shape, *taps) if record.operator == "Conv" else first.reshape(shape)
    return kept, bias[: blocks.filters] if bias.any() else None


def _from_pairs(blocks: Blocks, record: Record, nodes: Sequence[ir.Node]) -> _Found | None:
    """From the weights of the pairs of a dense layer, and from their biases."""
    del record
    rows, columns, arrays = blocks.rows, blocks.columns, _arrays(nodes)
    matrix = bias_to_blocks(blocks.size)
    count = matrix.shape[1]
    values = next((a for a in arrays if a.shape == (count * rows, columns, 1, 1)), None)
    added = next((a for a in arrays if a.shape == (count * rows,)), None)
    if values is None or added is None:
        return None
    split = values.astype(np.float64).reshape(-1, 2, rows, columns)
    bias = (matrix @ added.astype(np.float64).reshape(count, rows)).reshape(-1)
    return compact_of_pairs(split, blocks.size), bias[: blocks.filters] if bias.any() else None


_READERS = {
    Spectral.name: _from_form, SpectralBatch.name: _from_form, SpectralPairs.name: _from_pairs,
}  # fmt: skip


def _arrays(nodes: Iterable[ir.Node]) -> list[Floats]:
    """Weights that nodes read."""
    return [
        array
        for node in nodes
        for value in node.inputs
        if (array := constant(value)) is not None and np.issubdtype(array.dtype, np.floating)
    ]


def _first(nodes: Iterable[ir.Node], *operators: str) -> ir.Node | None:
    return next((node for node in nodes if node.op_type in operators), None)
