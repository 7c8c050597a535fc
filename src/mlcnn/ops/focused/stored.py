"""The weights of a focused layer, as its form keeps them."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant
from mlcnn.workload import Record

__all__ = ["stored"]

Floats = NDArray[np.floating]


def stored(record: Record, nodes: Sequence[ir.Node]) -> tuple[Floats | None, Floats | None]:
    """Weight, shape (filters, channels / groups, R, S), and bias of a layer among its nodes.

    Args:
        record: what the layer is.
        nodes: of the form that it has.

    Returns:
        None for a weight that is not found, and where there is no bias.
    """
    for node in nodes:
        if node.op_type in {"Conv", "MatMul"}:
            weight = _laid_out(record, _constant_behind(node.inputs[1]))
            bias = constant(node.inputs[2]) if len(node.inputs) > 2 else _added(node, nodes)
            return weight, bias
    return None, None


def _constant_behind(value: ir.Value | None) -> Floats | None:
    """The constant that a matrix is laid out from."""
    while value is not None and constant(value) is None:
        node = value.producer()
        value = None if node is None or not node.inputs else node.inputs[0]
    return constant(value)


def _laid_out(record: Record, array: Floats | None) -> Floats | None:
    """A weight in its own shape: as it was stored, or as the matrix of its groups."""
    nest = record.geometry
    each, filters = nest.C // nest.G, nest.K // nest.G
    if array is None or array.size != nest.K * each * nest.R * nest.S:
        return None
    if array.ndim == 4:
        return array
    rows = array.reshape(nest.G, nest.R, nest.S, each, filters)
    return np.ascontiguousarray(rows.transpose(0, 4, 3, 1, 2)).reshape(nest.K, each, nest.R, nest.S)


def _added(product: ir.Node, nodes: Sequence[ir.Node]) -> Floats | None:
    """What is added to a product, behind nodes that only move it."""
    value = product.outputs[0]
    while len(value.uses()) == 1:
        (reader,) = (use.node for use in value.uses())
        if reader not in nodes:
            return None
        if reader.op_type == "Add":
            return next((constant(v) for v in reader.inputs if constant(v) is not None), None)
        value = reader.outputs[0]
    return None
