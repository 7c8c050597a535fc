"""Accuracy of anything that turns images into logits."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError

__all__ = ["accuracy", "check_labels"]


def check_labels(labels: NDArray[np.int64], classes: int, where: str) -> None:
    """Refuse labels outside a network's classes.

    Args:
        labels: shape (images,).
        classes: the number of logits.
        where: what the message begins with.

    Raises:
        InputError: a label below 0, or not below ``classes``.
    """
    wrong = np.unique(labels[(labels < 0) | (labels >= classes)])
    if wrong.size:
        shown = ", ".join(map(str, wrong[:3])) + (", ..." if wrong.size > 3 else "")
        raise InputError(
            f"{where}: the network tells {classes} classes apart, so labels must lie in "
            f"0..{classes - 1}, found {shown}; give the images that belong to its classes, with "
            "labels that count from 0"
        )


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
        InputError: for no images, logits of a wrong shape, or labels without a logit.
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
        check_labels(expected, logits.shape[1], "labels")
        correct += int((logits.argmax(1) == expected).sum())
    return correct / len(images)
