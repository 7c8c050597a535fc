"""Averages over seeds with their intervals, and differences paired by seed and image."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.training.intervals import wilson

__all__ = ["Estimate", "mean_over_seeds", "paired_difference", "student_quantile"]

_RESAMPLES = 10_000


@dataclass(frozen=True, slots=True)
class Estimate:
    """A number with its 95 % interval.

    Attributes:
        value: the estimate.
        low: lower end of the interval.
        high: upper end.
        runs: how many runs, or pairs of runs, are behind it.
    """

    value: float
    low: float
    high: float
    runs: int


def mean_over_seeds(shares: Sequence[float], images: int) -> Estimate:
    """The mean of the runs' accuracies with Student's interval; of a single run Wilson's.

    Args:
        shares: of each run, 0 to 1.
        images: that each share is of.
    """
    count, mean = len(shares), math.fsum(shares) / len(shares)
    if count == 1:
        return Estimate(mean, *wilson(mean, images), 1)
    variance = math.fsum((share - mean) ** 2 for share in shares) / (count - 1)
    half = student_quantile(count - 1) * math.sqrt(variance / count)
    return Estimate(mean, mean - half, mean + half, count)


def student_quantile(freedom: int) -> float:
    """The t that holds 95 % of Student's distribution between -t and t, by bisection."""
    low, high = 0.0, 20.0
    while high - low > 1e-9:
        middle = (low + high) / 2
        if _student_within(middle, freedom) < 0.95:
            low = middle
        else:
            high = middle
    return high


def _student_within(t: float, freedom: int) -> float:
    """P(|T| < t) [Abramowitz and Stegun 1964, 26.7.3 and 26.7.4]."""
    angle = math.atan(t / math.sqrt(freedom))
    odd = freedom % 2
    term = math.cos(angle) if odd else 1.0
    total = 0.0
    for step in range(odd + 2, freedom + 1, 2):
        total += term
        term *= math.cos(angle) ** 2 * (step - 1) / step
    if odd:
        return 2 / math.pi * (angle + math.sin(angle) * total)
    return math.sin(angle) * total


def paired_difference(
    better: Sequence[NDArray[np.bool_]], worse: Sequence[NDArray[np.bool_]]
) -> Estimate:
    """Mean of one accuracy less another, with a bootstrap interval.

    Run i of both had the same seed, and all saw the same test images, so both seeds and images are
    drawn anew together, 10,000 times; the interval holds the middle 95 % [Efron 1979]. Of n seeds
    n - 1 are drawn, else the variance would be too small by (n - 1) / n [Rao 1988]. Of a single
    pair the images alone can be drawn: how seeds differ is then not in the interval.

    Args:
        better: which test images each run of the first classifies correctly, shape (images,).
        worse: of the second, in the same order of seeds.
    """
    change = np.array(better, np.int8) - np.array(worse, np.int8)
    seeds, images = change.shape
    generator = np.random.default_rng(0)
    # An image's column of changes is one of few kinds: how often each kind is drawn is enough.
    kinds, counts = np.unique(change, axis=1, return_counts=True)
    drawn = generator.multinomial(images, counts / images, _RESAMPLES) / images
    draws = max(seeds - 1, 1)
    weights = generator.multinomial(draws, [1 / seeds] * seeds, _RESAMPLES) / draws
    means = ((drawn @ kinds.T) * weights).sum(axis=1)
    low, high = np.quantile(means, (0.025, 0.975))
    return Estimate(float(change.mean()), float(low), float(high), seeds)
