"""A network as the layers that an accelerator runs."""

from collections.abc import Iterable
from dataclasses import replace

import onnx_ir as ir

from mlcnn.accelerators.comparison import Comparison, compare
from mlcnn.accelerators.description import Accelerator
from mlcnn.accelerators.evaluation import LayerTask
from mlcnn.accelerators.search import SLACK
from mlcnn.accelerators.technology import Technology
from mlcnn.errors import InputError
from mlcnn.graph import layer_name
from mlcnn.workload import ConvLayer, InputShape, Uncounted, Workload, read

__all__ = ["evaluate", "network_tasks"]

# What inference folds into the convolution before it, or runs behind its accumulators.
_FOLDED = frozenset({"BatchNormalization", "Relu", "Clip", "LeakyRelu", "Identity"})
_POOLS = frozenset({"AveragePool", "MaxPool", "GlobalAveragePool", "GlobalMaxPool"})


def network_tasks(
    model: ir.Model,
    fused: Iterable[ConvLayer] = (),
    *,
    batch: int = 1,
    input_shape: InputShape | None = None,
) -> tuple[LayerTask, ...]:
    """Every convolution and dense layer of a network but 3-D ones, which no machine runs.

    Args:
        model: the network before any rewrite.
        fused: layers with their pools, as the changes of ``fuse`` have them.
        batch: images, where the network's batch is dynamic.
        input_shape: sizes for dynamic heights and widths; see ``mlcnn.workload.read``.

    Raises:
        InputError: ``fused`` holds a layer that the network does not have.
        UnsupportedError: a layer's sizes are not known.
    """
    return _tasks(model, read(model, batch=batch, input_shape=input_shape), fused)


def _tasks(
    model: ir.Model, workload: Workload, fused: Iterable[ConvLayer]
) -> tuple[LayerTask, ...]:
    scaled, sole = _inputs(model)
    pooled = tuple(fused)
    tasks: list[LayerTask] = []
    for layer, index in zip(workload.layers, workload.match(pooled), strict=True):
        if layer.depth is not None:
            continue
        pool = None if index is None else pooled[index].pool
        task = LayerTask(replace(layer, pool=pool), layer.name in scaled, layer.name in sole)
        tasks.append(task)
    return tuple(tasks)


def _inputs(model: ir.Model) -> tuple[set[str], set[str]]:
    """Names of layers with an input scaled for them alone, and of sole consumers."""
    scaled: set[str] = set()
    sole: set[str] = set()
    for node in model.graph:
        if node.op_type != "Conv":
            continue
        value, alone, normalised = node.inputs[0], True, False
        while value is not None and (producer := value.producer()) is not None:
            alone = alone and len(value.uses()) == 1 and not value.is_graph_output()
            if producer.op_type not in _FOLDED | _POOLS:
                break
            normalised = normalised or producer.op_type == "BatchNormalization"
            value = producer.inputs[0]
        producer = None if value is None else value.producer()
        from_layer = producer is not None and producer.op_type == "Conv" and alone
        if from_layer:
            sole.add(layer_name(node))
        elif normalised:
            scaled.add(layer_name(node))
    return scaled, sole


def evaluate(
    model: ir.Model,
    accelerator: Accelerator,
    against: Accelerator,
    technology: Technology,
    *,
    fused: Iterable[ConvLayer] = (),
    batch: int = 1,
    input_shape: InputShape | None = None,
    slack: float = SLACK,
) -> Comparison:
    """Run a network on two machines.

    Args:
        model: the network before any rewrite.
        accelerator: the machine asked about.
        against: the other; it runs the fused layers in whatever way is fastest there.
        technology: the tables.
        fused: layers with their pools, as the changes of ``fuse`` have them.
        batch: images.
        input_shape: sizes for dynamic heights and widths.
        slack: see ``choose``.

    Raises:
        InfeasibleError: a machine cannot run a layer.
        InputError: ``fused`` does not belong to the network.
        UnsupportedError: a layer's sizes are not known, or there is no layer.
    """
    workload = read(model, batch=batch, input_shape=input_shape)
    tasks = _tasks(model, workload, fused)
    left_out = tuple(
        Uncounted(layer.name, "Conv over 3 dimensions")
        for layer in workload.layers
        if layer.depth is not None
    )
    if not tasks:
        raise InputError(
            "the network has no convolution over 1 or 2 dimensions and no dense layer for an "
            "accelerator to run"
        )
    found = compare(tasks, accelerator, against, technology, batch=workload.images, slack=slack)
    return replace(found, uncounted=(*workload.uncounted, *left_out))
