"""What the values of a network take on, over calibration images."""

from collections.abc import Callable, Iterator, Sequence
from math import prod

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import engines
from mlcnn.errors import InputError
from mlcnn.graph import clone, constant
from mlcnn.training.quantisation.observers import Histogram
from mlcnn.training.quantisation.placement import Layer, Placement

__all__ = ["batches", "mean_outputs", "observe", "outputs_of"]

Floats = NDArray[np.float32]
Progress = Callable[[str, int, int], None]

_BYTES = 2**27  # of the values of one batch
_MOST = 64
_MEAN = "_mean"


def batches(images: Floats, size: int) -> Iterator[Floats]:
    """Images, some at a time; what is left over at the end is left out unless it is all."""
    last = max(len(images) - size + 1, 1)
    return (images[start : start + size] for start in range(0, last, size))


def batch_size(model: ir.Model, values: Sequence[ir.Value]) -> int:
    """Images per run, so that the values fit the memory; what the network is fixed to, if it is."""
    shape = model.graph.inputs[0].shape
    fixed = None if shape is None else shape[0]
    if isinstance(fixed, int):
        return fixed
    taken = 4 * sum(prod(s for s in v.shape or () if isinstance(s, int)) for v in values)
    return int(np.clip(_BYTES // max(taken, 1), 1, _MOST))


def outputs_of(model: ir.Model, images: Floats) -> Floats:
    """The first output of a network for images, in ONNX Runtime.

    Args:
        model: of one input.
        images: as the network takes them.
    """
    session = engines.get("onnxruntime").prepare(model)
    name, output = model.graph.inputs[0].name or "", model.graph.outputs[0].name or ""
    size = batch_size(model, [])
    found = [session.run({name: part})[output] for part in batches(images, size)]
    return np.concatenate(found).astype(np.float32)


def _with_outputs(model: ir.Model, names: Sequence[str]) -> ir.Model:
    """A copy that returns these values, and nothing else."""
    copied = clone(model)
    values = {v.name: v for n in copied.graph for v in n.outputs}
    copied.graph.outputs[:] = [values[name] for name in names]
    return copied


def observe(
    model: ir.Model, placement: Placement, images: Floats, progress: Progress
) -> dict[str, Histogram]:
    """The histogram of every rounded value; those that share a grid have one together.

    Args:
        model: the network in floats.
        placement: what will be rounded.
        images: as the network takes them.
        progress: told how the work goes on.

    Raises:
        InputError: a value is not finite.
    """
    given = model.graph.inputs[0].name or ""
    names = [name for name in placement.values if name != given]
    seen = {name: Histogram() for name in placement.values}
    session = engines.get("onnxruntime").prepare(_with_outputs(model, names))
    size = batch_size(model, list(placement.values.values()))
    parts = list(batches(images, size))
    for done, look in enumerate((Histogram.widen, Histogram.count)):
        for index, part in enumerate(parts):
            progress("calibrate", done * len(parts) + index, 2 * len(parts))
            found = {**session.run({given: part}), given: part}
            for name, histogram in seen.items():
                numbers = found[name].astype(np.float32, copy=False)
                _require_finite(name, numbers)
                look(histogram, numbers)
    joined: dict[str, Histogram] = {}
    for name, histogram in seen.items():
        leader = placement.leader(name)
        joined[leader] = joined[leader].merge(histogram) if leader in joined else histogram
    return {name: joined[placement.leader(name)] for name in seen}


def _require_finite(name: str, numbers: Floats) -> None:
    if not np.isfinite(numbers).all():
        raise InputError(
            f"calibration: the value {name!r} of the network is not finite; check that the images "
            "are scaled as in training"
        )


def mean_outputs(
    model: ir.Model, changed: Sequence[tuple[Layer, Floats]], images: Floats
) -> tuple[Floats, ...]:
    """The mean of each layer's output per filter, were its weights others and its bias 0.

    Args:
        model: the network in floats: all inputs of the layers are its own.
        changed: layers, and the weights in place of theirs.
        images: as the network takes them.
    """
    copied = clone(model)
    nodes = {n.outputs[0].name: n for n in copied.graph}
    names: list[str] = []
    for index, (layer, weights) in enumerate(changed):
        node = nodes[layer.node.outputs[0].name]
        weight = ir.Value(name=f"{_MEAN}_weight_{index}", const_value=ir.tensor(weights))
        copied.graph.register_initializer(weight)
        made = ir.Node("", node.op_type, [node.inputs[0], weight], list(node.attributes.values()))
        made.outputs[0].name = f"{_MEAN}_{index}"
        made.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
        copied.graph.append(made)
        names.append(made.outputs[0].name)
    values = {v.name: v for n in copied.graph for v in n.outputs}
    copied.graph.outputs[:] = [values[name] for name in names]
    given = model.graph.inputs[0].name or ""
    session = engines.get("onnxruntime").prepare(copied)
    sums: dict[str, NDArray[np.float64]] = {}
    outputs = [layer.node.outputs[0] for layer, _ in changed]
    parts = list(batches(images, batch_size(model, outputs)))
    for part in parts:
        for name, output in session.run({given: part}).items():
            axes = tuple(axis for axis in range(output.ndim) if axis != _filters(output.ndim))
            sums[name] = sums.get(name, np.zeros(1)) + output.mean(axes, dtype=np.float64)
    return tuple((sums[name] / len(parts)).astype(np.float32) for name in names)


def _filters(rank: int) -> int:
    """The axis of filters in an output: after the batch, or the last of a matrix product."""
    return 1 if rank != 3 else 2


def has_bias(layer: Layer) -> bool:
    """Whether a layer has a constant bias, or none at all and may get one."""
    inputs = layer.node.inputs
    given = inputs[2] if len(inputs) > 2 else None
    return layer.node.op_type != "MatMul" and (given is None or constant(given) is not None)
