"""An array as a machine: the layers that it takes, what they cost, its area."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from mlcnn.accelerators.array.area import area
from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.energy import energy
from mlcnn.accelerators.array.search import SLACK, Chosen, choose, refusal
from mlcnn.accelerators.array.shares import WHOLE, Shares, shares_of
from mlcnn.accelerators.array.traffic import operations, transfers
from mlcnn.accelerators.array.work import Work
from mlcnn.accelerators.cost import LayerCost, LayerTask
from mlcnn.accelerators.machine import Infeasible, unknown_layer, unknown_parts
from mlcnn.accelerators.technology import Technology
from mlcnn.counting import Operations
from mlcnn.errors import InfeasibleError
from mlcnn.workload import Arithmetic, Layer

__all__ = [
    "Array",
    "DenseArray",
    "best",
    "best_of",
    "cost_of",
    "costs_of",
    "preferred",
    "refused",
]


@dataclass(frozen=True, slots=True)
class Array(ArrayDescription, ABC):
    """An array of slices, of any kind; a kind says in which ways it can run a layer."""

    @abstractmethod
    def ways(self, task: LayerTask) -> tuple[Work, ...]:
        """Every way in which the array can run a layer, the preferred first."""

    def plain(self, task: LayerTask) -> Work:
        """The layer as it is: every array can do that."""
        return Work(task.nest, self.precision, scaled=task.scaled)

    @property
    def family(self) -> tuple[object, ...]:
        """Arrays of one family run layers in the same ways."""
        return type(self), self.precision

    def takes(self, layer: Layer) -> Infeasible | None:
        """See ``Machine``: dense weights that are multiplied, and a tile that fits."""
        why = self.unknown(layer)
        return refused(self.ways(LayerTask(layer)), self) if why is None else why

    def unknown(self, layer: Layer) -> Infeasible | None:
        """Why no array knows such layers: what one is beside a nest, a pool and an activity."""
        wanted = unknown_parts(layer, (Arithmetic.MULTIPLY,))
        does = "an array multiplies dense weights"
        return unknown_layer(self.name, layer, wanted, does) if wanted else None

    def cost(self, task: LayerTask, technology: Technology) -> LayerCost:
        """See ``Machine``."""
        if (why := self.unknown(task.layer)) is not None:
            raise InfeasibleError(str(why))
        if self.mapping_pj_per_cycle is not None:
            return preferred(costs_of(task, self, technology), self.mapping_pj_per_cycle)
        chosen = best(task, self)
        return cost_of(chosen, self, technology, shares_of(task, chosen.work, self))

    def area(self, technology: Technology) -> float:
        """See ``Machine``; ``mlcnn.accelerators.array.area`` gives the parts."""
        return area(self, technology).total


@dataclass(frozen=True, slots=True)
class DenseArray(Array):
    """An array whose input unit does nothing but scale."""

    kind: ClassVar[str] = "dense"

    def ways(self, task: LayerTask) -> tuple[Work, ...]:
        """The layer as it is: inputs are stored as they come, pools accumulate in the array."""
        return (self.plain(task),)


def best(task: LayerTask, machine: Array, slack: float = SLACK) -> Chosen:
    """The way and the tiling that are fastest.

    Args:
        task: the layer.
        machine: the array.
        slack: see ``choose``.

    Raises:
        InfeasibleError: the machine can run the layer in no way.
    """
    return best_of(machine.ways(task), machine, slack)


def refused(works: Sequence[Work], machine: Array) -> Infeasible | None:
    """Why none of several ways fits an array, as the first of them has it; None where one does."""
    refusals: list[Infeasible] = []
    for work in works:
        why = refusal(work, machine)
        if why is None:
            return None
        refusals.append(why)
    return refusals[0]


def best_of(works: Sequence[Work], machine: Array, slack: float = SLACK) -> Chosen:
    """The fastest of several ways to run a layer; see ``best``."""
    found: list[Chosen] = []
    failures: list[InfeasibleError] = []
    for work in works:
        try:
            found.append(choose(work, machine, slack))
        except InfeasibleError as error:
            failures.append(error)
    if not found:
        raise failures[0]
    return min(found, key=lambda chosen: (chosen.cycles, chosen.dram_bytes))


def costs_of(task: LayerTask, machine: Array, technology: Technology) -> tuple[LayerCost, ...]:
    """What a layer takes in every way in which it fits an array.

    Args:
        task: the layer.
        machine: the array.
        technology: the tables.

    Raises:
        InfeasibleError: it fits in no way.
    """
    found: list[LayerCost] = []
    failures: list[InfeasibleError] = []
    for work in machine.ways(task):
        try:
            chosen = choose(work, machine)
        except InfeasibleError as error:
            failures.append(error)
            continue
        found.append(cost_of(chosen, machine, technology, shares_of(task, work, machine)))
    if not found:
        raise failures[0]
    return tuple(found)


def preferred(costs: Sequence[LayerCost], pj_per_cycle: float) -> LayerCost:
    """The way of the least energy and latency together, the first of equal ones.

    Args:
        costs: of each way.
        pj_per_cycle: what a cycle counts as.
    """
    return min(costs, key=lambda cost: cost.energy.total + pj_per_cycle * cost.cycles)


def cost_of(
    chosen: Chosen, machine: Array, technology: Technology, shares: Shares = WHOLE
) -> LayerCost:
    """What a layer takes in a tiling.

    Args:
        chosen: the layer and its tiling.
        machine: the array.
        technology: the tables.
        shares: what it takes of that, where it has few bits.
    """
    work, tiling = chosen.work, chosen.tiling
    done = operations(work, tiling, machine, chosen.ways, chosen.side)
    moved = shares.of(transfers(work, tiling, machine, chosen.ways, chosen.side))
    counted = work.execution.counted(work.layer) or Operations(done.multiplications, done.additions)
    return LayerCost(
        name=work.layer.name,
        execution=work.execution.name,
        cycles=chosen.cycles,
        bound=chosen.bound,
        utilisation=counted.multiplications / (chosen.cycles * machine.multiplications_per_cycle),
        multiplications=counted.multiplications,
        additions=counted.additions,
        traffic=moved.summary,
        energy=energy(machine, technology, moved, done, chosen.cycles, shares=shares),
        fused=work.execution.fused,
        mapping={
            "tiling": {**tiling.to_json(), "ways": chosen.ways, "slices": chosen.ways * chosen.side}
        },
    )
