"""Matrix products and reductions against ONNX Runtime."""

import numpy as np
import pytest

RANDOM = np.random.default_rng(3)
X = RANDOM.normal(size=(2, 3, 4, 5)).astype(np.float32)
POSITIVE = np.abs(X) + np.float32(0.1)


def axes(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("beta", [1.0, 2.0])
@pytest.mark.parametrize("transposed", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_gemm(agree, alpha, beta, transposed):
    a = RANDOM.normal(size=(4, 3) if transposed[0] else (3, 4)).astype(np.float32)
    b = RANDOM.normal(size=(5, 4) if transposed[1] else (4, 5)).astype(np.float32)
    c = RANDOM.normal(size=5).astype(np.float32)
    attrs = {"alpha": alpha, "beta": beta, "transA": transposed[0], "transB": transposed[1]}
    agree("Gemm", [a, b, c], **attrs)
    agree("Gemm", [a, b], **attrs)


@pytest.mark.parametrize(
    "shapes", [((3, 4), (4, 5)), ((2, 3, 4), (4, 5)), ((4,), (4, 5)), ((2, 1, 3, 4), (6, 4, 5))]
)
def test_matmul(agree, shapes):
    agree("MatMul", [RANDOM.normal(size=shape).astype(np.float32) for shape in shapes])


def test_einsum(agree):
    y = RANDOM.normal(size=(5, 6)).astype(np.float32)
    agree("Einsum", [X, y], equation="b c h w, w k -> b c h k")


REDUCTIONS = ["Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "SumSquare", "LogSumExp", "LogSum"]


@pytest.mark.parametrize("name", REDUCTIONS)
@pytest.mark.parametrize("over", [axes(2, 3), axes(-1), axes(0, 2), None])
@pytest.mark.parametrize("keepdims", [0, 1])
def test_reductions(agree, name, over, keepdims):
    agree(f"Reduce{name}", [POSITIVE, over], keepdims=keepdims)


def test_axes_as_attribute(agree):
    agree("ReduceMean", [X], opset=13, axes=[2, 3])
    agree("ReduceMax", [X], opset=13, axes=[1], keepdims=0)


def test_no_axes_may_mean_nothing_to_do(agree):
    agree("ReduceSum", [X, axes()], noop_with_empty_axes=1)
    agree("ReduceSum", [X, axes()], noop_with_empty_axes=0)


def test_integer_sums_stay_integers(agree):
    agree("ReduceSum", [RANDOM.integers(-5, 5, (3, 4)).astype(np.int32), axes(1)])


@pytest.mark.parametrize("op_type", ["ArgMax", "ArgMin"])
@pytest.mark.parametrize("last", [0, 1])
def test_index_of_the_extreme(agree, op_type, last):
    values = RANDOM.integers(0, 3, (4, 6)).astype(np.float32)  # with ties
    agree(op_type, [values], axis=1, select_last_index=last, keepdims=0)


@pytest.mark.parametrize("exclusive", [0, 1])
@pytest.mark.parametrize("reverse", [0, 1])
def test_cumulative_sum(agree, exclusive, reverse):
    agree("CumSum", [X, np.int64(1)], exclusive=exclusive, reverse=reverse)
