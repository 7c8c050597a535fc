"""Which inputs of the operator follow where channels or basis kernels go."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant
from mlcnn.ops.method import ChannelAxes
from mlcnn.ops.shared_kernels.operator import dense_weight, structure
from mlcnn.workload import RECORD_KEY, Record, read_record

__all__ = ["CHANNELS"]

Floats = NDArray[np.float64]


def _factors(node: ir.Node) -> tuple[Floats, Floats]:
    """Basis and coefficients of an operator that ``read`` takes."""
    found = [constant(value) for value in node.inputs[1:3]]
    basis, coefficients = (a.astype(np.float64) for a in found if a is not None)
    return basis, coefficients


def _dense(node: ir.Node) -> Floats:
    basis, coefficients = _factors(node)
    return dense_weight(basis, coefficients).reshape(*coefficients.shape[:2], -1)


def _settle(node: ir.Node) -> None:
    filters, channels, count = _factors(node)[1].shape
    node.attributes["copies"] = ir.AttrInt64s("copies", [channels, 1, 1, 1])
    node.attributes["channels"] = ir.AttrInt64("channels", channels)
    record = read_record(node)
    if isinstance(record, Record):
        geometry = replace(record.geometry, K=filters, C=channels)
        changed = replace(record, geometry=geometry, weights=structure(count))
        node.metadata_props[RECORD_KEY] = changed.text()


CHANNELS = ChannelAxes(
    dense=_dense,
    inner=lambda node: _factors(node)[1],
    outputs=((2, 0), (3, 0)),
    inputs=((2, 1),),
    shared=((2, 2), (1, 0)),
    bias=3,
    settle=_settle,
)
