"""Selective activation [SeFAct 2019]: of each layer only the channels that an image's classes need.

The masks come from the image, so each image has its own; what they leave out is zero.
"""

import numpy as np
from numpy.typing import NDArray

from mlcnn.ops.method import Method
from mlcnn.ops.selected.forms import Gathered, Masked
from mlcnn.ops.selected.operator import KIND, OPERATORS, read, select

__all__ = ["KIND", "SELECTED", "read", "select"]


def _computed(form: str, masks: NDArray[np.bool_]) -> NDArray[np.float64]:
    """The share of the channels, shape (images,); of the operator, as its definition says."""
    return np.ones(len(masks)) if form == Masked.name else masks.mean(1)


SELECTED = Method(
    name=KIND,
    forms=(Masked(), Gathered()),
    operators=OPERATORS,
    read=read,
    computed=_computed,
    summary="channels that a mask of each image leaves out are zero, and not computed",
)
"""The method: channel by channel what ``focused`` is position by position."""
