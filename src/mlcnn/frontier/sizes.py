"""What a network stores and computes when zeros count for nothing, layer by layer."""

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mlcnn.counting import nonzero_multiplications
from mlcnn.graph import constant, infer_shapes, inline, to_proto
from mlcnn.workload import DENSE, read
from mlcnn.workload.sizes import with_sizes

__all__ = ["LayerSize", "file_bytes", "layer_sizes", "peak_bytes"]


@dataclass(frozen=True, slots=True)
class LayerSize:
    """One layer of a network, for one image.

    Attributes:
        name: the layer's name.
        parameters: numbers that are stored for it and are not zero, biases included.
        stored: all of them.
        multiplications: with those by a weight of zero left out.
        dense: all of them: what runs in an engine that cannot leave out any.
    """

    name: str
    parameters: int
    stored: int
    multiplications: float
    dense: float


def layer_sizes(model: ir.Model) -> tuple[LayerSize, ...]:
    """Every convolution and dense layer of a network, in order.

    Raises:
        UnsupportedError: a layer's sizes are not known.
    """
    workload = read(model)
    found: list[LayerSize] = []
    for layer, nodes in zip(workload.layers, workload.nodes, strict=True):
        plain = layer.weights == DENSE
        kernels = [array for node in nodes if (array := _kernel(node)) is not None]
        zeros = sum(int((array == 0).sum()) for array in (kernels if plain else _largest(nodes)))
        parts = layer.parts or (layer.nest,)
        dense = sum(part.macs for part in parts) / workload.images
        # Parts and kernels go together where each part has a constant kernel.
        shares = [float(np.mean(array != 0)) for array in kernels]
        if not plain:
            skipped = nonzero_multiplications(layer) / workload.images
        elif len(shares) == len(parts):
            products = sum(p.macs * s for p, s in zip(parts, shares, strict=True))
            skipped = products / workload.images
        else:
            skipped = dense
        stored = layer.stored.parameters
        found.append(LayerSize(layer.name, stored - zeros, stored, skipped, dense))
    return tuple(found)


def _largest(nodes: Iterable[ir.Node]) -> list[np.ndarray]:
    """The largest weight of a layer whose weights have a structure, as its density is of it."""
    values = dict.fromkeys(value for node in nodes for value in node.inputs)
    arrays = [array for value in values if (array := constant(value)) is not None]
    numbers = [array for array in arrays if array.dtype.kind == "f"]
    return sorted(numbers, key=lambda array: array.size)[-1:]


def _kernel(node: ir.Node) -> "np.ndarray | None":
    if node.op_type not in {"Conv", "Gemm", "MatMul"}:
        return None
    arrays = [array for value in node.inputs[:2] if (array := constant(value)) is not None]
    return arrays[0] if len(arrays) == 1 else None


def file_bytes(model: ir.Model) -> int:
    """Bytes of the network's file, every number of it stored."""
    return to_proto(model).ByteSize()


def peak_bytes(model: ir.Model) -> int:
    """Bytes of all weights, and of the values that are needed at the same time, for one image.

    It is what the network needs: an engine may hold more, and never less.

    Raises:
        UnsupportedError: sizes are not known.
    """
    flat = inline(model, foreign=True) if model.functions else model
    if model.functions:
        infer_shapes(flat)
    graph = with_sizes(flat, batch=1).graph
    return sum(map(_bytes, _stored(graph))) + _values_peak(graph)


def _stored(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.initializers.values()
    for node in graph:
        for branch in _branches(node):
            yield from _stored(branch)


def _values_peak(graph: ir.Graph) -> int:
    """Bytes of the values of a graph that are needed at the same time, in its branches, too."""
    last: dict[ir.Value, int] = {}
    for index, node in enumerate(graph):
        last.update(dict.fromkeys(_read(node), index))
    kept = set(graph.outputs)
    live, peak = {value for value in graph.inputs if value in last or value in kept}, 0
    for index, node in enumerate(graph):
        inside = max(map(_values_peak, _branches(node)), default=0)
        live |= {value for value in node.outputs if value in last or value in kept}
        peak = max(peak, _sum(live) + inside)
        live = {value for value in live if value in kept or last[value] > index}
    return peak


def _read(node: ir.Node) -> Iterator[ir.Value]:
    """What a node reads, in its branches, too."""
    yield from (value for value in node.inputs if value is not None)
    for branch in _branches(node):
        yield from branch.outputs
        for inner in branch:
            yield from _read(inner)


def _branches(node: ir.Node) -> list[ir.Graph]:
    attributes = node.attributes.values()
    return [each.as_graph() for each in attributes if each.type == ir.AttributeType.GRAPH]


def _sum(values: Iterable[ir.Value]) -> int:
    return sum(map(_bytes, values))


def _bytes(value: ir.Value) -> int:
    sizes = () if value.shape is None else value.shape.dims
    width = 4 if value.dtype is None else value.dtype.itemsize
    return math.ceil(math.prod(size for size in sizes if isinstance(size, int)) * width)
