"""Heads on the way through a network: where they can stand, and the nodes that they are."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.graph import clone, free_name, infer_shapes, layer_name, value_names
from mlcnn.ops import Emitter
from mlcnn.workload import RECORD_KEY, Record, read_record
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
        values between two layers the last one, behind the activation; none inside of a layer that
        several nodes compute.
    """
    graph = with_sizes(model, batch=1).graph
    nodes = [*graph]
    last = {value: index for index, node in enumerate(nodes) for value in node.inputs if value}
    live = {value for value in graph.inputs if not value.is_initializer()}
    ends = {node.metadata_props.get(RECORD_KEY): index for index, node in enumerate(nodes)}
    layer, found, inside = "", dict[str, str](), -1
    for index, node in enumerate(nodes):
        varying = not live.isdisjoint(node.inputs)
        record = read_record(node)
        if isinstance(record, Record):
            inside = max(inside, ends[node.metadata_props[RECORD_KEY]])
        if isinstance(record, Record) and varying:
            layer = record.geometry.name
        elif node.op_type in {"Conv", "Gemm", "MatMul"} and varying:
            layer = layer_name(node)
        if varying:
            live |= {value for value in node.outputs if value in last}
        live = {value for value in live if last.get(value, -1) > index}
        only = next(iter(live)) if len(live) == 1 else None
        sizes = None if only is None else sizes_of(only)
        is_whole = layer and index >= inside
        if is_whole and only in node.outputs and sizes is not None and len(sizes) == 4:
            found[layer] = "" if only is None else only.name or ""
    return tuple(found.items())


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
        name = free_name(f"exit{index}", taken)
        dtype = np.dtype(np.float32) if source.dtype is None else source.dtype.numpy()
        emitter = Emitter(copied.opset_imports[""], dtype, name)
        scores = _emitted(emitter, head, source, sizes)
        for weight in emitter.weights:
            copied.graph.register_initializer(weight)
        for node in emitter.nodes:
            node.outputs[0].name = node.name
        copied.graph.extend(emitter.nodes)
        scores.name = name
        copied.graph.outputs.append(scores)
    infer_shapes(copied)
    return copied


def _emitted(emitter: Emitter, head: Head, source: ir.Value, sizes: Sequence[int]) -> ir.Value:
    """The scores of a head on a value of such sizes."""
    # Regions of one size; what is left over at the end belongs to none.
    window = tuple(size // head.grid for size in sizes[2:])
    ends = tuple(head.grid * size for size in window)
    if ends != tuple(sizes[2:]):
        bounds = (("starts", (0, 0)), ("ends", ends), ("axes", (2, 3)))
        inside = [emitter.integers(values, role) for role, values in bounds]
        source = emitter.op("Slice", [source, *inside])
    pooled = emitter.op("AveragePool", [source], kernel_shape=window, strides=window)
    weight, bias = emitter.weight(head.weight, "weight"), emitter.weight(head.bias, "bias")
    return emitter.op("Gemm", [emitter.op("Flatten", [pooled]), weight, bias], transB=1)
