"""Many accelerators at once, and accelerators of a given area."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from mlcnn.accelerators.area import area
from mlcnn.accelerators.axis import Execution
from mlcnn.accelerators.description import Accelerator
from mlcnn.accelerators.evaluation import LayerTask
from mlcnn.accelerators.search import fastest
from mlcnn.accelerators.technology import Technology
from mlcnn.accelerators.tiling import Floats
from mlcnn.accelerators.work import executions
from mlcnn.errors import InfeasibleError

__all__ = ["filling", "sweep_cycles"]

# Machines at a time: enough to share work, few enough for their arrays to stay in the cache.
_TOGETHER = 512


@dataclass(frozen=True, slots=True)
class _Key:
    """Machines that run layers in the same ways."""

    kind: str
    precision: str
    tile: int


def sweep_cycles(tasks: Sequence[LayerTask], machines: Sequence[Accelerator]) -> Floats:
    """Cycles of a network on many machines: the fastest tiling of each layer on each.

    The same search as ``choose`` with slack 0, for all machines together.

    Args:
        tasks: the layers.
        machines: the accelerators.

    Returns:
        Cycles, shape (machines, layers); infinite where a machine cannot run a layer.
    """
    nameless = [replace(task, layer=replace(task.layer, name="")) for task in tasks]
    result = np.empty((len(machines), len(tasks)))
    keys = [_Key(m.kind, m.precision, m.winograd_tile) for m in machines]
    for key in Counter(keys):
        members = [index for index, other in enumerate(keys) if other == key]
        for task in dict.fromkeys(nameless):
            columns = [index for index, other in enumerate(nameless) if other == task]
            cycles = _cycles(task, [machines[index] for index in members])
            result[np.ix_(members, columns)] = cycles[:, None]
    return result


def _cycles(task: LayerTask, machines: Sequence[Accelerator]) -> Floats:
    """Least cycles of one layer on machines that run layers in the same ways."""
    ways = executions(task.layer, machines[0], scaled=task.scaled, sole_consumer=task.sole_consumer)
    best = np.full(len(machines), np.inf)
    for start in range(0, len(machines), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        group = machines[some]
        ideal = np.array([task.layer.macs / one.multiplications_per_cycle for one in group])
        for work in ways:
            if work.execution is Execution.PLAIN and np.all(best[some] <= ideal):
                continue  # no plain execution can be faster
            best[some] = fastest(work, group, best[some])
    return best


def filling(machine: Accelerator, area_um2: float, technology: Technology) -> Accelerator:
    """The same machine with as many slices as fit an area; on-chip memory stays as it is.

    Accumulator entries and windows scale with the slices.

    Args:
        machine: where to start from.
        area_um2: area to fill.
        technology: the tables.

    Raises:
        InfeasibleError: not even one slice fits.
    """
    fitting: Accelerator | None = None
    slices = 1
    while area(candidate := _with_slices(machine, slices), technology).total <= area_um2:
        fitting = candidate
        slices += 1
    if fitting is None:
        least = area(_with_slices(machine, 1), technology).total
        raise InfeasibleError(
            f"accelerator {machine.name} takes {least:.0f} um2 with a single slice, more than the "
            f"{area_um2:.0f} um2 to fill: shrink its buffer or its input and output units"
        )
    return fitting


def _with_slices(machine: Accelerator, slices: int) -> Accelerator:
    words = machine.slices * machine.accumulator_entries
    return replace(
        machine,
        name=f"{machine.name}-{slices}-slices",
        slices=slices,
        accumulator_entries=max(words // slices, 2),
        input_windows=max(slices // 8, 1),
    )
