"""Class exclusion: image by image by a loop, and in the network."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.errors import InputError
from mlcnn.frontier.exclusion import excluding, limits
from mlcnn.frontier.exits import softmax


def _by_hand(heads, below, end):
    """One image: classes go for good, but never all; it leaves where one is left."""
    left = set(range(len(end)))
    for number, (shares, limit) in enumerate(zip(heads, below, strict=True)):
        left = {each for each in left if shares[each] >= limit[each]} or left
        if len(left) == 1:
            return number, left.pop()
    return len(heads), max(left, key=lambda each: end[each])


@given(st.integers(0, 2**31), st.integers(2, 5), st.integers(1, 3))
def test_as_a_loop_over_images_has_it(seed, classes, count):
    rng = np.random.default_rng(seed)
    heads = [softmax(3 * rng.normal(size=(9, classes))) for _ in range(count)]
    below = [rng.uniform(0, 0.5, classes) for _ in range(count)]
    end = rng.normal(size=(9, classes))
    found = excluding(heads, below, end)
    for image in range(9):
        left, said = _by_hand([h[image] for h in heads], below, end[image])
        assert (found.left[image], found.said[image]) == (left, said)


def test_a_limit_loses_its_share_of_the_own_images():
    rng = np.random.default_rng(1)
    labels = np.repeat(np.arange(4), 500)
    shares = softmax(rng.normal(size=(2000, 4)))
    for lost in (0.0, 0.1, 0.5):
        below = limits(shares, labels, lost)
        own = shares[np.arange(2000), labels] < below[labels]
        for each in range(4):
            assert own[labels == each].mean() == pytest.approx(lost, abs=2e-3)


def test_a_class_without_images_has_no_limit():
    with pytest.raises(InputError, match="class 1 has no image"):
        limits(np.full((3, 2), 0.5), np.zeros(3, np.int64), 0.1)


def test_no_limit_excludes_nothing():
    rng = np.random.default_rng(2)
    end = rng.normal(size=(6, 3))
    found = excluding([softmax(end)], [np.zeros(3)], end)
    assert (found.left == 1).all()
    assert (found.said == end.argmax(1)).all()
