"""Normalisations against ONNX Runtime, or its reference evaluator."""

import numpy as np
import pytest

from mlcnn.errors import UnsupportedError

RANDOM = np.random.default_rng(4)
X = RANDOM.normal(size=(2, 6, 4, 5)).astype(np.float32)
SCALE, BIAS, MEAN = (RANDOM.normal(size=6).astype(np.float32) for _ in range(3))
VARIANCE = np.abs(MEAN) + np.float32(0.5)


def test_batch(agree):
    agree("BatchNormalization", [X, SCALE, BIAS, MEAN, VARIANCE], epsilon=1e-3)


def test_batch_statistics_are_refused(ours):
    with pytest.raises(UnsupportedError, match=r"'the_node' \(Batch.*training_mode"):
        ours("BatchNormalization", [X, SCALE, BIAS, MEAN, VARIANCE], training_mode=1)


def test_instance(agree):
    agree("InstanceNormalization", [X, SCALE, BIAS], epsilon=1e-3)


@pytest.mark.parametrize("axis", [-1, 1, 2])
@pytest.mark.parametrize("bias", [True, False])
def test_layer(agree, axis, bias):
    shape = X.shape[axis:]
    scale, offset = (RANDOM.normal(size=shape).astype(np.float32) for _ in range(2))
    inputs = [X, scale, offset] if bias else [X, scale]
    agree("LayerNormalization", inputs, axis=axis, epsilon=1e-3)


def test_second_outputs_are_refused(ours):
    with pytest.raises(UnsupportedError, match="only its first output"):
        ours("LayerNormalization", [X, SCALE[:5]], outputs=2)


def test_group_of_opset_21_scales_channels(agree):
    agree("GroupNormalization", [X, SCALE, BIAS], opset=21, num_groups=3, epsilon=1e-3)


def test_group_before_opset_21_scales_groups(ours):
    (actual,) = ours("GroupNormalization", [X, SCALE[:3], BIAS[:3]], opset=18, num_groups=3)
    groups = X.astype(np.float64).reshape(2, 3, -1)
    centred = groups - groups.mean(2, keepdims=True)
    normal = centred / np.sqrt((centred**2).mean(2, keepdims=True) + 1e-5)
    expected = normal * SCALE[:3, None] + BIAS[:3, None]
    np.testing.assert_allclose(actual, expected.reshape(X.shape), atol=1e-6)


def test_root_mean_square(ours):
    scale = RANDOM.normal(size=5).astype(np.float32)
    (actual,) = ours("RMSNormalization", [X, scale], opset=23, epsilon=1e-3)
    x = X.astype(np.float64)
    expected = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-3) * scale
    np.testing.assert_allclose(actual, expected, atol=1e-6)


@pytest.mark.parametrize("order", [1, 2])
def test_lp(agree, order):
    agree("LpNormalization", [X], axis=1, p=order)


def test_mean_variance(agree):
    agree("MeanVarianceNormalization", [X])
    agree("MeanVarianceNormalization", [X], axes=[1, 2])
