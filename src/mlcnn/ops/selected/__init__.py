"""Selective activation [SeFAct 2019]: of each layer only the channels that an image's classes need.

The masks come from the image, so each image has its own; what they leave out is zero.
"""

from mlcnn.ops.method import Method
from mlcnn.ops.selected.forms import Gathered, Masked
from mlcnn.ops.selected.operator import KIND, OPERATORS, read, select

__all__ = ["KIND", "SELECTED", "read", "select"]

SELECTED = Method(
    name=KIND,
    forms=(Masked(), Gathered()),
    operators=OPERATORS,
    read=read,
    summary="channels that a mask of each image leaves out are zero, and not computed",
)
"""The method: channel by channel what ``focused`` is position by position."""
