"""Resize against ONNX Runtime and ONNX's reference evaluator."""

import numpy as np
import pytest

from mlcnn.errors import UnsupportedError

X = np.random.default_rng(5).normal(size=(1, 2, 5, 6)).astype(np.float32)
COORDINATES = ["half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric"]


def scales(*values: float) -> np.ndarray:
    return np.array(values, np.float32)


@pytest.mark.parametrize("coordinates", COORDINATES)
@pytest.mark.parametrize("mode", ["linear", "cubic"])
@pytest.mark.parametrize("size", [(10, 12), (3, 4), (1, 1), (7, 6)])
def test_interpolation_to_sizes(agree, coordinates, mode, size):
    sizes = np.array((1, 2, *size), np.int64)
    attrs = {"mode": mode, "coordinate_transformation_mode": coordinates}
    agree("Resize", [X, None, None, sizes], **attrs)


@pytest.mark.parametrize("coordinates", ["half_pixel", "asymmetric"])
@pytest.mark.parametrize("rule", ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"])
@pytest.mark.parametrize("factor", [2.0, 0.5, 1.6])
def test_nearest_by_scales(agree, coordinates, rule, factor):
    attrs = {"mode": "nearest", "coordinate_transformation_mode": coordinates}
    agree("Resize", [X, None, scales(1, 1, factor, factor)], nearest_mode=rule, **attrs)


@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_scales_that_do_not_divide(agree, mode):
    agree("Resize", [X, None, scales(1, 1, 1.7, 0.6)], mode=mode)


def test_exclude_outside(agree):
    attrs = {"mode": "cubic", "exclude_outside": 1, "cubic_coeff_a": -0.5}
    agree("Resize", [X, None, scales(1, 1, 2, 2)], **attrs)


def test_axes(agree):
    agree("Resize", [X, None, scales(2, 3)], mode="linear", axes=[2, 3])


def test_unsupported_variants_name_the_node(ours):
    with pytest.raises(UnsupportedError, match=r"node 'the_node' \(Resize\).*antialias=1"):
        ours("Resize", [X, None, scales(1, 1, 0.5, 0.5)], mode="linear", antialias=1)
    with pytest.raises(UnsupportedError, match="tf_crop_and_resize"):
        ours(
            "Resize",
            [X, None, scales(1, 1, 2, 2)],
            coordinate_transformation_mode="tf_crop_and_resize",
        )
