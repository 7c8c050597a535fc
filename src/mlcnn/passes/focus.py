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
from mlcnn.ops import Convolution
from mlcnn.ops.focused import KIND, SOURCES, Growth, Outside, Striding, focus
from mlcnn.passes.base import Change, PassResult, Skipped
from mlcnn.passes.focus_masks import GIVEN, MaskBuilder
from mlcnn.passes.focus_region import Region, Step
from mlcnn.passes.rewriting import emitter_for, install
from mlcnn.workload import RECORD_KEY, Record

__all__ = ["GIVEN", "Focus"]


@dataclass(frozen=True, slots=True)
class Focus:
    """Make the convolutions behind a value focused.

    Attributes:
        at: name of the value that the mask is made of, or of the network's input.
        source: how, see ``ops.focused.SOURCES``; ``input``: the network gets an input ``mask``,
            boolean, shape (N, 1, height, width) of the value.
        threshold: a position is kept whose score is at least that.
        later: thresholds for the layers of the second size, the third, ...; the last one, or
            ``threshold`` where there is none, holds for all further ones.
        prior: weight of the position, where the source takes one.
        background: what ``constant`` compares with: a number for each channel, or for all.
        outside: what layers give where they are left out, by name; zero where nothing is said.
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
    later: tuple[float, ...] = ()
    prior: float = 1.0
    background: tuple[float, ...] = (0.0,)
    grow: str = Growth.SAME.value
    stride: str = Striding.ANY.value
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    outside: Mapping[str, Outside] = field(default_factory=dict[str, Outside])

    def __post_init__(self) -> None:
        known = {
            "source": (*SOURCES, GIVEN), "grow": (*Growth,), "stride": (*Striding,)
        }  # fmt: skip
        for option, values in known.items():
            given = getattr(self, option)
            if given not in values:
                raise InputError(f"focus: {option} {given!r}: {', '.join(values)} are known")
        for threshold in self.thresholds:
            if not np.isfinite(threshold):
                raise InputError(f"focus: threshold {threshold}: a number is required")
        if self.later and self.source == GIVEN:
            raise InputError("focus: a mask that the user gives has no thresholds")

    @property
    def thresholds(self) -> tuple[float, ...]:
        """Of each size, the first one first."""
        return (self.threshold, *self.later)

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network with focused layers, as operators.

        Raises:
            InputError: there is no such value with height and width in numbers, or no convolution
                that can be focused behind it.
        """
        return self._applied(model, opened=False)

    def opened(self, model: ir.Model) -> ir.Model:
        """The network with focused layers whose thresholds are inputs, ``threshold1`` and so on.

        Raises:
            InputError: as ``apply``.
        """
        return self._applied(model, opened=True).model

    def grids(self, model: ir.Model) -> dict[str, int]:
        """Which size a layer's output has that can be focused, of those that are met in order.

        Raises:
            InputError: there is no such value.
        """
        region = Region.behind(copied := clone(model), self._value(copied))
        grids = region.grids
        return {
            layer_name(step.node): grids[step.output]
            for step in region.layers
            if self._leaves(step) is None
        }

    def _applied(self, model: ir.Model, *, opened: bool) -> PassResult:
        copied = clone(model)
        found = self._value(copied)
        region = Region.behind(copied, found)
        builder = MaskBuilder(self, copied, found, opened)
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

    def trainable(self, model: ir.Model) -> ir.Model:
        """The network to be trained: masked behind each layer, or behind its batch norm.

        Once its batch norms are folded and the nodes that this adds are gone, ``apply`` makes of it
        a network that computes the same.

        Args:
            model: the network; batch norms may be whole.

        Raises:
            InputError: there is no such value with height and width in numbers.
        """
        copied = clone(model)
        found = self._value(copied)
        region = Region.behind(copied, found)
        builder = MaskBuilder(self, copied, found)
        masks = builder.masks(region)
        for step in region.layers:
            if step.layer is not None and self._named(step):
                self._put(copied, step.layer, masks[step.output])
        builder.drop_unread()
        infer_shapes(copied)
        check(copied)
        return copied

    def _put(self, model: ir.Model, layer: Convolution, mask: ir.Value) -> None:
        value = layer.node.outputs[0]
        behind = [use.node for use in value.uses()]
        if [node.op_type for node in behind] == ["BatchNormalization"]:
            value = behind[0].outputs[0]
        uses, emitter = [*value.uses()], emitter_for(model, layer)
        outside = self.outside.get(layer.name)
        rest = np.zeros(()) if outside is None else outside.value
        result = emitter.op("Where", [mask, value, emitter.weight(rest, "outside")])
        taken = value_names(model)
        result.name = free_name(f"{value.name}/kept", taken)
        for weight in emitter.weights:
            weight.name = free_name(weight.name or "", taken)
            model.graph.register_initializer(weight)
        model.graph.insert_after(
            behind[0] if value is not layer.node.outputs[0] else layer.node, emitter.nodes
        )
        for use in uses:
            use.node.replace_input_with(use.idx, result)

    def scores(self, model: ir.Model) -> ir.Model:
        """The network that gives the scores of all positions, shape (N, 1, height, width).

        Raises:
            InputError: there is no such value, or the mask is the user's.
        """
        copied = clone(model)
        builder = MaskBuilder(self, copied, self._value(copied))
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
        if not self._named(step):
            return "excluded"
        behind = {use.node.op_type for use in step.output.uses()}
        if "BatchNormalization" in behind:
            return "a batch norm stands behind it: fold-batch-norm goes first"
        rest = self.outside.get(layer_name(step.node))
        if step.layer is not None and rest is not None and not rest.fits(step.layer):
            return "its bias is made of codes, and what it gives outside its mask changes the bias"
        return None

    def _named(self, step: Step) -> bool:
        name = layer_name(step.node)
        return name not in self.exclude and (not self.only or name in self.only)

    def _focus(self, model: ir.Model, layer: Convolution, mask: ir.Value) -> Change:
        node, output = layer.node, layer.node.outputs[0]
        emitter, outside = emitter_for(model, layer), self.outside.get(layer.name)
        instead = None if outside is None else outside.before(emitter, layer)
        emitter.metadata[RECORD_KEY] = Record(
            output.name or "", layer.nest, KIND, parameters=layer.parameters,
            weight_bytes=layer.weight_bytes, density=layer.density, positions=mask.name or "",
        ).text()  # fmt: skip
        result = focus(emitter, layer, mask, instead)
        if outside is not None:  # none of the layer's nodes: every form of it leaves it alone
            del emitter.metadata[RECORD_KEY]
            result = outside.behind(emitter, result)
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
