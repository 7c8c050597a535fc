"""One layer on one machine: as what it is where the machine takes that, else part by part."""

from dataclasses import replace

from mlcnn.accelerators.cost import LayerCost, LayerTask, together
from mlcnn.accelerators.machine import Machine
from mlcnn.accelerators.technology import Technology
from mlcnn.errors import InfeasibleError
from mlcnn.workload import ConvLayer, Layer

__all__ = ["evaluate_layer"]


def evaluate_layer(task: LayerTask, machine: Machine, technology: Technology) -> LayerCost:
    """Run one layer on a machine, in the way that is fastest there.

    Args:
        task: the layer.
        machine: the machine.
        technology: the tables.

    Raises:
        InfeasibleError: the machine takes neither the layer nor its parts.
    """
    refused = machine.takes(task.layer)
    if refused is None:
        return machine.cost(task, technology)
    parts = _parts(task.layer) if refused.unknown else ()
    if not parts:
        raise InfeasibleError(str(refused))
    tasks = [replace(task, layer=part) for part in parts]
    for part in parts:
        if (why := machine.takes(part)) is not None:
            raise InfeasibleError(f"{refused}; nor does it take the parts of it: {why}")
    return together(task.layer.name, [machine.cost(one, technology) for one in tasks])


def _parts(layer: Layer) -> tuple[Layer, ...]:
    """The layers that stand in the network for one that a method rewrote, as plain ones."""
    if layer.parts in {(), (layer.nest,)}:
        return ()
    return tuple(_plain(nest, layer) for nest in layer.parts)


def _plain(nest: ConvLayer, layer: Layer) -> Layer:
    return Layer(nest, layer.operator, parts=(nest,), numbers=layer.numbers)
