"""Edits of a graph that passes share: put new nodes in the place of old ones."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir

from mlcnn.graph import OPERATOR_KEY, free_name, layer_name, value_names
from mlcnn.ops import Convolution, Emitter, average_pool_node
from mlcnn.passes.sites import Branch, Kind, Site

__all__ = [
    "copy_node",
    "emitter_for",
    "hoist",
    "install",
    "opset_of",
    "place",
    "replace_scalar",
    "rounded_again",
]


def opset_of(model: ir.Model) -> int:
    """The opset of the default domain."""
    return model.graph.opset_imports[""]


def _remove_dead(node: ir.Node) -> None:
    """Remove ``node`` if nothing needs it, then whatever only it needed."""
    pending = [node]
    while pending:
        node = pending.pop()
        graph = node.graph
        if graph is None or any(out.uses() or out.is_graph_output() for out in node.outputs):
            continue
        inputs = [value for value in node.inputs if value is not None]
        graph.remove(node, safe=True)
        for value in inputs:
            producer = value.producer()
            if producer is not None:
                pending.append(producer)
            elif value.is_initializer() and not value.uses() and not value.is_graph_output():
                del value.graph.initializers[value.name]  # pyright: ignore[reportOptionalMemberAccess, reportArgumentType]


def _replace(old: ir.Value, new: ir.Value) -> None:
    """Let ``new`` take the name, shape and uses of ``old``; remove what becomes dead."""
    name, node = old.name, old.producer()
    new.shape, new.type = old.shape, old.type
    ir.convenience.replace_all_uses_with(old, new, replace_graph_outputs=True)
    old.name = f"{name}.replaced"
    new.name = name
    if node is not None:
        _remove_dead(node)


def _tell_apart(graph: ir.Graph, nodes: Sequence[ir.Node]) -> None:
    """Rename those of ``nodes`` that share their name with another node: engines refuse that."""
    new = set(nodes)
    taken = {node.name or "" for node in graph if node not in new}
    for node in nodes:
        node.name = free_name(node.name or node.op_type, taken)


def place(
    model: ir.Model,
    nodes: Sequence[ir.Node],
    old: ir.Value,
    new: ir.Value,
    *,
    anchor: ir.Node | None = None,
) -> None:
    """Put ``nodes`` in front of ``anchor``, and ``new``, an output of theirs, in ``old``'s place.

    The anchor is ``old``'s producer if none is given. Their inner values are named after ``old``:
    a name that the graph gives could be one of a value in a subgraph.
    """
    anchor = anchor or old.producer()
    if anchor is None:
        raise ValueError("only a node's output can be replaced")
    taken = value_names(model)
    for index, node in enumerate(nodes):
        for value in node.outputs:
            value.name = free_name(f"{old.name}/{node.op_type}_{index}.{value.index()}", taken)
    model.graph.insert_before(anchor, nodes)
    _replace(old, new)
    _tell_apart(model.graph, nodes)


def emitter_for(model: ir.Model, convolution: Convolution) -> Emitter:
    """An emitter for the site of ``convolution``."""
    if convolution.weight.dtype is None:
        raise ValueError("the weight has no type")
    return Emitter(
        opset=opset_of(model),
        dtype=convolution.weight.dtype.numpy(),
        name=convolution.name,
        metadata=dict(convolution.node.metadata_props),
    )


def install(
    model: ir.Model,
    emitter: Emitter,
    old: ir.Value,
    new: ir.Value,
    *,
    anchor: ir.Node | None = None,
) -> None:
    """Put the emitter's nodes and weights into the network; see ``place``."""
    graph = model.graph
    for name, build in emitter.functions.items():
        built = build(emitter.opset)
        domain, called = built.domain, _add_function(model, built)
        for node in emitter.nodes:
            if (node.domain, node.op_type) == (domain, name):
                node.op_type = called
    place(model, emitter.nodes, old, new, anchor=anchor)
    taken = value_names(model)
    for value in emitter.weights:
        value.name = free_name(value.name or "", taken)
        graph.register_initializer(value)


def _add_function(model: ir.Model, function: ir.Function) -> str:
    """Add a function if the model lacks it; the name that it has there.

    A user's own function, one of another version, or an operator that some engine knows may have
    its name: those stay, and this one gets another.
    """
    called = {node.op_identifier() for node in model.graph.all_nodes()}
    for other in model.functions.values():
        called.update(node.op_identifier() for node in other.all_nodes())
    wanted, count = function.name, 0
    while (key := function.identifier()) in called or key in model.functions:
        if key in model.functions and _are_same(model.functions[key], function):
            return function.name
        count += 1
        function.name = f"{wanted}_{count}"
    model.functions[function.identifier()] = function
    model.graph.opset_imports.setdefault(function.domain, 1)
    return function.name


def _are_same(first: ir.Function, second: ir.Function) -> bool:
    """Whether two functions are the same, inferred shapes aside."""
    protos = [ir.to_proto(function) for function in (first, second)]
    for proto in protos:
        proto.ClearField("value_info")
    return protos[0] == protos[1]


def copy_node(node: ir.Node, inputs: Sequence[ir.Value | None]) -> ir.Node:
    """The same node with other inputs, in no graph yet."""
    return ir.Node(
        node.domain,
        node.op_type,
        inputs,
        list(node.attributes.values()),
        overload=node.overload,
        num_outputs=len(node.outputs),
        name=node.name,
        metadata_props=dict(node.metadata_props),
    )


def _clone_block(branch: Branch, source: ir.Value, add: Callable[[ir.Node], None]) -> ir.Value:
    if branch.block is None:
        raise ValueError("not a block")
    mapped = {branch.block.source: source}

    def copy(value: ir.Value) -> ir.Value:
        producer = value.producer()
        if value in mapped or producer is None or producer not in members:
            return mapped.get(value, value)
        clone = copy_node(producer, [None if v is None else copy(v) for v in producer.inputs])
        add(clone)
        mapped[producer.outputs[0]] = clone.outputs[0]
        return clone.outputs[0]

    members = set(branch.block.nodes)
    return copy(branch.value)


def _pooled_end(site: Site, branch: Branch) -> ir.Node:
    """The pool in front of which a branch of the site goes no further."""
    node = average_pool_node(site.pooling, branch.value)
    producer = branch.value.producer()
    owner = branch.value.name if producer is None else layer_name(producer)
    node.name = f"{owner}/{node.op_type}"
    node.metadata_props[OPERATOR_KEY] = node.op_type
    return node


def hoist(model: ir.Model, site: Site) -> None:
    """Move the pool of ``site`` in front of everything between it and the convolutions."""
    nodes: list[ir.Node] = []
    pooled: list[ir.Value] = []
    for branch in site.root.producers_first():
        count = len(branch.children)
        first = len(pooled) - count
        sources, pooled[first:] = pooled[first:], []
        joint = branch.value.producer()
        if branch.kind in {Kind.CONVOLUTION, Kind.END}:
            nodes.append(_pooled_end(site, branch))
        elif branch.kind is Kind.POINTWISE:
            _clone_block(branch, sources[0], nodes.append)
        elif joint is not None:
            nodes.append(copy_node(joint, sources))
        pooled.append(nodes[-1].outputs[0])
    result = pooled[0]
    if not site.pooling.keepdims:
        axes = ir.node("Constant", [], attributes={"value_ints": [2, 3]})
        squeeze = ir.node("Squeeze", [result, axes.outputs[0]])
        nodes += [axes, squeeze]
        result = squeeze.outputs[0]
    place(model, nodes, site.pooling.node.outputs[0], result)


def rounded_again(deviation: float) -> str:
    """What is said of a pool that moved through pairs that round."""
    return (
        f"what was rounded in front of the pool is rounded behind it: it differs by at most "
        f"{deviation:.3g} where no value is cut off"
    )


def replace_scalar(model: ir.Model, node: ir.Node, index: int, number: float) -> None:
    """Let a node read a number of its own in place of the one that it reads.

    Args:
        model: what gets the number; the node may stand in a branch.
        node: the node.
        index: which of its inputs.
        number: the number.
    """
    before = node.inputs[index]
    dtype = ir.DataType.FLOAT if before is None or before.dtype is None else before.dtype
    name = free_name(f"{node.name}.number", value_names(model))
    tensor = ir.Tensor(np.asarray(number, dtype.numpy()), name=name)
    value = ir.Value(name=name, const_value=tensor, shape=ir.Shape([]), type=ir.TensorType(dtype))
    model.graph.register_initializer(value)
    node.replace_input_with(index, value)
