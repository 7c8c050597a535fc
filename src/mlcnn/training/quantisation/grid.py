"""Evenly spaced numbers that codes stand for: ``step * (code - zero)``."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError

__all__ = [
    "LEAST_STEP",
    "WHOLE_BITS",
    "Floats",
    "Grid",
    "check_bits",
    "symmetric_codes",
    "symmetric_steps",
]

Floats = NDArray[np.float32]

WHOLE_BITS = 8
"""Of the codes that engines compute with."""

LEAST_STEP = 1e-12
"""A value that is 0 everywhere has no range, and a step must be above 0."""

# Of the largest weight of a filter: where the range ends, in the order of preference.
_RATIOS = np.linspace(1, 0.3, 29)


@dataclass(frozen=True, slots=True)
class Grid:
    """What codes of a value stand for.

    Attributes:
        step: distance of two neighbours; a float32 above 0.
        zero: the code of 0.
        bits: codes are 0 to 2**bits - 1.
    """

    step: float
    zero: int
    bits: int = 8

    @classmethod
    def over(cls, low: float, high: float, bits: int = 8) -> "Grid":
        """The grid that covers a range, and 0 exactly; its codes are unsigned.

        Args:
            low: the least number that is not cut off; 0 where it lies above.
            high: the largest; 0 where it lies below.
            bits: of a code.
        """
        low, high = min(low, 0.0), max(high, 0.0)
        most = 2**bits - 1
        step = max(float(np.float32((high - low) / most)), LEAST_STEP)
        return cls(step, int(np.clip(np.rint(-low / step), 0, most)), bits)

    @property
    def low(self) -> float:
        """The least number on the grid."""
        return -self.zero * self.step

    @property
    def high(self) -> float:
        """The largest number on the grid."""
        return (2**self.bits - 1 - self.zero) * self.step

    def codes(self, numbers: Floats) -> NDArray[np.uint8]:
        """The codes of the nearest numbers on the grid; a tie goes to the even multiple."""
        steps = np.rint(np.asarray(numbers, np.float32) / np.float32(self.step))
        return np.clip(steps + self.zero, 0, 2**self.bits - 1).astype(np.uint8)

    def rounded(self, numbers: Floats) -> Floats:
        """The nearest numbers on the grid."""
        codes = self.codes(numbers).astype(np.float32)
        return (codes - np.float32(self.zero)) * np.float32(self.step)


def check_bits(bits: int, option: str, *, least: int = 2) -> None:
    """Refuse numbers of bits that no 8-bit code holds.

    Args:
        bits: of a code.
        option: what the message begins with.
        least: number of bits.

    Raises:
        InputError: below ``least`` or above 8.
    """
    if not least <= bits <= WHOLE_BITS:
        raise InputError(f"{option} {bits}: codes of {least} to 8 bits are supported")


def symmetric_steps(weights: Floats, bits: int = 8) -> Floats:
    """The step of each filter, for codes of -(2**(bits-1) - 1) to 2**(bits-1) - 1.

    With 8 bits the largest weight is the last on the grid. With fewer, the largest weights may be
    cut off, where the squared error of the filter is less so. A filter that is all zero has the
    largest step of the others.

    Args:
        weights: (filters, ...).
        bits: of a code.

    Returns:
        Shape (filters,), each above 0.
    """
    flat = weights.reshape(len(weights), -1).astype(np.float64)
    most = 2 ** (bits - 1) - 1
    largest = np.abs(flat).max(1, initial=0)
    ratios = _RATIOS if bits < WHOLE_BITS else _RATIOS[:1]
    best, steps = np.full(len(flat), np.inf), largest / most
    for ratio in ratios:
        tried = np.maximum(largest * ratio / most, LEAST_STEP)
        codes = np.clip(np.rint(flat / tried[:, None]), -most, most)
        error = ((codes * tried[:, None] - flat) ** 2).sum(1)
        better = error < best
        best, steps = np.where(better, error, best), np.where(better, tried, steps)
    # Any step will do for a filter that is all zero, but not for its bias, which is in steps, too.
    others = steps[largest > 0].max(initial=0) or 1.0
    steps = np.where(largest > 0, steps, others)
    return np.maximum(steps, LEAST_STEP).astype(np.float32)


def symmetric_codes(weights: Floats, steps: Floats, bits: int = 8) -> NDArray[np.int8]:
    """The codes of weights.

    Args:
        weights: (filters, ...).
        steps: (filters,).
        bits: of a code.
    """
    most = 2 ** (bits - 1) - 1
    spread = steps.reshape(-1, *[1] * (weights.ndim - 1))
    return np.clip(np.rint(weights / spread), -most, most).astype(np.int8)
