"""Numbers of multiplications and additions."""

from dataclasses import dataclass, fields
from typing import Self

__all__ = ["Operations", "Sum"]


@dataclass(frozen=True, slots=True)
class Sum:
    """Integers that add up field by field."""

    def __add__(self, other: Self) -> Self:
        names = [field.name for field in fields(self)]
        return type(self)(*(getattr(self, name) + getattr(other, name) for name in names))


@dataclass(frozen=True, slots=True)
class Operations(Sum):
    """What a layer computes.

    Attributes:
        multiplications: number of scalar multiplications.
        additions: number of scalar additions (and comparisons, for a max pool).
        comparisons: of pairs of inputs, whose results choose what is added.
    """

    multiplications: int = 0
    additions: int = 0
    comparisons: int = 0

    def __rmul__(self, times: int) -> "Operations":
        return Operations(
            times * self.multiplications, times * self.additions, times * self.comparisons
        )
