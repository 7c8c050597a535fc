"""A layer as its operator again, from the standard operators of its body or of its form."""

from collections.abc import Sequence
from math import prod

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant
from mlcnn.ops.emitter import Emitter
from mlcnn.ops.shared_kernels.forms import Split
from mlcnn.ops.shared_kernels.operator import convolve, decomposed
from mlcnn.workload import Record

__all__ = ["restore"]

Floats = NDArray[np.floating]


def restore(
    emitter: Emitter, record: Record, source: ir.Value, nodes: Sequence[ir.Node]
) -> ir.Value | None:
    """The operator's node; None where basis and coefficients are not to be found any more."""
    nest, ((_, size), *_) = record.geometry, record.weights.options
    last = next((node for node in reversed(nodes) if node.op_type == "Conv"), None)
    if last is None:
        return None
    count = int(size)
    found = _factors(nodes, last, (count, nest.R, nest.S))
    bias = constant(last.inputs[2]) if len(last.inputs) > 2 else None
    if found is None or found[1].size != nest.K * (nest.C // nest.G) * count:
        return None
    basis, weight = found
    if record.form == Split.name:  # side by side, map by map
        weight = weight.reshape(nest.K, count, -1).transpose(0, 2, 1)
    inputs = [
        source,
        emitter.weight(basis, "basis"),
        emitter.weight(weight.reshape(nest.K, -1, count), "weight"),
        None if bias is None else emitter.weight(bias, "bias"),
    ]
    return convolve(
        emitter, inputs, nest.C, strides=nest.strides, pads=nest.pads, dilations=nest.dilations,
        groups=nest.G,
    )  # fmt: skip


def _stored(value: ir.Value | None) -> Floats | None:
    """The constant that a weight is laid out from."""
    while value is not None and constant(value) is None:
        node = value.producer()
        value = None if node is None or not node.inputs else node.inputs[0]
    return constant(value)


def _factors(
    nodes: Sequence[ir.Node], last: ir.Node, shape: tuple[int, int, int]
) -> tuple[Floats, Floats] | None:
    """Basis kernels, shape (d, R, S), and coefficients as they lie."""
    product = next((node for node in nodes if node.op_type == "MatMul"), None)
    first = _maps(nodes, last)
    weight = _stored(last.inputs[1] if product is None else product.inputs[0])
    if weight is None:
        return None
    if product is None and not first:  # somebody multiplied them
        return decomposed(weight.astype(np.float64), shape[0])
    kernels = [
        _stored(value)
        for value in ([product.inputs[1]] if product else [node.inputs[1] for node in first])
    ]
    # Of a depthwise weight that is written out, one channel's kernels are those of all.
    each = prod(shape) // len(kernels)
    flat = [kernel.reshape(-1)[:each] for kernel in kernels if kernel is not None]
    whole = np.concatenate([*flat, np.empty(0)])
    return (whole.reshape(shape), weight) if whole.size == prod(shape) else None


def _maps(nodes: Sequence[ir.Node], last: ir.Node) -> list[ir.Node]:
    """The depthwise convolutions, in the order of their maps."""
    maker = None if last.inputs[0] is None else last.inputs[0].producer()
    if maker is None or maker not in nodes:
        return []
    made = maker.inputs if maker.op_type == "Concat" else maker.outputs
    return [node for value in made if value is not None and (node := value.producer()) is not None]
