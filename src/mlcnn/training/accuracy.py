"""Accuracy of anything that turns images into logits."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError

__all__ = ["accuracy"]


def accuracy(
    predict: Callable[[NDArray[np.float32]], NDArray[Any]],
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    batch_size: int = 250,
) -> float:
    """Fraction of ``images`` that ``predict`` classifies as ``labels`` say.

    Args:
        predict: takes (batch, channels, height, width), returns logits (batch, classes).
        images: normalised, shape (images, channels, height, width).
        labels: shape (images,).
        batch_size: images per call of ``predict``; the last call may have fewer.

    Raises:
        InputError: for no images, or logits of a wrong shape.
    """
    if not len(images) or len(images) != len(labels):
        msg = f"accuracy needs as many labels as images, at least one, got {len(images)} images"
        raise InputError(f"{msg} and {len(labels)} labels")
    correct = 0
    for start in range(0, len(images), batch_size):
        batch, expected = images[start : start + batch_size], labels[start : start + batch_size]
        logits = np.asarray(predict(batch))
        if logits.ndim != 2 or len(logits) != len(batch):
            msg = (
                f"logits must have shape ({len(batch)}, classes), got {logits.shape}: "
                "is this network a classifier?"
            )
            raise InputError(msg)
        correct += int((logits.argmax(1) == expected).sum())
    return correct / len(images)
