"""The best tiling of a layer on a machine: an exact search over all of them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mlcnn.accelerators.array.bound import Bounds, needs
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import Schedule, schedule
from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Floats, Indices, Tiling, Tilings
from mlcnn.accelerators.array.work import Work
from mlcnn.accelerators.machine import Infeasible
from mlcnn.errors import InfeasibleError

__all__ = ["BOUNDS", "SLACK", "Chosen", "choose", "fastest", "refusal"]

SLACK = 0.01
"""Share of the least cycles that a tiling may take more, where it moves fewer DRAM bytes."""

# Pairs whose exact cycles are computed together: their arrays stay in the cache.
_BATCH = 8192

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
        names = (*BOUNDS[:2], self.work.execution.input_unit, *BOUNDS[3:])
        return names[int(np.argmax(self.waits))]


def choose(work: Work, machine: ArrayDescription, slack: float = SLACK) -> Chosen:
    """The fastest tiling; among those within ``slack`` of it, the one with least DRAM traffic.

    Args:
        work: the layer and how it runs.
        machine: the accelerator.
        slack: with 0, cycles alone count, and DRAM bytes between equal ones.

    Raises:
        InfeasibleError: the machine cannot hold any tile of the layer.
    """
    nameless = replace(machine, name="", mapping_pj_per_cycle=None)
    found = _choose(work.nameless, nameless, slack)
    if found is None:
        raise InfeasibleError(str(_too_small(work, machine)))
    return replace(found, work=work)


@lru_cache(maxsize=65536)
def _choose(work: Work, machine: ArrayDescription, slack: float) -> Chosen | None:
    """The search, by geometry: layers and machines that differ in name alone share it."""
    t, p = tilings(work), Parameters.of((machine,))
    moved = needs(work).dram
    least = fastest(work, (machine,), np.array([np.inf]))[0]
    if not np.isfinite(least):
        return None
    bounds, alone = Bounds(work, p), np.array([0])
    most = least * (1 + slack)
    some = np.flatnonzero(bounds.of_tiles()[0] <= most).tolist()
    found = [
        bounds.first(tile) + np.flatnonzero(bounds.of_tilings(alone, tile)[0] <= most)
        for tile in some
    ]
    candidates = np.concatenate(found)
    plan = _exact(work, t, p, np.zeros_like(candidates), candidates)
    fewest = np.where(plan.cycles <= most, moved[candidates], np.inf)
    index = int(np.argmin(np.where(fewest == fewest.min(), plan.cycles, np.inf)))
    groups, ways = (int(v.reshape(-1)[index]) for v in (plan.times.groups, plan.times.ways))
    return Chosen(
        work,
        t.choices[int(candidates[index])],
        ways,
        groups,
        float(plan.cycles[index]),
        _waits(plan, index),
        float(fewest[index]),
    )


def fastest(work: Work, machines: Sequence[ArrayDescription], below: Floats) -> Floats:
    """Cycles of the fastest tiling on each of several machines.

    The bound of every tiling first; then exactly those that it does not rule out.

    Args:
        work: the layer.
        machines: the machines.
        below: cycles that have to be improved on, one for each machine; infinite for none.

    Returns:
        Cycles, or ``below`` where no tiling takes fewer.
    """
    t, p = tilings(work), Parameters.of(machines)
    bounds = Bounds(work, p)
    of_tiles = bounds.of_tiles()
    likely = of_tiles.argmin(axis=1)
    tiles: list[int] = np.unique(likely).tolist()
    owners = [np.flatnonzero(likely == tile) for tile in tiles]
    guesses = [
        bounds.first(tile) + bounds.of_tilings(rows, tile).argmin(axis=1)
        for tile, rows in zip(tiles, owners, strict=True)
    ]
    best = below.copy()
    owner, tiling = np.concatenate(owners), np.concatenate(guesses)
    best[owner] = np.minimum(best[owner], _exact(work, t, p, owner, tiling).cycles)
    for owner, tiling in _left(bounds, of_tiles, best):
        np.minimum.at(best, owner, _exact(work, t, p, owner, tiling).cycles)
    return best


def _left(bounds: Bounds, of_tiles: Floats, best: Floats) -> Iterator[tuple[Indices, Indices]]:
    """Pairs of a machine and a tiling that could take fewer cycles than ``best``, in batches."""
    owners: list[Indices] = []
    found: list[Indices] = []
    size = 0
    for tile in np.flatnonzero((of_tiles < best[:, None]).any(axis=0)).tolist():
        rows = np.flatnonzero(of_tiles[:, tile] < best)
        row, column = np.nonzero(bounds.of_tilings(rows, tile) < best[rows, None])
        owners.append(rows[row])
        found.append(bounds.first(tile) + column)
        size += len(row)
        if size > _BATCH:
            yield np.concatenate(owners), np.concatenate(found)
            owners, found, size = [], [], 0
    if size:
        yield np.concatenate(owners), np.concatenate(found)


def _exact(work: Work, t: Tilings, p: Parameters, owner: Indices, tiling: Indices) -> Schedule:
    """The schedules of pairs of a machine and a tiling, as flat arrays."""
    return schedule(work, t.take(tiling), p.take(owner))


def refusal(work: Work, machine: ArrayDescription) -> Infeasible | None:
    """Why no tiling of a layer fits the machine; None where one does.

    Args:
        work: the layer and how it runs.
        machine: the accelerator.
    """
    bounds = Bounds(work.nameless, Parameters.of((machine,)))
    some = np.flatnonzero(np.isfinite(bounds.of_tiles()[0])).tolist()
    alone = np.array([0])
    fits = any(np.isfinite(bounds.of_tilings(alone, tile)).any() for tile in some)
    return None if fits else _too_small(work, machine)


def _too_small(work: Work, machine: ArrayDescription) -> Infeasible:
    layer, nameless = work.layer, work.nameless
    start = f"accelerator {machine.name} cannot run {layer.name} ({layer.R}x{layer.S}, "
    start += f"{layer.C} to {layer.K} channels, {layer.H}x{layer.W}, {work.execution.name}): "
    wanted = needs(nameless)
    bytes_needed, row = float(wanted.held.min()), float(wanted.row.min())
    if bytes_needed > machine.buffer_bytes:
        return Infeasible(
            f"{start}its smallest tile takes {bytes_needed:.0f} bytes of buffer and there are "
            f"{machine.buffer_bytes}; make it {bytes_needed:.0f} or more (buffer_bytes)",
            bytes_needed, machine.buffer_bytes, "bytes of buffer", ("buffer_bytes",),
        )  # fmt: skip
    if row > machine.row_buffer_bytes:
        return Infeasible(
            f"{start}the box sums that it has begun take {row:.0f} bytes of row buffer at least "
            f"and there are {machine.row_buffer_bytes}; make it {row:.0f} or more "
            "(row_buffer_bytes)",
            row, machine.row_buffer_bytes, "bytes of row buffer", ("row_buffer_bytes",),
        )  # fmt: skip
    return _too_many_sums(start, nameless, machine)


def _too_many_sums(start: str, work: Work, machine: ArrayDescription) -> Infeasible:
    t = tilings(work)
    sums = float((t.convolved if work.sums == 1 else t.lines * t.line).min()) * work.sums
    held = machine.accumulator_entries // 2
    return Infeasible(
        f"{start}no tile fits both {machine.buffer_bytes} bytes of buffer and {held} accumulator "
        f"entries a slice and half; the smallest tile has {sums:.0f} sums of one output channel, "
        f"over at most {machine.input_windows} input windows; raise accumulator_entries, "
        "input_windows or buffer_bytes",
        demand=sums,
        bound=held * machine.input_windows,
        unit="accumulator entries",
        levers=("accumulator_entries", "input_windows", "buffer_bytes"),
    )


def _waits(plan: Schedule, index: int) -> tuple[float, ...]:
    """Give every step's cycles to the resource that takes longest in it."""
    times = plan.times
    waits = [0.0] * len(BOUNDS)

    def at(values: Floats) -> float:
        return float(np.broadcast_to(values, plan.cycles.shape)[index])

    def give(cycles: float, parts: tuple[float, float, float, float]) -> None:
        """Parts: compute, leaving, input unit, DRAM; the first of the longest gets them."""
        owner = (0, 1, 2, 3)[parts.index(max(parts))]
        waits[owner] += cycles

    for step in plan.classes:
        count = at(step.count)
        if count <= 0:
            continue
        chunk = times.compute(step)
        compute, refill = at(chunk.compute), at(chunk.refill)
        leave = at(times.leave) if step.leaves else 0.0
        parts = compute, leave, at(times.unit(step)), at(times.dram(step))
        give(count * max(parts), parts)
        if parts[0] == max(parts):
            waits[0] -= count * refill
            waits[1] += count * refill
    whole = times.whole
    unit, first = at(whole.inner_unit + whole.outer_unit), at(times.first_load)
    give(first, (0.0, 0.0, unit, first))
    last = at(times.last_store)
    give(last, (0.0, at(times.leave), at(times.returning), last))
    return tuple(waits)
