"""What the designs that are not mapped probably come to, by those that are.

Energy and latency are taken as the likely ones (``Candidates``) times a factor whose logarithm is
linear in the logarithms of the sizes, with small slopes, plus a Gaussian process, whose posterior
mean and standard deviation say what to expect and how well that is known. (Rasmussen and
Williams, Gaussian Processes for Machine Learning, 2006, eq. 2.25 and 2.26.) An estimate only says
what to map next; it is never a result.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.exploration.archive import Archive
from mlcnn.codesign.exploration.quantities import Limit, Quantity

__all__ = ["Estimates"]

Array = NDArray[np.float64]
_LENGTH = 2.0
"""Doublings of a size over which factors are alike."""
_NOISE = 1e-4
_RIDGE = 0.3
_FIRST_SPREAD = 0.1
"""Standard deviation of the factor's logarithm while nothing is known."""
_LEAST_SPREAD = 0.02


@dataclass(frozen=True, slots=True)
class Estimates:
    """Of all candidates, arrays with an entry for each.

    Attributes:
        energy: natural logarithm of the expected energy in pJ.
        latency: likewise in cycles.
        energy_spread: standard deviation of it.
        latency_spread: likewise.
        area_um2: known.
        clock_mhz: of the cycles.
    """

    energy: Array
    latency: Array
    energy_spread: Array
    latency_spread: Array
    area_um2: Array
    clock_mhz: float

    @classmethod
    def of(cls, archive: Archive) -> "Estimates":
        """Those that follow from an archive."""
        candidates = archive.candidates
        known = [number for number, one in archive.found.items() if one is not None]
        found = [archive.found[number] for number in known]
        places = _places(archive)
        energy = np.log([one.energy_pj for one in found if one is not None])
        latency = np.log([one.latency_cycles for one in found if one is not None])
        least = (
            np.log(candidates.likely_energy_pj),
            np.log(candidates.likely_latency_cycles),
        )
        expected = [
            _expected(places, known, values - bound[known])
            for values, bound in zip((energy, latency), least, strict=True)
        ]
        return cls(
            least[0] + expected[0][0],
            least[1] + expected[1][0],
            expected[0][1],
            expected[1][1],
            candidates.area_um2,
            candidates.clock_mhz,
        )

    def of_quantity(self, quantity: Quantity, optimism: float) -> Array:
        """Natural logarithm of a quantity that is as good as it may well be.

        Args:
            quantity: of each candidate.
            optimism: standard deviations below what is expected.
        """
        energy, latency = self.energy, self.latency
        low_energy = optimism * self.energy_spread
        low_latency = optimism * self.latency_spread
        match quantity:
            case Quantity.ENERGY:
                return energy - low_energy
            case Quantity.LATENCY:
                return latency - low_latency
            case Quantity.EDP:
                return energy + latency - np.hypot(low_energy, low_latency)
            case Quantity.POWER:
                spread = np.hypot(low_energy, low_latency)
                return energy - latency - spread + np.log(self.clock_mhz * 1e-6)
            case Quantity.AREA:
                return np.log(self.area_um2)

    def excess(self, limits: tuple[Limit, ...], optimism: float) -> Array:
        """Natural logarithm of the factor by which bounds are missed; 0 where they may be met."""
        result = np.zeros(len(self.energy))
        for limit in limits:
            values = self.of_quantity(limit.quantity, optimism)
            result += np.maximum(values - np.log(limit.most), 0.0)
        return result


def _places(archive: Archive) -> Array:
    """Logarithms to base 2 of the candidates' sizes, shape (candidates, parameters)."""
    space = archive.candidates.space
    columns = [np.log2(np.array(one.values)) for one in space.parameters]
    designs = np.array(archive.candidates.designs)
    return np.stack([column[designs[:, n]] for n, column in enumerate(columns)], 1)


def _expected(places: Array, known: list[int], values: Array) -> tuple[Array, Array]:
    """Mean and standard deviation at all places of what some are known to have."""
    if not known:
        return np.zeros(len(places)), np.full(len(places), _FIRST_SPREAD)
    centre = places.mean(0)
    trend = np.concatenate([np.ones((len(places), 1)), places - centre], 1)
    given = trend[known]
    ridge = _RIDGE * np.eye(trend.shape[1])
    slopes = np.linalg.solve(given.T @ given + ridge, given.T @ values)
    rest = values - given @ slopes
    spread = max(float(rest.std()), _LEAST_SPREAD)
    alike = _alike(places[known], places[known])
    alike += _NOISE * np.eye(len(known))
    across = _alike(places, places[known])
    solved = np.linalg.solve(alike, np.concatenate([rest[:, None], across.T], 1))
    mean = trend @ slopes + across @ solved[:, 0]
    left = np.clip(1.0 - (across * solved[:, 1:].T).sum(1), 0.0, 1.0)
    return mean, spread * np.sqrt(left)


def _alike(one: Array, other: Array) -> Array:
    squares = ((one[:, None] - other[None]) ** 2).sum(2)
    return np.exp(-0.5 * squares / _LENGTH**2)
