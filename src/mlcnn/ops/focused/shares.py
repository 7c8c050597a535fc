"""Which share of a layer's positions a form computes."""

import numpy as np
from numpy.typing import NDArray

from mlcnn.ops.focused.forms import Gathered, Rectangle
from mlcnn.ops.focused.operator import KIND

__all__ = ["computed"]


def computed(form: str, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of each image, shape (images,).

    Args:
        form: its name; of the operator itself the kept positions count, as its definition says.
        masks: shape (images, 1, P, Q).
    """
    if form in {KIND, Gathered.name}:
        return masks.mean((1, 2, 3))
    if form == Rectangle.name:
        sides = _span(masks[:, 0]) * _span(masks[:, 0].transpose(0, 2, 1))
        return sides / (masks.shape[2] * masks.shape[3])
    return np.ones(len(masks))


def _span(masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Rows from the first kept one to the last; all where none is kept, as ``rect`` has it."""
    lines = np.asarray(masks.any(2))
    rows = lines.shape[1]
    return (rows - lines.argmax(1) - lines[:, ::-1].argmax(1)).astype(np.float64)
