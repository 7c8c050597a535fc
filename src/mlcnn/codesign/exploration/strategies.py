"""Which designs are mapped next.

A strategy yields batches of candidates and reads in the archive what became of them, so that it is
a function of the seed and of what the designs come to: it ends the same however often it is
interrupted, and however many processes map its batches.

``guided`` maps designs that may well be better than all so far, by bounds and ``Estimates``.
``proof`` goes on from there with every design that the bounds do not rule out.
``descent`` goes from random designs to their best neighbours until none is better.
``relaxed`` moves sizes and mappings together by gradients, and maps the designs around.
"""

from collections.abc import Callable, Iterator
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.exploration.archive import Archive, beaten
from mlcnn.codesign.exploration.estimates import Estimates
from mlcnn.codesign.exploration.quantities import Limit, Quantity
from mlcnn.codesign.exploration.relaxed import Relaxing

__all__ = ["Strategy", "batches"]

Array = NDArray[np.float64]
_BATCH = 4
"""Designs that are chosen together: enough for a few processes, few enough to learn from."""
_OPTIMISM = 3.0
_GAIN = 1e-3
"""Share by which a design must be expected to be better in something."""
_EVEN = 0.05
_PATIENCE = 4
"""Descents in a row that find nothing new."""
_DOUBT = 0.02
"""Logarithm of the factor by which a relaxed value may be too high, beside what is known of it."""


class Strategy(StrEnum):
    """How designs are chosen."""

    GUIDED = "guided"
    PROOF = "proof"
    DESCENT = "descent"
    RELAXED = "relaxed"


def batches(
    strategy: Strategy,
    archive: Archive,
    seed: int,
    start: int | None = None,
    relaxing: Relaxing | None = None,
) -> Iterator[list[int]]:
    """Batches of candidates to map, until none is worth it.

    Args:
        strategy: how they are chosen.
        archive: has every design of a batch when the next is asked for.
        seed: of what is drawn.
        start: a design to start from.
        relaxing: the gradient search of ``relaxed``.

    Yields:
        Numbers of candidates that are not mapped yet.

    Raises:
        ValueError: ``relaxed`` without a gradient search.
    """
    if start is not None:
        yield [start]
    if strategy is Strategy.RELAXED:
        if relaxing is None:
            raise ValueError("the strategy relaxed needs a gradient search")
        yield from _relaxed(archive, seed, relaxing)
        return
    making: dict[Strategy, Callable[[Archive, int, int | None], Iterator[list[int]]]] = {
        Strategy.GUIDED: _guided,
        Strategy.PROOF: _proof,
        Strategy.DESCENT: _descent,
    }
    yield from making[strategy](archive, seed, start)


def _generator(seed: int, number: int) -> np.random.Generator:
    return np.random.default_rng([seed, number])


# Guided by bounds and estimates.


def _guided(archive: Archive, seed: int, start: int | None) -> Iterator[list[int]]:
    del start  # mapped, so it is in the estimates
    number = 0
    while True:
        number += 1
        chosen = _promising(archive, _generator(seed, number))
        if not chosen:
            return
        yield chosen


def _proof(archive: Archive, seed: int, start: int | None) -> Iterator[list[int]]:
    yield from _guided(archive, seed, start)
    while len(left := np.flatnonzero(archive.open())):
        hopes = _logarithms(archive, Estimates.of(archive))[left].sum(1)
        yield [int(one) for one in left[np.argsort(hopes, kind="stable")[:_BATCH]]]


def _promising(archive: Archive, generator: np.random.Generator) -> list[int]:
    """Designs that may well be better than all so far, each for weights that are drawn."""
    estimates = Estimates.of(archive)
    hopes = _logarithms(archive, estimates)
    excess = estimates.excess(archive.limits, _OPTIMISM)
    front = np.log(archive.values(archive.front()))
    open_ = archive.open()
    if len(front):
        open_ &= (excess == 0.0) & ~beaten(hopes, front + np.log1p(-_GAIN))
    chosen: list[int] = []
    while len(chosen) < _BATCH and open_.any():
        left = np.flatnonzero(open_)
        worth = _worth(hopes[left], front, generator) + 100.0 * excess[left]
        chosen.append(int(left[worth.argmin()]))
        open_[chosen[-1]] = False
    return chosen


def _logarithms(archive: Archive, estimates: Estimates) -> Array:
    """What the objectives may well come to, but no better than their bounds."""
    columns: list[Array] = []
    for quantity in archive.objectives:
        hope = estimates.of_quantity(quantity, _OPTIMISM)
        if quantity is not Quantity.POWER:
            hope = np.maximum(hope, np.log(archive.candidates.least(quantity)))
        columns.append(hope)
    return np.stack(columns, 1)


def _worth(hopes: Array, front: Array, generator: np.random.Generator) -> Array:
    """How good designs are for weights that are drawn, relative to the front's extent.

    The largest of the weighted distances from the best of each objective, and a little of their
    sum: an augmented Chebyshev norm, which reaches every point of a front.
    """
    weights = generator.dirichlet(np.ones(hopes.shape[1]))
    everything = np.concatenate([hopes, front])
    low, high = everything.min(0), everything.max(0)
    apart = (hopes - low) / np.maximum(high - low, 1e-12) * weights
    return apart.max(1) + _EVEN * apart.sum(1)


# Descents.


def _descent(archive: Archive, seed: int, start: int | None) -> Iterator[list[int]]:
    idle = descents = 0
    at = start
    while idle < _PATIENCE:
        generator = _generator(seed, descents)
        weights = generator.dirichlet(np.ones(len(archive.objectives)))
        if at is None:
            left = np.flatnonzero(archive.open())
            if not len(left):
                return
            at = int(generator.choice(left))
            yield [at]
        before = archive.front()
        yield from _climb(archive, at, weights)
        idle = 0 if archive.front() != before else idle + 1
        descents, at = descents + 1, None


def _climb(archive: Archive, at: int, weights: Array) -> Iterator[list[int]]:
    """From a design that is mapped to its best neighbour, until none is better."""
    while True:
        around = _around(archive, at)
        mine = _value(archive, at, weights)
        new = [one for one in around if one not in archive.found]
        new = [one for one in new if _least_value(archive, one, weights) < mine]
        if new:
            yield new
        known = [one for one in around if one in archive.found]
        best = min(known, key=lambda one: _value(archive, one, weights), default=at)
        if _value(archive, best, weights) >= mine:
            return
        at = best


def _around(archive: Archive, at: int) -> list[int]:
    """The neighbours of a candidate."""
    number = {design: n for n, design in enumerate(archive.candidates.designs)}
    neighbours = archive.candidates.space.neighbours(archive.candidates.designs[at])
    return [number[design] for design in neighbours if design in number]


def _value(archive: Archive, number: int, weights: Array) -> float:
    """Weighted logarithms of the objectives, and a heavy weight on bounds that are missed."""
    found = archive.found[number]
    if found is None:
        return np.inf
    values = np.log(archive.values([number])[0])
    missed = sum(max(np.log(one.quantity.of(found) / one.most), 0.0) for one in archive.limits)
    return float(values @ weights + 100.0 * missed)


def _least_value(archive: Archive, number: int, weights: Array) -> float:
    """What the same is not below for a design that is not mapped."""
    with np.errstate(divide="ignore"):
        values = np.log([archive.candidates.least(q)[number] for q in archive.objectives])
    terms = [weight * value for weight, value in zip(weights, values, strict=True) if weight]
    return float(sum(terms) + 100.0 * sum(_missed(archive, number, one) for one in archive.limits))


def _missed(archive: Archive, number: int, limit: Limit) -> float:
    least = archive.candidates.least(limit.quantity)[number]
    return max(float(np.log(least / limit.most)), 0.0) if least > 0 else 0.0


# Relaxed sizes and mappings.


def _relaxed(archive: Archive, seed: int, relaxing: Relaxing) -> Iterator[list[int]]:
    """Designs around the relaxed ones, and then neighbours of the best until none is better."""
    ranked = dict(relaxing.ranked(archive, seed))
    several = len(archive.objectives) > 1
    while True:
        chosen = _hopeful(archive, ranked)
        if not chosen and not several:
            open_ = archive.open()
            around = [n for best in archive.front() for n in _around(archive, best)]
            chosen = [one for one in around if open_[one]]
            chosen.sort(key=lambda one: ranked.get(one, -np.inf))
        if not chosen:
            break
        yield chosen[:_BATCH]
    if several and archive.found:
        yield from _descent(archive, seed, archive.front()[0] if archive.front() else None)


def _hopeful(archive: Archive, ranked: dict[int, float]) -> list[int]:
    """Ranked designs that may be better than all so far, the best first.

    Of one objective, those whose relaxed value is: times the least ratio that the designs that are
    mapped have to theirs, and ``_DOUBT`` less.
    """
    open_ = archive.open()
    left = [number for number in ranked if open_[number]]
    met = [number for number in archive.met() if number in ranked]
    if len(archive.objectives) > 1 or not met:
        return left
    values = dict(zip(met, np.log(archive.values(met)[:, 0]).tolist(), strict=True))
    apart = min(value - ranked[number] for number, value in values.items())
    best = float(np.log(archive.values(archive.front())[0, 0]))
    return [number for number in left if ranked[number] + apart - _DOUBT < best]
