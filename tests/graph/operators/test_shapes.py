"""Operators that move values and make shapes, against ONNX Runtime."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

X = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@pytest.mark.parametrize("axis", [0, 2, -1])
def test_concat(agree, axis):
    agree("Concat", [X, -X, X], axis=axis)


def test_split(agree):
    agree("Split", [X, ints(1, 4)], outputs=2, axis=3)
    agree("Split", [X], outputs=2, axis=2, num_outputs=2)
    agree("Split", [X], outputs=3, axis=3, num_outputs=3)  # 2, 2, 1
    agree("Split", [X], outputs=3, axis=1, opset=13)


@given(st.integers(-7, 7), st.integers(-7, 7), st.sampled_from([-3, -2, -1, 1, 2, 3]))
@settings(max_examples=60, deadline=None)
def test_slice_along_one_axis(agree, start, end, step):
    agree("Slice", [X, ints(start), ints(end), ints(3), ints(step)])


def test_slice_defaults_and_extremes(agree):
    agree("Slice", [X, ints(1, 0), ints(2, 2)])
    huge = np.iinfo(np.int64).max
    agree("Slice", [X, ints(1, -1), ints(huge, -huge), ints(3, -2), ints(1, -1)])


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(agree, mode):
    agree("Pad", [X, ints(0, 0, 2, 1, 0, 0, 1, 3)], mode=mode)
    agree("Pad", [X, ints(2, 1), None, ints(-1)], mode=mode)


def test_pad_with_a_value_and_cropping(agree):
    agree("Pad", [X, ints(0, 1, -1, 2, 1, 0, 2, -1), np.float32(7.5)])


@pytest.mark.parametrize("shape", [(6, 20), (0, -1), (2, 0, 20), (-1,)])
def test_reshape(agree, shape):
    agree("Reshape", [X, ints(*shape)])


def test_reshape_to_nothing(agree):
    agree("Reshape", [X[:0], ints(0, 7)], allowzero=1)


@pytest.mark.parametrize("axis", [0, 1, 3, 4, -1])
def test_flatten(agree, axis):
    agree("Flatten", [X], axis=axis)


def test_squeeze_and_unsqueeze(agree):
    thin = X.reshape(2, 1, 3, 20, 1)
    agree("Squeeze", [thin])
    agree("Squeeze", [thin, ints(-1)])
    agree("Unsqueeze", [X, ints(0, -1)])
    agree("Unsqueeze", [X, ints(-1, 2)])


def test_transpose(agree):
    agree("Transpose", [X])
    agree("Transpose", [X], perm=[0, 2, 3, 1])


def test_expand_and_tile(agree):
    agree("Expand", [X[:, :1], ints(1, 3, 1, 1)])
    agree("Expand", [X[0, 0], ints(2, 3, 1, 5)])
    agree("Tile", [X, ints(1, 2, 1, 3)])


def test_shape_and_size(agree):
    agree("Shape", [X])
    agree("Shape", [X], start=1, end=-1)
    agree("Size", [X])


def test_gather(agree):
    agree("Gather", [X, ints(2, -1, 0)], axis=2)
    agree("Gather", [X, np.array([[0, 1], [1, -2]])], axis=1)
    agree("Gather", [X, np.array(1)], axis=1)
    agree("GatherElements", [X[0, 0], np.array([[0, -1, 2]])], axis=0)


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
def test_depth_to_space(agree, mode):
    x = np.arange(2 * 12 * 3 * 2, dtype=np.float32).reshape(2, 12, 3, 2)
    agree("DepthToSpace", [x], blocksize=2, mode=mode)


def test_space_to_depth(agree):
    x = np.arange(2 * 3 * 4 * 6, dtype=np.float32).reshape(2, 3, 4, 6)
    agree("SpaceToDepth", [x], blocksize=2)


def test_constants(agree):
    agree("Constant", [], value_float=1.5)
    agree("Constant", [], value_floats=[1.0, 2.0])
    agree("Constant", [], value_int=3)
    agree("Constant", [], value_ints=[3, 4])
    agree("ConstantOfShape", [ints(2, 3)])
    agree("Range", [np.int64(2), np.int64(11), np.int64(3)])
    agree("Range", [np.float32(2), np.float32(0), np.float32(-0.5)])
