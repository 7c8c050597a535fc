"""Copies, parts and checks of a network."""

import copy
import re
from collections.abc import Callable, Iterator, Sequence

import onnx
import onnx_ir as ir
from onnx_ir.passes.common import InlinePass, RemoveUnusedOpsetsPass

from mlcnn.errors import InputError, PassError, UnsupportedError
from mlcnn.graph.wording import innermost, quote

__all__ = [
    "DOMAIN",
    "OPERATOR_KEY",
    "check",
    "clone",
    "extract",
    "inline",
    "is_operator",
    "light_proto",
    "problem",
    "tensor_bytes",
    "to_proto",
    "weight_bytes",
]

DOMAIN = "mlcnn"
OPERATOR_KEY = "mlcnn.operator"
"""Metadata of the functions that passes add, of the nodes in them, and of the pools that they move:
all else, whatever its domain and name, is the user's.
"""

_CONTEXT = re.compile(r"Name: (?P<name>.*) OpType: (?P<op>.*)")
_LIGHT_BYTES = 1024
_PROTO_BYTES = 2**31 - 1


def clone(model: ir.Model) -> ir.Model:
    """A copy that can be changed freely; weights are shared, nothing else is.

    Args:
        model: the network to copy.
    """
    return _own_all(model.clone())


def _own_all(model: ir.Model) -> ir.Model:
    graphs = [*model.graphs()]
    for function in model.functions.values():
        graphs.extend((function.graph, *function.subgraphs()))
    for graph in graphs:
        for value in _values(graph):
            _own(value)
    return model


def _values(graph: ir.Graph) -> Iterator[ir.Value]:
    yield from graph.inputs
    yield from graph.initializers.values()
    for node in graph:
        yield from node.outputs


def _own(value: ir.Value) -> None:
    """Give a value its own type and tensor objects; the library's clone shares both.

    A rename writes the new name into the tensor, so a shared one would rename the original's.
    """
    if isinstance(value.type, ir.TensorType):
        value.type = ir.TensorType(value.type.dtype, denotation=value.type.denotation)
    if value.const_value is not None:
        value.const_value = copy.copy(value.const_value)


def inline(
    model: ir.Model,
    *,
    foreign: bool = False,
    keep: Callable[[ir.Function], bool] | None = None,
) -> ir.Model:
    """A copy with every function that a pass added replaced by its body.

    The values of a body have no shapes yet, see ``infer_shapes``.

    Args:
        model: the network.
        foreign: also replace the functions that came with the network.
        keep: tells which functions stay all the same.

    Raises:
        UnsupportedError: a function cannot be inlined.
    """
    copied = clone(model)
    try:
        InlinePass(
            lambda function: (
                (foreign or is_operator(function)) and not (keep is not None and keep(function))
            )
        )(copied)
    except (ValueError, ir.passes.PassError) as error:
        raise UnsupportedError(
            f"the network's functions cannot be inlined: {quote(innermost(error))}"
        ) from error
    RemoveUnusedOpsetsPass()(copied)
    for node in copied.graph.all_nodes():
        _drop_missing(node)
    return copied


def is_operator(function: ir.Function) -> bool:
    """Whether a pass added a function: an operator of a method, and none of the user's."""
    return OPERATOR_KEY in function.metadata_props


def _drop_missing(node: ir.Node) -> None:
    """Shorten a node by the optional inputs that are missing at its end.

    A call without a bias leaves an empty name in the body. ONNX Runtime then keeps the
    convolution, and every batch norm behind it, out of its blocked layout.
    """
    given = len(node.inputs)
    while given and node.inputs[given - 1] is None:
        given -= 1
    if given < len(node.inputs):
        node.resize_inputs(given)


def to_proto(model: ir.Model) -> onnx.ModelProto:
    """The network as an ONNX protobuf message.

    Args:
        model: the network.

    Raises:
        InputError: the weights exceed the 2 GiB that one message can hold.
    """
    size = weight_bytes(model)
    if size > _PROTO_BYTES:
        raise InputError(
            f"the network holds {size / 2**30:.1f} GiB of weights and one ONNX message at most "
            "2 GiB: save it to a path instead (its weights then go to a file beside it)"
        )
    return ir.to_proto(model)


def weight_bytes(model: ir.Model) -> int:
    """Bytes that the weights inside a network take; those that lie in a file do not count."""
    return sum(
        tensor_bytes(value.const_value)
        for graph in model.graphs()
        for value in graph.initializers.values()
        if value.const_value is not None and not isinstance(value.const_value, ir.ExternalTensor)
    )


def tensor_bytes(tensor: ir.TensorProtocol) -> int:
    """Bytes that a constant takes; texts have no width of their own.

    Args:
        tensor: the constant, of any type.
    """
    if tensor.dtype == ir.DataType.STRING:
        return sum(map(len, tensor.string_data())) if isinstance(tensor, ir.StringTensor) else 0
    return tensor.nbytes


def extract(model: ir.Model, inputs: Sequence[str], outputs: Sequence[str]) -> ir.Model:
    """A copy of the part of a network between some of its values.

    Args:
        model: the network.
        inputs: names of the values that become the part's inputs.
        outputs: names of the values that become the part's outputs.

    Returns:
        A network of its own; the initializers that it needs come along.

    Raises:
        InputError: a name is unknown, or the outputs need more than the inputs.
    """
    graph = model.graph
    known = {value.name: value for value in _values(graph)}
    unknown = [name for name in (*inputs, *outputs) if name not in known]
    first, last = ([known[name] for name in names if name in known] for names in (inputs, outputs))
    needed = _needed(graph, first, last)
    loose = [v.name for v in graph.inputs if v in needed and not v.is_initializer()]
    if unknown or loose:
        what = f"{unknown[0]!r} not found" if unknown else f"{loose[0]!r} is needed, too"
        raise InputError(
            f"cannot cut the network between {list(inputs)} and {list(outputs)}: {what}"
        )
    nodes = {value.producer() for value in needed}
    view = ir.GraphView(
        first,
        last,
        nodes=[node for node in graph if node in nodes],
        # In one order each time: random weights are drawn in it.
        initializers=[value for value in graph.initializers.values() if value in needed],
        doc_string=graph.doc_string,
        opset_imports=graph.opset_imports,
        name=graph.name,
        metadata_props=graph.metadata_props,
    )
    functions = [function.clone() for function in model.functions.values()]
    return _own_all(_around(view.clone(), model, functions))


def _needed(graph: ir.Graph, first: Sequence[ir.Value], last: Sequence[ir.Value]) -> set[ir.Value]:
    """The values of a graph that ``last`` needs behind ``first``, through bodies, too."""
    found, pending = set(first), list(last)
    while pending:
        value = pending.pop()
        if value in found or value.graph is not graph:
            continue
        found.add(value)
        node = value.producer()
        readers = [] if node is None else [node, *_inner(node)]
        pending.extend(read for reader in readers for read in reader.inputs if read is not None)
    return found - set(first)


def _inner(node: ir.Node) -> Iterator[ir.Node]:
    """The nodes in the bodies of a node."""
    for attribute in node.attributes.values():
        if attribute.type is ir.AttributeType.GRAPH:
            yield from attribute.as_graph().all_nodes()
        elif attribute.type is ir.AttributeType.GRAPHS:
            for body in attribute.as_graphs():
                yield from body.all_nodes()


def light_proto(model: ir.Model, *, fed: bool = True) -> onnx.ModelProto:
    """The network as a message without its large weights.

    ONNX checks and infers on serialised messages, which end at 2 GiB.

    Args:
        model: the network; it is not changed, nor copied.
        fed: the large weights become inputs; else they stay constants, said to lie in a file.
    """
    graph = model.graph
    bare = {
        name: _bare(value, value.const_value, fed=fed)
        for name, value in graph.initializers.items()
        if value.const_value is not None and _is_heavy(value.const_value, fed=fed)
    }
    given = {value.name for value in graph.inputs}
    view = ir.GraphView(
        [
            *(bare.get(value.name or "", value) if fed else value for value in graph.inputs),
            *(value for name, value in bare.items() if fed and name not in given),
        ],
        graph.outputs,
        nodes=graph,
        initializers=[
            bare.get(name, value)
            for name, value in graph.initializers.items()
            if not fed or name not in bare
        ],
        doc_string=graph.doc_string,
        opset_imports=graph.opset_imports,
        name=graph.name,
        metadata_props=graph.metadata_props,
    )
    return ir.to_proto(_around(view, model, tuple(model.functions.values())))


def _is_heavy(tensor: ir.TensorProtocol, *, fed: bool) -> bool:
    if tensor_bytes(tensor) <= _LIGHT_BYTES:
        return False
    # NumPy has no types of its own for the others: they cannot be handed over as they lie.
    return fed or (tensor.dtype != ir.DataType.STRING and tensor.dtype.numpy().isbuiltin == 1)


def _bare(value: ir.Value, tensor: ir.TensorProtocol, *, fed: bool) -> ir.Value:
    """The value of a weight without the weight."""
    name, shape = value.name or "", ir.Shape(tensor.shape.numpy())
    elsewhere = ir.ExternalTensor("weights", 0, tensor.nbytes, tensor.dtype, shape=shape, name=name)
    return ir.Value(
        name=name,
        shape=shape,
        type=ir.TensorType(tensor.dtype),
        const_value=None if fed else elsewhere,
    )


def _around(
    graph: ir.Graph | ir.GraphView, model: ir.Model, functions: Sequence[ir.Function]
) -> ir.Model:
    """A network that has all but its graph from another."""
    return ir.Model(
        graph,  # pyright: ignore[reportArgumentType] - the library takes a view, too
        ir_version=model.ir_version,
        producer_name=model.producer_name,
        producer_version=model.producer_version,
        domain=model.domain,
        model_version=model.model_version,
        doc_string=model.doc_string,
        functions=functions,
        metadata_props=dict(model.metadata_props),
    )


def problem(model: ir.Model) -> str | None:
    """What makes a network invalid, in one line that names the node; None if nothing does."""
    try:
        proto = light_proto(model)
    except (RuntimeError, ValueError, TypeError) as error:
        return quote(innermost(error))
    for value in (*proto.graph.input, *proto.graph.output):
        # The checker wants a shape, the standard and the engines do not.
        if value.type.HasField("tensor_type"):
            value.type.tensor_type.shape.SetInParent()
    for node in proto.graph.node:
        node.name = node.name or next((output for output in node.output if output), "")
    try:
        onnx.checker.check_model(proto)
    except (onnx.checker.ValidationError, RuntimeError, ValueError) as error:
        return _checker_message(str(error))
    return None


def _checker_message(text: str) -> str:
    reason = next((line.strip() for line in text.splitlines() if line.strip()), "")
    where = _CONTEXT.search(text)
    return f"{where['op']} {where['name']!r}: {reason}" if where else reason


def check(model: ir.Model) -> None:
    """Check that a network is valid ONNX.

    Args:
        model: the network, with or without functions.

    Raises:
        PassError: it is not; loading reports a user's file on its own.
    """
    reason = problem(model)
    if reason is not None:
        raise PassError(f"the network is not valid ONNX: {reason}")
