"""What of a network runs for each image, found out by running it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.engines import get
from mlcnn.errors import InputError
from mlcnn.frontier.curve import Cost
from mlcnn.graph import clone, free_name, value_names
from mlcnn.workload import Layer, branches, read

__all__ = ["Activity", "recorded"]

Flags = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Activity:
    """Which branches of a network ran, image by image.

    Attributes:
        ran: by name of the branch, see ``workload.branches``: shape (images,).
        images: how many.
    """

    ran: Mapping[str, Flags]
    images: int

    def each(self, layers: Sequence[Layer], cost: Callable[[Layer], float]) -> NDArray[np.float64]:
        """What each image costs, shape (images,).

        Args:
            layers: of all branches, as ``Workload.every`` has them.
            cost: of a layer that runs.
        """
        found = np.zeros(self.images)
        for layer in layers:
            found += cost(layer) * (self.ran[layer.condition] if layer.condition else 1.0)
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
    """Run a network image by image in ONNX Runtime, and note which branches it takes.

    Args:
        model: a network of one input.
        images: as it takes them, shape (images, channels, height, width).
        threads: of ONNX Runtime.

    Raises:
        InputError: no images, or a network of several inputs.
    """
    if not len(images):
        raise InputError("what runs is found out on images: at least one is required")
    told = clone(model)
    flags = _Flags(told).outputs()
    if not flags:
        return Activity({}, len(images))
    name, *others = [value.name or "" for value in told.graph.inputs]
    if others:
        raise InputError(
            f"the network has the inputs {', '.join([name, *others])}; one is required"
        )
    session = get("onnxruntime").prepare(told, threads=threads)
    ran = {branch: np.zeros(len(images), bool) for branch in flags}
    for index in range(len(images)):
        found = session.run({name: images[index : index + 1]})
        for branch, output in flags.items():
            ran[branch][index] = bool(found[output])
    return Activity(ran, len(images))


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
