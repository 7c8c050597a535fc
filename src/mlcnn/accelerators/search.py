"""The best tiling of a layer on a machine: an exact search over all of them."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from mlcnn.accelerators.axis import Execution
from mlcnn.accelerators.cycles import (
    Parameters,
    Schedule,
    first_load,
    held_bytes,
    out_time,
    schedule,
    step_length,
)
from mlcnn.accelerators.description import Accelerator
from mlcnn.accelerators.tiling import Floats, Tiling, Tilings, tilings
from mlcnn.accelerators.work import Work
from mlcnn.errors import InfeasibleError

__all__ = ["BOUNDS", "SLACK", "Chosen", "choose", "dram_bytes"]

SLACK = 0.01
"""Share of the least cycles that a tiling may take more, where it moves fewer DRAM bytes."""

BOUNDS = ("multipliers", "buffer ports", "addition-reuse unit", "DRAM")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A layer's tiling and what it takes.

    Attributes:
        work: the layer and how it runs.
        tiling: how it is cut.
        ways: positions that different slices work on at a time.
        groups: groups of output channels that take turns on the slices.
        cycles: from the first load to the last store.
        waits: cycles by the resource that sets them, in the order of ``BOUNDS``.
        dram_bytes: loaded and stored.
    """

    work: Work
    tiling: Tiling
    ways: int
    groups: int
    cycles: float
    waits: tuple[float, ...]
    dram_bytes: float

    @property
    def bound(self) -> str:
        """The resource that sets most of the cycles."""
        return BOUNDS[int(np.argmax(self.waits))]


def dram_bytes(work: Work, t: Tilings) -> Floats:
    """DRAM bytes of every tiling."""
    layer, bits = work.layer, work.precision.bits
    kept, outer = t.kept > 0, t.weights_outer > 0
    inputs = t.all_loaded * layer.C * np.where(kept & ~outer, 1, t.output_tiles)
    weights = layer.weights * np.where(kept & outer, 1, t.places)
    height, width = layer.pooled
    return (inputs + weights + layer.N * layer.K * height * width) * bits / 8


@lru_cache(maxsize=65536)
def choose(work: Work, machine: Accelerator, slack: float = SLACK) -> Chosen:
    """The fastest tiling; among those within ``slack`` of it, the one with least DRAM traffic.

    Args:
        work: the layer and how it runs.
        machine: the accelerator.
        slack: with 0, cycles alone count, and DRAM bytes between equal ones.

    Raises:
        InfeasibleError: the machine cannot hold any tile of the layer.
    """
    t, p = tilings(work), Parameters.of((machine,))
    plan = schedule(work, t, p)
    cycles = plan.cycles[0]
    least = float(cycles.min())
    if not np.isfinite(least):
        raise _too_small(work, machine, plan, t)
    moved = np.where(cycles <= least * (1 + slack), dram_bytes(work, t), np.inf)
    fewest = moved.min()
    index = int(np.argmin(np.where(moved == fewest, cycles, np.inf)))
    waits = _waits(work, plan, p, index)
    groups, ways = (int(v[0, index]) for v in (plan.times.groups, plan.times.ways))
    return Chosen(
        work, t.choices[index], ways, groups, float(cycles[index]), waits, float(fewest)
    )


def _too_small(
    work: Work, machine: Accelerator, plan: Schedule, t: Tilings
) -> InfeasibleError:
    layer = work.layer
    start = f"accelerator {machine.name} cannot run {layer.name} ({layer.R}x{layer.S}, "
    start += f"{layer.C} to {layer.K} channels, {layer.H}x{layer.W}, {work.execution}): "
    needed = float(held_bytes(work, t).min())
    if needed > machine.buffer_bytes:
        return InfeasibleError(
            f"{start}its smallest tile takes {needed:.0f} bytes of buffer and there are "
            f"{machine.buffer_bytes}; raise buffer_bytes to {needed:.0f} or more"
        )
    sums = float((t.convolved if work.frequencies == 1 else t.lines * t.line).min())
    sums *= work.frequencies
    held = machine.accumulator_entries // 2
    return InfeasibleError(
        f"{start}no tile fits both {machine.buffer_bytes} bytes of buffer and {held} accumulator "
        f"entries a slice and half; the smallest tile has {sums:.0f} sums of one output channel, "
        f"over at most {machine.input_windows} input windows; raise accumulator_entries, "
        "input_windows or buffer_bytes"
    )


def _at(values: Floats, index: int) -> float:
    return float(values.reshape(-1)[index if values.size > 1 else 0])


def _waits(work: Work, plan: Schedule, p: Parameters, index: int) -> tuple[float, ...]:
    """Give every step's cycles to the resource that takes longest in it."""
    times, classes = plan.times, plan.classes
    step = step_length(times, p)
    waits = [0.0, 0.0, 0.0, 0.0]
    compute, refill = _at(times.compute, index), _at(times.refill, index)

    def add(count: float, length: float, unit: float, leaves: float) -> None:
        if count <= 0:
            return
        if length <= compute:
            waits[0] += count * (length - refill)
            waits[1] += count * refill
        elif length <= leaves:
            waits[1] += count * length
        elif length <= unit:
            waits[2] += count * length
        else:
            waits[3] += count * length

    inner_unit, outer_unit = _at(times.inner_unit, index), _at(times.outer_unit, index)
    counts = {
        (1, 1): classes.both,
        (1, 0): classes.outer,
        (0, 1): classes.leaving,
        (0, 0): classes.inner,
    }
    for (outer, leaves), count in counts.items():
        unit = inner_unit + outer * outer_unit
        gone = _at(times.leave, index) * leaves
        add(_at(count, index), _at(step(outer, leaves), index), unit, gone)
    add(1.0, compute, 0.0, 0.0)
    first = _at(first_load(times, p), index)
    add(1.0, first, inner_unit + outer_unit, 0.0)
    add(1.0, _at(out_time(times, p), index), 0.0, _at(times.leave, index))
    if work.execution is Execution.PLAIN and work.scaled:
        waits[3], waits[2] = waits[3] + waits[2], 0.0
    return tuple(waits)
