"""Comparator layers: pairs of taps are compared, and bits choose weights [CMPNET, reconstructed].

Nothing is multiplied: a comparison of a pair of taps gives a bit for all outputs, which adds a
weight to each or does not.
"""

from mlcnn.ops.comparator.forms import Compared, maps_of
from mlcnn.ops.comparator.module import ComparatorConv2d, make_layer
from mlcnn.ops.comparator.operator import (
    KIND,
    OPERATORS,
    WEIGHT,
    compare,
    monotone,
    pairs_of,
    read,
    structure,
)
from mlcnn.ops.comparator.pairs import SHARED, Pairs, drawn
from mlcnn.ops.comparator.restoring import restore
from mlcnn.ops.method import Method

__all__ = [
    "COMPARATOR",
    "KIND",
    "SHARED",
    "ComparatorConv2d",
    "Pairs",
    "compare",
    "drawn",
    "maps_of",
    "pairs_of",
    "read",
    "structure",
]


def _nothing(layer: object) -> int:
    """Multiplications: none."""
    del layer
    return 0


COMPARATOR = Method(
    name=KIND,
    forms=(Compared(),),
    operators=OPERATORS,
    read=read,
    layer=make_layer,
    restore=restore,
    row_input=WEIGHT,
    monotone=monotone,
    coded=WEIGHT,
    nonzero=_nothing,
    summary="pairs of taps of a channel are compared, and the bits choose which weights are added",
)
