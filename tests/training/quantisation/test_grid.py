"""Grids and codes of weights: laws, and brute force."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from mlcnn.errors import InputError
from mlcnn.training.quantisation.grid import (
    Grid,
    check_bits,
    symmetric_codes,
    symmetric_steps,
)

ENDS = st.floats(-100, 100, width=32)
BITS = st.integers(2, 8)
NUMBERS = arrays(np.float32, 20, elements=st.floats(-200, 200, width=32))


@given(low=ENDS, high=ENDS, bits=BITS)
def test_zero_is_on_the_grid_and_the_range_is_covered(low: float, high: float, bits: int) -> None:
    low, high = min(low, high), max(low, high)
    grid = Grid.over(low, high, bits)
    assert 0 <= grid.zero < 2**bits
    assert grid.rounded(np.zeros(1, np.float32))[0] == 0
    slack = grid.step * (0.5 + 1e-3)
    assert grid.low <= min(low, 0) + slack
    assert grid.high >= max(high, 0) - slack


@given(low=ENDS, high=ENDS, bits=BITS, numbers=NUMBERS)
def test_rounding_gives_the_nearest_and_is_idempotent(
    low: float, high: float, bits: int, numbers: np.ndarray
) -> None:
    grid = Grid.over(min(low, high), max(low, high), bits)
    rounded = grid.rounded(numbers)
    np.testing.assert_array_equal(grid.rounded(rounded), rounded)
    everything = (np.arange(2**bits) - grid.zero) * np.float64(grid.step)
    nearest = np.abs(numbers[:, None].astype(np.float64) - everything).min(1)
    off = np.abs(rounded.astype(np.float64) - numbers)
    np.testing.assert_allclose(off, nearest, rtol=1e-4, atol=1e-4 * grid.step)


def test_ties_go_to_even_codes() -> None:
    grid = Grid(step=0.5, zero=0)
    np.testing.assert_array_equal(grid.codes(np.float32([0.25, 0.75, 1.25, 1.75])), [0, 2, 2, 4])


@given(weights=arrays(np.float32, (3, 2, 2), elements=st.floats(-9, 9, width=32)), bits=BITS)
def test_weights_are_symmetric_and_off_by_half_a_step(weights: np.ndarray, bits: int) -> None:
    steps = symmetric_steps(weights, bits)
    codes = symmetric_codes(weights, steps, bits)
    np.testing.assert_array_equal(codes, -symmetric_codes(-weights, steps, bits))
    assert np.abs(codes.astype(int)).max() <= 2 ** (bits - 1) - 1
    if bits == 8:  # nothing is cut off
        off = np.abs(codes * steps[:, None, None] - weights)
        assert (off <= steps[:, None, None] * (0.5 + 1e-3)).all()


def test_few_bits_cut_off_what_costs_most() -> None:
    weights = np.random.default_rng(0).normal(size=(1, 4096)).astype(np.float32)
    step = float(symmetric_steps(weights, 3)[0])

    def error(step: float) -> float:
        return float(((np.clip(np.rint(weights / step), -3, 3) * step - weights) ** 2).sum())

    assert error(step) <= min(map(error, np.linspace(0.1, 1.5, 200))) * 1.02
    assert 3 * step < np.abs(weights).max()


@pytest.mark.parametrize("bits", [1, 9])
def test_bits_that_no_code_holds(bits: int) -> None:
    with pytest.raises(InputError, match=f"--bits {bits}: codes of 2 to 8 bits are supported"):
        check_bits(bits, "--bits")


def test_a_filter_of_zeros_has_a_step_that_its_bias_fits_in():
    weights = np.array([[0.0, 0.0], [0.5, -1.27], [0.1, 0.0]], np.float32)
    steps = symmetric_steps(weights)
    np.testing.assert_allclose(steps, [0.01, 0.01, 0.1 / 127], rtol=1e-6)
    assert symmetric_steps(np.zeros((2, 3), np.float32)).tolist() == [1.0, 1.0]
