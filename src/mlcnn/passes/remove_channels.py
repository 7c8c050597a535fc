"""``remove-channels``: channels, and the filters that make them, whose weights are zero; exact.

A channel goes where every layer that reads it has no weight for it, or where it is one number for
all inputs that the biases behind it can stand for. A filter of zeros is such a number, but seldom
zero: ``relu(beta - gamma mean / sqrt(var + eps))`` behind its batch norm. Where a layer reads it
with padding it ends at the border, which no bias gives: that channel stays.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.graph import clone, constant, free_name, infer_shapes, layer_name, value_names
from mlcnn.passes.base import Change, PassResult, Skipped
from mlcnn.passes.channel_edits import Kept, put
from mlcnn.passes.channel_flow import Flow
from mlcnn.passes.channel_lanes import Mix, alike
from mlcnn.passes.restoring import restore
from mlcnn.passes.sites import Selection

__all__ = ["RemoveChannels"]


@dataclass(frozen=True, slots=True)
class RemoveChannels:
    """Remove what zero weights leave without effect, to a fixpoint.

    Attributes:
        only: layer names; touch only sites with one of them.
        exclude: layer names; leave sites with one of them alone.
        multiple: of the channels that are left, of those that stand side by side everywhere:
            engines compute them in blocks, so a few that go alone may cost time. What is without
            effect stays up to the next multiple.
    """

    name: ClassVar[str] = "remove-channels"
    exact: ClassVar[bool] = True
    reads_weights: ClassVar[bool] = True
    """What goes follows from which weights are zero: other weights would be another site."""
    only: tuple[str, ...] = ()
    exclude: tuple[str, ...] = ()
    multiple: int = 1

    def __post_init__(self) -> None:
        if self.multiple < 1:
            raise InputError(f"{self.name}: multiple={self.multiple}: at least 1 is required")

    def apply(self, model: ir.Model) -> PassResult:
        """Return the network without them."""
        model = clone(restore(model))
        flow = Flow(model)
        gone, selection = _gone(flow, self.multiple), Selection(self.only, self.exclude)
        changes: list[Change] = []
        skipped = [Skipped(self.name, *left) for left in _left(flow, gone)]
        for site in _sites(model, flow, gone):
            refused = selection.refuses(site.layers)
            if refused is None:
                changes.append(site.change(self.name, flow, gone))
                continue
            skipped.append(Skipped(self.name, site.layers[0], refused))
            gone[site.classes] = False
        if changes:
            _remove(model, flow, gone)
            infer_shapes(model)
        return PassResult(model, tuple(changes), tuple(skipped))


Flags = NDArray[np.bool_]


def _gone(flow: Flow, multiple: int) -> Flags:
    """Which classes go."""
    lanes = [flow.roots(item.classes) for item in flow.lanes.values()]
    needed = np.zeros(1 + max((int(classes.max()) for classes in lanes), default=0), bool)
    needed[list(flow.needs)] = True
    _spread(flow, needed)
    for classes in lanes:
        if not needed[classes].any():
            needed[classes[0]] = True  # no value is left without channels
    _spread(flow, needed)
    sets = [items for items, _ in alike(lanes)] if multiple > 1 else []
    while filled := [item for items in sets for item in _filling(items, needed, multiple)]:
        needed[filled] = True
        flow.needs.update(dict.fromkeys(filled, f"a multiple of {multiple} is left"))
        _spread(flow, needed)
    known = np.zeros_like(needed)
    known[np.concatenate([*lanes, np.empty(0, np.int64)])] = True
    return known & ~needed


def _filling(items: Sequence[int], needed: Flags, multiple: int) -> list[int]:
    """Classes of a set that could go, and stay for a multiple."""
    spare = [item for item in items if not needed[item]]
    left = len(items) - len(spare)
    return spare[: -left % multiple]


def _spread(flow: Flow, needed: Flags) -> None:
    """Mark also what is needed by what is, in place."""
    roots = {
        id(lanes): flow.roots(lanes.classes)
        for mix in flow.mixes
        for lanes in (mix.source, mix.result)
    }
    inside = [flow.roots(item.inside.classes) for item in flow.shared]
    count = -1
    while count != (count := int(needed.sum())):
        for mix in reversed(flow.mixes):
            outputs = needed[roots[id(mix.result)]]
            needed[roots[id(mix.source)][mix.depends[outputs].any(0)]] = True
        for item, classes in zip(flow.shared, inside, strict=True):
            outputs = needed[roots[id(item.mix.result)]]
            inputs = needed[roots[id(item.mix.source)]]
            needed[classes[item.reads[outputs][:, inputs].any((0, 1))]] = True


@dataclass(frozen=True, slots=True)
class _Site:
    """Nodes that have to change together.

    Attributes:
        nodes: in order.
        layers: names of those that have weights.
        classes: what goes there.
    """

    nodes: tuple[ir.Node, ...]
    layers: tuple[str, ...]
    classes: NDArray[np.int64]

    def change(self, name: str, flow: Flow, gone: Flags) -> Change:
        """What is said of it."""
        inside = set(self.nodes)
        read = [value for node in self.nodes for value in node.inputs if value is not None]
        outside = [
            value for value in read if value.producer() not in inside and constant(value) is None
        ]
        made = [value for node in self.nodes for value in node.outputs]
        results = [
            value for value in made
            if value.is_graph_output() or any(use.node not in inside for use in value.uses())
        ]  # fmt: skip
        parts = [(mix.node, mix.result, "") for mix in flow.mixes]
        parts += [(item.mix.node, item.inside, " shared") for item in flow.shared]
        counts = [
            f"{layer_name(node)} {int(lost.sum())} of {len(lost)}{what}"
            for node, lanes, what in parts
            if node in inside and (lost := gone[flow.roots(lanes.classes)]).any()
        ]
        return Change(
            name, self.layers, exact=True,
            inputs=tuple(dict.fromkeys(value.name or "" for value in outside)),
            outputs=tuple(dict.fromkeys(value.name or "" for value in results)),
            reason=f"channels that go: {', '.join(counts)}" if counts else "",
        )  # fmt: skip


def _sites(model: ir.Model, flow: Flow, gone: Flags) -> Iterator[_Site]:
    """Nodes that a value with fewer channels joins, in order of the first."""
    groups: dict[ir.Node, set[ir.Node]] = {}
    classes: dict[ir.Node, set[int]] = {}
    for value, lanes in flow.lanes.items():
        roots = flow.roots(lanes.classes)
        lost = set(roots[gone[roots]].tolist())
        producer = value.producer()
        ends = [*([] if producer is None else [producer]), *(use.node for use in value.uses())]
        if not lost or not ends:
            continue
        joined = set(ends).union(*(groups.get(node, ()) for node in ends))
        for node in ends:
            classes.setdefault(node, set()).update(lost)
        groups.update(dict.fromkeys(joined, joined))
    layers = {mix.node for mix in flow.mixes} | {edit.node for edit in flow.edits}
    order = {node: index for index, node in enumerate(model.graph)}
    seen: set[ir.Node] = set()
    for node in model.graph:
        if node not in groups or node in seen:
            continue
        inside = sorted(groups[node], key=order.__getitem__)
        seen.update(inside)
        named = [layer_name(item) for item in inside if item in layers]
        lost = sorted(set().union(*(classes[item] for item in inside)))
        yield _Site(tuple(inside), tuple(dict.fromkeys(named)), np.array(lost, np.int64))


def _left(flow: Flow, gone: Flags) -> Iterator[tuple[str, str]]:
    """Layers with filters of zeros that stay, and why."""
    for mix in flow.mixes:
        classes = flow.roots(mix.result.classes)
        stays = classes[np.isfinite(mix.result.fixed) & ~gone[classes]]
        if stays.size:
            reasons = [_needs(flow, item) for item in stays.tolist()]
            told = "; ".join(f"{reasons.count(why)} stay: {why}" for why in dict.fromkeys(reasons))
            yield layer_name(mix.node), f"filters of zeros, of {len(classes)}: {told}"


def _needs(flow: Flow, item: int) -> str:
    """Why a channel stays though its filter is zero."""
    if item in flow.needs:
        return flow.needs[item]
    for mix in flow.mixes:
        here = flow.roots(mix.source.classes) == item
        if mix.depends[:, here & ~np.isfinite(mix.source.fixed)].any():
            return "they are added to channels that are not"
    for mix in flow.mixes:
        if mix.depends[:, flow.roots(mix.source.classes) == item].any():
            return (
                f"norm and activation make a number of them that {layer_name(mix.node)} sees end "
                "at its padded border"
            )
    return "a value needs a channel"


def _remove(model: ir.Model, flow: Flow, gone: Flags) -> None:
    def kept(classes: NDArray[np.int64]) -> Flags:
        return ~gone[flow.roots(classes)]

    for mix in flow.mixes:
        _fold(model, mix, kept)
    for edit in flow.edits:
        edit.apply(model, kept)


def _fold(model: ir.Model, mix: Mix, kept: Kept) -> None:
    """Let the bias stand for the fixed channels that go."""
    shift = mix.folded[:, ~kept(mix.source.classes)].sum(1)
    if not shift.any():
        return
    node, index = mix.node, mix.bias
    bias = constant(node.inputs[index]) if len(node.inputs) > index else None
    if bias is not None:
        moved = bias.astype(np.float64) + shift.reshape(bias.shape)
        put(model, node, index, moved.astype(bias.dtype))
        return
    weight = node.inputs[1]
    if weight is None or weight.dtype is None:
        raise ValueError("a layer without weight")
    name = free_name(f"{layer_name(node)}.bias", value_names(model))
    tensor = ir.Tensor(shift.astype(weight.dtype.numpy()), name=name)
    value = ir.Value(
        name=name, const_value=tensor, shape=ir.Shape(shift.shape), type=ir.TensorType(weight.dtype)
    )
    model.graph.register_initializer(value)
    if len(node.inputs) <= index:
        node.resize_inputs(index + 1)
    node.replace_input_with(index, value)
