"""What an ONNX message must satisfy before anything is built from it.

The checks come before any allocation: a file's declared sizes are not believed until its data
agrees with them.
"""

import math
from collections.abc import Iterator

import onnx
import onnx_ir as ir

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph.names import STANDARD
from mlcnn.graph.sparse import check_sparse

__all__ = ["NEWEST_OPSET", "OLDEST_OPSET", "storage_bytes", "validate"]

OLDEST_OPSET = 9
NEWEST_OPSET = onnx.defs.onnx_opset_version()

_TYPED_FIELDS = ("float_data", "int32_data", "int64_data", "double_data", "uint64_data")
_COMPLEX = (onnx.TensorProto.COMPLEX64, onnx.TensorProto.COMPLEX128)
_AttributeType = onnx.AttributeProto.AttributeType
_KNOWN_ATTRIBUTES = frozenset(_AttributeType.values()) - {_AttributeType.UNDEFINED}


def validate(proto: onnx.ModelProto, where: str) -> None:
    """Check what the library's own checker takes for granted or reports late.

    Args:
        proto: the message, as parsed.
        where: the file or object it came from, for messages.

    Raises:
        InputError: the message is not a model, or contradicts itself; names the node or tensor.
        UnsupportedError: it is valid, but uses what mlcnn cannot handle.
    """
    if not proto.HasField("graph") or not (proto.graph.node or proto.graph.output):
        raise InputError(
            f"{where}: not an ONNX model (there is no graph in it); give a file that "
            "torch.onnx.export or another exporter wrote"
        )
    _check_opset(proto, where)
    _check_graph(proto.graph, where)
    for function in proto.functions:
        for node in function.node:
            _check_node_content(node, where)
    _check_domains(proto, where)


def _check_opset(proto: onnx.ModelProto, where: str) -> None:
    versions = [item.version for item in proto.opset_import if item.domain in STANDARD]
    if len(proto.opset_import) == 0:
        raise InputError(f"{where}: not a valid ONNX model: it imports no operator set")
    for version in versions:
        if version < OLDEST_OPSET:
            raise UnsupportedError(
                f"{where}: opset {version}; mlcnn reads opsets {OLDEST_OPSET} to {NEWEST_OPSET}: "
                "export the network again, or convert it with onnx.version_converter"
            )
        if version > NEWEST_OPSET:
            raise UnsupportedError(
                f"{where}: opset {version}; the installed onnx {onnx.__version__} knows opsets up "
                f"to {NEWEST_OPSET}: export with an older opset, or install a newer onnx"
            )


def describe(node: onnx.NodeProto) -> str:
    """``Conv 'features.0'``, or the node's first output where it has no name."""
    name = node.name or next((output for output in node.output if output), "unnamed")
    return f"{node.op_type or 'a node without operator'} {name!r}"


def _check_graph(graph: onnx.GraphProto, where: str) -> None:
    _check_names(graph, where)
    for tensor in graph.initializer:
        _check_tensor(tensor, where, f"initializer {tensor.name!r}")
    for sparse in graph.sparse_initializer:
        what = f"initializer {sparse.values.name!r}"
        _check_tensor(sparse.values, where, what)
        _check_tensor(sparse.indices, where, f"the places of {what}")
        check_sparse(sparse, where, what)
    for node in graph.node:
        _check_node_content(node, where)


def _check_names(graph: onnx.GraphProto, where: str) -> None:
    stored = [*graph.initializer, *(sparse.values for sparse in graph.sparse_initializer)]
    for values, kind in ((graph.input, "input"), (stored, "initializer")):
        names = [value.name for value in values]
        for name in names:
            if not name:
                raise InputError(f"{where}: an {kind} of graph {graph.name!r} has no name")
        if len(set(names)) != len(names):
            name = next(name for name in names if names.count(name) > 1)
            raise InputError(f"{where}: there are two {kind}s of the name {name!r}; rename one")
    makers: dict[str, str] = {value.name: "an input" for value in graph.input}
    makers |= {tensor.name: "an initializer" for tensor in stored}
    for node in graph.node:
        for output in node.output:
            if output and output in makers:
                raise InputError(
                    f"{where}: {describe(node)} writes {output!r}, which {makers[output]} "
                    "defines already; every value needs a name of its own"
                )
            makers[output] = describe(node)


def _check_node_content(node: onnx.NodeProto, where: str) -> None:
    if not node.op_type:
        raise InputError(f"{where}: {describe(node)} is not valid ONNX")
    seen: set[str] = set()
    for attribute in node.attribute:
        if not attribute.name or attribute.name in seen:
            raise InputError(
                f"{where}: {describe(node)} has two attributes {attribute.name!r}, or one "
                "without a name"
            )
        seen.add(attribute.name)
        if attribute.type not in _KNOWN_ATTRIBUTES:
            raise InputError(
                f"{where}: attribute {attribute.name!r} of {describe(node)} has no known type "
                f"({attribute.type})"
            )
        for tensor in _tensors(attribute):
            _check_tensor(tensor, where, f"attribute {attribute.name!r} of {describe(node)}")
        if attribute.type == _AttributeType.GRAPH:
            _check_graph(attribute.g, where)
        for graph in attribute.graphs:
            _check_graph(graph, where)


def _tensors(attribute: onnx.AttributeProto) -> Iterator[onnx.TensorProto]:
    if attribute.type == _AttributeType.TENSOR:
        yield attribute.t
    yield from attribute.tensors


def storage_bytes(data_type: int, dims: tuple[int, ...]) -> int:
    """Bytes that a tensor's elements take in ONNX's packed storage.

    Args:
        data_type: ``onnx.TensorProto.DataType``; not ``STRING``.
        dims: sizes, not negative.
    """
    return -(-math.prod(dims) * ir.DataType(data_type).bitwidth // 8)


def _check_tensor(tensor: onnx.TensorProto, where: str, what: str) -> None:
    dims = tuple(tensor.dims)
    if any(size < 0 for size in dims):
        raise InputError(f"{where}: {what} has a negative dimension in its shape {list(dims)}")
    if tensor.data_type not in onnx.TensorProto.DataType.values() or tensor.data_type == 0:
        raise InputError(f"{where}: {what} has no known element type ({tensor.data_type})")
    if tensor.HasField("segment"):
        raise UnsupportedError(f"{where}: {what} is stored in segments; store it whole")
    if tensor.data_location == onnx.TensorProto.EXTERNAL:
        _check_external(tensor, where, what)
        return
    elements = math.prod(dims)
    if tensor.data_type == onnx.TensorProto.STRING:
        expected, found, unit = elements, len(tensor.string_data), "strings"
    elif tensor.HasField("raw_data"):
        expected = storage_bytes(tensor.data_type, dims)
        found, unit = len(tensor.raw_data), "bytes"
    else:
        expected, unit = _stored_items(tensor.data_type, elements), "numbers"
        found = sum(len(getattr(tensor, field)) for field in _TYPED_FIELDS)
    if expected != found:
        raise InputError(
            f"{where}: {what} of shape {list(dims)} needs {expected} {unit} and holds {found}: "
            "the file is damaged or incomplete"
        )


def _check_external(tensor: onnx.TensorProto, where: str, what: str) -> None:
    for entry in tensor.external_data:
        is_number = entry.value.isascii() and entry.value.isdigit() and len(entry.value) < 20
        if entry.key in {"offset", "length"} and not is_number:
            raise InputError(
                f"{where}: {what} lies at {entry.key} {entry.value[:40]!r} of its data file, which "
                "is no number of bytes: the file is damaged"
            )


def _stored_items(data_type: int, elements: int) -> int:
    """Entries in the typed field: two per complex number, several sub-byte ones per entry."""
    if data_type in _COMPLEX:
        return 2 * elements
    bits = ir.DataType(data_type).bitwidth
    return -(-elements * bits // 8) if bits in {2, 4} else elements


def _check_domains(proto: onnx.ModelProto, where: str) -> None:
    known = {item.domain for item in proto.opset_import}
    if known & STANDARD:
        known |= STANDARD
    functions = {(item.domain, item.name) for item in proto.functions}
    for node in _nodes(proto.graph):
        if node.domain not in known and (node.domain, node.op_type) not in functions:
            raise InputError(
                f"{where}: {describe(node)} is of domain {node.domain or 'ai.onnx'!r}, which the "
                "model neither imports nor defines; add the domain to opset_import"
            )


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == _AttributeType.GRAPH:
                yield from _nodes(attribute.g)
            for inner in attribute.graphs:
                yield from _nodes(inner)
