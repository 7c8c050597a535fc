"""A network as a drawing needs it: its operators, inputs and outputs, and what each reads."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir

from mlcnn import graph

__all__ = ["INPUT", "OUTPUT", "Node", "Read", "nodes_of", "sizes"]

INPUT, OUTPUT = "Input", "Output"
"""Operators of the nodes that stand for what a network takes and gives."""

_DEFAULTS = {
    "alpha": 1.0,
    "auto_pad": "NOTSET",
    "beta": 1.0,
    "ceil_mode": 0,
    "count_include_pad": 0,
    "group": 1,
    "storage_order": 0,
    "transA": 0,
    "transB": 0,
}
_ONES, _ZEROS = ("dilations", "strides"), ("pads",)
_QUIET = frozenset(
    {"allowzero", "count_include_pad", "epsilon", "momentum", "noop_with_empty_axes"}
)
"""What nobody looks for at a glance."""

_GRAPHS = frozenset({ir.AttributeType.GRAPH, ir.AttributeType.GRAPHS})


@dataclass(frozen=True, slots=True)
class Read:
    """One value that a node reads.

    Attributes:
        source: index of the node that makes it.
        value: its name.
        shape: its sizes as text.
    """

    source: int
    value: str
    shape: str


@dataclass(frozen=True, slots=True)
class Node:
    """One operator, input or output of a network.

    Attributes:
        index: its place; what it reads stands before it.
        operator: its type, with the domain in front where it is not ONNX's own.
        name: of the layer that it belongs to, see ``graph.layer_name``.
        module: the same where a module or a weight has that name; empty where the node alone does.
        attributes: (name, value as text), those with the default value left out.
        shape: sizes of its first output; empty where nothing is known of them.
        dtype: type of its first output.
        reads: the values that it reads, constants left out.
        outputs: names of the values that it makes.
        stored: the constants that it reads: weights and the like.
    """

    index: int
    operator: str
    name: str
    module: str = ""
    attributes: tuple[tuple[str, str], ...] = ()
    shape: str = ""
    dtype: str = ""
    reads: tuple[Read, ...] = ()
    outputs: tuple[str, ...] = ()
    stored: tuple[np.ndarray, ...] = field(default=(), repr=False, compare=False)

    @property
    def weights(self) -> tuple[str, ...]:
        """Sizes of the constants that it reads."""
        return tuple(sizes(array.shape) for array in self.stored)

    @property
    def detail(self) -> str:
        """What one wants to know of it at a glance: kernel, stride, pads and the like."""
        found = {name: value for name, value in self.attributes if name not in _QUIET}
        kernel = found.pop("kernel_shape", "")
        if not kernel and self.operator == "Conv" and self.stored:
            kernel = "x".join(map(str, self.stored[0].shape[2:]))
        parts = [f"kernel {kernel}"] if kernel else []
        parts += (f"{name.replace('_', ' ')} {_short(value)}" for name, value in found.items())
        return ", ".join(parts)


def sizes(shape: "ir.Shape | tuple[int | ir.SymbolicDim, ...] | None") -> str:
    """Sizes with crosses between.

    >>> sizes((1, 3, 32, 32)), sizes(())
    ('1 x 3 x 32 x 32', 'scalar')
    """
    if shape is None:
        return ""
    dims = [dim if isinstance(dim, int) else dim.value or "?" for dim in shape]
    return " x ".join(map(str, dims)) or "scalar"


def _short(value: str) -> str:
    """Four equal sizes as one: pads that are the same on all sides."""
    parts = value.split("x")
    return parts[0] if len(parts) == 4 and len(set(parts)) == 1 else value


def nodes_of(model: ir.Model) -> tuple[Node, ...]:
    """The nodes of a network in its order, inputs first and outputs last; constants are no nodes.

    Args:
        model: the network; functions stay one node.
    """
    made: dict[ir.Value, int] = {}
    found: list[Node] = []

    def add(node: Node, outputs: "tuple[ir.Value, ...]") -> None:
        made.update(dict.fromkeys(outputs, node.index))
        found.append(node)

    for value in model.graph.inputs:
        if not value.is_initializer():
            add(_end(len(found), INPUT, value), (value,))
    for node in model.graph:
        if not all(graph.is_constant(output) for output in node.outputs):
            add(_operator(len(found), node, made), tuple(node.outputs))
    for value in model.graph.outputs:
        reads = _reads((value,), made)
        add(_end(len(found), OUTPUT, value, reads), ())
    return tuple(found)


def _without_kernel(
    attributes: tuple[tuple[str, str], ...], operator: str, stored: tuple[np.ndarray, ...]
) -> tuple[tuple[str, str], ...]:
    """A convolution may say its kernel or leave it to its weights: that is no difference."""
    if operator != "Conv" or not stored:
        return attributes
    said = ("kernel_shape", "x".join(map(str, stored[0].shape[2:])))
    return tuple(pair for pair in attributes if pair != said)


def _end(index: int, operator: str, value: ir.Value, reads: tuple[Read, ...] = ()) -> Node:
    name, outputs = value.name or "", (value.name or "",) if operator == INPUT else ()
    return Node(
        index, operator, name, shape=sizes(value.shape), dtype=_dtype(value),
        reads=reads, outputs=outputs,
    )  # fmt: skip


def _operator(index: int, node: ir.Node, made: dict[ir.Value, int]) -> Node:
    read = [value for value in (*node.inputs, *_captured(node)) if value is not None]
    names = tuple(output.name or "" for output in node.outputs)
    name = graph.layer_name(node)
    first = node.outputs[0] if node.outputs else None
    kept = [graph.constant(one) for value in read for one in graph.stored_values(value)]
    arrays = tuple(array for array in kept if array is not None)
    return Node(
        index,
        node.op_type if graph.is_standard(node) else f"{node.domain}.{node.op_type}",
        name,
        module="" if name in {node.name, *names} else name,
        attributes=_without_kernel(tuple(_attributes(node)), node.op_type, arrays),
        shape="" if first is None else sizes(first.shape),
        dtype="" if first is None else _dtype(first),
        reads=_reads(tuple(read), made),
        outputs=names,
        stored=arrays,
    )


def _reads(values: tuple[ir.Value, ...], made: dict[ir.Value, int]) -> tuple[Read, ...]:
    return tuple(
        Read(made[value], value.name or "", sizes(value.shape)) for value in values if value in made
    )


def _captured(node: ir.Node) -> Iterator[ir.Value]:
    """What the bodies of a node read from around it."""
    for attribute in node.attributes.values():
        if attribute.type not in _GRAPHS:
            continue
        is_one = attribute.type is ir.AttributeType.GRAPH
        for body in [attribute.as_graph()] if is_one else attribute.as_graphs():
            for inner in body.all_nodes():
                yield from (v for v in inner.inputs if v is not None and v.graph is node.graph)


def _dtype(value: ir.Value) -> str:
    return "" if value.dtype is None else value.dtype.name.lower()


def _attributes(node: ir.Node) -> Iterator[tuple[str, str]]:
    for name, attribute in sorted(node.attributes.items()):
        value = attribute.value
        if attribute.type in _GRAPHS:
            yield name, _digest(attribute)
        elif isinstance(value, list | tuple):
            items = [*value]
            if not _is_default(name, items):
                yield name, "x".join(map(_text, items))
        elif name not in _DEFAULTS or value != _DEFAULTS[name]:
            yield name, _text(value)


def _is_default(name: str, items: list[object]) -> bool:
    if name.endswith(_ONES):  # those of mlcnn's operators say what they are of
        return all(item == 1 for item in items)
    return name.endswith(_ZEROS) and all(item == 0 for item in items)


def _text(value: object) -> str:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, ir.TensorProtocol):
        return sizes(value.numpy().shape)
    return str(value)


def _digest(attribute: ir.Attr) -> str:
    """A body as text: too long to show, and equal for equal bodies."""
    proto = ir.to_proto(attribute)
    return "body " + hashlib.sha256(proto.SerializeToString(deterministic=True)).hexdigest()[:8]
