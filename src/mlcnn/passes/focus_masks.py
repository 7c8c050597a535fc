"""The nodes that make the masks of a focused network."""

from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import numpy as np
import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph import free_name, value_names
from mlcnn.ops import Emitter
from mlcnn.ops.focused import SOURCES, Growth, Masks, Striding
from mlcnn.ops.focused.sources import Scored
from mlcnn.passes.focus_region import Region
from mlcnn.passes.rewriting import opset_of

__all__ = ["GIVEN", "MaskBuilder"]

GIVEN = "input"
"""The source of a mask that the user gives, as an input of the network."""


@runtime_checkable
class Asked(Protocol):
    """Which masks are built; see ``Focus``."""

    @property
    def at(self) -> str: ...
    @property
    def source(self) -> str: ...
    @property
    def thresholds(self) -> tuple[float, ...]: ...
    @property
    def prior(self) -> float: ...
    @property
    def background(self) -> tuple[float, ...]: ...
    @property
    def grow(self) -> str: ...
    @property
    def stride(self) -> str: ...


@dataclass(slots=True)
class MaskBuilder:
    """Puts the masks into a network, in place.

    Attributes:
        options: which masks.
        model: the network.
        value: what they are made of.
        opened: whether thresholds are inputs of the network.
    """

    options: Asked
    model: ir.Model
    value: ir.Value
    opened: bool = False
    _scoring: Emitter = field(init=False)
    _masking: Emitter = field(init=False)
    _size: tuple[int, int] = field(init=False)
    _channels: int = field(init=False)

    def __post_init__(self) -> None:
        dims = () if self.value.shape is None else self.value.shape.dims
        numbers = [dim for dim in dims[1:] if isinstance(dim, int)]
        if len(dims) != 4 or len(numbers) != 3:
            raise InputError(
                f"focus: at {self.options.at!r}: a value of shape (images, channels, height, width)"
                f" in numbers is required, it is {self.value.shape}"
            )
        self._channels, self._size = numbers[0], (numbers[1], numbers[2])
        dtype = np.dtype(np.float32) if self.value.dtype is None else self.value.dtype.numpy()
        opset = opset_of(self.model)
        self._scoring = Emitter(opset, dtype, "focus/score")
        self._masking = Emitter(opset, np.dtype(np.float32), "focus/mask")

    @property
    def _nodes(self) -> list[ir.Node]:
        return [*self._scoring.nodes, *self._masking.nodes]

    @property
    def _weights(self) -> list[ir.Value]:
        return [*self._scoring.weights, *self._masking.weights]

    def masks(self, region: Region) -> dict[ir.Value, ir.Value]:
        """The mask, boolean, of every convolution's output."""
        masks = Masks(self._masking, Striding(self.options.stride))
        growth, grids = Growth(self.options.grow), region.grids
        each = [
            region.forward(masks, self.value, masks.start(flags), growth)
            for flags in self._starts()
        ]
        numbers = {value: each[min(grids.get(value, 0), len(each) - 1)][value] for value in each[0]}
        if growth is Growth.GROW:
            numbers = region.backward(masks, numbers)
        found = {step.output: masks.flags(numbers[step.output]) for step in region.layers}
        self._install()
        return found

    def _starts(self) -> list[ir.Value]:
        """Which positions are kept, for each threshold."""
        if self.options.source == GIVEN:
            return [self._given()]
        score, thresholds = self._score(), self.options.thresholds
        if self.opened:
            values = [self._asked(index) for index in range(1, len(thresholds) + 1)]
        else:
            known = {
                each: self._scoring.weight(np.asarray(each), "threshold")
                for each in dict.fromkeys(thresholds)
            }
            values = [known[each] for each in thresholds]
        made = {
            value: self._scoring.op("GreaterOrEqual", [score, value])
            for value in dict.fromkeys(values)
        }
        return [made[value] for value in values]

    def _asked(self, index: int) -> ir.Value:
        """A threshold that is an input."""
        type_ = ir.TensorType(ir.DataType.from_numpy(self._scoring.dtype))
        value = ir.Value(name=f"threshold{index}", shape=ir.Shape([]), type=type_)
        self.model.graph.inputs.append(value)
        return value

    def _score(self) -> ir.Value:
        if self.options.source == GIVEN:
            raise InputError("focus: a mask that the user gives has no scores")
        options = self.options
        scored = Scored(self.value, self._channels, self._size, options.prior, options.background)
        return SOURCES[self.options.source].score(self._scoring, scored)

    def scores(self) -> ir.Value:
        """The scores of all positions."""
        score = self._score()
        self._install()
        score.shape, score.type = self._shape(), self.value.type
        return score

    def _shape(self) -> ir.Shape:
        """Of a mask."""
        images = None if self.value.shape is None else self.value.shape.dims[0]
        return ir.Shape([images, 1, *self._size])

    def _given(self) -> ir.Value:
        mask = ir.Value(
            name=free_name("mask", value_names(self.model)),
            shape=self._shape(),
            type=ir.TensorType(ir.DataType.BOOL),
        )
        self.model.graph.inputs.append(mask)
        return mask

    def _install(self) -> None:
        """Behind the value's producer; of the network's input, in front of everything."""
        graph, taken = self.model.graph, value_names(self.model)
        for node in self._nodes:
            node.name = node.outputs[0].name = free_name(node.name or "focus", taken)
        for weight in self._weights:
            weight.name = free_name(weight.name or "focus", taken)
            graph.register_initializer(weight)
        producer = self.value.producer()
        if producer is None:
            graph.insert_before(graph[0], self._nodes)
        else:
            graph.insert_after(producer, self._nodes)

    def drop_unread(self) -> None:
        """Remove what was built for layers that stayed as they are."""
        for node in reversed(self._nodes):
            if not node.outputs[0].uses():
                self.model.graph.remove(node, safe=True)
        for weight in self._weights:
            if not weight.uses():
                self.model.graph.initializers.pop(weight.name or "")
