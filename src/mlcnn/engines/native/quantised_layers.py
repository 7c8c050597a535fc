"""Convolutions and dense layers of codes, computed in integers."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.engines.native.behind_sums import behind_sums, put_behind
from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.coded_groups import (
    CodedGroup,
    beside,
    give_filters,
    groups_of,
    implement_depthwise,
    is_by_channel,
)
from mlcnn.engines.native.codes import (
    Coded,
    Weights,
    is_dequantised,
    refused,
    weights_of,
)
from mlcnn.engines.native.comparator import behind_comparisons, comparison_of
from mlcnn.engines.native.few_bits import CodedLayer, implement_codes, numbers_of
from mlcnn.engines.native.geometry import FewBits, Geometry
from mlcnn.engines.native.kinds import Few, Kind
from mlcnn.engines.native.library import Library, Op
from mlcnn.engines.native.program import Floats, Operation, Part, Value
from mlcnn.engines.native.reading import constant_of, sizes_of
from mlcnn.engines.native.rounded import (
    Target,
    beyond_of,
    images_of,
    put_codes,
    read_codes,
    rounding_of,
    target_of,
    windowed,
)
from mlcnn.graph.operators import Windows, conv_windows
from mlcnn.nn.site import Site

__all__ = ["conv", "gemm"]

_FLOATS = (
    "its weights are floats, not codes (of zero points between codes, `mlcnn quantize` makes odd "
    "codes)"
)
_SUM_BOUND = 2**31


def _in_floats(build: Builder, site: Site, source: Coded | None) -> str:
    """Why a layer reads no codes, where quantisers stand in front of it; empty elsewhere."""
    value, rounded = site.value(0), is_dequantised(site.value(1))
    if source is not None:
        return "" if rounded else _FLOATS
    if value is not None and value in build.uncoded:
        return build.uncoded[value]
    return "its inputs are floats, not codes" if rounded else ""


def _weights(
    build: Builder, site: Site, source: Coded, axis: int, filters: int | None
) -> Weights | str:
    """A layer's weights and biases, stored in codes; in words why they are not to be had so."""
    weight, bias = site.value(1), site.value(2)
    maker = None if weight is None else weight.producer()
    if maker is None:
        return _FLOATS
    found: Site | Floats | None = np.zeros(1, np.float32)
    if bias is not None:
        producer = bias.producer()
        found = constant_of(bias)
        if producer is not None and is_dequantised(bias):
            found = build.site(producer)
    if found is None or (isinstance(found, np.ndarray) and found.size not in {1, filters}):
        return "its bias is no constant of a number for each filter"
    return weights_of(source, build.site(maker), found, axis)


def _filters(value: ir.Value | None, axis: int) -> int | None:
    shape = None if value is None else value.shape
    size = None if shape is None or len(shape) <= axis else shape[axis]
    return size if isinstance(size, int) else None


def conv(build: Builder, site: Site) -> bool:
    """A convolution of codes; False where it is to be computed in float32."""
    source, target = images_of(build, site), target_of(build, site.node.outputs[0])
    reason, groups = _in_floats(build, site, source), site.spec.integer("group", 1)
    if source is None or reason:
        return build.decline(site, reason)
    weights = _weights(build, site, source, 0, _filters(site.value(1), 0))
    if isinstance(weights, str):
        return build.decline(site, weights)
    if weights.codes.ndim != 4 or weights.codes.shape[1] * groups != source.value.channels:
        return build.decline(site, "it is no convolution of images")
    windows = conv_windows(site.spec, weights.codes.shape[2:])
    return _convolve(build, site, source, weights, windows, target, groups)


def gemm(build: Builder, site: Site) -> bool:
    """A dense layer is a convolution whose kernel is as large as the image."""
    spec, source = site.spec, read_codes(build, site.value(0))
    target = target_of(build, site.node.outputs[0])
    plain = not spec.integer("transA", 0) and spec.real("alpha", 1) == spec.real("beta", 1) == 1
    reason = _in_floats(build, site, source)
    if source is None or reason:
        return build.decline(site, reason)
    if not plain:
        return build.decline(site, "alpha or beta is not 1, or its input is transposed")
    axis = 0 if site.node.op_type == "Gemm" and spec.integer("transB", 0) else 1
    if len(getattr(site.value(1), "shape", None) or ()) != 2:
        return build.decline(site, "its weights are no matrix")
    weights = _weights(build, site, source, axis, _filters(site.value(1), axis))
    sizes = sizes_of(site.value(0), spec.where)
    if isinstance(weights, str):
        return build.decline(site, weights)
    value = source.value
    if (value.images, value.channels * value.rows * value.columns) != sizes:
        return build.decline(site, "it multiplies no rows of images by a matrix")
    kernel = value.rows, value.columns
    codes = weights.codes.reshape(len(weights.codes), value.channels, *kernel)
    shaped = replace(weights, codes=codes)
    return _convolve(
        build, site, source, shaped, Windows(kernel, (1, 1), (1, 1), (0, 0), (0, 0)), target
    )


def _convolve(  # noqa: PLR0917 - one call's worth of a layer
    build: Builder, site: Site, source: Coded, weights: Weights, windows: Windows,
    target: Target | None, groups: int = 1,
) -> bool:  # fmt: skip
    fields = windowed(source.value, windows)
    if fields is None:
        return build.decline(site, "its padding is negative, or its image smaller than its kernel")
    value, result = source.value, site.node.outputs[0]
    shape = (value.images, len(weights.codes), int(fields["rows"]), int(fields["columns"]))
    apart = is_by_channel(weights.codes, groups, source.ends)
    made = build.new(shape, value.lanes if apart else None)
    parts = groups_of(build.packing, value.lanes, weights.codes, 1 if apart else groups)
    few, sums = [_few(source, part) for part in parts], _shifted(source, weights)
    behind, comparison = None, comparison_of(build, site, value, windows, len(parts))
    exact = comparison is not None or all(bits.is_few for bits in few)
    if target is None or (weights.left.any() and exact):
        behind = behind_sums(build, result, made, weights.left)
        few = [replace(bits, floats=behind.target is None, shifted=True) for bits in few]
    if sums is None and target is None:
        return build.decline(site, "its sums may pass 32 bits")
    if sums is None:
        raise refused(
            site, f"sums of {weights.codes[0].size} products may pass 32 bits",
            "use engine 'onnxruntime', or exclude this layer from quantisation",
        )  # fmt: skip
    (top, left), (bottom, right) = windows.pads((value.rows, value.columns))
    pads = top, left, bottom, right
    value.widen(pads)
    operations = [_operation(build, part, value, made, fields, pads) for part in parts]
    give_filters(operations, "biases", build.packing.per_lane(sums, made.lanes))
    if apart:
        implement_depthwise(operations[0], weights.codes, build.packing)
    else:
        has_residual = behind is not None and behind.residual is not None
        for operation, part, bits in zip(operations, parts, few, strict=True):
            geometry = Geometry(
                value.images, part.lanes, len(part.codes), shape[2], shape[3],
                _pair(windows.kernel), _pair(windows.strides), _pair(windows.dilations), pads,
                has_residual, few=bits,
                ways=_ways(build, site, source, part, bits, bordered=any(pads)),
            )  # fmt: skip
            layer = CodedLayer(part.codes, part.lanes, value.item_bytes, source.ends[0])
            complete = partial(_complete, operation, layer, bits, build.library)
            if comparison is not None:
                geometry, complete = behind_comparisons(
                    build, comparison, geometry, operation, layer
                )
            build.choice(site, geometry, complete)
    build.operations.extend(operations)
    steps = np.float32(source.coding.step) * weights.steps
    if behind is not None:
        put_behind(build, site, operations, made, steps, behind)
    elif target is not None:
        _rounded(build, operations, made, steps, target)
    return True


def _operation(  # noqa: PLR0917 - a layer and where it lies
    build: Builder, part: CodedGroup, value: Value, made: Value, fields: Mapping[str, int | float],
    pads: tuple[int, ...],
) -> Operation:  # fmt: skip
    """A group of a layer, before its algorithm is known."""
    top, left, *_ = pads
    return Operation(
        Op.CODES_CONV, Part(value, part.block, -top, -left),
        Part(made, part.filter // build.block), None,
        {
            **fields, "blocks": len(part.lanes), "filters": -(-len(part.codes) // build.block),
            "mode": int(value.item_bytes > 1), "zero": value.zero,
        },
    )  # fmt: skip


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = sizes
    return rows, columns


def _rounded(
    build: Builder, operations: Sequence[Operation], made: Value, steps: Floats, target: Target
) -> None:
    """Results as codes, those of a sum where they are only added to others."""
    coding = target.coding
    made.item_bytes, made.zero = 1, coding.zero
    scale = steps / np.float32(coding.step)
    give_filters(operations, "scales", build.packing.per_lane(scale, made.lanes))
    for operation in operations:
        operation.fields |= {"zero_y": coding.zero, "low": target.low, "high": target.high}
    beyond = beyond_of(build, target, made)
    if beyond is None:
        put_codes(build, target, made)
        return
    other, second = beyond.other, beyond.target
    for operation in operations:
        operation.fields |= rounding_of(second, coding, other)
        operation.z = None if other is None else beside(operation, other.value)
    made.zero = second.coding.zero
    build.done.update((*target.nodes, *beyond.nodes))
    build.codes[beyond.result] = Coded(made, second.coding, 1, second.low, second.high)


def _complete(
    operation: Operation, layer: CodedLayer, few: FewBits, library: Library, kind: Kind, _: float
) -> None:
    """By the algorithm that is chosen."""
    implement_codes(operation, layer, few, kind, library)


def _few(source: Coded, part: CodedGroup) -> FewBits:
    """How many bits the codes of a layer, or of a group of it, take."""
    least, greatest = source.ends
    reach = greatest - least
    return FewBits(
        numbers_of(part.codes).bits, max(1, reach.bit_length()), reach, source.value.item_bytes > 1
    )


def _ways(
    build: Builder, site: Site, source: Coded, part: CodedGroup, few: FewBits, *, bordered: bool
) -> tuple[Few, ...]:
    """Which algorithms compute a layer; it is said where few bits are declined."""
    least, greatest = source.ends
    if few.is_few and bordered and source.value.zero not in range(least, greatest + 1):
        build.decline(site, "it pads with zeros, and zero is none of its inputs' codes")
        return (Few.INT8,)
    return few.kinds(part.lanes, build.block, bool(build.library.tables))


def _shifted(source: Coded, weights: Weights) -> NDArray[np.int32] | None:
    """Biases from which zero points are taken off; None where a sum may leave 32 bits."""
    flat = weights.codes.reshape(len(weights.codes), -1).astype(np.int64)
    shifted = weights.biases - source.coding.zero * flat.sum(1)
    above, below = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
    # Sums of 16 bits have no zero point: each code adds between -255 and 255.
    most = 255 if source.value.item_bytes == 1 else 255 * source.count
    least = 0 if source.value.item_bytes == 1 else -most
    greatest = np.maximum(shifted, shifted + above * most + below * least).max()
    lowest = np.minimum(shifted, shifted + below * most + above * least).min()
    fits = greatest < _SUM_BOUND and lowest >= -_SUM_BOUND
    return shifted.astype(np.int32) if fits else None
