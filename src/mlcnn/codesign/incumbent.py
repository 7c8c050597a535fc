"""The best mapping that a search has found, and what it is measured by."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.batch import Batch
from mlcnn.codesign.compiled import Fast

__all__ = ["CLOSE", "Incumbent", "Priced"]

Array = NDArray[np.float64]
CLOSE = 1e-12
"""What is better by no more than this share is not looked for."""


@dataclass(slots=True)
class Incumbent:
    """The best mapping so far, and those that are nearly as good.

    Attributes:
        over: whether to stop.
        value: of the objective.
        margin: share of it by which what is looked for may be above.
        batch: the best alone.
        near: (energy, cycles) of the mappings within the margin that no other beats in both, and
            each alone; beyond it as well, of those that were within it once.
        scored: mappings and parts of mappings that were scored.
    """

    over: Callable[[], bool]
    value: float = np.inf
    margin: float = 0.0
    batch: Batch | None = None
    near: dict[tuple[float, float], Batch] = field(default_factory=dict[tuple[float, float], Batch])
    scored: int = 0

    @property
    def ceiling(self) -> float:
        """What is not below it is of no use."""
        return self.value * (1 + self.margin)

    def offer(self, values: Array, scored: Fast, batch: Batch) -> None:
        """Take the best of some if it is better, and what is nearly as good."""
        index = int(values.argmin())
        if values[index] < self.value:
            self.value, self.batch = float(values[index]), batch.at(np.array([index]))
        if self.margin:
            for number in np.flatnonzero(values < self.ceiling):
                self._keep(scored, batch, int(number))

    def _keep(self, scored: Fast, batch: Batch, number: int) -> None:
        energy, cycles = float(scored.energy_pj[number]), float(scored.latency_cycles[number])
        if not any(one <= energy and other <= cycles for one, other in self.near):
            self.near = {
                (one, other): kept
                for (one, other), kept in self.near.items()
                if one < energy or other < cycles
            }
            self.near[energy, cycles] = batch.at(np.array([number]))


@dataclass(frozen=True, slots=True)
class Priced:
    """What bounds a weighted sum where energies hold the cycles of the outermost level.

    Attributes:
        pj_per_cycle: the weight.
        least_pj: energy that every mapping takes at least.
    """

    pj_per_cycle: float
    least_pj: float

    def worth(self, energy_pj: Array, latency_cycles: Array) -> Array:
        """Bounds of the sum.

        Args:
            energy_pj: with the cycles of the outermost level in it.
            latency_cycles: bounds of the latency.
        """
        return np.maximum(energy_pj, self.least_pj + self.pj_per_cycle * latency_cycles)
