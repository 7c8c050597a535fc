"""In how many bits the values between layers lie in memory, read from a network's quantisers."""

from collections.abc import Sequence

import onnx_ir as ir

from mlcnn.graph import DEQUANTIZE, MOVING, QUANTIZE, constant, is_quantiser, is_standard
from mlcnn.workload import ends, rounded_width

__all__ = ["FULL", "kept_bits", "loaded_and_written"]

FULL = 32
"""Of a value that something reads as a number of full width."""

# What an output unit runs behind the accumulators: what is in front of it is never in memory.
_BEHIND = frozenset({"BatchNormalization", "Identity", "LeakyRelu", "Relu"}) | MOVING
_ROUNDING = frozenset({"Clip", QUANTIZE, DEQUANTIZE})


def loaded_and_written(nodes: Sequence[ir.Node], source: ir.Value | None) -> tuple[int, int]:
    """Bits in memory of a layer's inputs and of its outputs.

    A sum with a constant, or with codes that lie in memory, is formed behind the accumulators: the
    sum is written. An input that is added elsewhere too, and there not as codes, lies in memory in
    full width, whatever the layer makes of it.

    Args:
        nodes: of the layer.
        source: what it reads.
    """
    _, results = ends(nodes)
    loaded = FULL if source is None else kept_bits(_made(source))
    return loaded, max(map(kept_bits, results), default=FULL)


def kept_bits(value: ir.Value) -> int:
    """Bits of a value for all that read it: as codes, where they all read codes.

    Args:
        value: as it is made, in front of any quantiser.
    """
    if value.is_graph_output() or not value.uses():
        return FULL
    return max(_read_as(use.node, value) for use in value.uses())


def _read_as(reader: ir.Node, value: ir.Value) -> int:
    if not is_standard(reader):
        return FULL
    output = reader.outputs[0]
    if reader.op_type == "Add":
        others = [other for other in reader.inputs if other is not value]
        return kept_bits(output) if all(map(_is_there, others)) else FULL
    if reader.op_type == QUANTIZE:
        return rounded_width(output) or FULL
    if reader.op_type == "Clip" or reader.op_type in _BEHIND:
        return kept_bits(output)
    return FULL


def _is_there(value: ir.Value | None) -> bool:
    """Whether an operand of a sum is a constant or codes in memory, no result still to write."""
    if value is None or constant(value) is not None:
        return value is not None
    node = value.producer()
    while node is not None and is_standard(node) and node.op_type in MOVING | {"Pad", "Concat"}:
        source = node.inputs[0]
        node = None if source is None else source.producer()
    return is_quantiser(node, DEQUANTIZE)


def _made(value: ir.Value) -> ir.Value:
    """Where the numbers of a value are made: in front of quantisers and of what runs behind."""
    node = value.producer()
    while node is not None and is_standard(node) and node.op_type in _BEHIND | _ROUNDING:
        source = node.inputs[0]
        if source is None:
            break
        value, node = source, source.producer()
    return value
