"""What of a network runs for each image, found out by running it."""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.engines import get
from mlcnn.errors import InputError
from mlcnn.frontier.curve import Cost
from mlcnn.graph import clone, constant, free_name, value_names
from mlcnn.ops import methods
from mlcnn.workload import Layer, branches, read

__all__ = ["Activity", "ChannelCosts", "recorded"]

Flags = NDArray[np.bool_]
Shares = NDArray[np.float64]
Masked = tuple[str, str]
"""(form, mask): what says how much of a layer is computed."""

_BATCH = 50
_LEVELS = 9


@dataclass(frozen=True, slots=True)
class Activity:
    """What of a network was computed, image by image.

    Attributes:
        ran: by name of the branch, see ``workload.branches``: shape (images,).
        images: how many.
        kept: of layers that have a mask, by form and mask: the share of their positions, or of
            their channels, that was computed, shape (images,).
    """

    ran: Mapping[str, Flags]
    images: int
    kept: Mapping[Masked, Shares] = field(default_factory=dict)

    def each(self, layers: Sequence[Layer], cost: Callable[[Layer], float]) -> NDArray[np.float64]:
        """What each image costs, shape (images,).

        Args:
            layers: of all branches, as ``Workload.every`` has them.
            cost: of a layer that runs whole; a part of its positions costs as large a part, and
                some of its channels what a layer of so many does.
        """
        found = np.zeros(self.images)
        for layer in layers:
            ran = self.ran[layer.condition] if layer.condition else 1.0
            found += ran * self._whole(layer, cost)
        return found

    def _whole(self, layer: Layer, cost: Callable[[Layer], float]) -> NDArray[np.float64] | float:
        """What a layer costs where it runs, for each image or for all."""
        form = layer.form or ""
        if layer.channels:
            shares = [self.kept[form, name] if name else np.ones(self.images)
                      for name in layer.channels]  # fmt: skip
            return ChannelCosts.of(layer, cost).each(*shares)
        return cost(layer) * (self.kept[form, layer.positions] if layer.positions else 1.0)

    def cost(self, model: ir.Model, cost: Callable[[Layer], float]) -> Cost:
        """The distribution of what an image costs; worst is what one can cost at most.

        Args:
            model: the network, for one image.
            cost: of a layer that runs.
        """
        workload = read(model, batch=1)
        return Cost.over(self.each(workload.every, cost), sum(map(cost, workload.layers)))


@dataclass(frozen=True, slots=True)
class ChannelCosts:
    """What a layer costs where some of its channels are computed.

    Between eighths of the channels it is interpolated, which is exact for multiplications.

    Attributes:
        rows: numbers of outputs.
        columns: numbers of inputs.
        table: the cost of a layer of so many, shape (rows, columns).
    """

    rows: NDArray[np.int64]
    columns: NDArray[np.int64]
    table: NDArray[np.float64]

    @classmethod
    def of(cls, layer: Layer, cost: Callable[[Layer], float]) -> "ChannelCosts":
        """Of a layer as it is whole, from what a layer costs that runs whole."""
        rows, columns = (_levels(count) for count in (layer.nest.K, layer.nest.C))
        table = [[cost(layer.of_channels(k, c)) if k and c else 0.0 for c in columns] for k in rows]
        return cls(rows, columns, np.array(table))

    def each(self, outputs: Shares, inputs: Shares) -> NDArray[np.float64]:
        """The cost of each image, shape (images,).

        Args:
            outputs: share of the outputs that is computed, shape (images,).
            inputs: share of the inputs that is read, shape (images,).
        """
        rows, columns = self.rows, self.columns
        along = np.array([np.interp(inputs * columns[-1], columns, row) for row in self.table])
        wanted = outputs * rows[-1]
        upper = np.clip(np.searchsorted(rows, wanted), 1, len(rows) - 1)
        part = (wanted - rows[upper - 1]) / (rows[upper] - rows[upper - 1])
        each = np.arange(len(wanted))
        return along[upper - 1, each] * (1 - part) + along[upper, each] * part


def _levels(count: int) -> NDArray[np.int64]:
    return np.unique(np.linspace(0, count, _LEVELS).round().astype(np.int64))


def recorded(model: ir.Model, images: NDArray[np.float32], *, threads: int = 1) -> Activity:
    """Run a network in ONNX Runtime, and note which branches it takes and what its masks keep.

    Args:
        model: a network of one input.
        images: as it takes them, shape (images, channels, height, width).
        threads: of ONNX Runtime.

    Raises:
        InputError: no images, a network of several inputs, or a mask in a branch whose sizes are
            not known.
    """
    if not len(images):
        raise InputError("what runs is found out on images: at least one is required")
    told = clone(model)
    keys = _keys(told)
    fixed = _fixed(told, keys)
    masks = dict.fromkeys(mask for key in keys if (mask := key[1]) not in fixed)
    outputs = _Flags(told, masks).outputs()
    for mask in masks:
        if mask not in outputs:
            raise InputError(f"the mask {mask!r} stands nowhere, or in a branch of a batch")
    flags = [name for name in outputs if name not in masks]
    if not (outputs or keys):
        return Activity({}, len(images))
    name, *others = [value.name or "" for value in told.graph.inputs]
    if others:
        raise InputError(
            f"the network has the inputs {', '.join([name, *others])}; one is required"
        )
    session = get("onnxruntime").prepare(told, threads=threads)
    ran = {branch: np.zeros(len(images), bool) for branch in flags}
    kept = {key: np.zeros(len(images)) for key in keys}
    computed = {form: _computed(form) for form, _ in keys}
    # A batch takes a branch together; positions are kept image by image.
    shape = told.graph.inputs[0].shape
    step = 1 if flags or shape is None or isinstance(shape.dims[0], int) else _BATCH
    for start in range(0, len(images), step):
        found = session.run({name: images[start : start + step]})
        for branch in flags:
            ran[branch][start] = bool(found[outputs[branch]])
        for form, mask in keys:
            said = fixed[mask] if mask in fixed else found[outputs[mask]].astype(bool)
            kept[form, mask][start : start + step] = computed[form](form, said)
    return Activity(ran, len(images), kept)


_Computed = Callable[[str, Flags], Shares]


def _keys(model: ir.Model) -> list[Masked]:
    """Every mask with every form of a layer that has it."""
    layers = read(model, batch=1).every
    found = [(layer.form or "", mask) for layer in layers for mask in sorted(layer.masks)]
    return [*dict.fromkeys(found)]


def _fixed(model: ir.Model, keys: Sequence[Masked]) -> dict[str, Flags]:
    """Masks that are the same of every image, by name."""
    stored = {mask: constant(model.graph.initializers.get(mask)) for _, mask in keys}
    return {mask: array.astype(bool) for mask, array in stored.items() if array is not None}


def _computed(form: str) -> _Computed:
    """What the method of a form says that it computes."""
    for method in methods().values():
        if method.computed is not None and (form == method.name or method.form(form) is not None):
            return method.computed
    raise InputError(f"no method says what the form {form!r} computes of a mask")


class _Flags:
    """Gives every branch an output that says whether it ran, and every mask one, in place."""

    def __init__(self, model: ir.Model, masks: Collection[str]) -> None:
        self._graph, self._taken, self._masks = model.graph, value_names(model), masks

    def outputs(self) -> dict[str, str]:
        """Name of an output of the network by name of the branch, or of the mask."""
        flags = self._of(self._graph)
        new = [value for value in flags.values() if not value.is_graph_output()]
        self._graph.outputs.extend(new)
        return {name: value.name or "" for name, value in flags.items()}

    def _of(self, graph: ir.Graph) -> dict[str, ir.Value]:
        """The flags of all branches in a graph and its masks, as values of it."""
        found: dict[str, ir.Value] = {}
        for node in [*graph]:
            if node.op_type == "If":
                found |= self._split(node)
            found |= {v.name or "": v for v in node.outputs if v.name in self._masks}
        return found

    def _split(self, node: ir.Node) -> dict[str, ir.Value]:
        sides = branches(node)
        inner = {name: self._of(side) for name, side in sides}
        within = {name: value for found in inner.values() for name, value in found.items()}
        names = [*(name for name, _ in sides), *within]
        for name, side in sides:
            for other in names:
                known = inner[name].get(other)
                nothing = np.zeros(_dims(within.get(other)), bool)
                side.outputs.append(known or self._constant(side, nothing | (other == name)))
        before = len(node.outputs)
        node.resize_outputs(before + len(names))
        made = node.outputs[before:]
        for name, value in zip(names, made, strict=True):
            value.name = free_name(f"{name}/ran", self._taken)
            value.type = ir.TensorType(ir.DataType.BOOL)
            value.shape = ir.Shape(_dims(within.get(name)))
        return dict(zip(names, made, strict=True))

    def _constant(self, graph: ir.Graph, values: Flags) -> ir.Value:
        node = ir.node("Constant", [], {"value": ir.tensor(np.asarray(values))})
        node.name = node.outputs[0].name = free_name("ran", self._taken)
        node.outputs[0].type = ir.TensorType(ir.DataType.BOOL)
        node.outputs[0].shape = ir.Shape(values.shape)
        graph.append(node)
        return node.outputs[0]


def _dims(mask: ir.Value | None) -> list[int]:
    """Sizes of a mask of one image; none of a flag."""
    sizes = () if mask is None or mask.shape is None else mask.shape.dims
    known = [size for size in sizes[1:] if isinstance(size, int)]
    if len(known) < len(sizes) - 1:
        raise InputError(f"the mask {mask} in a branch: its sizes are not known")
    return [1, *known] if sizes else []
