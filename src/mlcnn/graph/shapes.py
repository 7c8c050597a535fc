"""Shapes of every value, dynamic dimensions kept."""

import onnx
import onnx_ir as ir

from mlcnn.graph.structure import light_proto

__all__ = ["infer_shapes"]


def infer_shapes(model: ir.Model) -> None:
    """Infer the types and shapes of all values, in place.

    A dimension that has a name keeps it; one that was unknown becomes a number or a name where
    inference finds one.

    Args:
        model: the network; values whose operators have no inference rule keep what they have.
    """
    inferred = onnx.shape_inference.infer_shapes(light_proto(model), data_prop=True)
    for graph, other in zip(model.graphs(), ir.from_proto(inferred).graphs(), strict=True):
        known = ir.convenience.create_value_mapping(other, include_subgraphs=False)
        values = ir.convenience.create_value_mapping(graph, include_subgraphs=False)
        for name, value in values.items():
            source = known.get(name)
            if source is not None:
                _merge(value, source)


def _merge(value: ir.Value, source: ir.Value) -> None:
    if value.type is None and source.type is not None:
        value.type = source.type
    if source.shape is None:
        return
    if value.shape is None or value.shape.rank() != source.shape.rank():
        value.shape = source.shape
        return
    value.shape = ir.Shape(
        [_dimension(old, new) for old, new in zip(value.shape.dims, source.shape.dims, strict=True)]
    )


def _dimension(old: int | ir.SymbolicDim, new: int | ir.SymbolicDim) -> int | ir.SymbolicDim:
    if isinstance(new, int):
        return new
    return old if isinstance(old, ir.SymbolicDim) and old.value is not None else new
