"""The algorithms of a convolution, by name."""

from enum import StrEnum

from mlcnn.engines.native.winograd import Winograd

__all__ = ["Few", "Kind", "Sparse", "is_plain", "shown"]


class Sparse(StrEnum):
    """Only products with weights that are not zero; see ``sparse.h``."""

    WEIGHTS = "sparse"
    SHARED = "sparse, of shared kernels"


class Few(StrEnum):
    """Of codes that have few bits; see ``bits.h``."""

    PLANES = "bit planes"
    TABLES = "tables"
    INT8 = "int8"


Kind = Winograd | Sparse | Few | None
"""None computes every product."""


def is_plain(kind: Kind) -> bool:
    """Whether it computes every product, of weights as they are."""
    return kind is None or kind is Few.INT8


def shown(kind: Kind, *, focused: bool = False) -> str:
    """An algorithm's name; of a focused layer that of what it does to the positions it computes."""
    if kind is None:
        return "list" if focused else "direct"
    name = kind.shown if isinstance(kind, Winograd) else kind.value
    return f"list, and {name} of tiles" if focused else name
