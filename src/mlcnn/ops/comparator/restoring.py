"""A layer as its operator again, from the standard operators of its body or of its form."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant
from mlcnn.ops.comparator.operator import compare
from mlcnn.ops.comparator.pairs import Pairs
from mlcnn.ops.emitter import Emitter
from mlcnn.workload import ConvLayer, Record

__all__ = ["restore"]

Ints = NDArray[np.int64]


def restore(
    emitter: Emitter, record: Record, source: ir.Value, nodes: Sequence[ir.Node]
) -> ir.Value | None:
    """The operator's node; None where pairs or weights are not to be found any more."""
    nest = record.geometry
    greater = next((node for node in nodes if node.op_type == "Greater"), None)
    last = next((node for node in reversed(nodes) if node.op_type == "Conv"), None)
    if greater is None or last is None or last.inputs[1] is None:
        return None
    taps = [_taps(value, nest) for value in greater.inputs]
    if taps[0] is None or taps[1] is None:
        return None
    pairs = Pairs(taps[0], taps[1], (nest.R, nest.S))
    bias = last.inputs[2] if len(last.inputs) > 2 else None
    return compare(
        emitter, source, pairs, last.inputs[1], bias, strides=nest.strides, pads=nest.pads,
        dilations=nest.dilations,
    )  # fmt: skip


def _taps(value: ir.Value | None, nest: ConvLayer) -> Ints | None:
    """Taps of one side of all comparisons, shape (pairs, channels)."""
    gather = None if value is None else value.producer()
    places = None if gather is None or gather.op_type != "Gather" else constant(gather.inputs[1])
    every = None if gather is None or gather.inputs[0] is None else gather.inputs[0].producer()
    if places is None or every is None or places.size % nest.C:
        return None
    if every.op_type == "Reshape":  # the body: all taps of a channel, channel by channel
        return places.reshape(-1, nest.C) % (nest.R * nest.S)
    slices = [every] if every.op_type == "Slice" else [v.producer() for v in every.inputs if v]
    known = [_tap(node, nest) for node in slices]
    if None in known:
        return None
    return np.array(known, np.int64)[places.reshape(-1, nest.C) // nest.C]


def _tap(node: ir.Node | None, nest: ConvLayer) -> int | None:
    """Which tap of the windows a slice has."""
    starts = None if node is None or node.op_type != "Slice" else constant(node.inputs[1])
    if starts is None or starts.size != 2:
        return None
    row, column = (int(at) // step for at, step in zip(starts, nest.dilations, strict=True))
    return row * nest.S + column
