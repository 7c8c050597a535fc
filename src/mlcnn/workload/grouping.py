"""Nodes that carry one record are one layer; and what the nodes of a layer keep and move."""

import logging
import math
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from mlcnn.graph import DEQUANTIZE, MOVING, QUANTIZE, is_quantiser, is_standard, layer_name
from mlcnn.workload.description import Layer, Numbers, Stored
from mlcnn.workload.mask import Mask
from mlcnn.workload.record import Record, read_record
from mlcnn.workload.sizes import known_sizes, sizes_of
from mlcnn.workload.widths import rounded_width, stored_width, summed_width

__all__ = ["density_of", "described", "ends", "measured", "operand_bits", "recorded"]

_LOGGER = logging.getLogger(__name__)
_KNOWN_VERSION = 1
_DENSE = frozenset({"Gemm", "MatMul"})
# Types that weights are stored in; the others are shapes and axes.
# Height and width that a value of so many dimensions lacks: features, a sequence, images.
_SPATIAL: dict[int, tuple[int, ...]] = {2: (1, 1), 3: (1,), 4: ()}
_SHAPES = frozenset({ir.DataType.INT64, ir.DataType.BOOL, ir.DataType.STRING})


def recorded(graph: ir.Graph) -> Mapping[ir.Node, tuple[Record, tuple[ir.Node, ...]]]:
    """Every node with a record, with that and all nodes that carry it."""
    members: dict[str, list[tuple[ir.Node, Record]]] = {}
    for node in graph:
        record = read_record(node)
        if isinstance(record, str):
            _LOGGER.warning("%s: %s; it is read as it is", layer_name(node), record)
        elif record is not None:
            members.setdefault(record.site, []).append((node, record))
    found: dict[ir.Node, tuple[Record, tuple[ir.Node, ...]]] = {}
    for group in members.values():
        nodes, record = tuple(node for node, _ in group), group[0][1]
        if record.version > _KNOWN_VERSION:
            _LOGGER.warning(
                "%s: its record has version %d, newer than %d: what is known of it is read",
                layer_name(nodes[0]), record.version, _KNOWN_VERSION,
            )  # fmt: skip
        found |= dict.fromkeys(nodes, (record, nodes))
    return found


def described(
    record: Record, nodes: Sequence[ir.Node], constants: Container[ir.Value]
) -> Layer | str:
    """The layer that a record says its nodes are, or how they contradict it.

    Raises:
        UnsupportedError: a size of its input is not known.
    """
    outside, results = ends(nodes)
    sources = [v for v in outside if v not in constants and v.name not in record.masks]
    if len(sources) != 1 or len(results) != 1:
        return (
            f"they read {len(sources)} values and give {len(results)}, and a layer reads one and "
            "gives one"
        )
    (source,), (result,) = sources, results
    sizes = known_sizes(source, f"{record.geometry.name} ({record.operator})", "input")
    if len(sizes) not in _SPATIAL:
        return f"they read a value of shape {sizes}, and a layer reads images or features"
    spatial = (*_SPATIAL[len(sizes)], *sizes[2:])
    if sizes[1] != record.geometry.C:
        return f"they read {sizes[1]} channels, and the record says {record.geometry.C}"
    try:
        nest = record.nest(sizes[0], *spatial)
    except ValueError as error:
        return str(error)
    outputs = (nest.N, nest.K, *nest.pooled)
    given = sizes_of(result)
    if given is not None and math.prod(given) != math.prod(outputs):
        return f"they give {given}, and the record says {outputs}"
    layer = Layer(
        nest,
        record.operator,
        record.form,
        weights=record.weights,
        activity=record.activity,
        arithmetic=record.arithmetic,
        positions=record.positions,
        channels=record.channels,
    )
    layer = measured(layer, nodes, constants)
    # Before, the pool was a layer of its own: this one gave the output of the convolution.
    given = nest.N * nest.K * nest.outputs * -(-layer.numbers.input // 8)
    before = replace(
        layer.stored,
        parameters=record.parameters or layer.stored.parameters,
        weight_bytes=record.weight_bytes or layer.stored.weight_bytes,
        output_bytes=given,
    )
    return replace(layer, before=before, density_before=record.density)


def measured(layer: Layer, nodes: Sequence[ir.Node], constants: Container[ir.Value]) -> Layer:
    """The layer with its numbers and with what its nodes keep and move."""
    outside, results = ends(nodes)
    kept = dict.fromkeys(
        root for value in outside if value in constants for root in _roots(value, constants)
    )
    weights = [value for value in kept if value.dtype not in _SHAPES]
    inputs = [v for v in outside if v not in constants and v.name not in layer.masks]
    stored = Stored(
        parameters=sum(_count(value) for value in weights),
        weight_bytes=sum(_bytes(value) for value in weights),
        input_bytes=sum(_bytes(value, _stored_as(value)) for value in inputs),
        output_bytes=sum(_bytes(value, _written_as(value)) for value in results),
    )
    largest = max(weights, key=_count, default=None)
    numbers = Numbers(
        32 if largest is None else stored_width(largest),
        max((_width(_stored_as(value)) for value in inputs), default=32),
        max((_summed(node) for node in nodes), default=0),
    )
    density = density_of(largest)
    return replace(
        layer, numbers=numbers, density=density, density_before=density, stored=stored,
        before=stored, mask=_mask(largest, nodes),
    )  # fmt: skip


def _mask(weight: ir.Value | None, nodes: Sequence[ir.Node]) -> Mask | None:
    """Where the zeros of a weight stand."""
    tensor = None if weight is None else weight.const_value
    if weight is None or tensor is None or not tensor.dtype.is_floating_point():
        return None
    if any(use.node.op_type == "Transpose" for use in weight.uses()):
        return None
    return Mask(tensor, any(_by_columns(node, weight) for node in nodes))


def _by_columns(node: ir.Node, weight: ir.Value | None) -> bool:
    """Whether a dense layer multiplies rows of its input by columns of this weight."""
    if node.op_type not in _DENSE or not is_standard(node) or weight not in node.inputs:
        return False
    is_right = node.inputs[1] is weight
    transposed = node.attributes.get("transB" if is_right else "transA")
    return is_right != (transposed is not None and bool(transposed.as_int()))


def density_of(weight: ir.Value | None) -> float:
    """The share of a weight that is not zero; 1 where it is computed, or kept as codes."""
    tensor = None if weight is None else weight.const_value
    if tensor is None or not tensor.size or not tensor.dtype.is_floating_point():
        return 1.0
    return int(np.count_nonzero(tensor.numpy())) / tensor.size


def ends(nodes: Sequence[ir.Node]) -> tuple[list[ir.Value], list[ir.Value]]:
    """What nodes read of others, and what others read of them."""
    produced = dict.fromkeys(value for node in nodes for value in node.outputs)
    read = dict.fromkeys(value for node in nodes for value in node.inputs if value is not None)
    results = [
        value
        for value in produced
        if value.is_graph_output() or any(use.node not in nodes for use in value.uses())
    ]
    return [value for value in read if value not in produced], results


def _roots(value: ir.Value, constants: Container[ir.Value]) -> list[ir.Value]:
    """The values that a network keeps for a constant: what it is dequantised or laid out from.

    A constant that is generated is kept as itself, however it is written down.
    """
    found: list[ir.Value] = []
    pending = [value]
    while pending:
        item = pending.pop()
        producer = item.producer()
        if producer is not None and item.const_value is None:
            pending.extend(v for v in producer.inputs if v is not None and v in constants)
        elif item.dtype not in _SHAPES:
            found.append(item)
    return found or [value]


def _stored_as(value: ir.Value) -> ir.Value:
    """What an input is in memory: codes, where it is dequantised first, and perhaps moved."""
    producer = value.producer()
    while producer is not None and producer.op_type in MOVING and is_standard(producer):
        producer = None if producer.inputs[0] is None else producer.inputs[0].producer()
    if producer is None or not is_quantiser(producer, DEQUANTIZE):
        return value
    return producer.inputs[0] or value


def _written_as(value: ir.Value) -> ir.Value:
    """What an output is in memory: the codes, where nothing but a quantiser reads it."""
    readers = {use.node for use in value.uses()}
    if len(readers) != 1 or value.is_graph_output():
        return value
    (reader,) = readers
    return reader.outputs[0] if is_quantiser(reader, QUANTIZE) else value


def _count(value: ir.Value) -> int:
    sizes = sizes_of(value)
    return 0 if sizes is None else math.prod(sizes)


def _bits(value: ir.Value | None) -> int:
    dtype = None if value is None else value.dtype
    return 32 if dtype is None or dtype in _SHAPES else dtype.bitwidth


def _width(value: ir.Value) -> int:
    """Bits of an input's numbers: those that its codes take, where these are fewer."""
    found = rounded_width(value)
    return _bits(value) if found is None else found


def _pooled(node: ir.Node) -> tuple[ir.Value, int] | None:
    """The codes whose means a convolution reads, and of how many; None of any other node."""
    source = node.inputs[0] if node.op_type == "Conv" and is_standard(node) else None
    pool = None if source is None else source.producer()
    if pool is None or pool.op_type != "AveragePool" or not is_standard(pool):
        return None
    terms = math.prod(pool.attributes["kernel_shape"].as_ints())
    return None if pool.inputs[0] is None else (_stored_as(pool.inputs[0]), terms)


def _summed(node: ir.Node) -> int:
    """Bits of the sums of codes that a layer reads behind an average pool; 0 of any other node."""
    pooled = _pooled(node)
    return 0 if pooled is None else summed_width(*pooled) or 0


def operand_bits(node: ir.Node) -> Numbers:
    """Bits of what a convolution or dense layer computes with: of weights, inputs, sums of these.

    Args:
        node: of standard operators, with a constant weight.
    """
    weight, pooled = node.inputs[1], _pooled(node)
    source = node.inputs[0] if pooled is None else pooled[0]
    return Numbers(
        32 if weight is None else stored_width(_stored_as(weight)),
        32 if source is None else _width(_stored_as(source)),
        _summed(node),
    )


def _bytes(value: ir.Value, kept: ir.Value | None = None) -> int:
    """Bytes of a value, in the type of what is kept of it."""
    return -(-_count(value) * _bits(kept or value) // 8)
