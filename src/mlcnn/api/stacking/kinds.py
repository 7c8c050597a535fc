"""All steps that a stack can have, by name."""

from collections.abc import Mapping

from mlcnn.api.stacking.circulant import CIRCULANT
from mlcnn.api.stacking.forms import FORMS
from mlcnn.api.stacking.images import IMAGES
from mlcnn.api.stacking.kind import Kind
from mlcnn.api.stacking.numbers import BITS, INT8
from mlcnn.api.stacking.structures import POOLS, SHRINKING

__all__ = ["KINDS"]

KINDS: Mapping[str, Kind] = {
    kind.name: kind for kind in (POOLS, *SHRINKING, CIRCULANT, INT8, BITS, FORMS, *IMAGES)
}
"""In the order of their aspects."""
