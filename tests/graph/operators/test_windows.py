"""Convolutions and pools against ONNX Runtime, over drawn geometries."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st


def noise(*shape: int) -> np.ndarray:
    return np.random.default_rng(shape).normal(size=shape).astype(np.float32)


@st.composite
def geometries(draw, *, dilations: bool = True):
    """Spatial sizes and window attributes of 1 to 3 axes, every axis drawn on its own."""
    rank = draw(st.sampled_from([1, 2, 2, 2, 3]))
    per_axis = lambda low, high: tuple(draw(st.integers(low, high)) for _ in range(rank))  # noqa: E731
    kernel = per_axis(1, 4)
    dilation = per_axis(1, 2) if dilations else (1,) * rank
    extent = [(k - 1) * d + 1 for k, d in zip(kernel, dilation, strict=True)]
    before = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    after = tuple(draw(st.integers(0, k - 1)) for k in kernel)
    sizes = tuple(draw(st.integers(e, e + 5)) for e in extent)
    attrs = {"kernel_shape": kernel, "strides": per_axis(1, 3), "pads": before + after}
    if dilations:
        attrs["dilations"] = dilation
    return sizes, attrs


@given(geometries(), st.integers(1, 2), st.integers(1, 2), st.booleans())
@settings(max_examples=60, deadline=None)
def test_conv(agree, geometry, groups, batch, bias):
    sizes, attrs = geometry
    x = noise(batch, 2 * groups, *sizes)
    weight = noise(3 * groups, 2, *attrs["kernel_shape"])
    inputs = [x, weight, noise(3 * groups)] if bias else [x, weight]
    agree("Conv", inputs, group=groups, **attrs)


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("op_type", ["Conv", "MaxPool", "AveragePool"])
def test_auto_pad(agree, op_type, auto_pad, stride):
    x = noise(1, 2, 7, 10)
    attrs = {"auto_pad": auto_pad, "strides": (stride, stride)}
    if op_type == "Conv":
        agree(op_type, [x, noise(3, 2, 4, 3)], **attrs)
    else:
        agree(op_type, [x], kernel_shape=(4, 3), **attrs)


def test_conv_without_attributes(agree):
    agree("Conv", [noise(1, 2, 5, 6), noise(3, 2, 2, 3)])


@given(geometries(), st.integers(1, 2), st.integers(0, 1))
@settings(max_examples=30, deadline=None)
def test_conv_transpose(agree, geometry, groups, extra):
    sizes, attrs = geometry
    rank = len(sizes)
    padding = tuple(min(extra, stride - 1) for stride in attrs["strides"])
    full = [
        (n - 1) * s + (k - 1) * d + 1 - a - b + p
        for n, s, k, d, a, b, p in zip(
            sizes,
            attrs["strides"],
            attrs["kernel_shape"],
            attrs["dilations"],
            attrs["pads"][:rank],
            attrs["pads"][rank:],
            padding,
            strict=True,
        )
    ]
    assume(min(full) > 0)
    x = noise(1, 2 * groups, *sizes)
    weight = noise(2 * groups, 3, *attrs["kernel_shape"])
    agree("ConvTranspose", [x, weight], group=groups, output_padding=padding, **attrs)


def test_conv_transpose_to_a_wanted_shape(agree):
    x, weight = noise(1, 2, 5, 6), noise(2, 3, 3, 3)
    agree("ConvTranspose", [x, weight], strides=(2, 2), output_shape=(10, 12))
    agree("ConvTranspose", [x, weight], strides=(2, 2), auto_pad="SAME_UPPER")


@given(geometries(), st.booleans(), st.booleans())
@settings(max_examples=80, deadline=None)
def test_average_pool(agree, geometry, ceil_mode, include_pad):
    sizes, attrs = geometry
    options = {"ceil_mode": int(ceil_mode), "count_include_pad": int(include_pad)}
    agree("AveragePool", [noise(1, 2, *sizes)], **attrs, **options)


@given(geometries(), st.booleans())
@settings(max_examples=60, deadline=None)
def test_max_pool(agree, geometry, ceil_mode):
    sizes, attrs = geometry
    agree("MaxPool", [noise(1, 2, *sizes)], **attrs, ceil_mode=int(ceil_mode))


def brute_force_pool(x: np.ndarray, geometry, *, ceil_mode: bool, divisor: str) -> np.ndarray:
    """The definition, position by position; ``divisor`` is valid, padded or max."""
    sizes, attrs = geometry
    rank = len(sizes)
    dilations = attrs.get("dilations", (1,) * rank)
    axes = []
    for axis, size in enumerate(sizes):
        before, after = attrs["pads"][axis], attrs["pads"][axis + rank]
        kernel, stride = attrs["kernel_shape"][axis], attrs["strides"][axis]
        windows, start = [], -before
        reach = (kernel - 1) * dilations[axis]
        while start < size and (start + reach < size + after or ceil_mode):
            windows.append([start + i * dilations[axis] for i in range(kernel)])
            if start + reach >= size + after - 1:
                break
            start += stride
        axes.append((windows, size, size + after))
    result = np.zeros((*x.shape[:2], *(len(windows) for windows, _, _ in axes)))
    for index in np.ndindex(result.shape[2:]):
        picked = [windows[i] for (windows, _, _), i in zip(axes, index, strict=True)]
        valid = [[p for p in a if 0 <= p < n] for a, (_, n, _) in zip(picked, axes, strict=True)]
        padded = [[p for p in a if p < n] for a, (_, _, n) in zip(picked, axes, strict=True)]
        values = x[(slice(None), slice(None), *np.ix_(*valid))].reshape(*x.shape[:2], -1)
        where = (slice(None), slice(None), *index)
        if divisor == "max":
            result[where] = values.max(-1)
        else:
            counted = valid if divisor == "valid" else padded
            result[where] = values.sum(-1) / np.prod([len(a) for a in counted])
    return result


@given(geometries(), st.booleans(), st.sampled_from(["valid", "padded", "max"]))
@settings(max_examples=80, deadline=None)
def test_pools_against_the_definition(ours, geometry, ceil_mode, divisor):
    sizes, attrs = geometry
    x = noise(1, 2, *sizes).astype(np.float64)
    options = {} if divisor == "max" else {"count_include_pad": int(divisor == "padded")}
    op_type = "MaxPool" if divisor == "max" else "AveragePool"
    try:
        expected = brute_force_pool(x, geometry, ceil_mode=ceil_mode, divisor=divisor)
    except ValueError:  # a dilated window with no valid position has no maximum
        assume(False)
    assume(np.isfinite(expected).all())
    (actual,) = ours(op_type, [x], **attrs, **options, ceil_mode=int(ceil_mode))
    assert actual.shape == expected.shape
    np.testing.assert_allclose(actual, expected, atol=1e-12)


def test_a_window_larger_than_its_input_is_partial_with_ceil_mode(agree):
    agree("AveragePool", [noise(1, 2, 2, 5)], kernel_shape=(3, 3), strides=(2, 2), ceil_mode=1)


def test_global_pools(agree):
    agree("GlobalAveragePool", [noise(2, 3, 4, 5)])
    agree("GlobalMaxPool", [noise(2, 3, 4, 5)])


@pytest.mark.parametrize("order", [1, 2])
def test_lp_pool(agree, order):
    agree("LpPool", [noise(1, 2, 6, 7)], kernel_shape=(3, 2), pads=(1, 0, 1, 1), p=order)


@pytest.mark.parametrize("size", [1, 3, 5])
def test_local_response_normalisation(agree, size):
    x = noise(2, 6, 3, 4)
    agree("LRN", [x], size=size, alpha=0.3, beta=0.6, bias=1.5)


def test_local_response_normalisation_of_even_size(ours):
    # ONNX Runtime refuses it; the window leans to the later channels [ONNX operators, LRN].
    x = noise(2, 6, 3, 4)
    squares = np.zeros(x.shape)
    for channel in range(6):
        low, high = max(0, channel - 1), min(5, channel + 2)
        squares[:, channel] = (x[:, low : high + 1].astype(np.float64) ** 2).sum(1)
    (actual,) = ours("LRN", [x], size=4, alpha=0.3, beta=0.6, bias=1.5)
    np.testing.assert_allclose(actual, x / (1.5 + 0.3 / 4 * squares) ** 0.6, atol=1e-6)
