"""A network as the layers that an accelerator runs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import onnx_ir as ir

from mlcnn.accelerators.comparison import Evaluation, compare
from mlcnn.accelerators.cost import LayerTask
from mlcnn.accelerators.kept import loaded_and_written
from mlcnn.accelerators.machine import Machine
from mlcnn.accelerators.technology import Technology
from mlcnn.errors import InputError
from mlcnn.workload import InputShape, Layer, Uncounted, Workload, read

__all__ = ["LEFT_OUT", "evaluate", "network_tasks", "not_run", "require_tasks", "tasks_of"]

LEFT_OUT = "Conv over 3 dimensions"
"""What layers are called that are counted and that no machine here runs."""

# What inference folds into the convolution before it, or runs behind its accumulators.
_FOLDED = frozenset({"BatchNormalization", "Relu", "Clip", "LeakyRelu", "Identity"})
_CONVOLUTION = "Conv"
_NOTHING = (
    "the network has no convolution over 1 or 2 dimensions and no dense layer for an accelerator "
    "to run"
)
_POOLS = frozenset({"AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"})


def network_tasks(
    model: ir.Model, *, batch: int = 1, input_shape: InputShape | None = None
) -> tuple[LayerTask, ...]:
    """Every convolution and dense layer of a network; element-wise operators are not counted.

    Args:
        model: the network.
        batch: images, where the network's batch is dynamic.
        input_shape: sizes for dynamic heights and widths; see ``mlcnn.workload.read``.

    Raises:
        UnsupportedError: a layer's sizes are not known.
    """
    return tasks_of(read(model, batch=batch, input_shape=input_shape))


def tasks_of(workload: Workload) -> tuple[LayerTask, ...]:
    """A task for each layer over one or two dimensions."""
    owners = {
        node: (layer, nodes)
        for layer, nodes in zip(workload.layers, workload.nodes, strict=True)
        for node in nodes
    }
    return tuple(
        LayerTask(layer, *_input(layer, nodes, owners), *loaded_and_written(nodes, _source(nodes)))
        for layer, nodes in zip(workload.layers, workload.nodes, strict=True)
        if layer.nest.depth is None
    )


def require_tasks(tasks: Sequence[object]) -> None:
    """Refuse a network with nothing for a machine to run.

    Raises:
        InputError: there is no task.
    """
    if not tasks:
        raise InputError(_NOTHING)


def not_run(workload: Workload) -> tuple[Uncounted, ...]:
    """What multiplies and is not counted, and what is counted and no machine here runs."""
    deep = (layer for layer in workload.layers if layer.nest.depth is not None)
    return (*workload.uncounted, *(Uncounted(layer.name, LEFT_OUT) for layer in deep))


def _input(
    layer: Layer,
    nodes: Sequence[ir.Node],
    owners: Mapping[ir.Node, tuple[Layer, tuple[ir.Node, ...]]],
) -> tuple[bool, bool]:
    """Whether the layer's input is scaled for it alone, and whether it alone reads its producer.

    A batch norm that alone reads a convolution is part of it.
    """
    if layer.operator != _CONVOLUTION:
        return False, False
    value, alone, normalised = _source(nodes), True, False
    while value is not None and (producer := value.producer()) is not None:
        is_sole = len(value.uses()) == 1 and not value.is_graph_output()
        alone = alone and is_sole
        if producer in owners:
            owner = owners[producer][0]
            sole = alone and owner.operator == _CONVOLUTION
            return normalised and not sole, sole
        if producer.op_type not in _FOLDED | _POOLS:
            break
        if producer.op_type == "BatchNormalization" and not _is_folded(producer, owners):
            normalised = True
        value = producer.inputs[0]
    return normalised, False


def _is_folded(norm: ir.Node, owners: Mapping[ir.Node, tuple[Layer, tuple[ir.Node, ...]]]) -> bool:
    value = norm.inputs[0]
    producer = None if value is None else value.producer()
    return producer in owners and value is not None and len(value.uses()) == 1


def _source(nodes: Sequence[ir.Node]) -> ir.Value | None:
    """The value that a layer reads: the first input of the first of its nodes that reads one."""
    produced = {value for node in nodes for value in node.outputs}
    firsts = (node.inputs[0] for node in nodes if node.inputs)
    return next((v for v in firsts if v is not None and v not in produced), None)


def evaluate(
    model: ir.Model,
    accelerator: Machine,
    against: Machine,
    technology: Technology,
    *,
    batch: int = 1,
    input_shape: InputShape | None = None,
) -> Evaluation:
    """Run a network on two machines.

    Args:
        model: the network; its fused layers are those whose records say so.
        accelerator: the machine asked about.
        against: the other; it runs the fused layers in whatever way is fastest there.
        technology: the tables.
        batch: images.
        input_shape: sizes for dynamic heights and widths.

    Raises:
        InfeasibleError: a machine cannot run a layer.
        InputError: there is no layer.
        UnsupportedError: a layer's sizes are not known.
    """
    workload = read(model, batch=batch, input_shape=input_shape)
    tasks = tasks_of(workload)
    require_tasks(tasks)
    found = compare(tasks, accelerator, against, technology, batch=workload.images)
    return replace(found, uncounted=not_run(workload))
