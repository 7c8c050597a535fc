"""Conditional networks as flat ones, which compute everything and then choose.

An ``If`` becomes the nodes of both branches and a ``Where`` for each of its results. Images that a
mask gathers stay all of them until ``ScatterND`` puts back those of the mask. So every size is
known beforehand; what need not be computed ``regions`` tells.
"""

from collections.abc import Iterator

import onnx_ir as ir

from mlcnn.graph import DEQUANTIZE, constant, free_name, infer_shapes, is_quantiser, is_standard

__all__ = ["CHOICE", "MASK", "flattened", "is_marked"]

CHOICE = "mlcnn.native.choice"
"""Metadata of a ``Where``: the ``If`` that it is a result of."""
MASK = "mlcnn.native.mask"
"""Metadata of what takes images, and of what puts them back: the mask of the images."""

_MOVING = frozenset({"Flatten", "Reshape", "Squeeze", "Transpose", "Unsqueeze"})


def is_marked(node: ir.Node) -> bool:
    """Whether a node stands for a choice between results, or of images."""
    return CHOICE in node.metadata_props or MASK in node.metadata_props


def flattened(model: ir.Model) -> ir.Model:
    """Put the branches of every ``If`` into the graph, in place; return the network.

    Args:
        model: the functions are inlined.
    """
    changed = False
    while found := next((n for n in model.graph if n.op_type == "If" and is_standard(n)), None):
        _inline(model, found)
        changed = True
    for put in [node for node in model.graph if node.op_type == "ScatterND" and is_standard(node)]:
        changed |= _mark(model, put)
    if changed:
        infer_shapes(model)
    return model


def _inline(model: ir.Model, node: ir.Node) -> None:
    """The nodes of both branches, or of the one that is known to be taken, in place of an If."""
    named = (*model.graph.inputs, *model.graph.initializers.values(),
             *(value for each in model.graph for value in each.outputs))  # fmt: skip
    names = {value.name for value in named if value.name}
    known, name = constant(node.inputs[0]), node.name or node.outputs[0].name or "If"
    sides = ["then_branch", "else_branch"]
    if known is not None:
        sides = sides[:1] if known.all() else sides[1:]
    results = [_moved(model, node, side, names) for side in sides]
    for output, *values in zip(node.outputs, *results, strict=True):
        if len(values) == 1:
            made = ir.node("Identity", values)
        else:
            made = ir.node("Where", [node.inputs[0], *values], metadata_props={CHOICE: name})
        made.name, new = free_name(f"{name}/result", names), made.outputs[0]
        model.graph.insert_before(node, made)
        new.type, new.shape = output.type, output.shape
        ir.convenience.replace_all_uses_with(output, new, replace_graph_outputs=True)
        output.name, new.name = None, output.name
    model.graph.remove(node, safe=True)


def _moved(model: ir.Model, node: ir.Node, side: str, names: set[str]) -> list[ir.Value]:
    """Move a branch in front of its node; returns its results."""
    branch = node.attributes[side].as_graph()
    results, nodes = [*branch.outputs], [*branch]
    branch.outputs.clear()
    branch.remove(nodes)
    for value in [*branch.initializers.values()]:
        branch.initializers.pop(value.name or "")
        value.name = free_name(value.name or "weight", names)
        model.graph.register_initializer(value)
    for inner in nodes:
        for value in inner.outputs:
            # What is noted inside of a branch is of fewer images.
            value.name, value.shape = free_name(value.name or inner.op_type, names), None
    model.graph.insert_before(node, nodes)
    return results


def _mark(model: ir.Model, put: ir.Node) -> bool:
    """Let gathered images stay among the others, whose results are put back by the same mask.

    ``Gather`` and ``Compress`` become a ``Max`` of one operand, which is that operand.
    """
    mask = _mask_of(put.inputs[1])
    if mask is None or put.attributes.get("reduction") is not None:
        return False
    taking = [node for node in model.graph if _taken(node) is mask]
    names = {value.name for node in model.graph for value in node.outputs if value.name}
    for node in taking:
        _take_numbers(model, node, names)
    indices = dict.fromkeys([put.inputs[1], *(node.inputs[1] for node in taking)])
    for node in taking:
        made = ir.node("Max", [node.inputs[0]], metadata_props={MASK: mask.name or ""})
        made.name = free_name(f"{node.name or node.op_type}/images", names)
        model.graph.insert_before(node, made)
        old, new = node.outputs[0], made.outputs[0]
        new.type = old.type
        ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
        model.graph.remove(node, safe=True)
        new.name = old.name
    put.metadata_props[MASK] = mask.name or ""
    put.replace_input_with(1, mask)
    for index in indices:
        _remove_unread(model, index)
    return True


def _take_numbers(model: ir.Model, node: ir.Node, names: set[str]) -> None:
    """Where codes are taken that numbers are made of, take the numbers."""
    source = node.inputs[0]
    for reader in node.outputs[0].consumers():
        if source is None or not is_quantiser(reader, DEQUANTIZE):
            continue
        made = ir.node(DEQUANTIZE, [source, *reader.inputs[1:]], dict(reader.attributes))
        made.outputs[0].name = free_name(f"{node.name or node.op_type}/numbers", names)
        made.outputs[0].type = reader.outputs[0].type
        model.graph.insert_before(node, made)
        node.replace_input_with(0, made.outputs[0])
        node.outputs[0].type = reader.outputs[0].type
        ir.convenience.replace_all_uses_with(
            reader.outputs[0], node.outputs[0], replace_graph_outputs=True
        )
        model.graph.remove(reader, safe=True)


def _taken(node: ir.Node) -> ir.Value | None:
    """The mask of the images that a node takes, None where it does something else."""
    if not is_standard(node) or node.op_type not in {"Gather", "Compress"}:
        return None
    axis = node.attributes.get("axis")
    first = axis.as_int() == 0 if axis is not None else node.op_type == "Gather"
    if not first:
        return None
    return node.inputs[1] if node.op_type == "Compress" else _mask_of(node.inputs[1])


def _mask_of(index: ir.Value | None) -> ir.Value | None:
    """The mask whose places an index lists."""
    while index is not None and (maker := index.producer()) is not None:
        if maker.op_type == "NonZero" and is_standard(maker):
            return maker.inputs[0]
        if maker.op_type not in _MOVING or not is_standard(maker):
            return None
        index = maker.inputs[0]
    return None


def _remove_unread(model: ir.Model, value: ir.Value | None) -> None:
    """Remove what nothing reads any more, from a value backwards."""
    for node in _makers(value):
        unread = not any(v.uses() or v.is_graph_output() for v in node.outputs)
        if node.graph is model.graph and unread:
            model.graph.remove(node, safe=True)


def _makers(value: ir.Value | None) -> Iterator[ir.Node]:
    while value is not None and (node := value.producer()) is not None:
        value = node.inputs[0] if node.op_type in _MOVING else None
        yield node
