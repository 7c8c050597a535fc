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
    plain = tuple(_plain(nest, layer) for nest in layer.parts)
    # A part that is the layer itself would be refused again, unless less is said of it.
    is_itself = layer.parts == (layer.nest,) and layer.weights == plain[0].weights
    return () if is_itself and layer.arithmetic == plain[0].arithmetic else plain


def _plain(nest: ConvLayer, layer: Layer) -> Layer:
    return Layer(nest, layer.operator, parts=(nest,), numbers=layer.numbers)
