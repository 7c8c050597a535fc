"""A network on one machine against another, layer by layer."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, replace
from statistics import fmean, geometric_mean
from typing import Any

from mlcnn.accelerators.cost import Costs, Energy, Extremes, LayerCost, LayerTask
from mlcnn.accelerators.machine import Machine, evaluate_layer, notes_of, precision_of
from mlcnn.accelerators.narrow import scaling_told
from mlcnn.accelerators.technology import Technology
from mlcnn.table import Shown, Tabular, flat
from mlcnn.workload import Uncounted

__all__ = ["Evaluation", "LayerComparison", "Summary", "compare", "with_equal_precision"]


@dataclass(frozen=True, slots=True)
class LayerComparison:
    """One layer on both machines.

    Attributes:
        task: the layer.
        cost: on the machine asked about.
        against: on the other.
        clock_ratio: clock of the first over the clock of the second.
    """

    task: LayerTask
    cost: LayerCost
    against: LayerCost
    clock_ratio: float

    @property
    def name(self) -> str:
        """The layer's name."""
        return self.task.layer.name

    @property
    def fused(self) -> bool:
        """Whether the layer was fused with its pool in the network."""
        return self.task.layer.pool is not None

    @property
    def speedup(self) -> float:
        """Time on the other machine over time on this one."""
        return self.against.cycles / self.cost.cycles * self.clock_ratio

    @property
    def energy_ratio(self) -> float:
        """Energy on the other machine over energy on this one."""
        return self.against.energy.total / self.cost.energy.total

    def to_json(self) -> dict[str, object]:
        """One entry of ``layers``."""
        cost = self.cost
        document: dict[str, object] = {
            "name": self.name,
            "fused": self.fused,
            "execution": cost.execution,
            "cycles": cost.cycles,
            "against_cycles": self.against.cycles,
            "speedup": self.speedup,
            "bound": cost.bound,
            "against_bound": self.against.bound,
            "utilisation": cost.utilisation,
            "multiplications": cost.multiplications,
            "additions": cost.additions,
            "against_multiplications": self.against.multiplications,
            "against_additions": self.against.additions,
            "energy_pj": cost.energy.to_json(),
            "against_energy_pj": self.against.energy.to_json(),
            "energy_ratio": self.energy_ratio,
            "dram_bytes": cost.traffic.dram,
            "against_dram_bytes": self.against.traffic.dram,
            "traffic_bytes": cost.traffic.to_json(),
            "density": self.task.layer.density,
            "zeros": _zeros(self.task, cost),
            "against_zeros": _zeros(self.task, self.against),
        }
        shown = {name: part for name, part in cost.mapping.items() if name not in document}
        return document | shown


def _zeros(task: LayerTask, cost: LayerCost) -> str:
    """What becomes of a layer's weights that are zero."""
    if task.layer.density == 1:
        return "none"
    return "left out" if cost.skips_zeros else "charged"


@dataclass(frozen=True, slots=True)
class Summary:
    """Several layers together.

    Attributes:
        layers: how many.
        speedup: arithmetic mean over them.
        energy_ratio: arithmetic mean over them.
        geometric_speedup: geometric mean.
        geometric_energy_ratio: geometric mean.
        total_speedup: ratio of the times of all together.
        total_energy_ratio: ratio of the energies of all together.
        worst: name of the layer with the least speed-up.
        worst_speedup: its speed-up.
        worst_energy_ratio: the least energy ratio of any layer.
    """

    layers: int
    speedup: float
    energy_ratio: float
    geometric_speedup: float
    geometric_energy_ratio: float
    total_speedup: float
    total_energy_ratio: float
    worst: str
    worst_speedup: float
    worst_energy_ratio: float

    @classmethod
    def of(cls, rows: Sequence[LayerComparison]) -> "Summary":
        """Sum up one or more layers."""
        speedups = [row.speedup for row in rows]
        ratios = [row.energy_ratio for row in rows]
        slowest = min(rows, key=lambda row: row.speedup)
        whole, against = Costs(row.cost for row in rows), Costs(row.against for row in rows)
        return cls(
            layers=len(rows),
            speedup=fmean(speedups),
            energy_ratio=fmean(ratios),
            geometric_speedup=geometric_mean(speedups),
            geometric_energy_ratio=geometric_mean(ratios),
            total_speedup=math.fsum(row.against.cycles * row.clock_ratio for row in rows)
            / whole.cycles,
            total_energy_ratio=against.energy_pj / whole.energy_pj,
            worst=slowest.name,
            worst_speedup=slowest.speedup,
            worst_energy_ratio=min(ratios),
        )

    def to_json(self) -> dict[str, object]:
        """All fields by name."""
        return {name: getattr(self, name) for name in self.__slots__}


@dataclass(frozen=True, slots=True, repr=False)
class Evaluation(Tabular):
    """A network on a machine, against another.

    Attributes:
        accelerator: the machine asked about.
        against: the other.
        technology: the tables.
        batch: images.
        layers: all layers, in order.
        uncounted: what multiplies in the network and is not among them: no machine runs it.
        own_precision: the same, against a machine of the first one's precision, so that nothing
            is gained by fewer bits alone; None where the other one has it, or where there is none.
        extremes: what a batch costs on the machine asked about at most, which the layers are, and
            at least; None where that does not depend on the images.
    """

    accelerator: Machine
    against: Machine
    technology: Technology
    batch: int
    layers: tuple[LayerComparison, ...]
    uncounted: tuple[Uncounted, ...] = ()
    own_precision: "Evaluation | None" = None
    extremes: Extremes | None = None

    @property
    def equal_precision(self) -> "Evaluation | None":
        """The comparison at equal precision: this one, or the one beside it."""
        same = precision_of(self.accelerator) is precision_of(self.against) is not None
        return self if same else self.own_precision

    @property
    def rewritten(self) -> Summary | None:
        """Over the rewritten layers, those fused with a pool; None if there are none."""
        rows = [row for row in self.layers if row.fused]
        return Summary.of(rows) if rows else None

    @property
    def fused(self) -> Summary | None:
        """The older name of ``rewritten``."""
        return self.rewritten

    @property
    def network(self) -> Summary:
        """Over all layers: its total ratios are the network's."""
        return Summary.of(self.layers)

    @property
    def cycles(self) -> float:
        """Of all layers, one after the other."""
        return Costs(row.cost for row in self.layers).cycles

    @property
    def energy(self) -> Energy:
        """Of all layers."""
        return sum((row.cost.energy for row in self.layers), Energy())

    @property
    def seconds(self) -> float:
        """Latency of the batch at the clock."""
        return self.cycles / (self.accelerator.clock_mhz * 1e6)

    @property
    def images_per_second(self) -> float:
        """Images of the batch over its latency."""
        return self.batch / self.seconds

    @property
    def against_cycles(self) -> float:
        """Of all layers on the other machine."""
        return Costs(row.against for row in self.layers).cycles

    @property
    def against_energy(self) -> Energy:
        """Of all layers on the other machine."""
        return sum((row.against.energy for row in self.layers), Energy())

    @property
    def against_seconds(self) -> float:
        """Latency of the batch on the other machine, at its clock."""
        return self.against_cycles / (self.against.clock_mhz * 1e6)

    @property
    def zeros(self) -> tuple[str, ...]:
        """What either machine makes of weights that are zero, where there are such."""
        rows = [row for row in self.layers if row.task.layer.density < 1]
        sides = (
            (self.accelerator, [row.cost.skips_zeros for row in rows]),
            (self.against, [row.against.skips_zeros for row in rows]),
        )
        return tuple(
            f"{machine.name} leaves out the zeros of {sum(skipped)} of the {len(rows)} layers "
            "that have weights which are zero, and is charged for all others"
            for machine, skipped in sides
            if rows
        )

    @property
    def scaling(self) -> tuple[str, ...]:
        """How either machine is charged for layers of fewer bits than its own."""
        layers = [row.task.layer for row in self.layers]
        sides = (self.accelerator, self.against)
        return tuple(told for machine in sides for told in scaling_told(machine, layers))

    @property
    def notes(self) -> tuple[str, ...]:
        """What either machine says of all its results."""
        both = (*notes_of(self.accelerator), *notes_of(self.against))
        return tuple(dict.fromkeys(both))

    @property
    def told(self) -> tuple[str, ...]:
        """What stands below the figures."""
        depends = () if self.extremes is None else self.extremes.told
        return (*self.notes, *self.zeros, *self.scaling, *depends)

    def records(self) -> list[dict[str, Any]]:
        """A row for each layer: all that ``to_json`` has of it, names joined by underscores."""
        return [flat(row.to_json()) for row in self.layers]

    def shown(self) -> Shown:
        """Cycles of each layer on both machines, and what is gained."""
        on, against = self.accelerator.name, self.against.name
        images = "1 image" if self.batch == 1 else f"{self.batch} images"
        rows = [
            (
                row.name,
                row.cost.execution,
                *_gained(row.cost.cycles, row.against.cycles, row.speedup, row.energy_ratio),
            )
            for row in self.layers
        ]
        whole = self.network
        gains = whole.total_speedup, whole.total_energy_ratio
        rows.append(("all layers", "", *_gained(self.cycles, self.against_cycles, *gains)))
        columns = ("layer", "execution", f"cycles {on}", against, "speed-up", "energy ratio")
        title = f"{on} against {against}, {images}, {self.technology.name}"
        return Shown(title, columns, tuple(rows), self.told)

    def to_json(self) -> dict[str, object]:
        """The document that ``mlcnn evaluate --json`` prints."""
        network = self.network
        equal = self.equal_precision
        return {
            "accelerator": self.accelerator.name,
            "against": self.against.name,
            "technology": self.technology.name,
            "batch": self.batch,
            "layers": [row.to_json() for row in self.layers],
            "uncounted": [asdict(other) for other in self.uncounted],
            "zeros": list(self.zeros),
            "scaling": list(self.scaling),
            "notes": list(self.notes),
            "extremes": None if self.extremes is None else self.extremes.to_json(),
            **_means(self),
            "network": {
                "cycles": self.cycles,
                "against_cycles": self.against_cycles,
                "speedup": network.total_speedup,
                "energy_pj": self.energy.total,
                "energy_parts_pj": self.energy.to_json(),
                "against_energy_pj": self.against_energy.total,
                "energy_ratio": network.total_energy_ratio,
                "latency_s": self.seconds,
                "against_latency_s": self.against_seconds,
                "images_per_s": self.images_per_second,
                "against_images_per_s": self.batch / self.against_seconds,
                "worst": network.worst,
                "worst_speedup": network.worst_speedup,
                "worst_energy_ratio": network.worst_energy_ratio,
            },
            "equal_precision": None if equal is None else _gains(equal),
            "area_um2": self.accelerator.area(self.technology),
            "against_area_um2": self.against.area(self.technology),
        }


def _gained(cycles: float, against: float, *ratios: float) -> tuple[str, ...]:
    return (f"{cycles:,.0f}", f"{against:,.0f}", *(f"{value:.2f}x" for value in ratios))


def _means(found: Evaluation) -> dict[str, object]:
    """The means over the rewritten layers, by their name and by the older one."""
    means = None if found.rewritten is None else found.rewritten.to_json()
    return {"mean_rewritten": means, "mean_fused": means}


def _gains(found: Evaluation) -> dict[str, object]:
    network = found.network
    return {
        "against": found.against.name,
        **_means(found),
        "network": {
            "speedup": network.total_speedup,
            "energy_ratio": network.total_energy_ratio,
        },
    }


def compare(
    tasks: Sequence[LayerTask],
    accelerator: Machine,
    against: Machine,
    technology: Technology,
    *,
    batch: int,
) -> Evaluation:
    """Run every layer on both machines, on each in the way that is fastest there.

    Args:
        tasks: the layers, with their pools where the network was fused.
        accelerator: the machine asked about.
        against: the other.
        technology: the tables.
        batch: images that the layers are for.

    Raises:
        InfeasibleError: a machine cannot run a layer.
    """
    costs = [(task, evaluate_layer(task, accelerator, technology)) for task in tasks]
    rows = _beside(costs, accelerator, against, technology)
    return Evaluation(accelerator, against, technology, batch, rows)


def _beside(
    costs: Iterable[tuple[LayerTask, LayerCost]],
    accelerator: Machine,
    against: Machine,
    technology: Technology,
) -> tuple[LayerComparison, ...]:
    ratio = accelerator.clock_mhz / against.clock_mhz
    return tuple(
        LayerComparison(task, cost, evaluate_layer(task, against, technology), ratio)
        for task, cost in costs
    )


def with_equal_precision(found: Evaluation, against: Machine) -> Evaluation:
    """The comparison, with one at equal precision beside it.

    Args:
        found: the comparison.
        against: a machine of the precision of the machine asked about.

    Raises:
        InfeasibleError: ``against`` cannot run a layer.
    """
    costs = [(row.task, row.cost) for row in found.layers]
    rows = _beside(costs, found.accelerator, against, found.technology)
    return replace(found, own_precision=replace(found, against=against, layers=rows))
