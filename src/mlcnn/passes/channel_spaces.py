"""Channels of a network that may change places: which weights follow, so that it computes the same.

A *channel space* is a set of values whose channels are the same ones: a convolution or dense layer
makes a new space, pointwise operators, norms and pools keep it, additions join those of their
operands, a depthwise convolution keeps that of its input. Whatever is not known to keep channels
apart (concatenation, inputs and outputs of the network, foreign operators) leaves its spaces alone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from math import prod

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.graph import constant, is_standard
from mlcnn.passes.pointwise import BINARY, TRANSPARENT, UNARY
from mlcnn.workload import RECORD_KEY

__all__ = [
    "POOLS",
    "REDUCTIONS",
    "Axis",
    "Space",
    "channel_spaces",
    "integer",
    "integers",
    "permute",
]

POOLS = ("AveragePool", "GlobalAveragePool", "GlobalLpPool", "GlobalMaxPool", "LpPool", "MaxPool")
REDUCTIONS = ("ReduceL2", "ReduceMax", "ReduceMean", "ReduceMin", "ReduceSum")


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a weight that has the channels of a space.

    Attributes:
        weight: an initializer that nothing else reads.
        axis: of it.
        width: entries of a channel along it, side by side: the pixels, where a dense layer reads
            flattened images.
    """

    weight: ir.Value
    axis: int
    width: int = 1


@dataclass(frozen=True, slots=True)
class Space:
    """Channels that may be put in any order.

    Attributes:
        channels: how many.
        axes: of all weights that follow.
    """

    channels: int
    axes: tuple[Axis, ...]


def permute(space: Space, order: NDArray[np.integer]) -> None:
    """Put the channels of a space in another order, in place.

    Args:
        space: of the network, as ``channel_spaces`` found it.
        order: which channel comes to each place, shape (channels,).
    """
    for follower in space.axes:
        tensor = follower.weight.const_value
        if tensor is None:
            raise ValueError("the weight of a channel space is gone")
        places = (order[:, None] * follower.width + np.arange(follower.width)).reshape(-1)
        moved = np.take(tensor.numpy(), places, follower.axis)
        follower.weight.const_value = ir.Tensor(moved, dtype=tensor.dtype, name=tensor.name)


def channel_spaces(model: ir.Model) -> tuple[Space, ...]:
    """The channel spaces of the main graph whose order is free, in the order of their layers."""
    walk = _Walk()
    for node in model.graph:
        walk.visit(node)
    for value, place in walk.places.items():
        inside = all(use.node.graph is model.graph for use in value.uses())
        if value.is_graph_output() or not inside:
            place.freeze()
    return tuple(walk.free())


@dataclass(slots=True, eq=False)
class _Draft:
    """A space while it is being found."""

    channels: int
    axes: list[Axis] = field(default_factory=list[Axis])
    frozen: bool = False
    joined: "_Draft | None" = None

    @property
    def root(self) -> "_Draft":
        """The space that it was joined to."""
        return self if self.joined is None else self.joined.root


@dataclass(frozen=True, slots=True)
class _Place:
    """Where a value's channels are: along its axis 1, ``width`` entries each."""

    draft: _Draft
    width: int = 1

    @property
    def entries(self) -> int:
        """Along the axis."""
        return self.draft.root.channels * self.width

    def freeze(self) -> None:
        """Leave the order as it is."""
        self.draft.root.frozen = True

    def join(self, other: "_Place") -> None:
        """Make both spaces one."""
        mine, others = self.draft.root, other.draft.root
        if mine is not others:
            mine.axes += others.axes
            mine.frozen |= others.frozen
            others.joined = mine

    def take(self, *axes: Axis) -> None:
        """Add what follows."""
        self.draft.root.axes += axes


class _Walk:
    """Follows channels from node to node; ``places`` lacks values of which nothing is known."""

    def __init__(self) -> None:
        self.places: dict[ir.Value, _Place] = {}
        self._drafts: list[_Draft] = []

    def free(self) -> Iterator[Space]:
        """The spaces that may be put in another order."""
        for draft in self._drafts:
            if draft.joined is None and not draft.frozen and draft.channels > 1:
                yield Space(draft.channels, tuple(draft.axes))

    def visit(self, node: ir.Node) -> None:
        """Take a node in, or leave alone what it reads."""
        rule = _RULES.get(node.op_type)
        # A node with a record is a part of a layer, which a pass made: what else the record says
        # of its channels is not known here.
        known = is_standard(node) and RECORD_KEY not in node.metadata_props
        sole = not any(output.uses() for output in node.outputs[1:])
        if rule is None or not known or not sole or not rule(self, node):
            for value in node.inputs:
                if value in self.places:
                    self.places[value].freeze()

    def _start(self, node: ir.Node, channels: int, *axes: Axis) -> None:
        """A new space, which the node makes."""
        draft = _Draft(channels, list(axes))
        self._drafts.append(draft)
        self.places[node.outputs[0]] = _Place(draft)

    def _source(self, node: ir.Node) -> _Place | None:
        source = node.inputs[0]
        return None if source is None else self.places.get(source)

    def convolution(self, node: ir.Node) -> bool:
        """A new space behind an ordinary one; a depthwise one keeps its input's."""
        weight = node.inputs[1]
        shape = _stored_shape(weight)
        if shape is None or not (kernels := _axes(weight, 0, shape[0])):
            return False
        bias = _axes(node.inputs[2] if len(node.inputs) > 2 else None, 0, shape[0])
        if bias is None:
            return False
        place, groups = self._source(node), integer(node, "group", 1)
        if groups == 1:
            if place is not None:
                if place.entries != shape[1]:
                    return False
                place.take(*(Axis(axis.weight, 1) for axis in kernels))
            self._start(node, shape[0], *kernels, *bias)
            return True
        if place is None or not groups == place.entries == shape[0]:
            return False
        place.take(*kernels, *bias)
        self.places[node.outputs[0]] = place
        return True

    def dense(self, node: ir.Node) -> bool:
        """A new space behind a dense layer over features."""
        source, weight = node.inputs[0], node.inputs[1]
        shape = _stored_shape(weight)
        if source is None or source.shape is None or source.shape.rank() != 2:
            return False
        if shape is None or len(shape) != 2 or integer(node, "transA", 0):
            return False
        outputs = 0 if integer(node, "transB", 0) else 1
        rows = _axes(weight, outputs, shape[outputs])
        addend = node.inputs[2] if len(node.inputs) > 2 else None
        rank = len(_stored_shape(addend) or ())
        bias = _axes(addend, rank - 1, shape[outputs]) if rank else _axes(addend, 0, 1)
        if not rows or bias is None:
            return False
        if (place := self.places.get(source)) is not None:
            if place.entries != shape[1 - outputs]:
                return False
            place.take(*(Axis(axis.weight, 1 - outputs, place.width) for axis in rows))
        self._start(node, shape[outputs], *rows, *bias)
        return True

    def norm(self, node: ir.Node) -> bool:
        """A batch norm: its parameters follow."""
        place = self._source(node)
        if place is None or integer(node, "training_mode", 0):
            return False
        found = [_axes(value, 0, place.entries, place.width) for value in node.inputs[1:]]
        if any(not axes for axes in found):
            return False
        place.take(*(axis for axes in found for axis in axes or ()))
        self.places[node.outputs[0]] = place
        return True

    def pointwise(self, node: ir.Node) -> bool:
        """Operands of one space, constants that follow."""
        fixed = [
            value for value in node.inputs if value is not None and constant(value) is not None
        ]
        moving = [value for value in node.inputs if value is not None and constant(value) is None]
        ranks = {None if value.shape is None else value.shape.rank() for value in moving}
        # An operand of one channel is the same for all channels of the other.
        wide = [value for value in moving if value.shape is None or value.shape[1:2] != (1,)]
        places = [self.places[value] for value in wide if value in self.places]
        rank = next(iter(ranks), None)
        if len(ranks) != 1 or rank is None or not places or len(places) < len(wide):
            return False
        first = places[0]
        if any((p.entries, p.width) != (first.entries, first.width) for p in places):
            return False
        found = [_broadcast(value, rank, first) for value in fixed]
        if any(axes is None for axes in found):
            return False
        for place in places[1:]:
            first.join(place)
        first.take(*(axis for axes in found for axis in axes or ()))
        self.places[node.outputs[0]] = first
        return True

    def pool(self, node: ir.Node) -> bool:
        """The channels stay."""
        place = self._source(node)
        if place is None:
            return False
        self.places[node.outputs[0]] = place
        return True

    def reduction(self, node: ir.Node) -> bool:
        """Over height and width only."""
        source, axes = node.inputs[0], integers(node, "axes", 1)
        if source is None or source.shape is None or not axes:
            return False
        rank = source.shape.rank()
        return all(axis % rank > 1 for axis in axes) and self.pool(node)

    def padding(self, node: ir.Node) -> bool:
        """At the borders of images only."""
        pads = integers(node, "pads", 1)
        if not pads or (len(node.inputs) > 3 and node.inputs[3] is not None):
            return False
        half = len(pads) // 2
        return not any((*pads[:2], *pads[half : half + 2])) and self.pool(node)

    def flatten(self, node: ir.Node) -> bool:
        """Images to features: as many to a channel as an image has pixels."""
        source, result = node.inputs[0], node.outputs[0].shape
        place = self._source(node)
        if place is None or source is None or source.shape is None or result is None:
            return False
        pixels = source.shape.dims[2:]
        if result.rank() != 2 or not all(isinstance(size, int) for size in pixels):
            return False
        width = place.width * prod(size for size in pixels if isinstance(size, int))
        if result[1] != place.draft.root.channels * width:
            return False
        self.places[node.outputs[0]] = _Place(place.draft, width)
        return True


_RULES: dict[str, Callable[[_Walk, ir.Node], bool]] = {
    **dict.fromkeys(UNARY | BINARY | TRANSPARENT, _Walk.pointwise),
    **dict.fromkeys(POOLS, _Walk.pool),
    **dict.fromkeys(REDUCTIONS, _Walk.reduction),
    **dict.fromkeys(("Flatten", "Reshape", "Squeeze"), _Walk.flatten),
    "BatchNormalization": _Walk.norm,
    "Conv": _Walk.convolution,
    "Dropout": _Walk.pool,
    "Gemm": _Walk.dense,
    "MatMul": _Walk.dense,
    "Pad": _Walk.padding,
}


def _stored_shape(value: ir.Value | None) -> tuple[int, ...] | None:
    array = constant(value)
    return None if array is None else array.shape


def _axes(
    value: ir.Value | None, axis: int, entries: int, width: int = 1
) -> tuple[Axis, ...] | None:
    """What follows of an optional weight; None where it cannot: it is shared, or no weight."""
    if value is None:
        return ()
    shape = _stored_shape(value)
    if shape is not None and prod(shape) == 1:
        return ()
    if not value.is_initializer() or len(value.uses()) != 1 or value.is_graph_output():
        return None
    if shape is None or not axis < len(shape) or shape[axis] != entries:
        return None
    return (Axis(value, axis, width),)


def _broadcast(value: ir.Value, rank: int, place: _Place) -> tuple[Axis, ...] | None:
    """What follows of a constant beside a value of some rank, against which it is broadcast."""
    shape = _stored_shape(value) or ()
    axis = len(shape) - rank + 1
    if len(shape) > rank:
        return None
    if axis < 0 or shape[axis] == 1:
        return ()
    return _axes(value, axis, place.entries, place.width)


def integer(node: ir.Node, name: str, otherwise: int) -> int:
    """An attribute, or what it is where it is missing."""
    return node.attributes[name].as_int() if name in node.attributes else otherwise


def integers(node: ir.Node, name: str, index: int) -> tuple[int, ...]:
    """Numbers that are an attribute or an input, by opset; none where they are computed."""
    if name in node.attributes:
        return tuple(node.attributes[name].as_ints())
    array = constant(node.inputs[index]) if len(node.inputs) > index else None
    return () if array is None else tuple(int(number) for number in array.reshape(-1))
