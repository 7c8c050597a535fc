"""The designs of a space that may be within all bounds, and what none of their mappings is below.

The bounds (``mlcnn.codesign.bounds``) take no search: a network's energy and latency on thousands
of designs in seconds. Where the memories are not tiny, they are a few per cent below the optimum.
"""

import math
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.bounds import demand
from mlcnn.codesign.exploration.quantities import Limit, Quantity
from mlcnn.codesign.exploration.template import Design, Space
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.codesign.space import accesses
from mlcnn.errors import InfeasibleError, UnsupportedError
from mlcnn.workload import LoopNest

__all__ = ["Candidates"]

Array = NDArray[np.float64]
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
        groups: Sequence[LayerGroup],
        limits: Sequence[Limit],
        *,
        wants_area: bool = False,
    ) -> "Candidates":
        """Those of a space that no bound rules out.

        Args:
            space: the designs.
            groups: the network's layers.
            limits: what a design must not be above.
            wants_area: whether designs are compared by their area.

        Raises:
            InfeasibleError: there is none: which bound, and the least that one needs.
            UnsupportedError: the area is not known and needed.
        """
        designs = tuple(space)
        machines = [space.architecture(design) for design in designs]
        areas = np.array([_nan_for_none(machine.area_um2) for machine in machines])
        if np.isnan(areas).any() and (wants_area or _has(limits, Quantity.AREA)):
            raise UnsupportedError(
                f"template {space.template.name}: its area is not known (its architecture "
                f"{space.template.architecture.name} has no area_um2), so designs can be neither "
                "bounded nor compared by it; leave out --area and the objective area, as "
                "--objectives latency,energy"
            )
        sums = _sums(machines, groups)
        clock = space.template.architecture.clock_mhz
        found = cls(space, designs, *sums, areas, clock)
        return found._within(limits)

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

    def _within(self, limits: Sequence[Limit]) -> "Candidates":
        found = self
        for number, limit in enumerate(limits):
            stay = found.least(limit.quantity) <= limit.most * (1 + _ROUNDING)
            if not stay.any():
                raise found._too_tight(limit, limits[:number], self)
            found = found.at(stay)
        return found

    def _too_tight(
        self, limit: Limit, others: Sequence[Limit], everything: "Candidates"
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
        free, other_design = everything._cheapest(limit.quantity)
        if others and free <= limit.most:
            relaxed = " and ".join(str(one.quantity) for one in others)
            return InfeasibleError(
                f"{message}; it is the bound on {relaxed} that binds: without it "
                f"{everything.space.told(other_design)} may come down to "
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


def _sums(
    machines: Sequence[Architecture], groups: Sequence[LayerGroup]
) -> tuple[Array, Array, Array, Array]:
    """Least energy and latency of all layers together on every machine, and likely ones."""
    energy, latency, likely_energy, likely_latency = np.zeros((4, len(machines)))
    alike: dict[Hashable, list[int]] = {}
    for number, machine in enumerate(machines):
        alike.setdefault(_but_for_energy(machine), []).append(number)
    for numbers in alike.values():
        some = [machines[number] for number in numbers]
        read, write = _by_level(some, _read_pj), _by_level(some, _write_pj)
        words = np.array([_words(machine) for machine in some])
        bandwidth = some[0].levels[0].shared_bandwidth or math.inf
        for group in groups:
            needed, count = demand(group.nest, some[0]), len(group.names)
            least = needed.energy_pj(read, write, some[0].mac_energy_pj)
            once = float(sum(needed.words))
            traffic = _traffic(group.nest, words)
            # Where memories are large, little more than every word moves, and once.
            more = traffic * np.minimum(traffic / once, 1.0) ** 2
            energy[numbers] += count * least
            latency[numbers] += count * needed.latency_cycles
            likely_energy[numbers] += count * (least + more * read[0])
            likely_latency[numbers] += count * np.maximum(
                needed.latency_cycles, (once + more) / bandwidth
            )
    # Sums in another order may be a few units in the last place above; bounds must not be.
    return energy * (1 - 1e-12), latency, likely_energy, likely_latency


def _words(machine: Architecture) -> float:
    """Words that all memories but the outermost have for an operand: the geometric mean."""
    words = dict.fromkeys(Operand, 1.0)
    for number, level in enumerate(machine.levels[1:], 1):
        for operand in level.keeps:
            words[operand] += machine.instances(number) * (level.words or math.inf)
    return math.prod(words.values()) ** (1 / len(words))


def _traffic(nest: LoopNest, words: Array) -> Array:
    """Words that a convolution moves from and to the outermost level, roughly.

    Twice the products over the root of the words on the chip and of how often a window uses a
    word (Chen et al., "Communication lower bound in convolution accelerators", HPCA 2020).
    """
    reuse = 1.0
    for axis in accesses(nest)[1].windows:
        reuse *= max(nest.sizes[axis.taps] / axis.stride, 1.0)
    return 2.0 * nest.macs / np.sqrt(np.maximum(reuse * words, 1.0))


def _by_level(machines: Sequence[Architecture], of: Callable[[Level], float]) -> Array:
    return np.array([[of(level) for level in machine.levels] for machine in machines]).T


def _read_pj(level: Level) -> float:
    return level.read_pj


def _write_pj(level: Level) -> float:
    return level.write_pj


def _but_for_energy(machine: Architecture) -> Hashable:
    """All that the demand of a nest depends on."""
    outermost = machine.levels[0]
    return (
        outermost.read_bandwidth,
        outermost.write_bandwidth,
        outermost.shared_bandwidth,
        machine.mac_energy_pj,
        tuple((level.keeps, level.fan_out.size, level.fan_out.dims) for level in machine.levels),
    )
