"""Networks from ONNX files and messages."""

import logging
from pathlib import Path

import google.protobuf.message
import numpy as np
import onnx
import onnx_ir as ir
from onnx_ir.passes.common import LiftConstantsToInitializersPass, TopologicalSortPass

from mlcnn.errors import InputError
from mlcnn.graph.external import external_values, load_external
from mlcnn.graph.memory import require_memory_for_activations
from mlcnn.graph.names import layer_name
from mlcnn.graph.normalise import normalise
from mlcnn.graph.structure import problem
from mlcnn.graph.validate import validate

__all__ = ["from_proto", "load_file"]

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
    NotImplementedError,
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


def load_file(path: str | Path) -> ir.Model:
    """A network from an ``.onnx`` file.

    Args:
        path: the file; external data may lie beside it, so a network may exceed 2 GB.

    Returns:
        The network, normalised: see ``mlcnn.graph.normalise``. Nothing in it refers to the file
        any more.

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
    load_external(model, path.parent, where)
    return _accept(model, where)


def _parse(path: Path) -> onnx.ModelProto:
    if path.is_dir():
        raise InputError(f"{path}: is a directory; give the .onnx file in it")
    if not path.is_file():
        raise InputError(f"{path}: no such file")
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read: {error.strerror}") from error
    if path.suffix.lower() in _PICKLED or content.startswith(_PICKLE_MAGIC):
        raise InputError(
            f"{path}: a pickled checkpoint, which can run code when it is loaded; export the "
            "network to .onnx (torch.onnx.export) or .pt2 (torch.export.save), or give "
            "package.module:callable that builds it"
        )
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


def _deserialise(proto: onnx.ModelProto, where: str) -> ir.Model:
    try:
        model = ir.from_proto(proto)
        LiftConstantsToInitializersPass(lift_all_constants=True, size_limit=0)(model)
        _detach(model)
    except _MALFORMED as error:
        raise InputError(f"{where}: not a valid ONNX model: {_innermost(error)}") from error
    _check_inputs(model, where)
    try:
        TopologicalSortPass()(model)
    except (ValueError, ir.passes.PassError) as error:
        raise InputError(
            f"{where}: the graph has a cycle: {_cycle(model)}; a network must end"
        ) from error
    return model


def _innermost(error: BaseException) -> str:
    while error.__cause__ is not None:
        error = error.__cause__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0][:300]}" if lines else type(error).__name__


def _detach(model: ir.Model) -> None:
    """Copy the weights out of the message, so that it can be freed and changed."""
    for graph in model.graphs():
        for value in graph.initializers.values():
            tensor = value.const_value
            if tensor is not None and not isinstance(tensor, ir.ExternalTensor | ir.StringTensor):
                value.const_value = ir.Tensor(
                    tensor.numpy(),
                    dtype=tensor.dtype,
                    name=value.name,
                    doc_string=tensor.doc_string,
                    metadata_props=dict(tensor.metadata_props),
                )


def _check_inputs(model: ir.Model, where: str) -> None:
    known = {value for graph in model.graphs() for value in (*graph.inputs, *_weights(graph))}
    for function in model.functions.values():
        known.update(function.inputs)
        for node in function.all_nodes():
            for attribute in node.attributes.values():
                if attribute.type == ir.AttributeType.GRAPH and not attribute.is_ref():
                    graph = attribute.as_graph()
                    known.update((*graph.inputs, *_weights(graph)))
    for nodes in (model.graph.all_nodes(), *(f.all_nodes() for f in model.functions.values())):
        for node in nodes:
            for value in node.inputs:
                if value is not None and value.producer() is None and value not in known:
                    raise InputError(
                        f"{where}: {node.op_type} {layer_name(node)!r} reads {value.name!r}, "
                        "which nothing computes: it is no input, no initializer and no output "
                        "of another node"
                    )
    for value in model.graph.outputs:
        if value.producer() is None and value not in known:
            raise InputError(f"{where}: nothing computes the output {value.name!r}")


def _weights(graph: ir.Graph) -> tuple[ir.Value, ...]:
    return tuple(graph.initializers.values())


def _cycle(model: ir.Model) -> str:
    """The nodes of one cycle, in order."""
    path: list[ir.Node] = []
    done: set[ir.Node] = set()
    for start in model.graph:
        stack: list[tuple[ir.Node, bool]] = [(start, False)]
        while stack:
            node, leave = stack.pop()
            if leave:
                path.pop()
                done.add(node)
                continue
            if node in path:
                names = [layer_name(item) for item in (*path[path.index(node) :], node)]
                return " -> ".join(reversed(names[-6:]))
            if node in done:
                continue
            path.append(node)
            stack.append((node, True))
            stack.extend((p, False) for p in node.predecessors() if p not in done)
    return "through a subgraph"


def _accept(model: ir.Model, where: str) -> ir.Model:
    reason = problem(model)
    if reason is not None:
        raise InputError(f"{where}: not a valid ONNX model: {reason}")
    model = normalise(model)
    require_memory_for_activations(model, where)
    warn_of_weights(model, where)
    return model


def warn_of_weights(model: ir.Model, where: str) -> None:
    """Log a warning for every weight that holds NaN or infinity.

    A single infinity is no weight but a bound, as in a clip or a mask.

    Args:
        model: the network.
        where: the file or object it came from, for messages.
    """
    for value in model.graph.initializers.values():
        tensor = value.const_value
        if tensor is None or not tensor.dtype.is_floating_point() or tensor.size == 0:
            continue
        array = tensor.numpy()
        with np.errstate(all="ignore"):
            extremes = np.asarray([array.min(), array.max()], np.float64)
        found = "NaN" if np.isnan(extremes).any() else "infinite values"
        if np.isnan(extremes).any() or (np.isinf(extremes).any() and tensor.size > 1):
            _LOGGER.warning("%s: weight %r holds %s", where, value.name, found)
