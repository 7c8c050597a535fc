"""The engine's integers against exact numbers."""

import numpy as np
import pytest

from benchmarks.fft_engine import accuracy
from mlcnn.accelerators.fft.fixed import FixedPoint, forward, inverse

POINTS = [2, 4, 8, 16, 32, 64, 128]


def _words(points, bits, seed=0):
    most = (1 << (bits - 1)) - 1
    return np.random.default_rng(seed).integers(-most, most + 1, (40, points))


@pytest.mark.parametrize("points", [1, 2, 4])
def test_small_transforms_are_exact(points):
    words = _words(points, 12)
    real, imaginary = forward(words, 12)
    expected = np.fft.rfft(words)
    assert np.array_equal(real, np.rint(expected.real))
    assert np.array_equal(imaginary, np.rint(expected.imag))
    assert np.array_equal(inverse((real, imaginary), 12), words)


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("bits", [12, 16])
def test_a_spectrum_has_a_bit_more_for_each_level(points, bits):
    """The largest words, of every sign: real ones, imaginary ones and their sums fit."""
    most = (1 << (bits - 1)) - 1
    rows = [np.sign(np.cos(2 * np.pi * f * np.arange(points) / points - phase) + 1e-9)
            for f in range(points // 2 + 1) for phase in (0.0, 0.6, np.pi / 4)]  # fmt: skip
    words = most * np.array([*rows, np.ones(points)], dtype=np.int64)
    real, imaginary = forward(words, bits)
    largest = 1 << (bits - 1 + points.bit_length() - 1)
    for part in (real, imaginary, real + imaginary):
        assert np.abs(part).max() <= largest
    assert np.abs(real).max() == points * most


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize("bits", [12, 16])
def test_what_rounding_costs(points, bits):
    """Within one part of the largest word for each level, there and back."""
    words = _words(points, bits)
    real, imaginary = forward(words, bits)
    error = np.abs(real + 1j * imaginary - np.fft.rfft(words)).max()
    # Twiddles have bits - 2 places, and each of log2(k) levels adds a rounding.
    assert error <= points.bit_length() * (1 + points * 2.0 ** (bits - 1) * 2.0 ** (1 - bits))
    back = inverse((real, imaginary), bits)
    assert np.abs(back - words).max() <= 2 + points.bit_length()


@pytest.mark.parametrize("points", POINTS)
@pytest.mark.parametrize(("bits", "least"), [(12, 54), (16, 78)])
def test_accuracy_at_each_width(points, bits, least):
    """12 bits: 54 dB and more, 16 bits: 78; within 7 dB of dense products of the same bits."""
    engine, dense = accuracy(points, bits)
    assert engine >= least
    assert dense - engine <= 7


def test_factors_of_weights_fit():
    (c, d), _ = FixedPoint(12).spectra(np.random.default_rng(1).standard_normal((3, 5, 16)))
    for factor in (c, d, d - c, c + d):
        assert np.abs(factor).max() <= 2047


def test_first_columns():
    """Row r, column c of a block is word (r - c) mod k of its first column."""
    column = np.array([[[3.0, 1.0, -2.0, 5.0]]])
    block = np.array([[column[0, 0, (r - c) % 4] for c in range(4)] for r in range(4)])
    words = np.array([[[1.0, 0.0, -4.0, 2.0]]])
    found = FixedPoint(16).layer(words, column)
    np.testing.assert_allclose(found[0, 0], block @ words[0, 0], atol=2e-3)


def _numbers(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def test_scales_of_some_inputs_hold_for_others():
    """In float64: within some units of the last place, and what is too large is cut off."""
    weights, bias = _numbers(3, 5, 8, seed=1), _numbers(3, 8, seed=2)
    some, others = _numbers(50, 5, 8, seed=3), 0.5 * _numbers(40, 5, 8, seed=4)
    layer = FixedPoint(12).calibrated(some, weights, bias)
    exact = bias + np.fft.irfft(
        np.einsum("nqf,pqf->npf", np.fft.rfft(others), np.fft.rfft(weights)), n=8
    )
    unit = layer.scale * 2.0**layer.last
    found = layer(others)
    assert np.abs(found - exact).max() < 8 * unit
    np.testing.assert_allclose(found / unit, np.rint(found / unit), atol=1e-9)
    assert np.abs(layer(1e6 * some)).max() <= 2047 * unit
    assert FixedPoint(12).layer(some, weights) == pytest.approx(
        FixedPoint(12).calibrated(some, weights)(some), abs=0
    )


def test_words_keep_their_bits():
    """Whatever comes in: spectra of sums have a bit more for each level, outputs the bits."""
    layer = FixedPoint(8).calibrated(_numbers(9, 4, 16), _numbers(2, 4, 16, seed=1))
    words = layer(1e3 * _numbers(200, 4, 16, seed=2)) / (layer.scale * 2.0**layer.last)
    assert np.abs(words).max() <= 127 + 1e-9
    assert layer.width(16) == 12


def test_a_dense_layer_has_exact_sums():
    weights, bias = _numbers(6, 20, seed=1), _numbers(6, seed=2)
    inputs = _numbers(30, 20, seed=3)
    layer = FixedPoint(16).dense(inputs, weights, bias)
    codes = np.rint(inputs / layer.input_scale).astype(np.int64)
    sums = codes @ layer.weights.T + np.rint(bias / layer.scale).astype(np.int64)
    half = (1 << layer.last) >> 1
    expected = ((sums + half) >> layer.last) * (layer.scale * 2.0**layer.last)
    assert np.array_equal(layer(inputs), expected)
    np.testing.assert_allclose(expected, inputs @ weights.T + bias, atol=2e-3)
