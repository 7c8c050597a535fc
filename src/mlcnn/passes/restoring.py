"""Layers of methods as their operators again, where a file has what computes them.

A file holds standard operators; the record beside them says which layer they are.
"""

from dataclasses import replace

import onnx_ir as ir

from mlcnn.graph import OPERATOR_KEY, clone, constant, infer_shapes
from mlcnn.ops import Emitter, Method, find_form, methods
from mlcnn.passes.rewriting import install, opset_of
from mlcnn.workload import DENSE, RECORD_KEY, Record, ends, recorded

__all__ = ["restore"]


def restore(model: ir.Model, *, lowered: bool = False) -> ir.Model:
    """A copy in which structured layers are operators of their method.

    Args:
        model: the network, shapes inferred.
        lowered: also those that ``choose`` gave a form: they are to be trained or rewritten.

    Returns:
        The network itself where there is nothing to restore.
    """
    if not _wanted(model, lowered=lowered):
        return model
    restored = clone(model)
    for record, nodes, method in _wanted(restored, lowered=lowered):
        _restore(restored, record, nodes, method)
    infer_shapes(restored)
    return restored


_Group = tuple[Record, tuple[ir.Node, ...], Method]


def _wanted(model: ir.Model, *, lowered: bool) -> list[_Group]:
    """Each layer that is to be an operator again, once."""
    found: dict[str, _Group] = {}
    for record, nodes in recorded(model.graph).values():
        method = methods().get(record.weights.kind)
        if record.weights == DENSE or method is None or method.restore is None:
            continue
        operators = {(node.domain, node.op_type) for node in nodes}
        body = find_form(record.form) is None
        if (body or lowered) and operators.isdisjoint(method.operators):
            found[record.site] = record, nodes, method
    return list(found.values())


def _restore(model: ir.Model, record: Record, nodes: tuple[ir.Node, ...], method: Method) -> None:
    outside, results = ends(nodes)
    sources = [value for value in outside if constant(value) is None]
    if len(sources) != 1 or len(results) != 1 or method.restore is None:
        return
    (source,), (result,) = sources, results
    last, dtype = result.producer(), source.dtype
    if last is None or dtype is None or not dtype.is_floating_point():
        return
    metadata = {key: text for key, text in last.metadata_props.items() if key != OPERATOR_KEY}
    metadata[RECORD_KEY] = replace(record, form=method.name).text()
    emitter = Emitter(opset_of(model), dtype.numpy(), record.geometry.name, metadata)
    made = method.restore(emitter, record, source, nodes)
    if made is not None:
        install(model, emitter, result, made)
