"""Two networks on one machine, layer by layer."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import onnx_ir as ir

from mlcnn.accelerators.cost import LayerCost
from mlcnn.accelerators.evaluation import evaluate_layer
from mlcnn.accelerators.machine import Machine
from mlcnn.accelerators.network import left_out, require_tasks, tasks_of
from mlcnn.accelerators.technology import Technology
from mlcnn.counting.joining import joined
from mlcnn.table import Shown, Tabular, flat
from mlcnn.workload import Uncounted, Workload, read

__all__ = ["LayerPair", "NetworkComparison", "compare_networks"]


@dataclass(frozen=True, slots=True)
class LayerPair:
    """What runs for a layer in each of two networks: several layers where one became more.

    Attributes:
        name: the layer's.
        costs: in the network asked about; empty where it has nothing of this name.
        against: in the other.
    """

    name: str
    costs: tuple[LayerCost, ...]
    against: tuple[LayerCost, ...]

    @property
    def speedup(self) -> float | None:
        """Cycles in the other network over those in this one; None where one has nothing."""
        return _over(self.against, self.costs, _cycles)

    @property
    def energy_ratio(self) -> float | None:
        """Energy in the other network over that in this one; None where one has nothing."""
        return _over(self.against, self.costs, _energy)

    def to_json(self) -> dict[str, object]:
        """One entry of ``layers``."""
        return {"name": self.name} | _figures(self.costs, self.against)


def _cycles(cost: LayerCost) -> float:
    return cost.cycles


def _energy(cost: LayerCost) -> float:
    return cost.energy.total


def _over(
    above: Sequence[LayerCost], below: Sequence[LayerCost], what: Callable[[LayerCost], float]
) -> float | None:
    if not above or not below:
        return None
    return math.fsum(map(what, above)) / math.fsum(map(what, below))


def _figures(costs: Sequence[LayerCost], against: Sequence[LayerCost]) -> dict[str, object]:
    found: dict[str, object] = {}
    for side, group in (("", costs), ("against_", against)):
        found[f"{side}cycles"] = math.fsum(cost.cycles for cost in group)
        found[f"{side}energy_pj"] = math.fsum(cost.energy.total for cost in group)
        found[f"{side}dram_bytes"] = math.fsum(cost.traffic.dram for cost in group)
        found[f"{side}multiplications"] = sum(cost.multiplications for cost in group)
        found[f"{side}additions"] = sum(cost.additions for cost in group)
    found["speedup"] = _over(against, costs, _cycles)
    found["energy_ratio"] = _over(against, costs, _energy)
    return found


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
    """

    accelerator: Machine
    technology: Technology
    batch: int
    names: tuple[str, str]
    layers: tuple[LayerPair, ...]
    uncounted: tuple[Uncounted, ...] = ()

    @property
    def total(self) -> LayerPair:
        """All layers of both networks together."""
        return LayerPair(
            "all layers",
            tuple(cost for row in self.layers for cost in row.costs),
            tuple(cost for row in self.layers for cost in row.against),
        )

    def to_json(self) -> dict[str, object]:
        """The document that ``mlcnn evaluate --against NETWORK --json`` prints."""
        clock_hz = self.accelerator.clock_mhz * 1e6
        total = self.total
        seconds = [
            math.fsum(map(_cycles, side)) / clock_hz for side in (total.costs, total.against)
        ]
        return {
            "accelerator": self.accelerator.name,
            "technology": self.technology.name,
            "batch": self.batch,
            "name": self.names[0],
            "against": self.names[1],
            "layers": [row.to_json() for row in self.layers],
            "uncounted": [
                {"name": item.name, "operator": item.operator} for item in self.uncounted
            ],
            "network": _figures(total.costs, total.against)
            | {"latency_s": seconds[0], "against_latency_s": seconds[1]},
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
        return Shown(title, columns, rows)


def _shown_row(row: LayerPair) -> tuple[str, ...]:
    cycles = (math.fsum(map(_cycles, side)) for side in (row.costs, row.against))
    ratios = (row.speedup, row.energy_ratio)
    return (
        row.name,
        *(f"{number:,.0f}" for number in cycles),
        *("" if value is None else f"{value:.2f}x" for value in ratios),
    )


@dataclass(frozen=True, slots=True)
class _Costed:
    """A layer of one of the networks with what runs for it."""

    name: str
    costs: tuple[LayerCost, ...]


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
    after, before = (_costed(work, accelerator, technology) for work in workloads)
    rows = tuple(
        LayerPair(
            new[0].name if old is None else old.name,
            tuple(cost for item in new for cost in item.costs),
            () if old is None else old.costs,
        )
        for old, new in joined(before, after)
    )
    uncounted = dict.fromkeys(
        item for work in workloads for item in (*work.uncounted, *left_out(work))
    )
    return NetworkComparison(
        accelerator, technology, workloads[0].images, names, rows, tuple(uncounted)
    )


def _costed(
    workload: Workload, accelerator: Machine, technology: Technology
) -> tuple[_Costed, ...]:
    found = tuple(
        _Costed(task.layer.name, (evaluate_layer(task, accelerator, technology),))
        for task in tasks_of(workload)
    )
    require_tasks(found)
    return found
