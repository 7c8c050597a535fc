"""Collects the nodes, weights and functions that replace a site."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import ml_dtypes
import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.ops.functions import Operator

__all__ = ["Emitter"]

Attribute = int | float | tuple[int, ...]


@dataclass(slots=True)
class Emitter:
    """Builds nodes for one site.

    Attributes:
        opset: opset of the graph; functions use the same.
        dtype: element type of the site's weights.
        name: the layer's name: new weights are called after it.
        metadata: properties that every new node carries (the module it came from).
        nodes: the nodes built so far, producers first.
        weights: the initializers built so far.
        functions: the operators with a body that the nodes call, by name.
        imprecise: why the weights built so far lose precision in ``dtype``; None if none does.
    """

    opset: int
    dtype: np.dtype
    name: str
    metadata: dict[str, str] = field(default_factory=dict)
    nodes: list[ir.Node] = field(default_factory=list)
    weights: list[ir.Value] = field(default_factory=list)
    functions: dict[str, Operator] = field(default_factory=dict)
    imprecise: str | None = None

    def op(
        self,
        op_type: str,
        inputs: Sequence[ir.Value | None],
        domain: str = "",
        **attributes: Attribute,
    ) -> ir.Value:
        """Append a node with one output; return the output."""
        node = ir.Node(
            domain,
            op_type,
            inputs,
            ir.convenience.convert_attributes(attributes),
            name=f"{self.name}/{op_type}" + (f"_{len(self.nodes)}" if self.nodes else ""),
            metadata_props=dict(self.metadata),
        )
        self.nodes.append(node)
        return node.outputs[0]

    def add(self, node: ir.Node) -> ir.Value:
        """Append a node made elsewhere, with one output; return the output."""
        node.name = f"{self.name}/{node.op_type}" + (f"_{len(self.nodes)}" if self.nodes else "")
        node.metadata_props.update(self.metadata)
        self.nodes.append(node)
        return node.outputs[0]

    def call(
        self, operator: Operator, inputs: Sequence[ir.Value | None], **attributes: Attribute
    ) -> ir.Value:
        """Append a node of an operator with a body; return its output."""
        self.functions[operator.name] = operator
        return self.op(operator.name, inputs, operator.domain, **attributes)

    def weight(self, array: np.ndarray, role: str, *, filters: int | None = None) -> ir.Value:
        """A new floating-point initializer in the site's element type, named ``<layer>.<role>``.

        Args:
            array: its values, in any float type.
            role: what it is for.
            filters: the axis of the output channels, for what is multiplied with inputs: rounding
                must be small beside the largest weight of each.
        """
        with np.errstate(over="ignore"):
            rounded = np.ascontiguousarray(array).astype(self.dtype, copy=False)
        if self.imprecise is None:
            self.imprecise = _imprecise(np.asarray(array), rounded, filters)
        return self._initializer(rounded, role)

    def integers(self, values: Sequence[int], role: str) -> ir.Value:
        """A new int64 initializer."""
        return self._initializer(np.asarray(values, np.int64), role)

    def codes(self, values: NDArray[np.integer[Any]], role: str) -> ir.Value:
        """A new initializer of whole numbers in their own type."""
        return self._initializer(values, role)

    def _initializer(self, array: np.ndarray, role: str) -> ir.Value:
        taken = sum(1 for value in self.weights if value.name.startswith(f"{self.name}.{role}"))  # pyright: ignore[reportOptionalMemberAccess]
        name = f"{self.name}.{role}" + (f"_{taken}" if taken else "")
        value = ir.Value(
            name=name,
            const_value=ir.Tensor(array, name=name),
            shape=ir.Shape(array.shape),
            type=ir.TensorType(ir.DataType.from_numpy(array.dtype)),
        )
        self.weights.append(value)
        return value


def _is_ample(array: np.ndarray, dtype: np.dtype) -> bool:
    """Whether no value comes near what the type cannot tell apart, which is seen at a glance."""
    info = ml_dtypes.finfo(dtype)
    least = float(info.tiny) / float(info.eps)
    return bool((np.abs(array) >= least).all())


def _imprecise(array: np.ndarray, rounded: np.ndarray, filters: int | None) -> str | None:
    """Why ``rounded`` does not stand for ``array``: an overflow, or an underflow of a filter."""
    if array.dtype == rounded.dtype:
        return None
    if not np.isfinite(rounded).all():
        return f"its weights do not fit into {rounded.dtype}"
    if filters is None or _is_ample(array, rounded.dtype):
        return None
    wide = array.astype(np.float64, copy=False)
    error = np.abs(rounded.astype(np.float64) - wide)
    others = tuple(axis for axis in range(wide.ndim) if axis != filters)
    largest, worst = np.abs(wide).max(others, initial=0.0), error.max(others, initial=0.0)
    # A unit in the last place is what rounding costs; more is lost only to underflow.
    if (worst > float(ml_dtypes.finfo(rounded.dtype).eps) * largest).any():
        smallest = largest[largest > 0].min()
        return (
            f"its weights lose their precision in {rounded.dtype}: all of one output channel are "
            f"at most {smallest:.1e}"
        )
    return None
