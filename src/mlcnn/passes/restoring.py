"""Layers of methods as their operators again, where a file has what computes them.

A file holds standard operators; the record beside them says which layer they are. One that is fused
with a pool is put together without it, and fused again in the form that it had.
"""

from collections.abc import Sequence
from dataclasses import replace
from math import prod

import numpy as np
import onnx_ir as ir

from mlcnn.graph import OPERATOR_KEY, clone, constant, infer_shapes, layer_name
from mlcnn.ops import Emitter, Method, Pooling, average_pool_node, find_form, methods
from mlcnn.passes.fuse import Fuse
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
    pooled: dict[str, str] = {}
    for record, nodes, method in _wanted(restored, lowered=lowered):
        made = _restore(restored, record, nodes, method)
        if made is not None and record.is_pooled:
            pooled[made] = record.form
    infer_shapes(restored)
    for name, form in pooled.items():
        restored = Fuse(form=form, only=(name,)).apply(restored).model
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


def _restore(
    model: ir.Model, record: Record, nodes: tuple[ir.Node, ...], method: Method
) -> str | None:
    """Put a layer together, the pool that it is fused with behind it; its name."""
    outside, results = ends(nodes)
    sources = [value for value in outside if constant(value) is None]
    if len(sources) != 1 or len(results) != 1 or method.restore is None:
        return None
    (source,), (result,) = sources, results
    last, dtype = result.producer(), source.dtype
    if last is None or dtype is None or not dtype.is_floating_point():
        return None
    metadata = {key: text for key, text in last.metadata_props.items() if key != OPERATOR_KEY}
    alone = replace(record.geometry, pool=None)
    known = replace(record, geometry=alone, form=method.name, inner="", global_pool=False)
    metadata[RECORD_KEY] = known.text()
    emitter = Emitter(opset_of(model), dtype.numpy(), record.geometry.name, metadata)
    if not record.is_pooled:
        made = method.restore(emitter, record, source, nodes)
    else:
        told = replace(known, form=record.inner or method.name)
        made = method.restore(emitter, told, source, [n for n in nodes if not _is_mean(n)])
        made = None if made is None else _pooled(emitter, record, made, nodes)
    if made is None:
        return None
    named = next(node for node in emitter.nodes if node.domain)
    install(model, emitter, result, made)
    return layer_name(named)


def _is_mean(node: ir.Node) -> bool:
    """Whether a node of a fused layer gives means, for what is behind it to convolve."""
    if node.op_type == "AveragePool":
        return True
    kernel = constant(node.inputs[1]) if node.op_type == "Conv" else None
    return kernel is not None and bool(
        np.all(kernel == kernel.dtype.type(1 / prod(kernel.shape[2:])))
    )


def _pooled(
    emitter: Emitter, record: Record, value: ir.Value, nodes: Sequence[ir.Node]
) -> ir.Value:
    """The pool behind a layer that was fused with it."""
    keepdims = not any(node.op_type == "Squeeze" for node in nodes)
    pooling = Pooling(nodes[-1], record.geometry.pool, record.global_pool, keepdims, (None, None))
    pooled = emitter.add(average_pool_node(pooling, value))
    if not keepdims:
        pooled = emitter.op("Squeeze", [pooled, emitter.integers((2, 3), "axes")])
    for node in emitter.nodes:
        if not node.domain:
            node.metadata_props.pop(RECORD_KEY, None)
    return pooled
