"""Memory sub-arrays as a machine: rows of bits that are sensed together, counted or compared."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from mlcnn.accelerators.cost import LayerCost, LayerTask
from mlcnn.accelerators.in_memory.cells import load_cells
from mlcnn.accelerators.in_memory.compare import compare_and_add
from mlcnn.accelerators.in_memory.description import EngineDescription
from mlcnn.accelerators.in_memory.energy import engine_area
from mlcnn.accelerators.in_memory.refusals import refusal
from mlcnn.accelerators.in_memory.search import SLACK, best, best_of, cost_of
from mlcnn.accelerators.in_memory.work import products_of
from mlcnn.accelerators.machine import Infeasible
from mlcnn.accelerators.technology import Technology
from mlcnn.errors import InfeasibleError
from mlcnn.workload import Arithmetic, Layer

__all__ = ["InMemoryEngine", "sweep"]

Floats = NDArray[np.float64]

_TOGETHER = 256  # machines at a time


@dataclass(frozen=True, slots=True)
class InMemoryEngine(EngineDescription):
    """Sub-arrays that sense two rows at once: bits of windows with bits of filters."""

    def with_cells(self, name: str, rows: int, columns: int) -> "InMemoryEngine":
        """The same engine with other sub-arrays.

        Args:
            name: of the cells.
            rows: of a sub-array.
            columns: likewise.

        Raises:
            InputError: there are no such cells, or none of this size.
        """
        cells = load_cells(name)
        return replace(self, cell=cells.name, sub_array=cells.sub_array(rows, columns))

    def takes(self, layer: Layer) -> Infeasible | None:
        """See ``Machine``: dense weights and inputs of few bits, a row of each in a sub-array.

        Comparator layers, too, where latches of the columns compare.
        """
        return refusal(layer, self)

    def cost(self, task: LayerTask, technology: Technology) -> LayerCost:
        """See ``Machine``."""
        if (why := self.takes(task.layer)) is not None:
            raise InfeasibleError(str(why))
        if task.layer.arithmetic is Arithmetic.COMPARE:
            return compare_and_add(task, self, technology)
        return cost_of(task, self, best_of(products_of(task), self, technology))

    def area(self, technology: Technology) -> float:
        """See ``Machine``; ``mlcnn.accelerators.in_memory.engine_area`` gives the parts."""
        return engine_area(self, technology).total


def sweep(
    tasks: Sequence[LayerTask], machines: Sequence[EngineDescription], technology: Technology,
    slack: float = SLACK,
) -> tuple[Floats, Floats]:  # fmt: skip
    """Cycles and energy of a network on many engines.

    Args:
        tasks: the layers.
        machines: the engines.
        technology: the tables.
        slack: of the cycles of a layer, for a mapping that takes less energy.

    Returns:
        Cycles and pJ, shape (machines, layers) each; infinite where an engine cannot run a layer.
    """
    nameless = [task.with_nest(replace(task.nest, name="")) for task in tasks]
    cycles, energy = np.empty((2, len(machines), len(tasks)))
    for task in dict.fromkeys(nameless):
        compares = task.layer.arithmetic is Arithmetic.COMPARE
        run = _compared if compares else _counted
        columns = [index for index, other in enumerate(nameless) if other == task]
        for start in range(0, len(machines), _TOGETHER):
            some = slice(start, start + _TOGETHER)
            taken = run(task, machines[some], technology, slack)
            cycles[some, columns] = taken[0][:, None]
            energy[some, columns] = np.where(np.isinf(taken[0]), np.inf, taken[1])[:, None]
    return cycles, energy


def _counted(
    task: LayerTask, machines: Sequence[EngineDescription], technology: Technology, slack: float
) -> tuple[Floats, Floats]:
    """Cycles and energy of a layer by AND and count, on several machines at once."""
    found = [best(work, machines, technology, slack) for work in products_of(task)]
    quick = np.array([one.cycles for one in found])
    which = np.argmin(quick, axis=0), np.arange(quick.shape[1])
    return quick[which], np.array([one.energy for one in found])[which]


def _compared(
    task: LayerTask, machines: Sequence[EngineDescription], technology: Technology, slack: float
) -> tuple[Floats, Floats]:
    """The same of a layer that compares: images at a time hang on each machine's buffer."""
    taken = np.full((2, len(machines)), np.inf)
    for index, machine in enumerate(machines):
        if refusal(task.layer, machine) is None:
            cost = compare_and_add(task, machine, technology, slack)
            taken[:, index] = cost.cycles, cost.energy.total
    return taken[0], taken[1]
