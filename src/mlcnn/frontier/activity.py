"""What of a network runs for each image, found out by running it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.engines import get
from mlcnn.errors import InputError
from mlcnn.frontier.curve import Cost
from mlcnn.graph import clone, free_name, value_names
from mlcnn.ops import methods
from mlcnn.workload import Layer, branches, read

__all__ = ["Activity", "recorded"]

Flags = NDArray[np.bool_]
Shares = NDArray[np.float64]
Masked = tuple[str, str]
"""(form, mask): what says how much of a layer is computed."""

_BATCH = 50


@dataclass(frozen=True, slots=True)
class Activity:
    """What of a network was computed, image by image.

    Attributes:
        ran: by name of the branch, see ``workload.branches``: shape (images,).
        images: how many.
        kept: of layers that have a mask, by form and mask: the share of their positions that was
            computed, shape (images,).
    """

    ran: Mapping[str, Flags]
    images: int
    kept: Mapping[Masked, Shares] = field(default_factory=dict)

    def each(self, layers: Sequence[Layer], cost: Callable[[Layer], float]) -> NDArray[np.float64]:
        """What each image costs, shape (images,).

        Args:
            layers: of all branches, as ``Workload.every`` has them.
            cost: of a layer that runs whole; a part of its positions costs as large a part.
        """
        found = np.zeros(self.images)
        for layer in layers:
            ran = self.ran[layer.condition] if layer.condition else 1.0
            kept = self.kept[layer.form or "", layer.positions] if layer.positions else 1.0
            found += cost(layer) * ran * kept
        return found

    def cost(self, model: ir.Model, cost: Callable[[Layer], float]) -> Cost:
        """The distribution of what an image costs; worst is what one can cost at most.

        Args:
            model: the network, for one image.
            cost: of a layer that runs.
        """
        workload = read(model, batch=1)
        return Cost.over(self.each(workload.every, cost), sum(map(cost, workload.layers)))


def recorded(model: ir.Model, images: NDArray[np.float32], *, threads: int = 1) -> Activity:
    """Run a network in ONNX Runtime, and note which branches it takes and what its masks keep.

    Args:
        model: a network of one input.
        images: as it takes them, shape (images, channels, height, width).
        threads: of ONNX Runtime.

    Raises:
        InputError: no images, a network of several inputs, or a mask inside of a branch.
    """
    if not len(images):
        raise InputError("what runs is found out on images: at least one is required")
    told = clone(model)
    flags = _Flags(told).outputs()
    masks = _masks(told)
    if not (flags or masks):
        return Activity({}, len(images))
    name, *others = [value.name or "" for value in told.graph.inputs]
    if others:
        raise InputError(
            f"the network has the inputs {', '.join([name, *others])}; one is required"
        )
    session = get("onnxruntime").prepare(told, threads=threads)
    ran = {branch: np.zeros(len(images), bool) for branch in flags}
    kept = {key: np.zeros(len(images)) for key, _ in masks}
    # A batch takes a branch together; positions are kept image by image.
    shape = told.graph.inputs[0].shape
    step = 1 if flags or shape is None or isinstance(shape.dims[0], int) else _BATCH
    for start in range(0, len(images), step):
        found = session.run({name: images[start : start + step]})
        for branch, output in flags.items():
            ran[branch][start] = bool(found[output])
        for (form, mask), computed in masks:
            kept[form, mask][start : start + step] = computed(form, found[mask].astype(bool))
    return Activity(ran, len(images), kept)


_Computed = Callable[[str, Flags], Shares]


def _masks(model: ir.Model) -> list[tuple[Masked, _Computed]]:
    """Every mask, made an output, with the form of its layers and what says how much that takes."""
    values = {value.name: value for node in model.graph for value in node.outputs}
    keys = dict.fromkeys(
        (layer.form or "", layer.positions)
        for layer in read(model, batch=1).every
        if layer.positions
    )
    for mask in dict.fromkeys(mask for _, mask in keys):
        if mask not in values:
            raise InputError(f"the mask {mask!r} stands in a branch: masks and exits do not stack")
        if not values[mask].is_graph_output():
            model.graph.outputs.append(values[mask])
    return [(key, _computed(key[0])) for key in keys]


def _computed(form: str) -> _Computed:
    """What the method of a form says that it computes."""
    for method in methods().values():
        if method.computed is not None and (form == method.name or method.form(form) is not None):
            return method.computed
    raise InputError(f"no method says what the form {form!r} computes of a mask")


class _Flags:
    """Gives every branch an output that says whether it ran, in place."""

    def __init__(self, model: ir.Model) -> None:
        self._graph, self._taken = model.graph, value_names(model)

    def outputs(self) -> dict[str, str]:
        """Name of an output of the network by name of the branch."""
        flags = self._of(self._graph)
        self._graph.outputs.extend(flags.values())
        return {branch: value.name or "" for branch, value in flags.items()}

    def _of(self, graph: ir.Graph) -> dict[str, ir.Value]:
        """The flags of all branches in a graph, as values of it."""
        found: dict[str, ir.Value] = {}
        for node in [*graph]:
            if node.op_type == "If":
                found |= self._split(node)
        return found

    def _split(self, node: ir.Node) -> dict[str, ir.Value]:
        sides = branches(node)
        inner = {name: self._of(side) for name, side in sides}
        names = [name for name, _ in sides] + [n for found in inner.values() for n in found]
        for name, side in sides:
            for other in names:
                known = inner[name].get(other)
                side.outputs.append(known or self._constant(side, other == name))
        before = len(node.outputs)
        node.resize_outputs(before + len(names))
        made = node.outputs[before:]
        for name, value in zip(names, made, strict=True):
            value.name = free_name(f"{name}/ran", self._taken)
            value.type, value.shape = ir.TensorType(ir.DataType.BOOL), ir.Shape([])
        return dict(zip(names, made, strict=True))

    def _constant(self, graph: ir.Graph, value: bool) -> ir.Value:
        node = ir.node("Constant", [], {"value": ir.tensor(np.asarray(value))})
        node.name = node.outputs[0].name = free_name("ran", self._taken)
        node.outputs[0].type = ir.TensorType(ir.DataType.BOOL)
        node.outputs[0].shape = ir.Shape([])
        graph.append(node)
        return node.outputs[0]
