"""What follows where channels of a network go: weights, groups, paddings and shapes."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant, free_name, value_names

__all__ = ["Edit", "Follower", "Groups", "Kept", "Padding", "Settled", "Target", "put"]

Classes = NDArray[np.int64]
Kept = Callable[[Classes], NDArray[np.bool_]]
"""Which of some classes stay."""


class Edit(Protocol):
    """One thing that follows."""

    @property
    def node(self) -> ir.Node:
        """Where it is."""
        ...

    def apply(self, model: ir.Model, kept: Kept) -> None:
        """Let the rest go, in place."""
        ...


@dataclass(frozen=True, slots=True)
class Follower:
    """A constant with an axis of channels.

    Attributes:
        node: that reads it.
        index: which of its inputs it is; it may be missing.
        axis: of it.
        classes: along that.
    """

    node: ir.Node
    index: int
    axis: int
    classes: Classes

    @property
    def value(self) -> ir.Value | None:
        """The constant; None where it is missing."""
        value = self.node.inputs[self.index] if self.index < len(self.node.inputs) else None
        return None if constant(value) is None else value

    def apply(self, model: ir.Model, kept: Kept) -> None:
        """Leave out the rest of it."""
        stays, stored = kept(self.classes), constant(self.value)
        if stored is not None and not stays.all():
            put(model, self.node, self.index, np.compress(stays, stored, self.axis))


@dataclass(frozen=True, slots=True)
class Groups:
    """The groups of a depthwise convolution, one for each of its classes."""

    node: ir.Node
    classes: Classes

    def apply(self, model: ir.Model, kept: Kept) -> None:
        """Write their number."""
        del model
        self.node.attributes["group"] = ir.AttrInt64("group", int(kept(self.classes).sum()))


@dataclass(frozen=True, slots=True)
class Padding:
    """Channels of zeros that a padding adds.

    Attributes:
        node: the padding.
        before: classes in front of the channels.
        after: classes behind them.
    """

    node: ir.Node
    before: Classes
    after: Classes

    def apply(self, model: ir.Model, kept: Kept) -> None:
        """Add fewer."""
        counts = [int(kept(classes).sum()) for classes in (self.before, self.after)]
        if "pads" in self.node.attributes:
            pads = list(self.node.attributes["pads"].as_ints())
            pads[1], pads[len(pads) // 2 + 1] = counts
            self.node.attributes["pads"] = ir.AttrInt64s("pads", pads)
            return
        stored = constant(self.node.inputs[1])
        if stored is not None:
            pads = np.array(stored)
            pads[1], pads[len(pads) // 2 + 1] = counts
            put(model, self.node, 1, pads)


@dataclass(frozen=True, slots=True)
class Target:
    """The shape (N, features) that a reshaping gives."""

    node: ir.Node
    classes: Classes

    def apply(self, model: ir.Model, kept: Kept) -> None:
        """Write the number of features."""
        stored, count = constant(self.node.inputs[1]), int(kept(self.classes).sum())
        if stored is not None and stored[1] == len(self.classes) != count:
            put(model, self.node, 1, np.array([stored[0], count], stored.dtype))


@dataclass(frozen=True, slots=True)
class Settled:
    """What a method's operator says of its constants, once they have changed."""

    node: ir.Node
    settle: Callable[[ir.Node], None]

    def apply(self, model: ir.Model, kept: Kept) -> None:
        """Write it anew."""
        del model, kept
        self.settle(self.node)


def put(model: ir.Model, node: ir.Node, index: int, array: np.ndarray) -> None:
    """Give a node another constant; one that others read too stays theirs."""
    value = node.inputs[index]
    if value is None or value.const_value is None:
        raise ValueError(f"input {index} of {node.name} is no constant")
    tensor = ir.Tensor(np.ascontiguousarray(array), dtype=value.const_value.dtype, name=value.name)
    alone = len(value.uses()) == 1 and not value.is_graph_output()
    if value.is_initializer() and alone and not value.is_graph_input():
        value.const_value, value.shape = tensor, ir.Shape(array.shape)
        return
    name = free_name(value.name or f"{node.name}.{index}", value_names(model))
    tensor.name = name
    new = ir.Value(
        name=name, const_value=tensor, shape=ir.Shape(array.shape), type=ir.TensorType(tensor.dtype)
    )
    model.graph.register_initializer(new)
    node.replace_input_with(index, new)
