"""Shapes of every value, dynamic dimensions kept."""

from collections.abc import Iterator

import onnx
import onnx_ir as ir

from mlcnn.errors import PassError
from mlcnn.graph.names import STANDARD
from mlcnn.graph.pools import infer_proto
from mlcnn.graph.structure import light_proto
from mlcnn.graph.symbols import GENERATED, unify_sizes
from mlcnn.graph.wording import quote

__all__ = ["certain_shapes", "infer_shapes"]

Dim = int | ir.SymbolicDim
Notes = dict[ir.Value, ir.Value]
"""What is inferred, by the value that it is inferred for."""


def infer_shapes(model: ir.Model) -> None:
    """Infer the types and shapes of all values, in place.

    What a value is noted to be counts where inference finds nothing: a dimension keeps its name,
    and the output of an operator that has no inference rule keeps its shape. Where a note
    contradicts the operators, the operators are right.

    Args:
        model: the network.

    Raises:
        PassError: the operators contradict each other.
    """
    if _merge(_inferred(model)):
        # Some notes say more than inference did: what depends on them can be inferred now.
        _merge(_infer(model, light_proto(model)))
    unify_sizes(model)


def certain_shapes(model: ir.Model) -> dict[ir.Value, ir.Shape]:
    """The shapes that follow from the inputs, whatever a file notes about other values.

    Args:
        model: the network; it is not changed.

    Raises:
        PassError: the operators contradict each other.
    """
    found = _inferred(model)
    return {value: source.shape for value, source in found.items() if source.shape is not None}


def _inferred(model: ir.Model) -> Notes:
    proto = light_proto(model)
    _forget_notes(proto.graph, {(item.domain, item.name) for item in proto.functions})
    return _infer(model, proto)


def _forget_notes(graph: onnx.GraphProto, functions: set[tuple[str, str]]) -> None:
    """Remove the noted shapes that inference should find by itself."""
    kept: set[str] = set()
    for node in graph.node:
        for attribute in node.attribute:
            for body in (*([attribute.g] if attribute.HasField("g") else []), *attribute.graphs):
                _forget_notes(body, functions)
        if node.domain not in STANDARD and (node.domain, node.op_type) not in functions:
            kept.update(node.output)
    notes = [note for note in graph.value_info if note.name in kept]
    del graph.value_info[:]
    graph.value_info.extend(notes)
    for output in graph.output:
        if output.name not in kept and output.type.HasField("tensor_type"):
            output.type.tensor_type.ClearField("shape")


def _infer(model: ir.Model, proto: onnx.ModelProto) -> Notes:
    try:
        inferred = infer_proto(proto)
    except onnx.shape_inference.InferenceError as error:
        raise PassError(f"the shapes or types of the network contradict: {quote(error)}") from error
    found: Notes = {}
    graphs, others = [*model.graphs()], [*ir.from_proto(inferred).graphs()]
    # An inlined function brings its own bodies, which cannot be told from the network's.
    count = len(graphs) if len(graphs) == len(others) else 1
    for graph, other in zip(graphs[:count], others[:count], strict=True):
        known = ir.convenience.create_value_mapping(other, include_subgraphs=False)
        for value in _computed(graph):
            source = known.get(value.name or "")
            if source is not None:
                found[value] = source
    _renumber(model, found)
    return found


def _computed(graph: ir.Graph) -> Iterator[ir.Value]:
    for node in graph:
        yield from node.outputs
    yield from (value for value in graph.inputs if value.type is None)


def _renumber(model: ir.Model, found: Notes) -> None:
    """Keep new names of dimensions apart from those that earlier inference gave out."""
    used = {int(match[1]) for dim in _dims(model) if (match := GENERATED.fullmatch(_text(dim)))}
    offset = max(used, default=-1) + 1
    if not offset:
        return
    for source in found.values():
        if source.shape is not None and not source.shape.is_static():
            source.shape = ir.Shape(
                f"unk__{int(match[1]) + offset}"
                if (match := GENERATED.fullmatch(_text(dim)))
                else dim
                for dim in source.shape.dims
            )


def _dims(model: ir.Model) -> Iterator[Dim]:
    for graph in model.graphs():
        for value in (*graph.inputs, *_computed(graph)):
            if value.shape is not None:
                yield from value.shape.dims


def _text(dim: Dim) -> str:
    return dim.value or "" if isinstance(dim, ir.SymbolicDim) else ""


def _merge(found: Notes) -> bool:
    """Take over what was inferred; whether some note says what inference did not find."""
    names: dict[str, Dim] = {}
    for value, source in found.items():
        if value.is_graph_output():
            continue  # its names are the author's, who may use one name for different sizes
        for old, new in _pairs(value, source):
            if GENERATED.fullmatch(_text(new)) and (isinstance(old, int) or _text(old)):
                names.setdefault(_text(new), old)
    is_richer = False
    for value, source in found.items():
        value.type = source.type or value.type
        if source.shape is None:
            is_richer |= value.shape is not None
            continue
        noted = [old for old, _ in _pairs(value, source)] or [ir.SymbolicDim(None)] * len(
            source.shape
        )
        dims = [names.get(_text(new), new) for new in source.shape.dims]
        value.shape = ir.Shape(
            old if _is_vague(new) and not _is_vague(old) else new
            for old, new in zip(noted, dims, strict=True)
        )
        is_richer |= value.shape.dims != tuple(dims)
    return is_richer


def _is_vague(dim: Dim) -> bool:
    return not isinstance(dim, int) and (not dim.value or bool(GENERATED.fullmatch(dim.value)))


def _pairs(value: ir.Value, source: ir.Value) -> list[tuple[Dim, Dim]]:
    """The noted and the inferred dimensions side by side, if there are as many of both."""
    if value.shape is None or source.shape is None or value.shape.rank() != source.shape.rank():
        return []
    return list(zip(value.shape.dims, source.shape.dims, strict=True))
