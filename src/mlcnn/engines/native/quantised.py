"""Layers between quantisers, computed in integers.

A layer is, if it reads codes and its result is rounded to codes: ReLU and Clip in between become
bounds of the codes. What has no rule here, or is not rounded, is computed in float32 as elsewhere,
from what the codes stand for.
"""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import onnx_ir as ir

from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.codes import (
    Coded,
    Coding,
    coding_of,
    dequantised,
    is_dequantised,
    refused,
)
from mlcnn.engines.native.library import Op, Pool
from mlcnn.engines.native.program import Operation, Part, Value
from mlcnn.engines.native.quantised_layers import conv, gemm
from mlcnn.engines.native.reading import DENSE_ORDER, bounds_of, dense_strides, shape_of
from mlcnn.engines.native.rounded import (
    Target,
    codes_like,
    ends_of,
    images_of,
    planes_of,
    put_codes,
    read_codes,
    recoded,
    rounding_of,
    target_of,
    windowed,
)
from mlcnn.graph import DEQUANTIZE, QUANTIZE, is_constant
from mlcnn.graph.operators import Windows, pool_windows
from mlcnn.nn.site import Site

__all__ = ["RULES", "take"]

_SHORT_BOUND = 2**15


def _quantise(build: Builder, site: Site) -> bool:
    source, result = site.value(0), site.node.outputs[0]
    if source is None or is_constant(source):
        return True  # a weight, which is read where it is used
    coding, found = coding_of(site), read_codes(build, source)
    ends = coding.bounds(-np.inf, np.inf)
    if found is not None and found.count == 1:
        target = Target(coding, *ends, result, ())
        build.codes[result] = Coded(recoded(build, found, target), coding)
        return True
    if source in build.arrays:
        made = build.new(shape_of(source, site.spec.where))
        operation = Operation(Op.QUANTISE, strides=dense_strides(made.shape))
        operation.fields["buffer"] = build.arrays[source]
        operation.constants["lanes"] = np.array(made.lanes, np.int32)
        build.codes[result] = Coded(_filled(build, operation, made, coding, ends), coding)
        return True
    value = build.value_of(source, site.spec.where)
    build.codes[result] = Coded(_rounded(build, value, coding, ends), coding)
    return True


def _dequantise(build: Builder, site: Site) -> bool:
    """Nothing to compute: who reads numbers, makes them."""
    source, result = site.node.inputs[0], site.node.outputs[0]
    if is_constant(source):
        return True
    found = read_codes(build, result)
    if found is None:
        raise refused(
            site, "it reads codes that no QuantizeLinear made", "use engine 'onnxruntime'"
        )
    build.codes[result] = found
    return True


def _pool(build: Builder, site: Site) -> bool:
    source, target = images_of(build, site), target_of(build, site.node.outputs[0])
    if source is None or source.count > 1:
        return False
    value, kind = source.value, site.node.op_type
    everything = Windows((value.rows, value.columns), (1, 1), (1, 1), (0, 0), (0, 0))
    windows = everything if kind.startswith("Global") else pool_windows(site.spec)
    fields = windowed(value, windows)
    if fields is None:
        return False
    like = Value(value.images, value.lanes, int(fields["rows"]), int(fields["columns"]))
    if kind.endswith("MaxPool"):
        made = codes_like(build, like, source.coding)
        build.codes[site.node.outputs[0]] = replace(source, value=made)
        largest = {**fields, "mode": Pool.MAX}
        build.operations.append(Operation(Op.CODES_POOL, Part(value), Part(made), None, largest))
        return True
    if target is None:
        return kind == "AveragePool" and _box(build, site, source, windows, fields, like)
    made = codes_like(build, like, target.coding)
    padded = kind == "AveragePool" and site.spec.integer("count_include_pad", 0)
    build.operations.append(Operation(Op.CODES_POOL, Part(value), Part(made), None, {
        **fields, **rounding_of(target, source.coding, None), "zero": source.coding.zero,
        "mode": Pool.AVERAGE_PADDED if padded else Pool.AVERAGE,
    }))  # fmt: skip
    put_codes(build, target, made)
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
    value.widen((*before, *after))
    made = codes_like(build, like, coding)
    if not build.rounded_means:
        made.item_bytes, made.zero = 2, 0
    build.operations.append(Operation(
        Op.SUMS, Part(value, row=-before[0], column=-before[1]), Part(made), None,
        {**fields, "zero": coding.zero, "mode": build.rounded_means},
    ))  # fmt: skip
    if build.rounded_means:
        build.codes[result] = replace(source, value=made)
        return True
    step = float(np.float32(coding.step) / np.float32(count))
    ends = (count * (end - coding.zero) for end in source.ends)
    build.codes[result] = Coded(made, Coding(step, 0), count, *ends)
    return True


def _add(build: Builder, site: Site) -> bool:
    target = target_of(build, site.node.outputs[0])
    pair = [read_codes(build, value) for value in site.node.inputs]
    shapes = [None if value is None else value.shape for value in site.node.inputs]
    if target is None or len(pair) != 2 or shapes[0] != shapes[1]:
        return False
    one, other = pair
    if one is None or other is None or one.count > 1 or other.count > 1:
        return False
    if (one.value.shape, one.value.lanes) != (other.value.shape, other.value.lanes):
        return False
    put_codes(build, target, recoded(build, one, target, other))
    return True


def _bound(build: Builder, site: Site) -> bool:
    source, bounds = read_codes(build, site.value(0)), bounds_of(site)
    target, floats = target_of(build, site.node.outputs[0]), build.known(site.value(0))
    if bounds is None or target is None:
        return False
    low, high = target.coding.bounds(*bounds)
    ends = max(low, target.low), min(high, target.high)
    bounded = Target(target.coding, *ends, target.result, target.nodes)
    if source is not None and source.count == 1:
        put_codes(build, bounded, recoded(build, source, bounded))
    elif source is None and floats is not None:
        put_codes(build, bounded, _rounded(build, floats, target.coding, ends))
    else:
        return False
    return True


def _rounded(build: Builder, value: Value, coding: Coding, ends: tuple[float, float]) -> Value:
    """Floats as codes."""
    return _filled(build, Operation(Op.QUANTISE, Part(value)), value, coding, ends)


def _filled(
    build: Builder, operation: Operation, like: Value, coding: Coding, ends: tuple[float, float]
) -> Value:
    """The codes that a quantiser makes, in the blocks of a value."""
    made = codes_like(build, like, coding)
    operation.y = Part(made)
    operation.fields |= {
        **planes_of(made), **ends_of(ends), "ratio": coding.step, "zero_y": coding.zero,
    }  # fmt: skip
    build.operations.append(operation)
    return made


def _concat(build: Builder, site: Site) -> bool:
    result = site.node.outputs[0]
    target = target_of(build, result)
    parts = [images_of(build, site, index) for index in range(len(site.node.inputs))]
    rank = len(result.shape or ())
    if target is None or rank != 4 or site.spec.integer("axis", 1) % rank != 1:
        return False
    found = [part for part in parts if part is not None and part.count == 1]
    if len(found) < len(parts):
        return False
    values = list[Value]()
    for part in found:
        value = recoded(build, part, target)
        if value.whole is not None or value in values:
            value = _copied(build, value)
        values.append(value)
    first = values[0]
    lanes = tuple(count for value in values for count in value.lanes)
    made = codes_like(build, Value(first.images, lanes, first.rows, first.columns), target.coding)
    block = 0
    for value in values:
        value.whole, value.block = made, block
        block += len(value.lanes)
    put_codes(build, target, made)
    return True


def _copied(build: Builder, value: Value) -> Value:
    """The same codes once more."""
    made = codes_like(build, value, Coding(1, value.zero))
    build.operations.append(Operation(Op.RECODE, Part(value), Part(made), None, {
        **planes_of(value), **ends_of((-value.zero, 255 - value.zero)),
        "zero": value.zero, "zero_y": value.zero, "ratio": 1,
    }))  # fmt: skip
    return made


def _same(build: Builder, site: Site) -> bool:
    found = read_codes(build, site.value(0))
    if found is None or site.node.op_type == "Dropout":
        return False
    build.codes[site.node.outputs[0]] = found
    return True


RULES: dict[str, Callable[[Builder, Site], bool]] = {
    "Add": _add,
    "AveragePool": _pool,
    "Clip": _bound,
    "Concat": _concat,
    "Conv": conv,
    "DequantizeLinear": _dequantise,
    "Gemm": gemm,
    "GlobalAveragePool": _pool,
    "GlobalMaxPool": _pool,
    "MatMul": gemm,
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
    only_rounded = not build.integers and site.node.op_type not in {QUANTIZE, DEQUANTIZE}
    rule = None if only_rounded else RULES.get(site.node.op_type)
    if rule is not None and rule(build, site):
        return True
    for value in site.node.inputs:
        maker = None if value is None else value.producer()
        if value is not None and maker is not None and is_dequantised(value):
            value.const_value = ir.tensor(dequantised(build.site(maker)))
    return False
