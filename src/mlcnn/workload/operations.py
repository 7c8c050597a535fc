"""Numbers of multiplications and additions."""

from dataclasses import dataclass
from typing import Self

__all__ = ["Operations"]


@dataclass(frozen=True, slots=True)
class Operations:
    """What a layer computes.

    Attributes:
        multiplications: number of scalar multiplications.
        additions: number of scalar additions (and comparisons, for a max pool).
    """

    multiplications: int = 0
    additions: int = 0

    def __add__(self, other: Self) -> "Operations":
        return Operations(
            self.multiplications + other.multiplications, self.additions + other.additions
        )

    def __rmul__(self, times: int) -> "Operations":
        return Operations(times * self.multiplications, times * self.additions)
