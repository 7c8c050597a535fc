"""Convolutions and dense layers of codes, computed in integers."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.engines.native.behind_sums import Behind, behind_sums, put_behind
from mlcnn.engines.native.builder import Builder
from mlcnn.engines.native.codes import (
    Coded,
    Weights,
    is_dequantised,
    refused,
    weights_of,
    with_whole_biases,
)
from mlcnn.engines.native.few_bits import CodedLayer, implement_codes, numbers_of
from mlcnn.engines.native.geometry import FewBits, Geometry
from mlcnn.engines.native.kinds import Few
from mlcnn.engines.native.library import Finish, Op
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

_SUM_BOUND = 2**31
_BITS = 8  # of an input that is packed


def _weights(build: Builder, site: Site, source: Coded, axis: int) -> Weights | None:
    """A layer's weights and biases, if they are stored in codes."""
    weight, bias = site.value(1), site.value(2)
    maker = None if weight is None else weight.producer()
    if weight is None or maker is None or not is_dequantised(weight):
        return None
    found: Site | Floats | None = np.zeros(1, np.float32)
    if bias is not None:
        producer = bias.producer()
        found = constant_of(bias)
        if producer is not None and is_dequantised(bias):
            found = build.site(producer)
    if found is None or (
        isinstance(found, np.ndarray) and found.size not in {1, _filters(weight, axis)}
    ):
        return None
    return weights_of(site, source, build.site(maker), found, axis)


def _filters(value: ir.Value, axis: int) -> int | None:
    shape = value.shape
    size = None if shape is None or len(shape) <= axis else shape[axis]
    return size if isinstance(size, int) else None


def conv(build: Builder, site: Site) -> bool:
    """A convolution of codes; False where it is to be computed in float32."""
    source, target = images_of(build, site), target_of(build, site.node.outputs[0])
    if source is None or site.spec.integer("group", 1) != 1:
        return False
    weights = _weights(build, site, source, 0)
    if weights is None or weights.codes.ndim != 4:
        return False
    if weights.codes.shape[1] != source.value.channels:
        return False
    windows = conv_windows(site.spec, weights.codes.shape[2:])
    return _convolve(build, site, source, weights, windows, target)


def gemm(build: Builder, site: Site) -> bool:
    """A dense layer is a convolution whose kernel is as large as the image."""
    spec, source = site.spec, read_codes(build, site.value(0))
    target = target_of(build, site.node.outputs[0])
    plain = not spec.integer("transA", 0) and spec.real("alpha", 1) == spec.real("beta", 1) == 1
    if source is None or not plain:
        return False
    axis = 0 if site.node.op_type == "Gemm" and spec.integer("transB", 0) else 1
    weights = _weights(build, site, source, axis)
    sizes = sizes_of(site.value(0), spec.where)
    if weights is None or weights.codes.ndim != 2 or len(sizes) != 2:
        return False
    value = source.value
    if (value.images, value.channels * value.rows * value.columns) != sizes:
        return False
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
        return False
    value, result = source.value, site.node.outputs[0]
    shape = (value.images, len(weights.codes), int(fields["rows"]), int(fields["columns"]))
    made = build.new(shape)
    behind = None if target is not None else behind_sums(build, result, made)
    few, biases = _few(build, source, weights, behind), _shifted(source, weights)
    if few is None and source.count > 1:  # sums of 16 bits, whose results no float is added to
        weights = with_whole_biases(site, source, weights)
        biases = None if behind is not None else _shifted(source, weights)
    if target is None and biases is None:
        return False
    if biases is None:
        raise refused(
            site, f"sums of {weights.codes[0].size} products may pass 32 bits",
            "use engine 'onnxruntime', or exclude this layer from quantisation",
        )  # fmt: skip
    (top, left), (bottom, right) = windows.pads((value.rows, value.columns))
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
    if few is None:
        implement_codes(operation, layer, None, None, build.library)
    else:
        geometry = Geometry(
            value.images, value.lanes, shape[1], shape[2], shape[3], _pair(windows.kernel),
            _pair(windows.strides), _pair(windows.dilations), (top, left, bottom, right),
            behind is not None and behind.residual is not None, few=few[0], ways=few[1],
        )  # fmt: skip
        build.choice(
            site, geometry,
            lambda kind, _: implement_codes(operation, layer, few[0], kind, build.library),
        )  # fmt: skip
    build.operations.append(operation)
    if behind is not None:
        shifted = replace(behind, shift=behind.shift + weights.shifts)
        put_behind(build, site, operation, made, steps, shifted)
    elif target is not None:
        _rounded(build, operation, made, steps, target)
        if weights.shifts.any():
            shift = weights.shifts / np.float32(target.coding.step)
            operation.constants["shifts"] = build.packing.per_lane(shift, made.lanes)
            operation.fields["finish"] = Finish.SHIFTED_CODES
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


def _few(
    build: Builder, source: Coded, weights: Weights, behind: Behind | None
) -> tuple[FewBits, tuple[Few, ...]] | None:
    """How few bits a layer has, and which algorithms compute it; None where they are many."""
    least, greatest = source.ends
    few = FewBits(
        numbers_of(weights.codes).bits, max(1, (greatest - least).bit_length()), greatest - least,
        source.count > 1, behind is not None and behind.target is None,
        behind is not None or bool(weights.shifts.any()),
    )  # fmt: skip
    fits = source.value.zero in range(least, greatest + 1) and greatest - least < 1 << _BITS
    ways = few.kinds(source.value.lanes, build.block, bool(build.library.tables)) if fits else ()
    return (few, ways) if ways and max(few.weights, few.inputs) < _BITS else None


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
