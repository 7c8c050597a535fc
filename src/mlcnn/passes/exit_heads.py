"""Heads on the way through a network: where they can stand, and the nodes that they are."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.graph import clone, free_name, infer_shapes, layer_name, value_names
from mlcnn.workload.sizes import sizes_of, with_sizes

__all__ = ["Head", "exit_points", "with_heads"]

GRID = 2
"""Averages of a head along height and along width."""


@dataclass(frozen=True, slots=True)
class Head:
    """A linear classifier on averages over a grid of regions of a value.

    Attributes:
        at: name of the value, shape (N, C, H, W).
        weight: shape (classes, C * grid * grid), the regions of a channel side by side.
        bias: shape (classes,).
        grid: regions along height and along width.
    """

    at: str
    weight: NDArray[np.floating]
    bias: NDArray[np.floating]
    grid: int = GRID


def exit_points(model: ir.Model) -> tuple[tuple[str, str], ...]:
    """Where all that a network knows of an image is one value with height and width.

    Args:
        model: the network, shapes inferred.

    Returns:
        For each place, in order: the last layer in front of it, and the name of the value. Of the
        values between two layers the last one, behind the activation.
    """
    graph = with_sizes(model, batch=1).graph
    nodes = [*graph]
    last = {value: index for index, node in enumerate(nodes) for value in node.inputs if value}
    live = {value for value in graph.inputs if not value.is_initializer()}
    layer, found = "", dict[str, str]()
    for index, node in enumerate(nodes):
        varying = not live.isdisjoint(node.inputs)
        if node.op_type in {"Conv", "Gemm", "MatMul"} and varying:
            layer = layer_name(node)
        if varying:
            live |= {value for value in node.outputs if value in last}
        live = {value for value in live if last.get(value, -1) > index}
        sizes = sizes_of(only) if (only := _only(live)) is not None else None
        if layer and sizes is not None and len(sizes) == 4 and only in node.outputs:
            found[layer] = only.name or ""
    return tuple(found.items())


def _only(values: set[ir.Value]) -> ir.Value | None:
    return next(iter(values)) if len(values) == 1 else None


def with_heads(model: ir.Model, heads: Sequence[Head]) -> ir.Model:
    """A network with class scores of heads as further outputs, ``exit1``, ``exit2``, ...

    Args:
        model: the network.
        heads: what stands where, in the order of the network.

    Raises:
        InputError: a value is not there, or its height and width are not known or smaller than the
            grid.
    """
    copied = clone(model)
    values = {v.name: v for node in copied.graph for v in node.outputs}
    sized = with_sizes(model, batch=1)
    shapes = {v.name: sizes_of(v) for node in sized.graph for v in node.outputs}
    taken = value_names(copied)
    for index, head in enumerate(heads, 1):
        source, sizes = values.get(head.at), shapes.get(head.at)
        if source is None or sizes is None or len(sizes) != 4 or min(sizes[2:]) < head.grid:
            raise InputError(
                f"a head at {head.at}: a value with at least {head.grid}x{head.grid} positions is "
                f"required, it is {sizes}"
            )
        _append(copied.graph, head, source, sizes, f"exit{index}", taken)
    infer_shapes(copied)
    return copied


def _append(
    graph: ir.Graph,
    head: Head,
    source: ir.Value,
    sizes: Sequence[int],
    name: str,
    taken: set[str],
) -> None:
    # Regions of one size; what is left over at the end belongs to none.
    window = [size // head.grid for size in sizes[2:]]
    pads = [0, 0, *(-(size % head.grid) for size in sizes[2:])]
    if any(pads):
        ends = [head.grid * size for size in window]
        source = _node(graph, "Slice", [
            source, *(_weight(graph, f"{name}.{role}", np.asarray(array, np.int64), taken)
                      for role, array in (("starts", [0, 0]), ("ends", ends), ("axes", [2, 3])))
        ], {}, name, taken)  # fmt: skip
    pooled = _node(
        graph, "AveragePool", [source], {"kernel_shape": window, "strides": window}, name, taken
    )
    flat = _node(graph, "Flatten", [pooled], {}, name, taken)
    kind = np.float32 if source.dtype is None else source.dtype.numpy()
    weight = _weight(graph, f"{name}.weight", head.weight.astype(kind), taken)
    bias = _weight(graph, f"{name}.bias", head.bias.astype(kind), taken)
    scores = _node(graph, "Gemm", [flat, weight, bias], {"transB": 1}, name, taken)
    scores.name = free_name(name, taken)
    graph.outputs.append(scores)


def _node(
    graph: ir.Graph,
    kind: str,
    inputs: Sequence[ir.Value],
    attributes: Mapping[str, int | list[int]],
    name: str,
    taken: set[str],
) -> ir.Value:
    node = ir.node(kind, inputs, attributes)
    node.name = node.outputs[0].name = free_name(f"{name}/{kind}", taken)
    graph.append(node)
    return node.outputs[0]


def _weight(graph: ir.Graph, wanted: str, array: NDArray, taken: set[str]) -> ir.Value:
    name = free_name(wanted, taken)
    value = ir.Value(
        name=name,
        const_value=ir.Tensor(np.ascontiguousarray(array), name=name),
        shape=ir.Shape(array.shape),
        type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
    )
    graph.register_initializer(value)
    return value
