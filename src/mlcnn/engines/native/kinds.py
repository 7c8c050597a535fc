"""The algorithms of a convolution, by name."""

from enum import StrEnum

from mlcnn.engines.native.winograd import Winograd

__all__ = ["Kind", "Sparse", "shown"]


class Sparse(StrEnum):
    """Only products with weights that are not zero; see ``sparse.h``."""

    WEIGHTS = "sparse"
    SHARED = "sparse, of shared kernels"


Kind = Winograd | Sparse | None
"""None computes every product."""


def shown(kind: Kind, *, focused: bool = False) -> str:
    """An algorithm's name; of a focused layer that of what it does to the positions it computes."""
    if kind is None:
        return "list" if focused else "direct"
    name = kind.shown if isinstance(kind, Winograd) else kind.value
    return f"list, and {name} of tiles" if focused else name
