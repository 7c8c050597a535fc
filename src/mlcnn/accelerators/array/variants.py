"""Many arrays at once, and arrays of a given area."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from mlcnn.accelerators.array.area import area
from mlcnn.accelerators.array.machine import Array
from mlcnn.accelerators.array.search import fastest
from mlcnn.accelerators.array.tiling import Amounts
from mlcnn.accelerators.array.work import PLAIN
from mlcnn.accelerators.cost import LayerTask
from mlcnn.accelerators.technology import Technology
from mlcnn.errors import InfeasibleError

__all__ = ["filling", "sweep_cycles"]

# Machines at a time: enough to share work, few enough for their arrays to stay in the cache.
_TOGETHER = 512


def sweep_cycles(tasks: Sequence[LayerTask], machines: Sequence[Array]) -> Amounts:
    """Cycles of a network on many machines: the fastest tiling of each layer on each.

    The same search as ``choose`` with slack 0, for all machines together.

    Args:
        tasks: the layers.
        machines: the accelerators.

    Returns:
        Cycles, shape (machines, layers); infinite where a machine cannot run a layer.
    """
    nameless = [task.with_nest(replace(task.nest, name="")) for task in tasks]
    result = np.empty((len(machines), len(tasks)))
    families = [machine.family for machine in machines]
    for family in Counter(families):
        members = [index for index, other in enumerate(families) if other == family]
        for task in dict.fromkeys(nameless):
            columns = [index for index, other in enumerate(nameless) if other == task]
            cycles = _cycles(task, [machines[index] for index in members])
            result[np.ix_(members, columns)] = cycles[:, None]
    return result


def _cycles(task: LayerTask, machines: Sequence[Array]) -> Amounts:
    """Least cycles of one layer on machines that run layers in the same ways."""
    best = np.full(len(machines), np.inf)
    for start in range(0, len(machines), _TOGETHER):
        some = slice(start, start + _TOGETHER)
        group = machines[some]
        ideal = np.array([task.nest.macs / one.multiplications_per_cycle for one in group])
        for work in machines[0].ways(task):
            if work.execution == PLAIN and np.all(best[some] <= ideal):
                continue  # no plain execution can be faster
            best[some] = fastest(work, group, best[some])
    return best


def filling(machine: Array, area_um2: float, technology: Technology) -> Array:
    """The same machine with as many slices as fit an area; on-chip memory stays as it is.

    Accumulator entries scale with the slices, and ways by powers of two.

    Args:
        machine: where to start from.
        area_um2: area to fill.
        technology: the tables.

    Raises:
        InfeasibleError: not even one slice fits.
    """
    fitting: Array | None = None
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


def _with_slices(machine: Array, slices: int) -> Array:
    words = machine.slices * machine.accumulator_entries
    return replace(
        machine,
        name=f"{machine.name}-{slices}-slices",
        slices=slices,
        accumulator_entries=max(words // slices, 2),
        most_ways=1 << max((slices // 8).bit_length() - 1, 0),
    )
