"""Maxima, minima and sums over axes, and softmax over the channels."""

from collections.abc import Sequence
from math import prod

import numpy as np

from mlcnn.engines.native.builder import Builder, Rule
from mlcnn.engines.native.library import Op, Reduce
from mlcnn.engines.native.program import Operation, Part, Value
from mlcnn.engines.native.reading import numbers_of, padded, refusal, sizes_of
from mlcnn.nn.site import Site

__all__ = ["RULES"]

_MODES = {"ReduceMax": Reduce.MAX, "ReduceMin": Reduce.MIN, "ReduceSum": Reduce.SUM}
_SOFTMAX_OF_AN_AXIS = 13  # opset; before, it was over all axes behind one


def _softmax(build: Builder, site: Site) -> None:
    rank = len(sizes_of(site.value(0), site.spec.where))
    old = site.spec.opset < _SOFTMAX_OF_AN_AXIS
    if rank < 2 or site.spec.integer("axis", 1 if old else -1) % rank != 1 or (old and rank > 2):
        raise refusal(site, "a softmax over another axis than the channels")
    source = build.blocked(site, 0)
    made = build.new(source.shape, source.lanes)
    build.operations.append(_step(Op.REDUCE, source, made, Reduce.SOFTMAX))
    build.put(site, site.node.outputs[0], made)


def _reduce(build: Builder, site: Site) -> None:
    sizes, mode = sizes_of(site.value(0), site.spec.where), _MODES[site.node.op_type]
    rank, given = len(sizes), numbers_of(site, 1, "axes")
    if given is None and site.spec.has_input(1):
        raise refusal(site, "an axis that is not constant")
    axes = sorted({axis % rank for axis in given or ()})
    if not axes and not site.spec.integer("noop_with_empty_axes", 0):
        axes = [*range(rank)]
    value = build.blocked(site, 0)
    inner = [axis for axis in axes if axis]
    if inner:
        value = _channels_first(build, site, value, inner)
        made = build.new((value.images, 1, value.rows, value.columns))
        build.operations.append(_step(Op.REDUCE, value, made, mode))
        value = made
    if 0 in axes:
        made = build.new((1, *value.shape[1:]), value.lanes)
        build.operations.append(_step(Op.REDUCE_IMAGES, value, made, mode))
        value = made
    build.put(site, site.node.outputs[0], value)


def _channels_first(build: Builder, site: Site, value: Value, axes: Sequence[int]) -> Value:
    """A value whose channels are the axes to reduce."""
    if axes == [1]:
        return value
    if [*axes] != [*range(axes[0], axes[-1] + 1)]:
        raise refusal(site, f"axes {list(axes)}, which are not neighbours,")
    shape = padded(value.shape)
    steps = [prod(shape[axis + 1 :]) for axis in range(4)]
    kept = [axis for axis in (1, 2, 3) if axis not in axes]
    sizes = [*(shape[axis] for axis in kept), 1, 1]
    strides = [*(steps[axis] for axis in kept), 0, 0]
    channels = prod(shape[axis] for axis in axes)
    return build.rearranged(
        value, (shape[0], channels, sizes[0], sizes[1]), None,
        (steps[0], steps[axes[-1]], strides[0], strides[1]),
    )  # fmt: skip


def _step(op: Op, source: Value, made: Value, mode: Reduce) -> Operation:
    return Operation(op, Part(source), Part(made), fields={
        "mode": mode, "images": source.images, "blocks": len(source.lanes),
        "rows": source.rows, "columns": source.columns,
    }, constants={"lanes": np.array(source.lanes, np.int32)})  # fmt: skip


RULES: dict[str, Rule] = {"Softmax": _softmax, **dict.fromkeys(_MODES, _reduce)}
