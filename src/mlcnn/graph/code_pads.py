"""Padded means of codes whose zero point is not 0.

An ``AveragePool`` that counts its padding pads with the number 0, which is the code of the zero
point. OpenVINO takes the mean of codes, and pads them with the code 0: a border of other numbers
(version 2026.4.1). Where the codes themselves are padded, with the zero point, every engine is
right, and computes in integers.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir

from mlcnn.graph.names import DEQUANTIZE, constant, free_name, is_standard, value_names
from mlcnn.graph.quantisers import is_quantiser
from mlcnn.graph.structure import clone

__all__ = ["pad_codes", "pad_means"]


def pad_codes(model: ir.Model) -> ir.Model:
    """A copy where such a mean reads codes that are padded already.

    Args:
        model: the network, functions inlined.
    """
    copied = clone(model)
    taken = value_names(copied)
    for node in [*copied.graph]:
        pads, value = _counted_pads(node), node.inputs[0] if node.inputs else None
        leave = None if pads is None or value is None else value.producer()
        if pads is None or leave is None or not is_quantiser(leave, DEQUANTIZE):
            continue
        if _number(_zero_point(leave)):
            _pad_before(copied.graph, node, leave, pads, taken)
    return copied


def pad_means(model: ir.Model) -> ir.Model:
    """The opposite: a copy where means pad, and codes do not.

    Args:
        model: the network, functions inlined.
    """
    copied = clone(model)
    for node in [*copied.graph]:
        pads = _padded_codes(node)
        readers = [use.node for use in node.outputs[0].uses()]
        leaves = [one for one in readers if is_quantiser(one, DEQUANTIZE)]
        pools = [use.node for leave in leaves for use in leave.outputs[0].uses()]
        if pads is None or len(leaves) < len(readers) or not all(map(_is_plain_mean, pools)):
            continue
        zeros = {_number(value) for value in (node.inputs[2], *map(_zero_point, leaves))}
        if len(zeros) > 1 or None in zeros:
            continue
        for leave in leaves:
            leave.replace_input_with(0, node.inputs[0])
            leave.outputs[0].shape = None if node.inputs[0] is None else node.inputs[0].shape
        for pool in pools:
            pool.attributes["pads"] = ir.AttrInt64s("pads", pads)
            pool.attributes["count_include_pad"] = ir.AttrInt64("count_include_pad", 1)
        copied.graph.remove(node, safe=True)
    return copied


def _zero_point(leave: ir.Node) -> ir.Value | None:
    return leave.inputs[2] if len(leave.inputs) > 2 else None


def _number(value: ir.Value | None) -> int | None:
    """A constant that is one number, as a zero point is."""
    found = constant(value)
    return None if found is None or found.size != 1 else int(found.reshape(()))


def _counted_pads(node: ir.Node) -> Sequence[int] | None:
    """The padding of a mean that counts it; None for other nodes, and for means without."""
    if node.op_type != "AveragePool" or not is_standard(node):
        return None
    given = node.attributes
    counted = "count_include_pad" in given and given["count_include_pad"].as_int()
    rounded_up = "ceil_mode" in given and given["ceil_mode"].as_int()
    pads = given["pads"].as_ints() if "pads" in given else ()
    return pads if counted and not rounded_up and any(pads) else None


def _is_plain_mean(node: ir.Node) -> bool:
    """Whether a node is a mean without padding, whose windows all lie in what it reads."""
    if node.op_type != "AveragePool" or not is_standard(node):
        return False
    given = node.attributes
    padded = any(given["pads"].as_ints()) if "pads" in given else False
    named = "auto_pad" in given and given["auto_pad"].as_string() != "NOTSET"
    rounded_up = "ceil_mode" in given and given["ceil_mode"].as_int()
    return not (padded or named or rounded_up)


def _padded_codes(node: ir.Node) -> Sequence[int] | None:
    """The padding of rows and columns by one constant; None for other nodes."""
    if node.op_type != "Pad" or not is_standard(node) or len(node.inputs) != 3:
        return None
    mode = node.attributes["mode"].as_string() if "mode" in node.attributes else "constant"
    pads = constant(node.inputs[1])
    if mode != "constant" or pads is None:
        return None
    ends = pads.reshape(2, -1)
    if node.outputs[0].is_graph_output() or ends[:, :2].any() or ends.min() < 0:
        return None
    return [int(pad) for pad in ends[:, 2:].flatten()]


def _pad_before(
    graph: ir.Graph, pool: ir.Node, leave: ir.Node, pads: Sequence[int], taken: set[str]
) -> None:
    half = len(pads) // 2
    name = free_name(f"{leave.outputs[0].name}_pads", taken)
    ends = np.array([0, 0, *pads[:half], 0, 0, *pads[half:]], np.int64)
    wanted = ir.Value(name=name, const_value=ir.tensor(ends, name=name))
    graph.register_initializer(wanted)
    padding = ir.Node("", "Pad", [leave.inputs[0], wanted, leave.inputs[2]], name=name)
    numbers = ir.Node(
        "", DEQUANTIZE, [padding.outputs[0], *leave.inputs[1:]], [*leave.attributes.values()]
    )
    for made, like, kind in ((padding, leave.inputs[0], "codes"), (numbers, pool.inputs[0], "")):
        made.outputs[0].name = free_name(f"{leave.outputs[0].name}_padded{kind}", taken)
        made.outputs[0].type = None if like is None else like.type
        made.metadata_props.update(pool.metadata_props)  # part of the same layer
    graph.insert_before(pool, [padding, numbers])
    pool.replace_input_with(0, numbers.outputs[0])
    for attribute in ("pads", "count_include_pad"):
        del pool.attributes[attribute]
    if not leave.outputs[0].uses() and not leave.outputs[0].is_graph_output():
        graph.remove(leave, safe=True)
