"""A layer in whole numbers, as the hardware runs it."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["SHIFT_MOST", "SIGNIFICAND_BITS", "IntegerLayer"]

SIGNIFICAND_BITS = 24
SHIFT_MOST = 63

Whole = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class IntegerLayer:
    """A convolution, or a dense layer as one of 1x1, with the average pool behind it.

    An output is ``min(max(round(((sum + bias) * significand) / 2**shift) + zero, low), high)``,
    where halves are rounded to even; ``sum`` is that of weights times codes, over the whole window
    of the pool: its division is part of the scale. Where codes of the input have a zero, ``bias``
    makes up for it.

    Attributes:
        name: of the layer in its network.
        weights: codes -128..127, shape (K, C, R, S).
        bias: at the scale of the sums, shape (K,), within 32 bits.
        significand: of the scale, 0..2**24 - 1, shape (K,).
        shift: of the scale, 0..63, shape (K,).
        shape: of the input, (C, H, W).
        strides: of the convolution.
        pads: before and behind the rows, before and behind the columns.
        window: of the pool, rows and columns; (1, 1) for none.
        pool_strides: of the pool.
        fused: whether sums of the inputs are formed first.
        signed: whether inputs are -128..127, and not 0..255.
        pad_value: code of the padding.
        zero: code of 0 in the output.
        low: least code of the output.
        high: largest code of the output.
    """

    name: str
    weights: Whole
    bias: Whole
    significand: Whole
    shift: Whole
    shape: tuple[int, int, int]
    strides: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (0, 0, 0, 0)
    window: tuple[int, int] = (1, 1)
    pool_strides: tuple[int, int] = (1, 1)
    fused: bool = False
    signed: bool = True
    pad_value: int = 0
    zero: int = 0
    low: int = -128
    high: int = 127

    @property
    def convolved(self) -> tuple[int, int]:
        """Rows and columns of the convolution's output."""
        _, rows, columns = self.shape
        padded = rows + sum(self.pads[:2]), columns + sum(self.pads[2:])
        down, along = (
            (size - taps) // stride + 1
            for size, taps, stride in zip(padded, self.weights.shape[2:], self.strides, strict=True)
        )
        return down, along

    @property
    def outputs(self) -> tuple[int, int]:
        """Rows and columns behind the pool."""
        down, along = (
            (size - window) // stride + 1
            for size, window, stride in zip(
                self.convolved, self.window, self.pool_strides, strict=True
            )
        )
        return down, along
