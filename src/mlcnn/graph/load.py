"""Networks from ONNX files and messages."""

import logging
from pathlib import Path

import google.protobuf.message
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, TopologicalSortPass

from mlcnn.errors import InputError, PassError, UnsupportedError
from mlcnn.graph.external import external_values, load_external
from mlcnn.graph.memory import require_memory_for_activations
from mlcnn.graph.names import is_standard, layer_name
from mlcnn.graph.normalise import normalise
from mlcnn.graph.source import remember_source
from mlcnn.graph.sparse import with_dense_weights
from mlcnn.graph.structure import problem
from mlcnn.graph.validate import validate
from mlcnn.graph.weights import warn_of_weights
from mlcnn.graph.wording import innermost, quote

__all__ = ["from_proto", "load_file"]

_IR_VERSION = 10
"""The first with metadata on nodes, where the names of modules are."""

_FIRST_WITH_DEFAULTS = 4
_LARGEST_MESSAGE = 2**31 - 1
_LOGGER = logging.getLogger(__name__)
_PICKLED = (".pt", ".pth", ".bin", ".pkl", ".pickle", ".ckpt", ".tar")
_PICKLE_MAGIC = (b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")
# What the libraries raise on a malformed message, whatever the defect.
_MALFORMED = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    AssertionError,
    OverflowError,
    RuntimeError,
)


def from_proto(proto: onnx.ModelProto) -> ir.Model:
    """A network from an ONNX message.

    Args:
        proto: the message; it is not changed.

    Returns:
        The network, normalised: see ``mlcnn.graph.normalise``.

    Raises:
        InputError: it is not a valid ONNX model, or has data outside the message.
        UnsupportedError: its opset or storage is not supported.
    """
    where = "the ONNX message"
    validate(proto, where)
    model = _deserialise(proto, where)
    outside = external_values(model)
    if outside:
        raise InputError(
            f"{where}: the data of initializer {outside[0].name!r} is in another file; load the "
            "model from its path instead"
        )
    return _accept(model, where)


def load_file(path: str | Path, links: Path | None = None) -> ir.Model:
    """A network from an ``.onnx`` file.

    Args:
        path: the file; external data may lie beside it, so a network may exceed 2 GB.
        links: folder that links to external data may lead into; the file's own by default.

    Returns:
        The network, normalised: see ``mlcnn.graph.normalise``. Its weights are in memory; that it
        came from this file is noted for ``copy_source``.

    Raises:
        InputError: the file is missing or truncated, is no valid ONNX model, refers to data
            outside its own folder, or needs more memory than the machine has.
        UnsupportedError: its opset or storage is not supported.
    """
    path = Path(path)
    proto = _parse(path)
    where = str(path)
    validate(proto, where)
    model = _deserialise(proto, where)
    del proto  # frees as much memory as the weights take
    load_external(model, path.parent, where, links)
    model = _accept(model, where)
    remember_source(model, path)
    _LOGGER.info(
        "read %s: %d nodes, %d weights",
        path, model.graph.num_nodes(), len(model.graph.initializers),
    )  # fmt: skip
    return model


def _parse(path: Path) -> onnx.ModelProto:
    if path.is_dir():
        raise InputError(f"{path}: is a directory; give the .onnx file in it")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    _refuse_pickles(path)
    size = path.stat().st_size
    if size > _LARGEST_MESSAGE:
        raise InputError(
            f"{path}: {size / 2**30:.1f} GiB in one file, and an ONNX message holds at most 2 GiB: "
            "save the model with its weights as external data"
        )
    content = _read(path)
    if not content:
        raise InputError(f"{path}: the file is empty")
    proto = onnx.ModelProto()
    try:
        proto.ParseFromString(content)
    except google.protobuf.message.DecodeError as error:
        raise InputError(
            f"{path}: not an ONNX file, or a truncated one: it does not parse as a model"
        ) from error
    return proto


def _read(path: Path, size: int = -1) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(size)
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror or error}") from error


def _refuse_pickles(path: Path) -> None:
    if path.suffix.lower() in _PICKLED or _read(path, 4).startswith(_PICKLE_MAGIC):
        raise InputError(
            f"{path}: a pickled checkpoint, which can run code when it is loaded; export the "
            "network to .onnx (torch.onnx.export) or .pt2 (torch.export.save), or give "
            "package.module:callable that builds it"
        )


def _deserialise(proto: onnx.ModelProto, where: str) -> ir.Model:
    try:
        model = ir.from_proto(with_dense_weights(proto))
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        _detach(model)
        _forget_negative_sizes(model)
    except _MALFORMED as error:
        cause = innermost(error)
        if isinstance(cause, NotImplementedError):
            reason = str(cause).partition(". ")[0]
            raise UnsupportedError(f"{where}: cannot be represented: {reason}") from error
        raise InputError(f"{where}: not a valid ONNX model: {quote(cause)}") from error
    _warn_of_defaults(model, where)
    if model.ir_version and model.ir_version < _IR_VERSION:
        # Older versions differ in where initializers may stand only.
        model.ir_version = _IR_VERSION
    _check_constants(model, where)
    _check_references(model, where)
    try:
        TopologicalSortPass()(model)
    except (ValueError, ir.passes.PassError) as error:
        raise InputError(
            f"{where}: the graph has a cycle: {_cycle(model)}; a network must end"
        ) from error
    return model


def _warn_of_defaults(model: ir.Model, where: str) -> None:
    """Say which inputs are fixed to their default values.

    Before version 4 of the format every initializer had to be an input as well.
    """
    if (model.ir_version or 0) < _FIRST_WITH_DEFAULTS:
        return
    names = [str(value.name) for value in model.graph.inputs if value.is_initializer()]
    if names:
        _LOGGER.warning(
            "%s: input%s %s can be left out and has a default value: it is fixed to that, and no "
            "input any more",
            where,
            "" if len(names) == 1 else "s",
            ", ".join(map(repr, names)),
        )


def _detach(model: ir.Model) -> None:
    """Copy all tensors out of the message, so that it can be freed."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            if value.const_value is not None:
                value.const_value = _own(value.const_value)
    for nodes in (model.graph.all_nodes(), *(f.all_nodes() for f in model.functions.values())):
        for node in nodes:
            for name, attribute in tuple(node.attributes.items()):
                if not attribute.is_ref() and attribute.type == ir.AttributeType.TENSOR:
                    node.attributes[name] = ir.AttrTensor(name, _own(attribute.as_tensor()))


def _forget_negative_sizes(model: ir.Model) -> None:
    """Some exporters write a dynamic dimension as -1."""
    values = [*model.graph.inputs, *(v for n in model.graph.all_nodes() for v in n.outputs)]
    for value in values:
        shape = value.shape
        if shape is not None and any(isinstance(dim, int) and dim < 0 for dim in shape.dims):
            value.shape = ir.Shape(
                None if isinstance(dim, int) and dim < 0 else dim for dim in shape.dims
            )


def _own(tensor: ir.TensorProtocol) -> ir.TensorProtocol:
    if isinstance(tensor, ir.ExternalTensor):
        return tensor
    properties = dict(tensor.metadata_props)
    if tensor.dtype == ir.DataType.STRING:
        return ir.StringTensor(
            [bytes(item) for item in tensor.numpy().reshape(-1)],
            shape=ir.Shape(tensor.shape.numpy()),
            name=tensor.name,
            doc_string=tensor.doc_string,
            metadata_props=properties,
        )
    return ir.Tensor(
        tensor.numpy(),
        dtype=tensor.dtype,
        name=tensor.name,
        doc_string=tensor.doc_string,
        metadata_props=properties,
    )


def _all_graphs(model: ir.Model) -> list[ir.Graph]:
    """Those of functions too."""
    graphs = [*model.graphs()]
    for function in model.functions.values():
        graphs.extend((function.graph, *function.subgraphs()))
    return graphs


def _check_constants(model: ir.Model, where: str) -> None:
    """A constant has one value: of any other, no name and no shape can be told."""
    for graph in _all_graphs(model):
        for node in graph:
            if node.op_type == "Constant" and is_standard(node) and len(node.attributes) != 1:
                given = ", ".join(map(repr, node.attributes)) or "none"
                raise InputError(
                    f"{where}: Constant {node.outputs[0].name!r}: exactly one attribute is "
                    f"required, got {given}"
                )


def _check_references(model: ir.Model, where: str) -> None:
    """Every value that is read must come from somewhere."""
    graphs = _all_graphs(model)
    known = {value for graph in graphs for value in graph.inputs}
    known.update(value for graph in graphs for value in graph.initializers.values())
    for graph in graphs:
        for node in graph:
            for value in node.inputs:
                if value is not None and value.producer() is None and value not in known:
                    raise InputError(
                        f"{where}: {node.op_type} {layer_name(node)!r} reads {value.name!r}, "
                        "which nothing computes: it is no input, no initializer and no output "
                        "of another node"
                    )
        for value in graph.outputs:
            if value.producer() is None and value not in known:
                raise InputError(
                    f"{where}: nothing computes {value.name!r}, an output of graph {graph.name!r}"
                )


def _cycle(model: ir.Model) -> str:
    """The nodes of one cycle, in order."""
    path: dict[ir.Node, None] = {}
    done: set[ir.Node] = set()
    for start in model.graph:
        stack: list[tuple[ir.Node, bool]] = [(start, False)]
        while stack:
            node, leaves = stack.pop()
            if leaves:
                path.pop(node)
                done.add(node)
            elif node in path:
                names = [layer_name(item) for item in path]
                first = names.index(layer_name(node))
                return " -> ".join([*reversed(names[first:]), names[-1]])
            elif node not in done:
                path[node] = None
                stack.append((node, True))
                stack.extend((source, False) for source in _sources(node))
    return "inside a subgraph"


def _sources(node: ir.Node) -> set[ir.Node]:
    """The nodes beside this one whose outputs it, or a body inside it, reads."""
    inner = [node]
    for attribute in node.attributes.values():
        if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
            inner.extend(attribute.as_graph().all_nodes())
    producers = {value.producer() for item in inner for value in item.inputs if value is not None}
    return {p for p in producers if p is not None and p.graph is node.graph}


def _accept(model: ir.Model, where: str) -> ir.Model:
    reason = problem(model)
    if reason is not None:
        raise InputError(
            f"{where}: not a valid ONNX model: {reason}; correct the model or export it again"
        )
    try:
        model = normalise(model)
    except PassError as error:
        raise InputError(f"{where}: {error}; correct the model or export it again") from error
    require_memory_for_activations(model, where)
    warn_of_weights(model, where)
    return model
