"""Layers between quantisers, computed in integers.

A layer is, if it reads codes and its result is rounded to codes: ReLU and Clip in between become
bounds of the codes. What has no rule here, or is not rounded, is computed in float32 as elsewhere,
from what the codes stand for.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.codes import (
    Coded,
    Coding,
    Weights,
    coding_of,
    dequantised,
    is_dequantised,
    refused,
    weights_of,
)
from mlcnn.engines.native.library import Op, Pool
from mlcnn.engines.native.packing import tiled_codes
from mlcnn.engines.native.program import Floats, Operation, Part, Value
from mlcnn.engines.native.reading import DENSE_ORDER, bounds_of, constant_of, shape_of, sizes_of
from mlcnn.graph import DEQUANTIZE, QUANTIZE, is_constant, is_quantiser, is_standard
from mlcnn.graph.operators import Windows, conv_windows, pool_windows
from mlcnn.nn.site import Site

__all__ = ["RULES", "take"]

_SUM_BOUND = 2**31
_SHORT_BOUND = 2**15


@dataclass(frozen=True, slots=True)
class _Target:
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
class _Beyond:
    """Where codes go, if only there: rounded once more, alone or in a sum.

    Attributes:
        target: the codes of the sum or concatenation.
        result: what the layer's codes are from now on.
        nodes: that the layer computes along.
        other: what is added.
    """

    target: _Target
    result: ir.Value
    nodes: tuple[ir.Node, ...]
    other: Coded | None


# -- what a node reads and writes


def _read(build: Builder, value: ir.Value | None) -> Coded | None:
    """The codes that a value stands for, if they are computed by now."""
    found = None if value is None else build.codes.get(value)
    maker = None if value is None else value.producer()
    if found is not None or maker is None or not is_quantiser(maker, DEQUANTIZE):
        return found
    source = None if maker.inputs[0] is None else build.codes.get(maker.inputs[0])
    return None if source is None else _behind(build.site(maker), source)


def _behind(site: Site, source: Coded) -> Coded:
    """Codes as a ``DequantizeLinear`` node reads them."""
    coding = coding_of(site)
    if coding.zero != source.coding.zero:
        raise refused(
            site, f"zero point {coding.zero} of codes made with {source.coding.zero}",
            "use the same zero point for both, or engine 'onnxruntime'",
        )  # fmt: skip
    return Coded(source.value, coding)


def _images(build: Builder, site: Site, index: int = 0) -> Coded | None:
    """A node's input, if it is codes in blocks of its own shape."""
    value = site.value(index)
    found = _read(build, value)
    if found is None or value is None or len(value.shape or ()) != 4:
        return None
    return found if found.value.shape == shape_of(value, site.spec.where) else None


def _target(build: Builder, result: ir.Value) -> _Target | None:
    """What a result is rounded to, if nothing else is done with it."""
    reader, nodes = build.only_reader(result), list[ir.Node]()
    bounds = None if reader is None else bounds_of(build.site(reader))
    low, high = (-np.inf, np.inf) if bounds is None else bounds
    if reader is not None and bounds is not None:
        nodes.append(reader)
        result = reader.outputs[0]
        reader = build.only_reader(result)
    if reader is None or not is_quantiser(reader, QUANTIZE) or reader.inputs[0] is not result:
        return None
    coding = coding_of(build.site(reader))
    return _Target(coding, *coding.bounds(low, high), reader.outputs[0], (*nodes, reader))


def _beyond(build: Builder, target: _Target, made: Value) -> _Beyond | None:
    """Where the codes of a target go, if only to a sum or a concatenation that is rounded."""
    leave = build.only_reader(target.result)
    if leave is None or not is_quantiser(leave, DEQUANTIZE):
        return None
    result = leave.outputs[0]
    reader = build.only_reader(result)
    if reader is None or coding_of(build.site(leave)) != target.coding or not is_standard(reader):
        return None
    if reader.op_type == "Concat":
        second = _target(build, reader.outputs[0])
        if second is None or second.coding == target.coding or len(second.nodes) > 1:
            return None
        return _Beyond(second, result, (leave,), None)
    others = [value for value in reader.inputs if value is not result]
    if reader.op_type != "Add" or len(others) != 1 or others[0] is None:
        return None
    other, second = _read(build, others[0]), _target(build, reader.outputs[0])
    if other is None or second is None or others[0].shape != result.shape or other.count > 1:
        return None
    if (other.value.shape, other.value.lanes) != (made.shape, made.lanes):
        return None
    return _Beyond(second, second.result, (leave, reader, *second.nodes), other)


def _codes(build: Builder, like: Value, coding: Coding) -> Value:
    made = build.new(like.shape, like.lanes)
    made.item_bytes, made.zero = 1, coding.zero
    return made


def _put(build: Builder, target: _Target, made: Value) -> None:
    build.done.update(target.nodes)
    build.codes[target.result] = Coded(made, target.coding)


# -- quantisers


def _quantise(build: Builder, site: Site) -> bool:
    source, result = site.value(0), site.node.outputs[0]
    if source is None or is_constant(source):
        return True  # a weight, which is read where it is used
    coding, found = coding_of(site), _read(build, source)
    ends = coding.bounds(-np.inf, np.inf)
    if found is not None and found.count == 1:
        target = _Target(coding, *ends, result, ())
        build.codes[result] = Coded(_recoded(build, found, target), coding)
        return True
    value = build.value_of(source, site.spec.where)
    made = _codes(build, value, coding)
    build.operations.append(Operation(Op.QUANTISE, Part(value), Part(made), None, {
        **_planes(value), **_ends(ends), "ratio": coding.step, "zero_y": coding.zero,
    }))  # fmt: skip
    build.codes[result] = Coded(made, coding)
    return True


def _dequantise(build: Builder, site: Site) -> bool:
    """Nothing to compute: who reads numbers, makes them."""
    source, result = site.node.inputs[0], site.node.outputs[0]
    if is_constant(source):
        return True
    found = _read(build, result)
    if found is None:
        raise refused(
            site, "it reads codes that no QuantizeLinear made", "use engine 'onnxruntime'"
        )
    build.codes[result] = found
    return True


def _planes(value: Value) -> dict[str, int | float]:
    return {
        "images": value.images, "blocks": len(value.lanes),
        "rows": value.rows, "columns": value.columns,
    }  # fmt: skip


def _ends(ends: tuple[float, float]) -> dict[str, int | float]:
    return {"low_y": ends[0], "high_y": ends[1]}


def _recoded(build: Builder, source: Coded, target: _Target, other: Coded | None = None) -> Value:
    """Codes rounded to another scale, together with others of the same blocks."""
    coding = source.coding
    ends = target.low, target.high
    if other is None and coding == target.coding and ends == coding.bounds(-np.inf, np.inf):
        return source.value
    made = _codes(build, source.value, target.coding)
    build.operations.append(
        Operation(
            Op.RECODE,
            Part(source.value),
            Part(made),
            None if other is None else Part(other.value),
            {**_planes(made), "zero": coding.zero, **_rounding(target, coding, other)},
        )
    )
    return made


def _rounding(target: _Target, coding: Coding, other: Coded | None) -> dict[str, int | float]:
    """How codes, and others that are added, are rounded to a target."""
    fields: dict[str, int | float] = {
        "ratio": float(np.float32(coding.step) / np.float32(target.coding.step)),
        "zero_y": target.coding.zero, "low_y": target.low, "high_y": target.high,
    }  # fmt: skip
    if other is not None:
        ratio = np.float32(other.coding.step) / np.float32(target.coding.step)
        fields |= {"ratio_z": float(ratio), "zero_z": other.coding.zero}
    return fields


# -- convolutions and dense layers


def _weights(
    build: Builder, site: Site, source: Coded, axis: int, filters: int | None
) -> Weights | None:
    """A layer's weights and biases, if they are stored in codes."""
    weight, bias = site.value(1), site.value(2)
    maker = None if weight is None else weight.producer()
    if maker is None or not is_dequantised(weight):
        return None
    found: Site | Floats | None = np.zeros(1, np.float32)
    if bias is not None:
        producer = bias.producer()
        found = constant_of(bias)
        if producer is not None and is_dequantised(bias):
            found = build.site(producer)
    if found is None or (isinstance(found, np.ndarray) and found.size not in {1, filters}):
        return None
    return weights_of(site, source, build.site(maker), found, axis)


def _filters(value: ir.Value | None, axis: int) -> int | None:
    shape = None if value is None else value.shape
    size = None if shape is None or len(shape) <= axis else shape[axis]
    return size if isinstance(size, int) else None


def _conv(build: Builder, site: Site) -> bool:
    source, target = _images(build, site), _target(build, site.node.outputs[0])
    if source is None or target is None or site.spec.integer("group", 1) != 1:
        return False
    weights = _weights(build, site, source, 0, _filters(site.value(1), 0))
    if weights is None or weights.codes.ndim != 4:
        return False
    if weights.codes.shape[1] != source.value.channels:
        return False
    windows = conv_windows(site.spec, weights.codes.shape[2:])
    return _convolve(build, site, source, weights, windows, target)


def _gemm(build: Builder, site: Site) -> bool:
    """A dense layer is a convolution whose kernel is as large as the image."""
    spec, source = site.spec, _read(build, site.value(0))
    target = _target(build, site.node.outputs[0])
    plain = not spec.integer("transA", 0) and spec.real("alpha", 1) == spec.real("beta", 1) == 1
    if source is None or target is None or not plain:
        return False
    axis = 0 if site.node.op_type == "Gemm" and spec.integer("transB", 0) else 1
    weights = _weights(build, site, source, axis, _filters(site.value(1), axis))
    sizes = sizes_of(site.value(0), spec.where)
    if weights is None or weights.codes.ndim != 2 or len(sizes) != 2:
        return False
    value = source.value
    if (value.images, value.channels * value.rows * value.columns) != sizes:
        return False
    kernel = value.rows, value.columns
    codes = weights.codes.reshape(len(weights.codes), value.channels, *kernel)
    shaped = Weights(codes, weights.steps, weights.biases)
    return _convolve(
        build, site, source, shaped, Windows(kernel, (1, 1), (1, 1), (0, 0), (0, 0)), target
    )


def _convolve(  # noqa: PLR0917 - one call's worth of a layer
    build: Builder, site: Site, source: Coded, weights: Weights, windows: Windows, target: _Target
) -> bool:
    fields = _windowed(source.value, windows)
    if fields is None:
        return False
    value, coding = source.value, target.coding
    (top, left), (bottom, right) = windows.pads((value.rows, value.columns))
    value.widen((top, left, bottom, right))
    shape = (value.images, len(weights.codes), int(fields["rows"]), int(fields["columns"]))
    made = build.new(shape)
    made.item_bytes = 1
    scale = np.float32(source.coding.step) * weights.steps / np.float32(coding.step)
    lanes = value.lanes
    operation = Operation(
        Op.CODES_CONV, Part(value, row=-top, column=-left), Part(made), None,
        {
            **fields, "blocks": len(lanes), "filters": len(made.lanes), "zero_y": coding.zero,
            "low": target.low, "high": target.high, "mode": int(source.count > 1),
            "zero": value.zero,
        },
        {
            "weights": tiled_codes(weights.codes, lanes, build.packing, value.item_bytes),
            "biases": build.packing.per_lane(_shifted(site, source, weights), made.lanes),
            "scales": build.packing.per_lane(scale, made.lanes),
            "lanes": np.array(lanes, np.int32),
        },
    )  # fmt: skip
    build.operations.append(operation)
    beyond = _beyond(build, target, made)
    if beyond is None:
        made.zero = coding.zero
        _put(build, target, made)
        return True
    other = beyond.other
    operation.fields |= _rounding(beyond.target, coding, other)
    operation.z = None if other is None else Part(other.value)
    made.zero = beyond.target.coding.zero
    build.done.update((*target.nodes, *beyond.nodes))
    build.codes[beyond.result] = Coded(made, beyond.target.coding)
    return True


def _windowed(value: Value, windows: Windows) -> dict[str, int | float] | None:
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


def _shifted(site: Site, source: Coded, weights: Weights) -> NDArray[np.int32]:
    """Biases from which zero points are taken off, where no sum can leave 32 bits."""
    flat = weights.codes.reshape(len(weights.codes), -1).astype(np.int64)
    # A sum of codes has no zero point any more: each adds between -255 and 255.
    zero = source.coding.zero if source.count == 1 else 0
    shifted = weights.biases - zero * flat.sum(1)
    above, below = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
    most = 255 * source.count
    least = 0 if source.count == 1 else -most
    greatest = np.maximum(shifted, shifted + above * most + below * least).max()
    lowest = np.minimum(shifted, shifted + below * most + above * least).min()
    if greatest >= _SUM_BOUND or lowest < -_SUM_BOUND:
        raise refused(
            site, f"sums of {flat.shape[1]} products may pass 32 bits",
            "use engine 'onnxruntime', or exclude this layer from quantisation",
        )  # fmt: skip
    return shifted.astype(np.int32)


# -- pools, sums, concatenations, bounds


def _pool(build: Builder, site: Site) -> bool:
    source, target = _images(build, site), _target(build, site.node.outputs[0])
    if source is None or source.count > 1:
        return False
    value, kind = source.value, site.node.op_type
    everything = Windows((value.rows, value.columns), (1, 1), (1, 1), (0, 0), (0, 0))
    windows = everything if kind.startswith("Global") else pool_windows(site.spec)
    fields = _windowed(value, windows)
    if fields is None:
        return False
    like = Value(value.images, value.lanes, int(fields["rows"]), int(fields["columns"]))
    if kind.endswith("MaxPool"):
        made = _codes(build, like, source.coding)
        largest = {**fields, "mode": Pool.MAX}
        build.operations.append(Operation(Op.CODES_POOL, Part(value), Part(made), None, largest))
        build.codes[site.node.outputs[0]] = Coded(made, source.coding)
        return True
    if target is None:
        return kind == "AveragePool" and _box(build, site, source, windows, fields, like)
    made = _codes(build, like, target.coding)
    padded = kind == "AveragePool" and site.spec.integer("count_include_pad", 0)
    build.operations.append(Operation(Op.CODES_POOL, Part(value), Part(made), None, {
        **fields, **_rounding(target, source.coding, None), "zero": source.coding.zero,
        "mode": Pool.AVERAGE_PADDED if padded else Pool.AVERAGE,
    }))  # fmt: skip
    _put(build, target, made)
    return True


def _box(  # noqa: PLR0917 - one pool's worth
    build: Builder, site: Site, source: Coded, windows: Windows, fields: dict[str, int | float],
    like: Value,
) -> bool:  # fmt: skip
    """Means that only convolutions read, as a fused average pool leaves them."""
    result, (before, after) = (
        site.node.outputs[0],
        windows.pads((source.value.rows, source.value.columns)),
    )
    count, coding = windows.kernel[0] * windows.kernel[1], source.coding
    whole = site.spec.integer("count_include_pad", 0) or not any((*before, *after))
    if not whole or site.spec.integer("ceil_mode", 0) or 255 * count >= _SHORT_BOUND:
        return False
    readers = [use.node for use in result.uses()]
    if result.is_graph_output() or not readers or any(n.op_type != "Conv" for n in readers):
        return False
    value = source.value
    if build.rounded_means:
        made = _codes(build, like, coding)
        build.operations.append(Operation(Op.CODES_POOL, Part(value), Part(made), None, {
            **fields, **_ends(coding.bounds(-np.inf, np.inf)), "mode": Pool.AVERAGE_PADDED,
            "ratio": 1, "zero": coding.zero, "zero_y": coding.zero,
        }))  # fmt: skip
        build.codes[result] = Coded(made, coding)
        return True
    value.widen((*before, *after))
    made = build.new(like.shape, like.lanes)
    made.item_bytes = 2
    build.operations.append(Operation(
        Op.SUMS, Part(value, row=-before[0], column=-before[1]), Part(made), None,
        {**fields, "zero": coding.zero},
    ))  # fmt: skip
    step = float(np.float32(coding.step) / np.float32(count))
    build.codes[result] = Coded(made, Coding(step, 0), count)
    return True


def _add(build: Builder, site: Site) -> bool:
    target = _target(build, site.node.outputs[0])
    pair = [_read(build, value) for value in site.node.inputs]
    shapes = [None if value is None else value.shape for value in site.node.inputs]
    if target is None or len(pair) != 2 or shapes[0] != shapes[1]:
        return False
    one, other = pair
    if one is None or other is None or one.count > 1 or other.count > 1:
        return False
    if (one.value.shape, one.value.lanes) != (other.value.shape, other.value.lanes):
        return False
    _put(build, target, _recoded(build, one, target, other))
    return True


def _bound(build: Builder, site: Site) -> bool:
    source, bounds = _read(build, site.value(0)), bounds_of(site)
    target = _target(build, site.node.outputs[0])
    if source is None or source.count > 1 or bounds is None or target is None:
        return False
    low, high = target.coding.bounds(*bounds)
    ends = max(low, target.low), min(high, target.high)
    bounded = _Target(target.coding, *ends, target.result, target.nodes)
    _put(build, bounded, _recoded(build, source, bounded))
    return True


def _concat(build: Builder, site: Site) -> bool:
    result = site.node.outputs[0]
    target = _target(build, result)
    parts = [_images(build, site, index) for index in range(len(site.node.inputs))]
    rank = len(result.shape or ())
    if target is None or rank != 4 or site.spec.integer("axis", 1) % rank != 1:
        return False
    found = [part for part in parts if part is not None and part.count == 1]
    if len(found) < len(parts):
        return False
    values = list[Value]()
    for part in found:
        value = _recoded(build, part, target)
        if value.whole is not None or value in values:
            value = _copied(build, value)
        values.append(value)
    first = values[0]
    lanes = tuple(count for value in values for count in value.lanes)
    made = _codes(build, Value(first.images, lanes, first.rows, first.columns), target.coding)
    block = 0
    for value in values:
        value.whole, value.block = made, block
        block += len(value.lanes)
    _put(build, target, made)
    return True


def _copied(build: Builder, value: Value) -> Value:
    """The same codes once more."""
    made = _codes(build, value, Coding(1, value.zero))
    build.operations.append(Operation(Op.RECODE, Part(value), Part(made), None, {
        **_planes(value), **_ends((-value.zero, 255 - value.zero)),
        "zero": value.zero, "zero_y": value.zero, "ratio": 1,
    }))  # fmt: skip
    return made


def _same(build: Builder, site: Site) -> bool:
    found = _read(build, site.value(0))
    if found is None or site.node.op_type == "Dropout":
        return False
    build.codes[site.node.outputs[0]] = found
    return True


RULES: dict[str, Callable[[Builder, Site], bool]] = {
    "Add": _add,
    "AveragePool": _pool,
    "Clip": _bound,
    "Concat": _concat,
    "Conv": _conv,
    "DequantizeLinear": _dequantise,
    "Gemm": _gemm,
    "GlobalAveragePool": _pool,
    "GlobalMaxPool": _pool,
    "MatMul": _gemm,
    "MaxPool": _pool,
    "QuantizeLinear": _quantise,
    "Relu": _bound,
    **dict.fromkeys(DENSE_ORDER, _same),
}


def take(build: Builder, site: Site) -> bool:
    """Lower a node in integers.

    Returns:
        False where it is to be computed in float32; its constants are no codes then any more.

    Raises:
        UnsupportedError: it is quantised in a way that is supported in no form.
    """
    rule = RULES.get(site.node.op_type)
    if rule is not None and rule(build, site):
        return True
    for value in site.node.inputs:
        maker = None if value is None else value.producer()
        if value is not None and maker is not None and is_dequantised(value):
            value.const_value = ir.tensor(dequantised(build.site(maker)))
    return False
