"""``focus``: convolutions behind a value compute what a mask of each image keeps.

Elsewhere they are zero. A mask is made of the value once, and goes through the layers by rule
[Focused 2022].
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np
import onnx_ir as ir

from mlcnn.errors import InputError
from mlcnn.graph import check, clone, free_name, infer_shapes, layer_name, value_names
from mlcnn.ops import Convolution, Emitter
from mlcnn.ops.focused import KIND, SOURCES, Growth, Masks, Striding, focus
from mlcnn.ops.focused.sources import Scored
from mlcnn.passes.base import Change, PassResult, Skipped
from mlcnn.passes.focus_region import Region, Step
from mlcnn.passes.rewriting import emitter_for, install, opset_of
from mlcnn.workload import RECORD_KEY, Record

__all__ = ["GIVEN", "Focus"]

GIVEN = "input"
"""The source of a mask that the user gives, as an input of the network."""


@dataclass(frozen=True, slots=True)
class Focus:
    """Make the convolutions behind a value focused.

    Attributes:
        at: name of the value that the mask is made of, or of the network's input.
        source: how, see ``ops.focused.SOURCES``; ``input``: the network gets an input ``mask``,
            boolean, shape (N, 1, height, width) of the value.
        threshold: a position is kept whose score is at least that.
        prior: weight of the position, where the source takes one.
        grow: what becomes of the mask where windows overlap: ``same``, ``patch`` or ``grow``.
        stride: which outputs are kept that stand for several places: ``any`` or ``majority``.
        only: layer names; touch only these layers.
        exclude: layer names; leave these layers alone.
    """

    name: ClassVar[str] = "focus"
    exact: ClassVar[bool] = False
    at: str = ""
    source: str = "contrast"
    threshold: float = 1.0
    prior: float = 1.0
    grow: str = Growth.SAME.value
    stride: str = Striding.ANY.value
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        known = {
            "source": (*SOURCES, GIVEN), "grow": (*Growth,), "stride": (*Striding,)
        }  # fmt: skip
        for option, values in known.items():
            given = getattr(self, option)
            if given not in values:
                raise InputError(f"focus: {option} {given!r}: {', '.join(values)} are known")
        if not np.isfinite(self.threshold):
            raise InputError(f"focus: threshold {self.threshold}: a number is required")

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network with focused layers, as operators.

        Raises:
            InputError: there is no such value with height and width in numbers, or no convolution
                that can be focused behind it.
        """
        copied = clone(model)
        found = self._value(copied)
        region = Region.behind(copied, found)
        builder = _Builder(self, copied, found)
        masks = builder.masks(region)
        changes: list[Change] = []
        skipped = [Skipped(self.name, *pair) for pair in region.refused.items()]
        for step in region.steps:
            if step.layer is None:
                continue
            if (reason := self._leaves(step)) is not None:
                skipped.append(Skipped(self.name, layer_name(step.node), reason))
            else:
                changes.append(self._focus(copied, step.layer, masks[step.output]))
        if not changes:
            raise InputError(f"focus: no convolution can be focused behind {self.at!r}")
        builder.drop_unread()
        infer_shapes(copied)
        check(copied)
        return PassResult(copied, tuple(changes), tuple(skipped))

    def scores(self, model: ir.Model) -> ir.Model:
        """The network that gives the scores of all positions, shape (N, 1, height, width).

        Raises:
            InputError: there is no such value, or the mask is the user's.
        """
        copied = clone(model)
        builder = _Builder(self, copied, self._value(copied))
        copied.graph.outputs[:] = [builder.scores()]
        infer_shapes(copied)
        return copied

    def _value(self, model: ir.Model) -> ir.Value:
        found = _values(model).get(self.at)
        if found is None:
            raise InputError(f"focus: at {self.at!r}: the network has no such value")
        return found

    def _leaves(self, step: Step) -> str | None:
        """Why a convolution stays as it is."""
        name = layer_name(step.node)
        if name in self.exclude or (self.only and name not in self.only):
            return "excluded"
        behind = {use.node.op_type for use in step.output.uses()}
        if "BatchNormalization" in behind:
            return "a batch norm stands behind it: fold-batch-norm goes first"
        return None

    def _focus(self, model: ir.Model, layer: Convolution, mask: ir.Value) -> Change:
        node, output = layer.node, layer.node.outputs[0]
        emitter = emitter_for(model, layer)
        emitter.metadata[RECORD_KEY] = Record(
            output.name or "", layer.nest, KIND, parameters=layer.parameters,
            weight_bytes=layer.weight_bytes, density=layer.density, positions=mask.name or "",
        ).text()  # fmt: skip
        result = focus(emitter, layer, mask)
        sources = (node.inputs[0], mask)
        change = Change(
            self.name, (layer.name,), exact=False,
            inputs=tuple(v.name or "" for v in sources if v is not None),
            outputs=(output.name or "",), reason=f"computed where {mask.name} says",
        )  # fmt: skip
        _forget(model, node)
        install(model, emitter, output, result, anchor=node)
        return change


def _forget(model: ir.Model, node: ir.Node) -> None:
    """Where several nodes computed a layer, the others are no part of one now."""
    text = node.metadata_props.get(RECORD_KEY)
    for other in model.graph if text else ():
        if other.metadata_props.get(RECORD_KEY) == text:
            del other.metadata_props[RECORD_KEY]


def _values(model: ir.Model) -> Mapping[str, ir.Value]:
    inputs = (value for value in model.graph.inputs if not value.is_initializer())
    made = (value for node in model.graph for value in node.outputs)
    return {value.name or "": value for value in (*inputs, *made)}


@dataclass(slots=True)
class _Builder:
    """Puts the masks into a network, in place."""

    options: Focus
    model: ir.Model
    value: ir.Value
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
        flags = self._start()
        masks = Masks(self._masking, Striding(self.options.stride))
        start = masks.start(flags)
        numbers = region.forward(masks, self.value, start, Growth(self.options.grow))
        if self.options.grow == Growth.GROW:
            numbers = region.backward(masks, numbers)
        found = {step.output: masks.flags(numbers[step.output]) for step in region.layers}
        self._install()
        return found

    def _start(self) -> ir.Value:
        if self.options.source == GIVEN:
            return self._given()
        score = self._score()
        threshold = self._scoring.weight(np.asarray(self.options.threshold), "threshold")
        return self._scoring.op("GreaterOrEqual", [score, threshold])

    def _score(self) -> ir.Value:
        if self.options.source == GIVEN:
            raise InputError("focus: a mask that the user gives has no scores")
        scored = Scored(self.value, self._channels, self._size, self.options.prior)
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
