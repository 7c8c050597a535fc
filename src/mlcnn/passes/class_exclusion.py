"""Heads exclude classes for good; an image leaves where one class is left [Wang 2023].

Each head's scores become 0 for a class that is left and far less for all others: the most likely
one then has a probability of about 1 where it is the last, and at most a half elsewhere. So
``early-exit`` with any threshold between is the criterion, and the rest of its rails stay.
"""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError
from mlcnn.graph import check, clone, infer_shapes
from mlcnn.ops import Emitter
from mlcnn.passes.early_exit import heads

__all__ = ["THRESHOLD", "with_exclusion"]

THRESHOLD = 0.75
"""For ``early-exit``: reached where one class is left, and nowhere else."""

_OUT = -30.0


def with_exclusion(model: ir.Model, limits: Sequence[NDArray[np.floating]]) -> ir.Model:
    """A network whose heads exclude classes, for those behind them and for its end.

    Args:
        model: a network with heads, ``exit1``, ``exit2``, ...
        limits: of each head, below which probability a class is out, shape (classes,).

    Raises:
        InputError: limits do not fit the heads.
    """
    copied = clone(model)
    found = heads(copied)
    if len(found) != len(limits):
        raise InputError(f"{len(limits)} rows of limits for {len(found)} heads")
    kept: ir.Value | None = None
    outputs = [*copied.graph.outputs]
    for head, limit in zip(found, limits, strict=True):
        emitter = _emitter(copied, f"{head.name}/exclusion", head)
        kept = _kept(emitter, head, limit, kept)
        scores = _scores(emitter, kept, emitter.weight(np.zeros(()), "left"), _OUT)
        outputs[outputs.index(head)] = _renamed(copied, emitter, head, scores)
    if kept is not None:
        emitter = _emitter(copied, "exclusion", outputs[0])
        least = float(np.finfo(emitter.dtype).min)
        scores = _scores(emitter, kept, outputs[0], least)
        outputs[0] = _renamed(copied, emitter, outputs[0], scores)
    copied.graph.outputs[:] = outputs
    copied.graph.sort()
    infer_shapes(copied)
    check(copied)
    return copied


def _emitter(model: ir.Model, name: str, value: ir.Value) -> Emitter:
    dtype = np.dtype(np.float32) if value.dtype is None else value.dtype.numpy()
    return Emitter(model.graph.opset_imports[""], dtype, name)


def _kept(
    emitter: Emitter, head: ir.Value, limit: NDArray[np.floating], before: ir.Value | None
) -> ir.Value:
    """Which classes are left behind a head, boolean, shape (N, classes)."""
    shares = emitter.op("Softmax", [head], axis=1)
    fewer = emitter.op("GreaterOrEqual", [shares, emitter.weight(limit[None], "limits")])
    fewer = fewer if before is None else emitter.op("And", [fewer, before])
    numbers = emitter.op("Cast", [fewer], to=ir.DataType.INT32.value)
    axis = emitter.integers([1], "axis")
    some = emitter.op("Cast", [emitter.op("ReduceMax", [numbers, axis], keepdims=1)],
                      to=ir.DataType.BOOL.value)  # fmt: skip
    nothing = emitter.op("Not", [some])
    stays = nothing if before is None else emitter.op("And", [nothing, before])
    return emitter.op("Or", [fewer, stays])


def _scores(emitter: Emitter, kept: ir.Value, left: ir.Value, out: float) -> ir.Value:
    return emitter.op("Where", [kept, left, emitter.weight(np.asarray(out), "out")])


def _renamed(model: ir.Model, emitter: Emitter, old: ir.Value, new: ir.Value) -> ir.Value:
    """The new value under the name of the old output."""
    for weight in emitter.weights:
        model.graph.register_initializer(weight)
    for node in emitter.nodes:
        node.outputs[0].name = node.name
    model.graph.extend(emitter.nodes)
    name = old.name
    old.name, new.name = f"{name}/before", name
    new.shape, new.type = old.shape, old.type
    return new
