"""Element-wise operators against ONNX Runtime."""

import numpy as np
import pytest

RANDOM = np.random.default_rng(1)
X = RANDOM.normal(size=(2, 3, 4, 5)).astype(np.float32) * 2
Y = RANDOM.normal(size=(3, 1, 5)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)
INTEGERS = RANDOM.integers(-9, 9, (4, 5))
DIVISORS = RANDOM.integers(1, 5, (4, 5)) * RANDOM.choice([-1, 1], (4, 5))
FLAGS = X > 0


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Min", "Max", "Sum", "Mean"])
def test_binary(agree, op_type):
    agree(op_type, [X, Y])


@pytest.mark.parametrize("op_type", ["Min", "Max", "Sum", "Mean"])
def test_variadic(agree, op_type):
    agree(op_type, [X, Y, -X])
    agree(op_type, [X])


@pytest.mark.parametrize("op_type", ["Add", "Sub", "Mul", "Div", "Mod", "Max"])
def test_integers_stay_integers(agree, op_type):
    agree(op_type, [INTEGERS, DIVISORS])


@pytest.mark.parametrize("op_type", ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"])
def test_comparisons(agree, op_type):
    agree(op_type, [INTEGERS.astype(np.float32), DIVISORS.astype(np.float32)])


def test_power_keeps_the_type_of_its_base(agree):
    agree("Pow", [POSITIVE, Y])
    agree("Pow", [INTEGERS, np.float32(2.0)])


def test_modulo_of_floats(agree):
    agree("Mod", [X, POSITIVE], fmod=1)


@pytest.mark.parametrize("op_type", ["And", "Or", "Xor"])
def test_logic(agree, op_type):
    agree(op_type, [FLAGS, Y > 0])


def test_not_and_where(agree):
    agree("Not", [FLAGS])
    agree("Where", [FLAGS, X, Y])


SMOOTH = ["Neg", "Abs", "Exp", "Floor", "Ceil", "Round", "Sign", "Sin", "Cos", "Erf", "Sigmoid"]
MORE = ["Tanh", "Relu", "HardSwish", "Softplus", "Softsign", "Mish", "Identity", "Dropout"]


@pytest.mark.parametrize("op_type", [*SMOOTH, *MORE])
def test_unary(agree, op_type):
    agree(op_type, [X])


def test_rounding_is_half_to_even(agree):
    agree("Round", [np.array([-2.5, -1.5, -0.5, 0.5, 1.5, 2.5], np.float32)])


@pytest.mark.parametrize("op_type", ["Sqrt", "Log", "Reciprocal"])
def test_unary_of_positive_values(agree, op_type):
    agree(op_type, [POSITIVE])


@pytest.mark.parametrize(
    ("op_type", "attrs"),
    [
        ("LeakyRelu", {}),
        ("LeakyRelu", {"alpha": 0.3}),
        ("HardSigmoid", {}),
        ("HardSigmoid", {"alpha": 0.25, "beta": 0.4}),
        ("Elu", {}),
        ("Elu", {"alpha": 0.7}),
        ("Celu", {"alpha": 0.7}),
        ("Selu", {}),
        ("Selu", {"alpha": 1.2, "gamma": 0.9}),
        ("Gelu", {}),
        ("Gelu", {"approximate": "tanh"}),
        ("ThresholdedRelu", {"alpha": 0.5}),
        ("Softmax", {}),
        ("Softmax", {"axis": 1}),
        ("LogSoftmax", {"axis": 0}),
    ],
)
def test_attributes(agree, op_type, attrs):
    agree(op_type, [X], **attrs)


def test_swish_of_opset_24(both):
    # ONNX Runtime has no kernel for it; it inlines the operator's function body.
    (expected,), (actual,) = both("Swish", [X], opset=24, alpha=1.5)
    np.testing.assert_allclose(actual, expected, atol=1e-5)


@pytest.mark.parametrize("shape", [(3, 1, 1), (1,), (4, 5)])
def test_prelu_broadcasts_its_slope(agree, shape):
    agree("PRelu", [X, RANDOM.normal(size=shape).astype(np.float32)])


def test_clip_bounds_are_optional(agree):
    low, high = np.float32(-0.5), np.float32(0.75)
    agree("Clip", [X, low, high])
    agree("Clip", [X, None, high])
    agree("Clip", [X, low])
    agree("Clip", [X])
    agree("Clip", [INTEGERS, np.int64(-2), np.int64(3)])


@pytest.mark.parametrize("to", [1, 6, 7, 9, 2, 11])
def test_cast(both, to):
    (expected,), (actual,) = both("Cast", [X], to=to)
    if expected.dtype.kind == "f":
        assert actual.dtype == np.float64
    else:
        assert actual.dtype == expected.dtype
    np.testing.assert_array_equal(actual, expected)


def test_cast_like(agree):
    agree("CastLike", [X, INTEGERS])
    agree("CastLike", [INTEGERS, X])


def test_is_nan_and_is_inf(agree):
    values = np.array([1.0, np.nan, np.inf, -np.inf], np.float32)
    agree("IsNaN", [values])
    agree("IsInf", [values])
