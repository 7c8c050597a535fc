"""The least energy times latency of several layers that run one after the other.

Each layer is run in one of many ways, each of some energy and some latency; those of the network
are the sums, and what is made small is their product, (sum E) * (sum D), not the sum of the layers'
products. The product is quasi-concave where both are positive, so over the sums of all choices it
is least at a vertex of the lower left hull of these, and there every layer minimises E + w * D for
one and the same w. So a few such minima are found, each of which is one search for each layer:

* At the best point so far, w = E / D: the tangent of the curve of equal products. What it finds has
  no larger product, since ``2 * sqrt(E' * w * D') <= E' + w * D' <= E + w * D = 2 * E``.
* Every minimum L of E + w * D is a line below which no choice lies. Over the region that all lines
  leave, the product is least at one of its corners, which is a lower bound; the next w is that of
  the chord between the points of the two lines that meet in this corner, until nothing is gained.
  (Aneja and Nair, Management Science 25, 1979, find all vertices by such chords.)

Where the minima are not proven, their lower bounds take the place of L, and the bound of the
product holds all the same.
"""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

__all__ = ["LeastProduct", "Minimum", "Oracle", "Point", "Weights", "least_product"]

_MOST_LINES = 64
_CLOSE = 1e-9


@dataclass(frozen=True, slots=True, order=True)
class Weights:
    """What is minimised: ``energy * E + latency * D``.

    Attributes:
        energy: weight of the energy; 0 or 1.
        latency: weight of the latency; pJ a cycle where that of the energy is 1.
    """

    energy: float
    latency: float

    def of(self, point: "Point") -> float:
        """The weighted sum of a point."""
        return self.energy * point.energy + self.latency * point.latency


@dataclass(frozen=True, slots=True)
class Point:
    """One choice for each layer.

    Attributes:
        energy: of all layers, positive.
        latency: of all layers, positive.
        choice: for each layer the number of what was chosen.
    """

    energy: float
    latency: float
    choice: tuple[int, ...] = field(default=(), compare=False, repr=False)

    @property
    def product(self) -> float:
        """Energy times latency."""
        return self.energy * self.latency


@dataclass(frozen=True, slots=True)
class Minimum:
    """The answer of an oracle.

    Attributes:
        point: of a small weighted sum.
        bound: no choice has a smaller one.
    """

    point: Point
    bound: float


Oracle = Callable[[Weights], Minimum]


@dataclass(frozen=True, slots=True)
class LeastProduct:
    """The best point.

    Attributes:
        point: it.
        bound: no choice has a smaller product.
        weights: the sums that were minimised, in turn.
    """

    point: Point
    bound: float
    weights: tuple[Weights, ...]

    @property
    def optimal(self) -> bool:
        """Whether nothing is better."""
        return self.point.product <= self.bound * (1 + _CLOSE)

    @property
    def gap(self) -> float:
        """Share of the bound by which the point may be above the optimum."""
        return 0.0 if self.optimal else self.point.product / self.bound - 1.0


def least_product(
    oracle: Oracle,
    start: Sequence[Point] = (),
    stop: Callable[[], bool] = lambda: False,
    *,
    chords: bool = True,
) -> LeastProduct:
    """The choice of the least energy times latency.

    Args:
        oracle: minimises weighted sums.
        start: points that are known.
        stop: asked before each sum but the first two, whether to leave it at that.
        chords: whether to go on where no tangent finds a better point.

    Returns:
        The best point and a lower bound: equal, up to rounding, where the oracle is exact and was
        not stopped.
    """
    lines: dict[Weights, Minimum] = {}
    points = list(start)

    def minimise(weights: Weights) -> None:
        lines[weights] = oracle(weights)
        points.append(lines[weights].point)

    for ends in (Weights(1.0, 0.0), Weights(0.0, 1.0)):
        minimise(ends)
    while len(lines) < _MOST_LINES and not stop():
        best = min(points, key=lambda point: point.product)
        following = _tangent(best, lines) or (_chord(best, lines) if chords else None)
        if following is None:
            break
        minimise(following)
    best = min(points, key=lambda point: point.product)
    bound = min((corner.product for corner, _ in _corners(lines)), default=0.0)
    return LeastProduct(best, min(bound, best.product), tuple(lines))


def _tangent(best: Point, lines: dict[Weights, Minimum]) -> Weights | None:
    weights = Weights(1.0, best.energy / best.latency)
    return None if _known(weights, lines) else weights


def _known(weights: Weights, lines: dict[Weights, Minimum]) -> bool:
    return any(
        line.energy == 1.0 and math.isclose(line.latency, weights.latency, rel_tol=_CLOSE)
        for line in lines
    )


def _chord(best: Point, lines: dict[Weights, Minimum]) -> Weights | None:
    """A new line through the corner of the least product; None where it cannot rise."""
    for corner, between in sorted(_corners(lines), key=lambda one: one[0].product):
        if best.product <= corner.product * (1 + _CLOSE):
            return None
        first, second = (lines[weights].point for weights in between)
        run, rise = second.latency - first.latency, first.energy - second.energy
        if run * rise <= 0:
            return None
        weights = Weights(1.0, rise / run)
        # Where the chord's own line is known, the points are neighbours, and the corner is as high
        # as it will get.
        return None if _known(weights, lines) else weights
    return None


def _corners(lines: dict[Weights, Minimum]) -> list[tuple[Point, tuple[Weights, Weights]]]:
    """Corners of what all lines leave, each with the two lines that meet there."""
    found: list[tuple[Point, tuple[Weights, Weights]]] = []
    for one, other in itertools.combinations(sorted(lines), 2):
        corner = _meeting(one, lines[one].bound, other, lines[other].bound)
        # One that rounding takes out of the region stays in: it can only lower the bound.
        if corner is not None and all(
            weights.of(corner) >= line.bound * (1 - _CLOSE) for weights, line in lines.items()
        ):
            found.append((corner, (one, other)))
    return found


def _meeting(one: Weights, first: float, other: Weights, second: float) -> Point | None:
    """Where two lines meet."""
    determinant = one.energy * other.latency - other.energy * one.latency
    if determinant == 0:
        return None
    energy = (first * other.latency - second * one.latency) / determinant
    latency = (one.energy * second - other.energy * first) / determinant
    return Point(max(energy, 0.0), max(latency, 0.0))
