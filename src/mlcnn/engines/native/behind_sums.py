"""What is done with sums of codes that no code is made of at once: a bias of floats, an addition.

Quantisers of few bits leave biases in floats behind the layers: rounded to steps of the products
they would be coarse. Results of residual blocks are floats, which several layers read.
"""

from dataclasses import dataclass
from math import inf

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.library import Finish
from mlcnn.engines.native.program import Floats, Operation, Part, Value
from mlcnn.engines.native.reading import bounds_of, constant_of
from mlcnn.engines.native.rounded import (
    Target,
    codes_like,
    ends_of,
    put_codes,
    target_beside,
    target_beyond_pool,
    target_of,
)
from mlcnn.graph import is_standard
from mlcnn.nn.site import Site

__all__ = ["Behind", "behind_sums", "put_behind"]


@dataclass(frozen=True, slots=True, eq=False)
class Behind:
    """What follows a convolution of codes.

    Attributes:
        shift: what is added to each filter's results.
        residual: floats that are added, where the results stay floats.
        low: the least result.
        high: the greatest.
        result: the value that all this makes.
        nodes: that the layer computes along.
        target: the codes that it is rounded to; None where the results stay floats.
        beside: codes that such floats are rounded to for those that read codes.
    """

    shift: Floats
    residual: Value | None
    low: float
    high: float
    result: ir.Value
    nodes: tuple[ir.Node, ...]
    target: Target | None
    beside: Target | None = None


def behind_sums(build: Builder, result: ir.Value, made: Value) -> Behind:
    """What follows a convolution, as far as it can do it.

    Args:
        build: the network so far.
        result: of the convolution.
        made: where it would lie.
    """
    nodes, shift = list[ir.Node](), np.zeros(made.channels, np.float32)
    found = _added(build, result)
    bias = None if found is None else _per_filter(found[1], result, made.channels)
    if found is not None and bias is not None:
        nodes.append(found[0])
        result, shift = found[0].outputs[0], bias
    target = target_of(build, result) or target_beyond_pool(build, result)
    if target is not None:
        ends = target.low, target.high
        return Behind(shift, None, *ends, target.result, (*nodes, *target.nodes), target)
    residual, found = None, _added(build, result)
    other = None if found is None else build.known(found[1])
    like = (made.shape, made.lanes, 4)
    if found is not None and other is not None and found[1].shape == result.shape and (
        (other.shape, other.lanes, other.item_bytes) == like
    ):  # fmt: skip
        nodes.append(found[0])
        result, residual = found[0].outputs[0], other
    low, high = -inf, inf
    reader = build.only_reader(result)
    bounds = None if reader is None else bounds_of(build.site(reader))
    if reader is not None and bounds is not None and target_of(build, result) is None:
        nodes.append(reader)
        result, (low, high) = reader.outputs[0], bounds
    beside = target_beside(build, result)
    return Behind(shift, residual, low, high, result, tuple(nodes), None, beside)


def _added(build: Builder, result: ir.Value) -> tuple[ir.Node, ir.Value] | None:
    """The node that adds something to a value, if nothing else reads it, and what it adds."""
    reader = build.only_reader(result)
    if reader is None or reader.op_type != "Add" or not is_standard(reader):
        return None
    others = [value for value in reader.inputs if value is not None and value is not result]
    return (reader, others[0]) if len(others) == 1 else None


def _per_filter(value: ir.Value, result: ir.Value, filters: int) -> Floats | None:
    """A constant as a number for each filter; None where it is no such thing."""
    array = constant_of(value)
    rank = len(result.shape or ())
    if array is None or array.ndim > rank:
        return None
    sizes = (1,) * (rank - array.ndim) + array.shape
    if array.size == 1:
        return np.full(filters, array.reshape(()), np.float32)
    fits = sizes[1] == filters == array.size
    return array.reshape(-1) if fits else None


def put_behind(  # noqa: PLR0917 - one layer and what follows
    build: Builder, site: Site, operation: Operation, made: Value, steps: Floats, behind: Behind
) -> None:
    """Let an operation do it.

    Args:
        build: the network so far.
        site: the convolution.
        operation: likewise.
        made: where its results lie.
        steps: what a sum of 1 stands for, of each filter.
        behind: what follows.
    """
    build.done.update(behind.nodes)
    scale, shift = steps.astype(np.float32), behind.shift
    operation.fields |= {"finish": Finish.FLOATS, "low": behind.low, "high": behind.high}
    if behind.target is not None:
        step = np.float32(behind.target.coding.step)
        scale, shift = scale / step, shift / step
        made.item_bytes = 1
        made.zero = behind.target.coding.zero
        operation.fields |= {"finish": Finish.SHIFTED_CODES, "zero_y": made.zero}
        put_codes(build, behind.target, made)
    operation.constants |= {
        "scales": build.packing.per_lane(scale, made.lanes),
        "shifts": build.packing.per_lane(shift, made.lanes),
    }
    if behind.target is None:
        operation.z = None if behind.residual is None else Part(behind.residual)
        build.put(site, behind.result, made)
    if behind.beside is not None:
        coding = behind.beside.coding
        codes = codes_like(build, made, coding)
        operation.rounded = Part(codes)
        operation.fields |= {
            "ratio": coding.step, "zero_y": coding.zero,
            **ends_of((behind.beside.low, behind.beside.high)),
        }  # fmt: skip
        put_codes(build, behind.beside, codes)
