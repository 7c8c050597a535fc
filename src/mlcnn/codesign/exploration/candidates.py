"""The designs of a space that may be within all bounds, and what no mapping on them is below."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.exploration.pricing import Array, Bounds, Network
from mlcnn.codesign.exploration.quantities import Limit, Quantity
from mlcnn.codesign.exploration.template import Design, Space
from mlcnn.errors import InfeasibleError, UnsupportedError

__all__ = ["Candidates"]

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Candidates:
    """Designs and bounds, arrays with an entry for each.

    Attributes:
        space: what they are of.
        designs: they.
        energy_pj: the least of any mapping.
        latency_cycles: likewise.
        likely_energy_pj: a guess that knows of the sizes of memories, not below the bound.
        likely_latency_cycles: likewise.
        area_um2: not a number where it is not known.
        clock_mhz: of all.
    """

    space: Space
    designs: tuple[Design, ...]
    energy_pj: Array
    latency_cycles: Array
    likely_energy_pj: Array
    likely_latency_cycles: Array
    area_um2: Array
    clock_mhz: float

    @classmethod
    def of(
        cls,
        space: Space,
        network: Network,
        limits: Sequence[Limit],
        *,
        wants_area: bool = False,
    ) -> "Candidates":
        """Those of a space that no bound rules out.

        What is too large is ruled out first: it is not even bounded.

        Args:
            space: the designs.
            network: its layers.
            limits: what a design must not be above.
            wants_area: whether designs are compared by their area.

        Raises:
            InfeasibleError: there is none: which bound, and the least that one needs; or a layer
                can run on no design.
            UnsupportedError: the area is not known and needed.
        """
        template, designs = space.template, tuple(space)
        machines = [space.architecture(design) for design in designs]
        areas = np.array([_nan_for_none(template.area_um2(machine)) for machine in machines])
        if np.isnan(areas).any() and (wants_area or _has(limits, Quantity.AREA)):
            raise UnsupportedError(
                f"template {template.name}: its area is not known ({template.no_area}), so "
                "designs can be neither bounded nor compared by it; leave out --area and the "
                "objective area, as --objectives latency,energy"
            )

        def bounded(stay: NDArray[np.bool_]) -> "Candidates":
            some = np.flatnonzero(stay).tolist()
            bounds = network.bounds([machines[number] for number in some])
            return cls._bounded(space, [designs[n] for n in some], bounds, areas[stay])

        ordered = sorted(limits, key=lambda limit: limit.quantity is not Quantity.AREA)
        small = np.ones(len(designs), bool)
        if _has(ordered[:1], Quantity.AREA):
            small = areas <= ordered[0].most * (1 + _ROUNDING)
        if not small.any():
            unknown = Bounds(*np.full((4, len(designs)), np.nan))
            raise cls._bounded(space, designs, unknown, areas)._too_tight(ordered[0])
        found = bounded(small)._that_run(network, machines[int(np.argmax(small * areas))])
        return found._within(ordered, lambda: bounded(np.ones(len(designs), bool)))

    @classmethod
    def _bounded(
        cls, space: Space, designs: Sequence[Design], bounds: Bounds, areas: Array
    ) -> "Candidates":
        return cls(
            space, tuple(designs), bounds.energy_pj, bounds.latency_cycles,
            bounds.likely_energy_pj, bounds.likely_latency_cycles, areas, space.template.clock_mhz,
        )  # fmt: skip

    def __len__(self) -> int:
        return len(self.designs)

    def least(self, quantity: Quantity) -> Array:
        """What no mapping is below; of power 0, for any mapping may be slow."""
        match quantity:
            case Quantity.LATENCY:
                return self.latency_cycles
            case Quantity.ENERGY:
                return self.energy_pj
            case Quantity.AREA:
                return self.area_um2
            case Quantity.EDP:
                return self.energy_pj * self.latency_cycles
            case Quantity.POWER:
                return np.zeros(len(self))

    def at(self, stay: NDArray[np.bool_]) -> "Candidates":
        """Some of them."""
        designs = tuple(self.designs[number] for number in np.flatnonzero(stay))
        return Candidates(
            self.space, designs, self.energy_pj[stay], self.latency_cycles[stay],
            self.likely_energy_pj[stay], self.likely_latency_cycles[stay],
            self.area_um2[stay], self.clock_mhz,
        )  # fmt: skip

    def _that_run(self, network: Network, largest: Any) -> "Candidates":
        """Those that can run every layer.

        Args:
            network: its layers.
            largest: of the machines.

        Raises:
            InfeasibleError: there is none.
        """
        stay = np.isfinite(self.latency_cycles)
        if not stay.any():
            raise InfeasibleError(
                f"none of {len(self)} designs of template {self.space.template.name} can run the "
                f"network, the largest neither: {network.refusal(largest)}"
            )
        return self if stay.all() else self.at(stay)

    def _within(
        self, limits: Sequence[Limit], everything: Callable[[], "Candidates"]
    ) -> "Candidates":
        found = self
        for number, limit in enumerate(limits):
            stay = found.least(limit.quantity) <= limit.most * (1 + _ROUNDING)
            if not stay.any():
                raise found._too_tight(limit, limits[:number], everything)
            found = found.at(stay)
        return found

    def _too_tight(
        self,
        limit: Limit,
        others: Sequence[Limit] = (),
        everything: Callable[[], "Candidates"] | None = None,
    ) -> InfeasibleError:
        """Why no design is within a bound: what the least is, and whether another bound binds."""
        least, design = self._cheapest(limit.quantity)
        sure = "is" if limit.quantity is Quantity.AREA else "is not below"
        beside = "".join(f" and {other.told}" for other in others)
        name = self.space.template.name
        message = (
            f"no design of template {name} has {limit.told}{beside}: the least "
            f"{limit.quantity} {sure} {limit.quantity.told(least, up=True)}, with "
            f"{self.space.told(design)}"
        )
        unbounded = everything() if others and everything is not None else self
        free, other_design = unbounded._cheapest(limit.quantity)
        if free <= limit.most:
            relaxed = " and ".join(str(one.quantity) for one in others)
            return InfeasibleError(
                f"{message}; it is the bound on {relaxed} that binds: without it "
                f"{unbounded.space.told(other_design)} may come down to "
                f"{limit.quantity.told(free, up=True)}"
            )
        return InfeasibleError(f"{message}; raise the bound on {limit.quantity} to that or more")

    def _cheapest(self, quantity: Quantity) -> tuple[float, Design]:
        values = self.least(quantity)
        index = int(values.argmin())
        return float(values[index]), self.designs[index]


def _nan_for_none(value: float | None) -> float:
    """A number for what may not be known."""
    return math.nan if value is None else value


def _has(limits: Sequence[Limit], quantity: Quantity) -> bool:
    return any(limit.quantity is quantity for limit in limits)
