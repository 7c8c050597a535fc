"""Convolutions and dense layers of codes, computed in integers."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.engines.native.behind_sums import behind_sums, put_behind
from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.codes import (
    Coded,
    Weights,
    is_dequantised,
    refused,
    weights_of,
)
from mlcnn.engines.native.few_bits import CodedLayer, implement_codes, numbers_of
from mlcnn.engines.native.geometry import FewBits, Geometry
from mlcnn.engines.native.kinds import Few
from mlcnn.engines.native.library import Op
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
    if groups != 1:
        return build.decline(site, f"it has {groups} groups")
    weights = _weights(build, site, source, 0, _filters(site.value(1), 0))
    if isinstance(weights, str):
        return build.decline(site, weights)
    if weights.codes.ndim != 4 or weights.codes.shape[1] != source.value.channels:
        return build.decline(site, "it is no convolution of images")
    windows = conv_windows(site.spec, weights.codes.shape[2:])
    return _convolve(build, site, source, weights, windows, target)


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
    target: Target | None,
) -> bool:  # fmt: skip
    fields = windowed(source.value, windows)
    if fields is None:
        return build.decline(site, "its padding is negative, or its image smaller than its kernel")
    value, result = source.value, site.node.outputs[0]
    shape = (value.images, len(weights.codes), int(fields["rows"]), int(fields["columns"]))
    made = build.new(shape)
    few, biases = _few(source, weights), _shifted(source, weights)
    behind = None
    if target is None or (few.is_few and weights.left.any()):
        behind = behind_sums(build, result, made, weights.left)
        few = replace(few, floats=behind.target is None, shifted=True)
    if biases is None and target is None:
        return build.decline(site, "its sums may pass 32 bits")
    if biases is None:
        raise refused(
            site, f"sums of {weights.codes[0].size} products may pass 32 bits",
            "use engine 'onnxruntime', or exclude this layer from quantisation",
        )  # fmt: skip
    (top, left), (bottom, right) = windows.pads((value.rows, value.columns))
    ways = _ways(build, site, source, few, bordered=any((top, left, bottom, right)))
    if not ways:
        return build.decline(site, "no kernel adds floats to sums of sums of such codes")
    value.widen((top, left, bottom, right))
    layer = CodedLayer(weights.codes, biases, value.lanes, value.item_bytes, source.ends[0])
    operation = Operation(
        Op.CODES_CONV, Part(value, row=-top, column=-left), Part(made), None,
        {
            **fields, "blocks": len(value.lanes), "filters": len(made.lanes),
            "mode": int(source.count > 1), "zero": value.zero,
        },
    )  # fmt: skip
    steps = np.float32(source.coding.step) * weights.steps
    geometry = Geometry(
        value.images, value.lanes, shape[1], shape[2], shape[3], _pair(windows.kernel),
        _pair(windows.strides), _pair(windows.dilations), (top, left, bottom, right),
        behind is not None and behind.residual is not None, few=few, ways=ways,
    )  # fmt: skip
    build.choice(
        site, geometry, lambda kind, _: implement_codes(operation, layer, few, kind, build.library)
    )
    build.operations.append(operation)
    if behind is not None:
        put_behind(build, site, operation, made, steps, behind)
    elif target is not None:
        _rounded(build, operation, made, steps, target)
    return True


def _pair(sizes: tuple[int, ...]) -> tuple[int, int]:
    rows, columns = sizes
    return rows, columns


def _rounded(
    build: Builder, operation: Operation, made: Value, steps: Floats, target: Target
) -> None:
    """Results as codes, those of a sum where they are only added to others."""
    coding = target.coding
    made.item_bytes, made.zero = 1, coding.zero
    scale = steps / np.float32(coding.step)
    operation.constants["scales"] = build.packing.per_lane(scale, made.lanes)
    operation.fields |= {"zero_y": coding.zero, "low": target.low, "high": target.high}
    beyond = beyond_of(build, target, made)
    if beyond is None:
        put_codes(build, target, made)
        return
    other, second = beyond.other, beyond.target
    operation.fields |= rounding_of(second, coding, other)
    operation.z = None if other is None else Part(other.value)
    made.zero = second.coding.zero
    build.done.update((*target.nodes, *beyond.nodes))
    build.codes[beyond.result] = Coded(made, second.coding, 1, second.low, second.high)


def _few(source: Coded, weights: Weights) -> FewBits:
    """How many bits a layer's codes take."""
    least, greatest = source.ends
    reach = greatest - least
    return FewBits(
        numbers_of(weights.codes).bits, max(1, reach.bit_length()), reach, source.count > 1
    )


def _ways(
    build: Builder, site: Site, source: Coded, few: FewBits, *, bordered: bool
) -> tuple[Few, ...]:
    """Which algorithms compute a layer; it is said where few bits are declined."""
    least, greatest = source.ends
    if few.is_few and bordered and source.value.zero not in range(least, greatest + 1):
        build.decline(site, "it pads with zeros, and zero is none of its inputs' codes")
        return (Few.INT8,) * few.has_bytes
    return few.kinds(source.value.lanes, build.block, bool(build.library.tables))


def _shifted(source: Coded, weights: Weights) -> NDArray[np.int32] | None:
    """Biases from which zero points are taken off; None where a sum may leave 32 bits."""
    flat = weights.codes.reshape(len(weights.codes), -1).astype(np.int64)
    # A sum of codes has no zero point any more: each adds between -255 and 255.
    zero = source.coding.zero if source.count == 1 else 0
    shifted = weights.biases - zero * flat.sum(1)
    above, below = np.maximum(flat, 0).sum(1), np.minimum(flat, 0).sum(1)
    most = 255 * source.count
    least = 0 if source.count == 1 else -most
    greatest = np.maximum(shifted, shifted + above * most + below * least).max()
    lowest = np.minimum(shifted, shifted + below * most + above * least).min()
    fits = greatest < _SUM_BOUND and lowest >= -_SUM_BOUND
    return shifted.astype(np.int32) if fits else None
