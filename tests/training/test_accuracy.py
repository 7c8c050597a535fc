"""Accuracy, counted by hand."""

import numpy as np
import pytest

from mlcnn.errors import InputError
from mlcnn.training import accuracy

IMAGES = np.arange(5, dtype=np.float32).reshape(5, 1, 1, 1)


def as_class(images: np.ndarray) -> np.ndarray:
    """Logits that name an image's only pixel."""
    return np.eye(5)[images.reshape(-1).astype(int)]


@pytest.mark.parametrize("batch_size", [1, 2, 5, 100])
def test_every_image_counts_once(batch_size):
    labels = np.array([0, 1, 0, 3, 0])
    assert accuracy(as_class, IMAGES, labels, batch_size=batch_size) == 3 / 5


def test_bad_arguments_are_refused():
    with pytest.raises(InputError, match="got 5 images and 4 labels"):
        accuracy(as_class, IMAGES, np.zeros(4, np.int64))
    with pytest.raises(InputError, match="at least one, got 0 images"):
        accuracy(as_class, IMAGES[:0], np.zeros(0, np.int64))
    with pytest.raises(InputError, match=r"shape \(5, classes\), got \(5, 1, 1, 1\).*classifier"):
        accuracy(lambda images: images, IMAGES, np.zeros(5, np.int64))


@pytest.mark.parametrize(
    ("labels", "found"), [([0, 1, 5, 3, 4], "5"), ([0, -1, 57, 3, 4], "-1, 57")]
)
def test_a_label_without_a_logit_is_refused(labels, found):
    with pytest.raises(InputError, match=rf"tells 5 classes apart.* in 0\.\.4, found {found};"):
        accuracy(as_class, IMAGES, np.array(labels))
