"""Layers that the hardware does not run, on codes: pools, sums, concatenations.

Each gives the code that is nearest to the exact result, a half to the even one, with scales of 24
bits as the hardware has them.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from mlcnn.rtl.integer import fixed_point, round_half_even
from mlcnn.rtl.network import CodeGrid

__all__ = ["Joined", "Largest", "Mean", "PoolWindows", "Recoded"]

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PoolWindows:
    """Where the windows of a pool lie.

    Attributes:
        kernel: rows and columns.
        strides: from one window to the next.
        dilations: from one position of a window to the next.
        before: padding in front.
        after: padding behind, as the pool declares it.
        outputs: how many windows there are, down and along.
    """

    kernel: tuple[int, int]
    strides: tuple[int, int]
    dilations: tuple[int, int]
    before: tuple[int, int]
    after: tuple[int, int]
    outputs: tuple[int, int]

    def stacked(self, values: Whole, around: int) -> Whole:
        """The positions of all windows, shape (positions, ..., P, Q).

        Args:
            values: shape (..., H, W).
            around: what stands for positions outside, however far.
        """
        ends = [
            (count - 1) * stride + (size - 1) * apart + 1
            for count, stride, size, apart in zip(
                self.outputs, self.strides, self.kernel, self.dilations, strict=True
            )
        ]
        behind = [
            max(end - size - start, 0)
            for end, size, start in zip(ends, values.shape[-2:], self.before, strict=True)
        ]
        pads = [(0, 0)] * (values.ndim - 2) + [*zip(self.before, behind, strict=True)]
        padded = np.pad(values, pads, constant_values=around)
        spans = [
            (count - 1) * stride + 1
            for count, stride in zip(self.outputs, self.strides, strict=True)
        ]
        return np.stack(
            [
                padded[
                    ...,
                    row * self.dilations[0] : row * self.dilations[0] + spans[0] : self.strides[0],
                    col * self.dilations[1] : col * self.dilations[1] + spans[1] : self.strides[1],
                ]
                for row in range(self.kernel[0])
                for col in range(self.kernel[1])
            ]
        )

    def counts(self, sizes: tuple[int, int], *, padding: bool) -> Whole:
        """Positions of each window that a mean divides by, shape (P, Q).

        Args:
            sizes: of the input, rows and columns.
            padding: whether declared padding counts.
        """
        inside = np.ones(sizes, np.int64)
        if padding:
            inside = np.pad(inside, [*zip(self.before, self.after, strict=True)], constant_values=1)
            bare = PoolWindows(
                self.kernel, self.strides, self.dilations, (0, 0), (0, 0), self.outputs
            )
            return bare.stacked(inside, 0).sum(0)
        return self.stacked(inside, 0).sum(0)


@dataclass(frozen=True, slots=True)
class Largest:
    """A max pool; its codes are those of its input.

    Attributes:
        windows: of the pool.
        lowest: a code that no other is below.
    """

    windows: PoolWindows
    lowest: int

    def __call__(self, codes: Whole) -> Whole:
        """The largest code of each window."""
        return self.windows.stacked(codes, self.lowest).max(0)


@dataclass(frozen=True, slots=True)
class Recoded:
    """Codes of one grid, or of several, as those of another: a sum where there are several.

    Attributes:
        name: of the layer, for messages.
        given: the grids of what is added.
        wanted: the grid of the result.
        low: the least code of the result: above that of its grid where a ReLU is part of it.
        high: the largest code of the result.
    """

    name: str
    given: tuple[CodeGrid, ...]
    wanted: CodeGrid
    low: int
    high: int

    def __call__(self, *codes: Whole) -> Whole:
        """Codes of the sum."""
        scales = [Fraction(grid.step) / Fraction(self.wanted.step) for grid in self.given]
        _, shift = fixed_point(max(scales), self.name)
        total = sum(
            (
                (each - grid.zero) * round(scale * 2**shift)
                for each, grid, scale in zip(codes, self.given, scales, strict=True)
            ),
            np.zeros(1, np.int64),
        )
        rounded = round_half_even(total, 1 << shift) + self.wanted.zero
        return np.clip(rounded, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Mean:
    """An average pool.

    Attributes:
        name: of the layer, for messages.
        windows: of the pool.
        padding: whether declared padding counts.
        given: the grid of what it reads.
        wanted: the grid of the result.
        low: see ``Recoded``.
        high: see ``Recoded``.
    """

    name: str
    windows: PoolWindows
    padding: bool
    given: CodeGrid
    wanted: CodeGrid
    low: int
    high: int

    def __call__(self, codes: Whole) -> Whole:
        """Codes of the means."""
        scale = Fraction(self.given.step) / Fraction(self.wanted.step)
        significand, shift = fixed_point(scale, self.name)
        sums = self.windows.stacked(codes - self.given.zero, 0).sum(0)
        rows, columns = codes.shape[-2:]
        counts = self.windows.counts((rows, columns), padding=self.padding)
        rounded = round_half_even(sums * significand, np.maximum(counts, 1) << shift)
        return np.clip(rounded + self.wanted.zero, self.low, self.high)


@dataclass(frozen=True, slots=True)
class Joined:
    """A concatenation, each part brought to the grid of the result.

    Attributes:
        parts: one for each input.
        axis: images are axis 0.
    """

    parts: tuple[Recoded, ...]
    axis: int

    def __call__(self, *codes: Whole) -> Whole:
        """The parts side by side."""
        found: Sequence[Whole] = [part(each) for part, each in zip(self.parts, codes, strict=True)]
        return np.concatenate(found, self.axis)
