"""How sure a share of images is, and the difference of two."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Z95", "Accuracy", "Difference", "Right", "difference", "paired", "points", "wilson"]

Z95 = 1.959964
"""Two-sided 95 % quantile of the normal distribution."""

Right = NDArray[np.bool_]
"""Which images a network classifies correctly, shape (images,)."""


def wilson(share: float, images: int) -> tuple[float, float]:
    """Wilson's 95 % interval of a share [Wilson 1927]: what the number of images allows.

    Args:
        share: 0 to 1.
        images: that it is a share of.
    """
    square = Z95**2 / images
    centre = (share + square / 2) / (1 + square)
    spread = math.sqrt(share * (1 - share) / images + square / images / 4)
    half = Z95 * spread / (1 + square)
    return max(centre - half, 0.0), min(centre + half, 1.0)


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Top-1 accuracy of one variant of the network on one data set.

    Attributes:
        variant: which state of the network: ``original``, the stages that made it, ``result``.
        dataset: the data set's name.
        images: number of images.
        top1: share of them that is classified correctly, 0 to 1.
    """

    variant: str
    dataset: str
    images: int
    top1: float

    def __post_init__(self) -> None:
        if self.images < 1 or not 0 <= self.top1 <= 1:
            msg = f"accuracy needs at least one image and 0 <= top1 <= 1, got {self}"
            raise ValueError(msg)

    @property
    def interval(self) -> tuple[float, float]:
        """Wilson's 95 % interval of the top-1 accuracy: what the number of images allows."""
        return wilson(self.top1, self.images)


@dataclass(frozen=True, slots=True)
class Difference:
    """Top-1 accuracy of the rewritten network less that of the original.

    Attributes:
        top1: the difference, -1 to 1.
        interval: its 95 % interval.
    """

    top1: float
    interval: tuple[float, float]


def difference(gained: int, lost: int, images: int) -> Difference:
    """The difference with its interval, for two networks on the same images.

    Only the images that one network alone classifies correctly count: with b of them for the one
    and c for the other, of n, the variance of (b - c) / n is (b + c - (b - c)^2 / n) / n^2, as for
    any two counts of a multinomial. Normal approximation: for b and c of 10 or more. It is what
    the number of images allows; another training run differs too.

    Args:
        gained: images that the network after alone classifies correctly.
        lost: images that the one before alone does.
        images: how many there are.
    """
    value = (gained - lost) / images
    half = Z95 * math.sqrt(gained + lost - (gained - lost) ** 2 / images) / images
    return Difference(value, (value - half, value + half))


def paired(before: Right, after: Right) -> Difference:
    """Accuracy after less accuracy before, on the same images, with its 95 % interval."""
    gained, lost = int((after & ~before).sum()), int((before & ~after).sum())
    return difference(gained, lost, len(before))


def points(found: Difference) -> str:
    """A difference with its interval, as ``-3.37 points (-4.20 to -2.54)``."""
    low, high = found.interval
    return f"{100 * found.top1:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})"
