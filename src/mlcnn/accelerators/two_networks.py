"""Two networks on one machine, layer by layer."""

from dataclasses import asdict, dataclass
from typing import Any

import onnx_ir as ir

from mlcnn.accelerators.cost import Costs, LayerCost
from mlcnn.accelerators.machine import Machine, evaluate_layer, notes_of
from mlcnn.accelerators.narrow import scaling_told
from mlcnn.accelerators.network import not_run, require_tasks, tasks_of
from mlcnn.accelerators.technology import Technology
from mlcnn.counting.joining import joined
from mlcnn.table import Shown, Tabular, flat
from mlcnn.workload import Uncounted, Workload, read

__all__ = ["LayerPair", "NetworkComparison", "compare_networks"]

_FIGURES = ("cycles", "energy_pj", "dram_bytes", "multiplications", "additions")


@dataclass(frozen=True, slots=True)
class LayerPair:
    """What runs for a layer in each of two networks: several layers where one became more.

    Attributes:
        name: the layer's.
        costs: in the network asked about; empty where it has nothing of this name.
        against: in the other.
    """

    name: str
    costs: Costs
    against: Costs

    @property
    def speedup(self) -> float | None:
        """Cycles in the other network over those in this one; None where one has nothing."""
        return self.against.cycles / self.costs.cycles if self._is_in_both else None

    @property
    def energy_ratio(self) -> float | None:
        """Energy in the other network over that in this one; None where one has nothing."""
        return self.against.energy_pj / self.costs.energy_pj if self._is_in_both else None

    @property
    def _is_in_both(self) -> bool:
        return bool(self.costs and self.against)

    def to_json(self) -> dict[str, object]:
        """One entry of ``layers``."""
        sides = (("", self.costs), ("against_", self.against))
        figures = {side + what: getattr(costs, what) for side, costs in sides for what in _FIGURES}
        gains = {"speedup": self.speedup, "energy_ratio": self.energy_ratio}
        return {"name": self.name, **figures, **gains}


@dataclass(frozen=True, slots=True, repr=False)
class NetworkComparison(Tabular):
    """A network against another, both on one machine.

    Attributes:
        accelerator: the machine.
        technology: the tables.
        batch: images.
        names: what the two networks are called: the one asked about, the other.
        layers: joined by name, in the order of the other network.
        uncounted: what multiplies in either and is not among them: no machine runs it.
        scaling: how the machine is charged for layers of fewer bits than its own, and what it says
            of all its results.
        depends: what is to be known of networks whose cost depends on the image.
    """

    accelerator: Machine
    technology: Technology
    batch: int
    names: tuple[str, str]
    layers: tuple[LayerPair, ...]
    uncounted: tuple[Uncounted, ...] = ()
    scaling: tuple[str, ...] = ()
    depends: tuple[str, ...] = ()

    @property
    def total(self) -> LayerPair:
        """All layers of both networks together."""
        return LayerPair(
            "all layers",
            Costs(cost for row in self.layers for cost in row.costs),
            Costs(cost for row in self.layers for cost in row.against),
        )

    def to_json(self) -> dict[str, object]:
        """The document that ``mlcnn evaluate --against NETWORK --json`` prints."""
        clock_hz = self.accelerator.clock_mhz * 1e6
        total = self.total
        network = total.to_json()
        del network["name"]
        return {
            "accelerator": self.accelerator.name,
            "technology": self.technology.name,
            "batch": self.batch,
            "name": self.names[0],
            "against": self.names[1],
            "layers": [row.to_json() for row in self.layers],
            "uncounted": [asdict(item) for item in self.uncounted],
            "scaling": list(self.scaling),
            "depends": list(self.depends),
            "network": network
            | {
                "latency_s": total.costs.cycles / clock_hz,
                "against_latency_s": total.against.cycles / clock_hz,
            },
        }

    def records(self) -> list[dict[str, Any]]:
        """A row for each layer, as ``to_json`` has it."""
        return [flat(row.to_json()) for row in self.layers]

    def shown(self) -> Shown:
        """Cycles and energy of each layer in both networks."""
        name, against = self.names
        columns = ("layer", f"cycles {name}", against, "speed-up", "energy ratio")
        rows = tuple(_shown_row(row) for row in (*self.layers, self.total))
        images = "1 image" if self.batch == 1 else f"{self.batch} images"
        title = f"{name} against {against} on {self.accelerator.name}, {images}"
        return Shown(title, columns, rows, (*self.scaling, *self.depends))


def _shown_row(row: LayerPair) -> tuple[str, ...]:
    ratios = (row.speedup, row.energy_ratio)
    return (
        row.name,
        *(f"{side.cycles:,.0f}" for side in (row.costs, row.against)),
        *("" if value is None else f"{value:.2f}x" for value in ratios),
    )


def compare_networks(
    model: ir.Model,
    against: ir.Model,
    accelerator: Machine,
    technology: Technology,
    *,
    names: tuple[str, str],
    batch: int = 1,
) -> NetworkComparison:
    """Run two networks on one machine, layers joined by name.

    Args:
        model: the network asked about.
        against: the other.
        accelerator: the machine.
        technology: the tables.
        names: what the two are called.
        batch: images, where a network's batch is dynamic.

    Raises:
        InfeasibleError: the machine cannot run a layer.
        InputError: the networks share no layer name, or one has no layer.
        UnsupportedError: a layer's sizes are not known.
    """
    workloads = [read(network, batch=batch) for network in (model, against)]
    after, before = (_costs(work, accelerator, technology) for work in workloads)
    rows = tuple(
        LayerPair((old or new[0]).name, Costs(new), Costs(() if old is None else (old,)))
        for old, new in joined(before, after)
    )
    uncounted = dict.fromkeys(item for work in workloads for item in not_run(work))
    scaling = (*notes_of(accelerator), *scaling_told(accelerator, workloads[0].layers))
    return NetworkComparison(
        accelerator, technology, workloads[0].images, names, rows, tuple(uncounted), scaling
    )


def _costs(
    workload: Workload, accelerator: Machine, technology: Technology
) -> tuple[LayerCost, ...]:
    tasks = tasks_of(workload)
    require_tasks(tasks)
    return tuple(evaluate_layer(task, accelerator, technology) for task in tasks)
