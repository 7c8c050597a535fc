"""Winograd's convolutions of 3x3 kernels [Lavin and Gray 2016]: fewer products, more additions.

F(m x m, 3 x 3) computes m x m results with (m + 2)^2 products in place of 9 m^2. With stride 2, as
a fused average pool leaves it, the even rows form a convolution of two taps, F(m, 2), and the odd
ones one of a single tap: (2m + 1)^2 products in place of 9 m^2, of (m + 2)^2 different weights.
The points are 0, +-3/4, +-5/4 and infinity (+-1/2, +-5/4 and infinity with stride 2): their error
is a quarter of that of 0, +-1, +-2 and infinity.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from math import prod

import numpy as np
from numpy.typing import NDArray

__all__ = ["Transform", "Winograd", "transformed"]

_TAPS = 3


class Winograd(IntEnum):
    """The transforms, in the order of ``winograd.h``."""

    F43 = 0
    F23 = 1
    F43_STRIDE_2 = 2
    F23_STRIDE_2 = 3

    @property
    def transform(self) -> "Transform":
        """Its sizes and points."""
        return _TRANSFORMS[self]

    @property
    def shown(self) -> str:
        """As the field writes it."""
        size, behind = self.transform.outputs, ", stride 2" if self.transform.stride == 2 else ""
        return f"Winograd F({size}x{size}, 3x3){behind}"


@dataclass(frozen=True, slots=True)
class Transform:
    """A transform along one axis.

    Attributes:
        outputs: results of a tile.
        stride: of the convolution.
        points: the finite ones; infinity is one more.
    """

    outputs: int
    stride: int
    points: tuple[float, ...]

    @property
    def classes(self) -> int:
        """Values that a kernel becomes."""
        return len(self.points) + self.stride

    @property
    def values(self) -> int:
        """Values that a tile becomes; with stride 2 several share the last of a kernel's."""
        return len(self.points) + 1 + (self.outputs if self.stride == 2 else 0)

    def kernel(self) -> NDArray[np.float64]:
        """What makes a kernel's values of its taps; shape (classes, 3)."""
        taps = _TAPS if self.stride == 1 else 2
        matrix = np.zeros((self.classes, _TAPS))
        places = [0, 1, 2] if self.stride == 1 else [0, 2]
        for index, point in enumerate(self.points):
            others = [point - other for other in self.points if other != point]
            matrix[index, places] = [point**power / prod(others) for power in range(taps)]
        matrix[len(self.points), places[-1]] = 1
        if self.stride == 2:
            matrix[-1, 1] = 1
        return matrix

    def tiles(self, sizes: Sequence[int]) -> int:
        """Tiles of an image of results of these sizes."""
        return prod(-(-size // self.outputs) for size in sizes)


_TRANSFORMS = {
    Winograd.F43: Transform(4, 1, (0.0, 0.75, -0.75, 1.25, -1.25)),
    Winograd.F23: Transform(2, 1, (0.0, 1.0, -1.0)),
    Winograd.F43_STRIDE_2: Transform(4, 2, (0.5, -0.5, 1.25, -1.25)),
    Winograd.F23_STRIDE_2: Transform(2, 2, (0.0, 1.0)),
}


@functools.cache
def _both_axes(kind: Winograd) -> NDArray[np.float64]:
    matrix = kind.transform.kernel()
    return np.kron(matrix, matrix).T.astype(np.float64)


def transformed(kind: Winograd, weight: NDArray[np.float32]) -> NDArray[np.float32]:
    """Kernels (filters, channels, 3, 3) as (classes^2, filters, channels), through float64."""
    flat = weight.reshape(*weight.shape[:2], _TAPS * _TAPS).astype(np.float64)
    return np.ascontiguousarray((flat @ _both_axes(kind)).astype(np.float32).transpose(2, 0, 1))
