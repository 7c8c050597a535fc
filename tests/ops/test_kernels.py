"""Constant kernels of the forms: the expanded kernel and the matrix of means."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.ops.expanded import spread
from mlcnn.ops.matvec import tap_means
from mlcnn.ops.regions import Axis


def _axis(
    kernel: int = 3,
    window: int = 2,
    *,
    size: int | None = 8,
    outputs: int | None = 4,
    dilation: int = 1,
    conv_stride: int = 1,
    pool_stride: int = 2,
    before: int = 1,
    after: int = 1,
) -> Axis:
    return Axis(
        kernel, dilation, conv_stride, window, pool_stride, before, after, 0, size, outputs, size
    )


@st.composite
def _axes(draw: st.DrawFn) -> Axis:
    kernel, window = draw(st.integers(1, 6)), draw(st.integers(1, 5))
    dilation, conv_stride = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pool_stride, outputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    before, after = draw(st.integers(0, 5)), draw(st.integers(0, 5))
    reach = ((outputs - 1) * pool_stride + window - 1) * conv_stride + (kernel - 1) * dilation + 1
    size = draw(st.integers(max(reach - before - after, 1), max(reach - before - after, 1) + 2))
    return _axis(
        kernel, window, size=size, outputs=outputs, dilation=dilation, conv_stride=conv_stride,
        pool_stride=pool_stride, before=before, after=after,
    )  # fmt: skip


def _upsampled(values: np.ndarray, distance: int) -> np.ndarray:
    result = np.zeros((values.size - 1) * distance + 1)
    result[::distance] = values
    return result


@given(_axes(), st.integers(0, 999))
def test_spread_is_the_convolution_of_kernel_and_window(axis: Axis, seed: int) -> None:
    weight = np.random.default_rng(seed).standard_normal(axis.kernel)
    window = np.full(axis.window, 1 / axis.window)
    dense = np.convolve(_upsampled(weight, axis.dilation), _upsampled(window, axis.conv_stride))
    expected = np.zeros_like(dense)
    expected[:: axis.step] = dense[:: axis.step]
    np.testing.assert_array_equal(dense, expected)  # nothing lies between the multiples of `step`
    np.testing.assert_allclose(spread(weight, axis, 0), dense[:: axis.step], rtol=0, atol=1e-15)
    assert axis.taps == dense[:: axis.step].size


@pytest.mark.parametrize("dimension", [0, 1, 2, 3])
def test_spread_touches_one_dimension(dimension: int) -> None:
    weight = np.random.default_rng(0).standard_normal((3, 3, 3, 3))
    expected = np.apply_along_axis(lambda line: np.convolve(line, [0.5, 0.5]), dimension, weight)
    np.testing.assert_allclose(spread(weight, _axis(), dimension), expected, rtol=0, atol=1e-15)


def test_spread_of_two_by_two_over_two_by_two() -> None:
    """[[1, 2], [3, 4]] averaged over 2 x 2: worked out by hand."""
    axis = _axis(kernel=2, window=2)
    weight = np.array([[1.0, 2.0], [3.0, 4.0]])
    result = 4 * spread(spread(weight, axis, 0), axis, 1)
    np.testing.assert_array_equal(result, [[1, 3, 2], [4, 10, 6], [3, 7, 4]])


@given(_axes())
def test_trimmed_taps_never_meet_an_input_and_the_next_ones_do(axis: Axis) -> None:
    lead, trail = axis.trimmed
    met = [
        any(
            0 <= output * axis.stride - axis.before + tap * axis.step < axis.size
            for output in range(axis.outputs)
        )
        for tap in range(axis.taps)
    ]
    assert not any(met[:lead])
    assert not any(met[axis.taps - trail :])
    if any(met):
        # What is trimmed is taken off the padding, so the padding must hold it.
        assert met[lead] or (lead + 1) * axis.step > axis.before
        assert met[axis.taps - 1 - trail] or (trail + 1) * axis.step > axis.after
    assert lead * axis.step <= axis.before
    assert trail * axis.step <= axis.after


def test_small_input_trims_the_kernel() -> None:
    """VGG's last pool: 3 x 3 over a 2 x 2 map padded by 1: of 4 taps, 2 see the map."""
    axis = _axis(size=2, outputs=1)
    assert axis.taps == 4
    assert axis.trimmed == (1, 1)


def test_large_input_trims_nothing() -> None:
    assert _axis().trimmed == (0, 0)


def test_dynamic_size_trims_nothing() -> None:
    assert _axis(size=None, outputs=None).trimmed == (0, 0)


def test_padding_alone_trims_nothing() -> None:
    assert _axis(kernel=1, window=1, size=1, outputs=1, before=3, after=0).trimmed == (0, 0)


@given(_axes(), st.integers(0, 999))
def test_matrix_of_means_times_weight_is_convolution_then_mean(axis: Axis, seed: int) -> None:
    """One axis: the mean over each window of convolution outputs, computed one by one."""
    generator = np.random.default_rng(seed)
    source, weight = generator.standard_normal(axis.size), generator.standard_normal(axis.kernel)
    padded = np.pad(source, (axis.before, axis.after + 99))
    expected = []
    for output in range(axis.outputs):
        values = []
        for index in range(axis.window):
            first = (output * axis.pool_stride + index) * axis.conv_stride
            stop = first + (axis.kernel - 1) * axis.dilation + 1
            values.append(padded[first : stop : axis.dilation] @ weight)
        expected.append(np.mean(values))
    matrix = tap_means(axis)
    assert matrix.shape == (axis.outputs, axis.size, axis.kernel)
    actual = np.einsum("oik,i,k->o", matrix, source, weight)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-12)


def test_shares_of_an_unpadded_axis_add_up_to_one() -> None:
    matrix = tap_means(_axis(before=0, after=0, outputs=3))
    np.testing.assert_allclose(matrix.sum(axis=1), 1.0, rtol=0, atol=1e-15)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(1, 4), st.integers(1, 4))
def test_step_and_taps(kernel: int, window: int, dilation: int, stride: int) -> None:
    """All taps lie at multiples of the step, and no larger step would do."""
    axis = _axis(kernel, window, dilation=dilation, conv_stride=stride)
    positions = {t * dilation + a * stride for t in range(kernel) for a in range(window)}
    assert all(position % axis.step == 0 for position in positions)
    assert max(positions) == (axis.taps - 1) * axis.step
    larger = [s for s in range(axis.step + 1, max(positions) + 1)
              if all(position % s == 0 for position in positions)]  # fmt: skip
    assert not larger
