"""Convolutions and dense layers of a quantised network as layers of the hardware."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import DEQUANTIZE, constant, is_quantiser, layer_name, windows_of
from mlcnn.rtl.build import Build
from mlcnn.rtl.layer import IntegerLayer
from mlcnn.rtl.unrounded import Coded, Linear, Means

__all__ = ["convolution", "dense", "with_bias"]

Whole = NDArray[np.int64]
Floats = NDArray[np.float64]

_SAME_STEP = 1e-6
"""Relative: steps of a bias are products of two others, rounded to float32."""
_BOX = (2, 2)
"""The window that the input unit sums."""


def convolution(node: ir.Node, source: Coded | Means, build: Build) -> Linear:
    """The sums of a convolution.

    Args:
        node: the convolution.
        source: what it reads; means where they are fused with it.
        build: the hardware, for what messages say of it.

    Raises:
        UnsupportedError: the hardware has no such convolution.
        InputError: its weights are no codes.
    """
    name = layer_name(node)
    codes, steps = _weights(node, name, 0)
    if codes.ndim != 4 or len(source.shape) != 3:
        raise UnsupportedError(
            f"{name}: a convolution of {codes.ndim - 2} dimensions; the hardware runs those of two"
        )
    groups = _integer(node, "group", 1)
    if groups > 1:
        raise _grouped(name, groups, codes.shape, build)
    windows = windows_of(node, codes.shape[2:])
    if set(windows.dilations) != {1}:
        apart = "x".join(map(str, windows.dilations))
        raise UnsupportedError(
            f"{name}: its taps are {apart} positions apart (dilation), and the hardware takes "
            "neighbours: write the kernel with zeros between its taps"
        )
    read = source.source if isinstance(source, Means) else source
    before, after = windows.pads(source.shape[1:])
    shape = read.shape[0], read.shape[1], read.shape[2]
    layer = replace(
        _bare(name, codes, shape),
        strides=(windows.strides[0], windows.strides[1]),
        pads=(before[0], after[0], before[1], after[1]),
    )
    if isinstance(source, Means):
        layer = _fused(layer, source)
    return _biased(node, Linear(layer, read, steps, np.zeros(len(codes))))


def dense(node: ir.Node, source: Coded) -> Linear:
    """The sums of a dense layer: a convolution of 1x1 over one position.

    Args:
        node: ``Gemm`` or ``MatMul``.
        source: what it reads, a vector.

    Raises:
        UnsupportedError: the hardware has no such layer.
        InputError: its weights are no codes.
    """
    name = layer_name(node)
    turned = node.op_type == "Gemm" and _integer(node, "transB", 0) == 1
    codes, steps = _weights(node, name, 0 if turned else 1)
    factors = {
        node.attributes[key].as_float() for key in ("alpha", "beta") if key in node.attributes
    }
    usual = factors <= {1.0} and not _integer(node, "transA", 0)
    if codes.ndim != 2 or len(source.shape) != 1 or not usual:
        raise UnsupportedError(
            f"{name}: a {node.op_type} that is no dense layer: the product of a vector for each "
            "image and a constant matrix is required, with no factors"
        )
    matrix = codes if turned else codes.T
    layer = _bare(name, matrix[:, :, None, None], (source.shape[0], 1, 1))
    made = Linear(layer, source, steps, np.zeros(len(matrix)), flat=True)
    return _biased(node, made)


def with_bias(linear: Linear, numbers: Floats) -> Linear:
    """The same with more bias.

    Args:
        linear: the layer.
        numbers: one for each filter, or one for all.
    """
    units = [float(Fraction(linear.source.grid.step) * step) for step in linear.steps]
    return replace(linear, bias=linear.bias + numbers / np.array(units))


def _biased(node: ir.Node, linear: Linear) -> Linear:
    """The same with the bias of its node."""
    value = node.inputs[2] if len(node.inputs) > 2 else None
    if value is None:
        return linear
    maker = value.producer()
    if maker is not None and is_quantiser(maker, DEQUANTIZE):
        codes, scale, _ = (constant(part) for part in _three(maker))
        if codes is not None and scale is not None:
            units = np.array([float(step) for step in linear.steps]) * linear.source.grid.step
            ratio = scale.astype(np.float64) / units
            # As a rule they are steps of the sums, which whole numbers of them then stay.
            ratio = np.where(np.abs(ratio - 1) < _SAME_STEP, 1, ratio)
            return replace(linear, bias=linear.bias + codes.astype(np.float64) * ratio)
    numbers = constant(value)
    if numbers is None:
        raise UnsupportedError(f"{linear.name}: its bias is computed; the hardware takes constants")
    return with_bias(linear, numbers.astype(np.float64))


def _weights(node: ir.Node, name: str, axis: int) -> tuple[Whole, tuple[Fraction, ...]]:
    """The codes of a layer's weights, zero being 0, and the step of each filter."""
    value = node.inputs[1]
    maker = None if value is None else value.producer()
    if maker is None or not is_quantiser(maker, DEQUANTIZE):
        raise InputError(
            f"{name}: its weights are no codes, and the hardware multiplies codes of 8 bits; "
            "quantise it, too: mlcnn quantize with --no-sensitivity, and without --float"
        )
    codes, scale, zero = (constant(part) for part in _three(maker))
    if codes is None or scale is None:
        raise UnsupportedError(f"{name}: its weights are computed; the hardware takes constants")
    filters = codes.shape[axis]
    spread = [1] * codes.ndim
    if zero is not None and zero.size > 1:
        spread[_axis(maker, codes.ndim)] = zero.size
    offset = 0 if zero is None else zero.astype(np.int64).reshape(spread)
    whole = codes.astype(np.int64) - offset
    if whole.min(initial=0) < -128 or whole.max(initial=0) > 127:
        raise UnsupportedError(
            f"{name}: its weights are codes of {whole.min()} to {whole.max()} about their zero, "
            "and the hardware takes -128 to 127: quantise them symmetrically, as mlcnn quantize "
            "does"
        )
    if scale.size not in {1, filters} or (scale.size > 1 and _axis(maker, codes.ndim) != axis):
        raise UnsupportedError(
            f"{name}: its weights have {scale.size} steps, and the hardware takes one for each "
            f"filter, of which there are {filters}, or one for all"
        )
    steps = np.broadcast_to(scale.reshape(-1), filters).astype(np.float64)
    return whole, tuple(Fraction(step) for step in steps.tolist())


def _fused(layer: IntegerLayer, means: Means) -> IntegerLayer:
    """The layer with the pool that it convolves the means of.

    A mean of positions that are ``dilation`` apart, convolved, is a convolution of that stride
    with a mean behind it.
    """
    windows = means.windows
    axes = [
        _stride_and_pool(*axis)
        for axis in zip(
            layer.weights.shape[2:],
            windows.kernel,
            windows.dilations,
            windows.strides,
            layer.strides,
            strict=True,
        )
    ]
    padded = any(windows.before) or any(windows.after)
    reason = None
    if any(layer.pads):
        reason = "the means are padded"
    elif padded and not means.padding:
        reason = "padding does not count in them"
    elif means.bounds.low is not None or means.bounds.high is not None:
        reason = "they are cut off"
    elif None in axes:
        reason = "their windows do not lie as those of a pool behind it"
    if reason is not None:
        raise UnsupportedError(
            f"{layer.name}: it convolves means that are not rounded, and {reason}; round them: "
            "mlcnn quantize with --means rounded"
        )
    (stride_rows, pool_rows), (stride_columns, pool_columns) = (axis or (1, 1) for axis in axes)
    pads = windows.before[0], windows.after[0], windows.before[1], windows.after[1]
    made = replace(
        layer,
        strides=(stride_rows, stride_columns),
        pads=pads,
        window=windows.kernel,
        pool_strides=(pool_rows, pool_columns),
        # The input unit sums neighbours, two by two; the array adds up all other windows.
        fused=windows.kernel == _BOX and (stride_rows, stride_columns) == (1, 1),
    )
    expected = tuple(
        (size - taps) // stride + 1
        for size, taps, stride in zip(
            windows.outputs, layer.weights.shape[2:], layer.strides, strict=True
        )
    )
    if made.outputs != expected:
        raise UnsupportedError(
            f"{layer.name}: it convolves means of windows that lie partly outside (ceil_mode), and "
            "no pool behind it has these; round the means: mlcnn quantize with --means rounded"
        )
    return made


def _stride_and_pool(
    taps: int, window: int, apart: int, step: int, stride: int
) -> tuple[int, int] | None:
    """Stride of the convolution, and of the pool behind it, along an axis; None for no such pool.

    Args:
        taps: of the kernel.
        window: of the means.
        apart: positions of a window, from one to the next.
        step: from one mean to the next.
        stride: of the convolution of means.
    """
    if taps > 1 and step > 1:
        return None
    whole = step * stride
    inner = apart if window > 1 else whole
    return None if whole % inner else (inner, whole // inner)


def _bare(name: str, codes: Whole, shape: tuple[int, int, int]) -> IntegerLayer:
    """A layer whose bias and scale are not known yet."""
    nothing = np.zeros(len(codes), np.int64)
    return IntegerLayer(name, codes, nothing, nothing, nothing, shape)


def _grouped(name: str, groups: int, shape: tuple[int, ...], build: Build) -> UnsupportedError:
    channels, filters = shape[1], shape[0] // groups
    working = min(channels, build.multipliers) * min(filters, build.slices)
    every = build.multipliers * build.slices
    kind = "depth-wise convolution" if channels == 1 else f"convolution in {groups} groups"
    return UnsupportedError(
        f"{name}: a {kind}, which the hardware does not run: of its {every} multipliers "
        f"{working} would work ({working / every:.1%}); give a network without groups"
    )


def _axis(node: ir.Node, rank: int) -> int:
    return _integer(node, "axis", 1) % rank


def _integer(node: ir.Node, key: str, default: int) -> int:
    found = node.attributes.get(key)
    return default if found is None else found.as_int()


def _three(node: ir.Node) -> tuple[ir.Value | None, ir.Value | None, ir.Value | None]:
    given = [*node.inputs, None, None]
    return given[0], given[1], given[2]
