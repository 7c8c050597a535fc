"""Rounding to codes against ONNX Runtime, and what training sees of it."""

import numpy as np
import pytest
import torch

from mlcnn.errors import UnsupportedError
from mlcnn.graph.operators import NodeSpec, find

RANDOM = np.random.default_rng(7)
X = (40 * RANDOM.normal(size=(2, 6, 4, 5))).astype(np.float32)
# Halves of a step, which are rounded to even.
X[0, 0, 0] = np.float32([0.125, 0.375, -0.125, 0.625, -0.625])
SCALE = np.float32(0.25)


@pytest.mark.parametrize("zero", [np.uint8(100), np.int8(-7), np.uint16(3), np.int16(-300)])
def test_quantize(agree, zero):
    agree("QuantizeLinear", [X, SCALE, zero], opset=21)


def test_without_zero_point_codes_are_bytes(agree):
    agree("QuantizeLinear", [X, SCALE])


@pytest.mark.parametrize("axis", [0, 1, -1])
def test_a_scale_for_each_value_of_an_axis(agree, axis):
    count = X.shape[axis]
    scale = RANDOM.uniform(0.1, 2, count).astype(np.float32)
    zero = RANDOM.integers(-20, 20, count).astype(np.int8)
    agree("QuantizeLinear", [X, scale, zero], axis=axis)
    codes = RANDOM.integers(-128, 128, X.shape).astype(np.int8)
    agree("DequantizeLinear", [codes, scale, zero], axis=axis)


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.int32])
def test_dequantize(agree, dtype):
    codes = RANDOM.integers(0, 100, X.shape).astype(dtype)
    agree("DequantizeLinear", [codes, SCALE, dtype(0)])
    agree("DequantizeLinear", [codes, SCALE])


def test_blocks_are_refused(ours):
    scale = np.ones((2, 3, 4, 5), np.float32)
    with pytest.raises(UnsupportedError, match="a scale per block"):
        ours("QuantizeLinear", [X, scale], opset=21, axis=1, block_size=2)


def test_gradients_pass_but_where_a_value_is_cut_off():
    spec = NodeSpec("q", "QuantizeLinear", 20)
    x = torch.tensor([-3.0, 0.3, 5.0, 300.0], requires_grad=True)
    codes = find(spec).build(spec)(x, torch.tensor(0.5), torch.tensor(10, dtype=torch.uint8))
    assert codes.tolist() == [4, 11, 20, 255]
    codes.sum().backward()
    assert x.grad.tolist() == [2, 2, 2, 0]
