"""What a node reads in codes, and the codes that its result is rounded to."""

from dataclasses import dataclass

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.codes import (
    Coded,
    Coding,
    coding_of,
    refused,
)
from mlcnn.engines.native.library import Op
from mlcnn.engines.native.program import Operation, Part, Value
from mlcnn.engines.native.reading import DENSE_ORDER, bounds_of, shape_of
from mlcnn.graph import DEQUANTIZE, QUANTIZE, is_quantiser, is_standard
from mlcnn.graph.operators import Windows
from mlcnn.nn.site import Site

__all__ = [
    "Beyond",
    "Target",
    "behind",
    "beyond_of",
    "codes_like",
    "ends_of",
    "images_of",
    "planes_of",
    "put_codes",
    "read_codes",
    "recoded",
    "rounding_of",
    "target_beside",
    "target_beyond_pool",
    "target_of",
    "windowed",
]


_RESHAPING = DENSE_ORDER - {"Dropout"}


@dataclass(frozen=True, slots=True)
class Target:
    """The codes that a result is rounded to.

    Attributes:
        coding: what they stand for.
        low: the least, without the zero point.
        high: the greatest.
        result: the value that is these codes.
        nodes: that the layer computes along.
    """

    coding: Coding
    low: float
    high: float
    result: ir.Value
    nodes: tuple[ir.Node, ...]


@dataclass(frozen=True, slots=True)
class Beyond:
    """Where codes go, if only there: rounded once more, alone or in a sum.

    Attributes:
        target: the codes of the sum or concatenation.
        result: what the layer's codes are from now on.
        nodes: that the layer computes along.
        other: what is added.
    """

    target: Target
    result: ir.Value
    nodes: tuple[ir.Node, ...]
    other: Coded | None


# -- what a node reads and writes


def read_codes(build: Builder, value: ir.Value | None) -> Coded | None:
    """The codes that a value stands for, if they are computed by now."""
    found = None if value is None else build.codes.get(value)
    maker = None if value is None else value.producer()
    if found is not None or maker is None or not is_quantiser(maker, DEQUANTIZE):
        return found
    source = None if maker.inputs[0] is None else build.codes.get(maker.inputs[0])
    return None if source is None else behind(build.site(maker), source)


def behind(site: Site, source: Coded) -> Coded:
    """Codes as a ``DequantizeLinear`` node reads them."""
    coding = coding_of(site)
    if coding.zero != source.coding.zero:
        raise refused(
            site, f"zero point {coding.zero} of codes made with {source.coding.zero}",
            "use the same zero point for both, or engine 'onnxruntime'",
        )  # fmt: skip
    return Coded(source.value, coding, 1, source.low, source.high)


def images_of(build: Builder, site: Site, index: int = 0) -> Coded | None:
    """A node's input, if it is codes in blocks of its own shape."""
    value = site.value(index)
    found = read_codes(build, value)
    if found is None or value is None or len(value.shape or ()) != 4:
        return None
    return found if found.value.shape == shape_of(value, site.spec.where) else None


def target_of(build: Builder, result: ir.Value) -> Target | None:
    """What a result is rounded to, if nothing else is done with it."""
    return _target(build, _bounded(build, result, build.only_reader(result)))


def target_beside(build: Builder, result: ir.Value) -> Target | None:
    """What a result is rounded to by one of those that read it."""
    readers = () if build.is_output(result) else result.consumers()
    found = (_target(build, _bounded(build, result, reader)) for reader in readers)
    return next(filter(None, found), None)


def target_beyond_pool(build: Builder, result: ir.Value) -> Target | None:
    """What the maxima of a result are rounded to: they are the maxima of its codes.

    The result of the target is what the pool reads.
    """
    before = _bounded(build, result, build.only_reader(result))
    pool = before.reader
    if pool is None or pool.op_type != "MaxPool" or not is_standard(pool):
        return None
    maxima = pool.outputs[0]
    while (reader := build.only_reader(maxima)) is not None and reader.op_type in _RESHAPING:
        maxima = reader.outputs[0]
    target = target_of(build, maxima)
    if target is None or len(pool.outputs) > 1:
        return None
    ends = target.coding.bounds(before.low, before.high)
    low, high = (float(np.clip(end, target.low, target.high)) for end in ends)
    return Target(target.coding, low, high, before.result, before.nodes)


@dataclass(frozen=True, slots=True)
class _Bounded:
    """A result behind the bounds that one reader after the other gives it.

    Attributes:
        result: it.
        low: the least of it.
        high: the greatest.
        nodes: that bound it.
        reader: what reads it alone.
    """

    result: ir.Value
    low: float
    high: float
    nodes: tuple[ir.Node, ...]
    reader: ir.Node | None


def _bounded(build: Builder, result: ir.Value, reader: ir.Node | None) -> _Bounded:
    """A result from one of its readers on."""
    nodes, low, high = list[ir.Node](), -np.inf, np.inf
    while reader is not None and (bounds := bounds_of(build.site(reader))) is not None:
        low, high = (float(np.clip(end, *bounds)) for end in (low, high))
        nodes.append(reader)
        result = reader.outputs[0]
        reader = build.only_reader(result)
    return _Bounded(result, low, high, tuple(nodes), reader)


def _target(build: Builder, found: _Bounded) -> Target | None:
    reader = found.reader
    if reader is None or not is_quantiser(reader, QUANTIZE) or reader.inputs[0] is not found.result:
        return None
    coding = coding_of(build.site(reader))
    ends = coding.bounds(found.low, found.high)
    return Target(coding, *ends, reader.outputs[0], (*found.nodes, reader))


def beyond_of(build: Builder, target: Target, made: Value) -> Beyond | None:
    """Where the codes of a target go, if only to a sum or a concatenation that is rounded."""
    leave = build.only_reader(target.result)
    if leave is None or not is_quantiser(leave, DEQUANTIZE):
        return None
    result = leave.outputs[0]
    reader = build.only_reader(result)
    if reader is None or coding_of(build.site(leave)) != target.coding or not is_standard(reader):
        return None
    if reader.op_type == "Concat":
        second = target_of(build, reader.outputs[0])
        if second is None or second.coding == target.coding or len(second.nodes) > 1:
            return None
        return Beyond(second, result, (leave,), None)
    others = [value for value in reader.inputs if value is not result]
    if reader.op_type != "Add" or len(others) != 1 or others[0] is None:
        return None
    other, second = read_codes(build, others[0]), target_of(build, reader.outputs[0])
    if other is None or second is None or others[0].shape != result.shape or other.count > 1:
        return None
    if (other.value.shape, other.value.lanes) != (made.shape, made.lanes):
        return None
    return Beyond(second, second.result, (leave, reader, *second.nodes), other)


def codes_like(build: Builder, like: Value, coding: Coding) -> Value:
    """A new value of codes in the blocks of another."""
    made = build.new(like.shape, like.lanes)
    made.item_bytes, made.zero = 1, coding.zero
    return made


def put_codes(build: Builder, target: Target, made: Value) -> None:
    """Say that a target's codes are computed, and where they lie."""
    build.done.update(target.nodes)
    build.codes[target.result] = Coded(made, target.coding, 1, target.low, target.high)


# -- quantisers


def planes_of(value: Value) -> dict[str, int | float]:
    """Fields of a step that reads all of a value."""
    return {
        "images": value.images, "blocks": len(value.lanes),
        "rows": value.rows, "columns": value.columns,
    }  # fmt: skip


def ends_of(ends: tuple[float, float]) -> dict[str, int | float]:
    """Fields of the bounds of codes, without the zero point."""
    return {"low_y": ends[0], "high_y": ends[1]}


def recoded(build: Builder, source: Coded, target: Target, other: Coded | None = None) -> Value:
    """Codes rounded to another scale, together with others of the same blocks."""
    coding = source.coding
    least, greatest = coding.bounds(-np.inf, np.inf)
    low, high = max(source.low, least), min(source.high, greatest)
    if other is None and coding == target.coding and target.low <= low and high <= target.high:
        return source.value
    made = codes_like(build, source.value, target.coding)
    build.operations.append(
        Operation(
            Op.RECODE,
            Part(source.value),
            Part(made),
            None if other is None else Part(other.value),
            {**planes_of(made), "zero": coding.zero, **rounding_of(target, coding, other)},
        )
    )
    return made


def rounding_of(target: Target, coding: Coding, other: Coded | None) -> dict[str, int | float]:
    """How codes, and others that are added, are rounded to a target."""
    fields: dict[str, int | float] = {
        "ratio": float(np.float32(coding.step) / np.float32(target.coding.step)),
        "zero_y": target.coding.zero, "low_y": target.low, "high_y": target.high,
    }  # fmt: skip
    if other is not None:
        ratio = np.float32(other.coding.step) / np.float32(target.coding.step)
        fields |= {"ratio_z": float(ratio), "zero_z": other.coding.zero}
    return fields


def windowed(value: Value, windows: Windows) -> dict[str, int | float] | None:
    """Fields of a convolution or pool; None where windows are smaller than none, or larger."""
    sizes = value.rows, value.columns
    (top, left), (bottom, right) = windows.pads(sizes)
    rows, columns = windows.counts(sizes)
    if min(top, left, bottom, right) < 0 or min(rows, columns) < 1 or len(windows.kernel) != 2:
        return None
    return {
        "images": value.images, "blocks": len(value.lanes), "rows": rows, "columns": columns,
        "input_rows": sizes[0], "input_columns": sizes[1],
        "kernel_rows": windows.kernel[0], "kernel_columns": windows.kernel[1],
        "stride_rows": windows.strides[0], "stride_columns": windows.strides[1],
        "dilation_rows": windows.dilations[0], "dilation_columns": windows.dilations[1],
        "top": top, "left": left, "bottom": bottom, "right": right,
    }  # fmt: skip
