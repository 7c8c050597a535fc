"""Focused convolution [Focused 2022]: where a mask says that nothing matters, nothing is computed.

The mask comes from the image, so each image has its own; outside of it a layer gives zeros.
"""

from mlcnn.ops.focused.forms import Gathered, Masked, Rectangle
from mlcnn.ops.focused.operator import KIND, OPERATORS, focus, read
from mlcnn.ops.focused.outside import Outside
from mlcnn.ops.focused.rules import Growth, Masks, Striding
from mlcnn.ops.focused.shares import computed
from mlcnn.ops.focused.sources import SOURCES, MaskSource
from mlcnn.ops.focused.stored import stored
from mlcnn.ops.method import Method

__all__ = [
    "FOCUSED",
    "KIND",
    "SOURCES",
    "Growth",
    "MaskSource",
    "Masks",
    "Outside",
    "Striding",
    "focus",
    "read",
    "stored",
]

FOCUSED = Method(
    name=KIND,
    forms=(Masked(), Gathered(), Rectangle()),
    operators=OPERATORS,
    computed=computed,
    summary="positions that a mask of each image leaves out are zero, and not computed",
)
