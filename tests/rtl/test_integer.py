"""The integer model against sums in Python's own whole numbers and fractions."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.errors import InfeasibleError
from mlcnn.rtl.integer import fixed_point, round_half_even, run_layer
from mlcnn.rtl.layer import IntegerLayer


def _expected(layer: IntegerLayer, codes: np.ndarray) -> list[list[list[int]]]:
    """Outputs one by one, as the docstring of ``IntegerLayer`` says: no array, no fixed width."""
    _, rows, columns = layer.shape

    def code(channel: int, y: int, x: int) -> int:
        inside = 0 <= y < rows and 0 <= x < columns
        return int(codes[channel, y, x]) if inside else layer.pad_value

    def product_sum(k: int, p: int, q: int) -> int:
        _, channels, taps_down, taps_along = layer.weights.shape
        total = 0
        for a in range(layer.window[0]):
            for b in range(layer.window[1]):
                u = p * layer.pool_strides[0] + a
                v = q * layer.pool_strides[1] + b
                for c in range(channels):
                    for r in range(taps_down):
                        for s in range(taps_along):
                            y = u * layer.strides[0] + r - layer.pads[0]
                            x = v * layer.strides[1] + s - layer.pads[2]
                            total += int(layer.weights[k, c, r, s]) * code(c, y, x)
        return total

    def output(k: int, p: int, q: int) -> int:
        scale = Fraction(int(layer.significand[k]), 2 ** int(layer.shift[k]))
        exact = (product_sum(k, p, q) + int(layer.bias[k])) * scale
        return min(max(round(exact) + layer.zero, layer.low), layer.high)

    down, along = layer.outputs
    return [
        [[output(k, p, q) for q in range(along)] for p in range(down)]
        for k in range(len(layer.weights))
    ]


@st.composite
def _layers(draw: st.DrawFn) -> tuple[IntegerLayer, np.ndarray]:
    taps = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    strides = draw(st.integers(1, 2)), draw(st.integers(1, 2))
    window = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pool = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    pads = tuple(draw(st.integers(0, 2)) for _ in range(4))
    least = [
        max((w - 1) * s + t - sum(around), 1)
        for w, s, t, around in zip(window, strides, taps, (pads[:2], pads[2:]), strict=True)
    ]
    channels, filters = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    shape = channels, *(size + draw(st.integers(0, 4)) for size in least)
    signed = draw(st.booleans())
    ends = (-128, 127) if signed else (0, 255)
    random = np.random.default_rng(draw(st.integers(0, 2**32)))
    low, high = sorted(random.integers(-128, 256, 2).tolist())
    layer = IntegerLayer(
        "layer",
        random.integers(-128, 128, (filters, channels, *taps)),
        random.integers(-(2**16), 2**16, filters),
        # Few bits here make exact halves; many there are what layers have.
        random.integers(0, draw(st.sampled_from([4, 2**24])), filters),
        random.integers(0, draw(st.sampled_from([5, 40, 64])), filters),
        shape,
        strides,
        pads,
        window,
        pool,
        draw(st.booleans()),
        signed,
        int(random.integers(ends[0], ends[1] + 1)),
        int(random.integers(-128, 256)),
        low,
        high,
    )
    return layer, random.integers(ends[0], ends[1] + 1, shape)


@given(_layers())
def test_layer_gives_what_its_definition_says(case: tuple[IntegerLayer, np.ndarray]) -> None:
    layer, codes = case
    assert run_layer(layer, codes).tolist() == _expected(layer, codes)


@given(_layers())
def test_fused_and_plain_order_give_the_same_bits(case: tuple[IntegerLayer, np.ndarray]) -> None:
    layer, codes = case
    fused, plain = (_with(layer, fused=fused) for fused in (True, False))
    assert run_layer(fused, codes).tolist() == run_layer(plain, codes).tolist()


@given(_layers())
def test_images_together_are_images_alone(case: tuple[IntegerLayer, np.ndarray]) -> None:
    layer, codes = case
    both = np.stack([codes, codes[:, ::-1]])
    alone = [run_layer(layer, one).tolist() for one in both]
    assert run_layer(layer, both).tolist() == alone


@given(st.integers(-(2**62), 2**62), st.integers(1, 2**62))
def test_quotients_are_rounded_as_fractions_are(numerator: int, denominator: int) -> None:
    found = round_half_even(np.array(numerator), denominator)
    assert int(found) == round(Fraction(numerator, denominator))


@given(st.fractions(Fraction(1, 2**39), Fraction(2**23)))
def test_scale_is_within_half_a_unit_of_its_last_of_24_bits(scale: Fraction) -> None:
    significand, shift = fixed_point(scale, "layer")
    assert 2**23 <= significand < 2**24
    assert abs(Fraction(significand, 2**shift) - scale) <= Fraction(1, 2 ** (shift + 1))


def test_tiny_scale_keeps_what_bits_it_can() -> None:
    assert fixed_point(Fraction(5, 2**63), "layer") == (5, 63)
    assert fixed_point(Fraction(1, 2**70), "layer") == (0, 63)


def test_scale_that_rounds_up_to_a_power_of_two_stays_within_24_bits() -> None:
    assert fixed_point(1 - Fraction(1, 2**30), "layer") == (2**23, 23)


def test_scale_that_is_too_large_is_refused() -> None:
    with pytest.raises(InfeasibleError) as caught:
        fixed_point(Fraction(2**24), "conv1")
    assert str(caught.value) == (
        "conv1: an output step is 1.68e+07 times smaller than that of the sums, and the hardware "
        "takes less than 16777216: calibrate the network on images that are scaled as in training"
    )


def _ones(channels: int, bias: int, weight: int = 127) -> IntegerLayer:
    one = np.ones(1, np.int64)
    weights = np.full((1, channels, 1, 1), weight)
    return IntegerLayer("fc1", weights, one * bias, one, one * 31, (channels, 1, 1), signed=False)


def test_sums_that_just_fit_32_bits_run() -> None:
    layer = _ones(1, 2**31 - 1 - 127 * 255)
    assert run_layer(layer, np.full((1, 1, 1), 255)).tolist() == [[[1]]]


@pytest.mark.parametrize(
    ("bias", "weight"), [(2**31 - 127 * 255, 127), (127 * 255 - 2**31 - 1, -127)]
)
def test_sums_that_could_leave_32_bits_are_refused(bias: int, weight: int) -> None:
    layer = _ones(1, bias, weight)
    with pytest.raises(InfeasibleError) as caught:
        run_layer(layer, np.zeros((1, 1, 1), np.int64))
    reached = "2,147,483,648" if weight > 0 else "2,147,483,649"
    assert str(caught.value) == (
        f"fc1: its sums may reach {reached}, and an accumulator of 32 bits holds 2,147,483,647: "
        "quantise it with fewer bits (--weight-bits), or give it fewer input channels"
    )


def test_codes_of_another_shape_or_range_are_refused() -> None:
    layer = _ones(1, 0)
    with pytest.raises(
        ValueError, match=r"^fc1 takes codes of shape \(1, 1, 1\), not \(2, 1, 1\)$"
    ):
        run_layer(layer, np.zeros((2, 1, 1), np.int64))
    with pytest.raises(ValueError, match=r"^fc1 takes codes of 0 to 255$"):
        run_layer(layer, np.full((1, 1, 1), -1))


def _with(layer: IntegerLayer, *, fused: bool) -> IntegerLayer:
    fields = {name: getattr(layer, name) for name in IntegerLayer.__slots__}
    return IntegerLayer(**{**fields, "fused": fused})
