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
    LOOKUPS = "lookups"  # of comparisons, which are made along; see ``comparators.h``


Kind = Winograd | Sparse | Few | None
"""None computes every product."""


def is_plain(kind: Kind) -> bool:
    """Whether it computes every product, of weights as they are."""
    return kind is None or kind is Few.INT8


def shown(kind: Kind, *, focused: bool = False, compared: bool = False) -> str:
    """An algorithm's name.

    Args:
        kind: the algorithm.
        focused: whether it computes some positions: then what it does to those.
        compared: whether comparisons stand in front of it, which are timed with it.
    """
    if kind is None:
        return "list" if focused else "direct"
    name = kind.shown if isinstance(kind, Winograd) else kind.value
    if compared:
        return f"compares, {name}"
    return f"list, and {name} of tiles" if focused else name
