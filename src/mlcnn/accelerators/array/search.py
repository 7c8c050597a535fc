"""The best tiling of a layer on a machine: an exact search over all of them."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np

from mlcnn.accelerators.array.bound import Bounds, needs
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import Schedule, schedule
from mlcnn.accelerators.array.description import ArrayDescription
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Amounts, Indices, Tiling
from mlcnn.accelerators.array.work import Work
from mlcnn.accelerators.machine import Infeasible
from mlcnn.errors import InfeasibleError

__all__ = ["BOUNDS", "SLACK", "Chosen", "choose", "fastest", "refusal"]

SLACK = 0.01
"""Share of the least cycles that a tiling may take more, where it moves fewer DRAM bytes."""

# Pairs whose exact cycles are computed together, and tiles whose tilings are bounded together:
# their arrays stay in the cache.
_BATCH, _TILES = 4096, 512

BOUNDS = ("multipliers", "buffer ports", "addition-reuse unit", "DRAM")
_PORTS, _UNIT, _DRAM = 1, 2, 3


@dataclass(frozen=True, slots=True)
class Chosen:
    """A layer's tiling and what it takes.

    Attributes:
        work: the layer and how it runs.
        tiling: how it is cut.
        ways: positions that different slices work on at a time.
        side: slices of each way.
        turns: groups of output channels that take turns on them.
        cycles: from the first load to the last store.
        waits: cycles by the resource that sets them, in the order of ``BOUNDS``.
        dram_bytes: loaded and stored.
    """

    work: Work
    tiling: Tiling
    ways: int
    side: int
    turns: int
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


@lru_cache(maxsize=64)
def _parameters(machines: tuple[ArrayDescription, ...]) -> Parameters:
    """The numbers of the same machines for all layers."""
    return Parameters.of(machines)


@lru_cache(maxsize=8)
def _bounds(work: Work, machines: tuple[ArrayDescription, ...]) -> Bounds:
    """The same for all that is asked of a layer in turn."""
    return Bounds(work, _parameters(machines))


@lru_cache(maxsize=65536)
def _choose(work: Work, machine: ArrayDescription, slack: float) -> Chosen | None:
    """The search, by geometry: layers and machines that differ in name alone share it."""
    p = Parameters.of((machine,))
    least = fastest(work, (machine,), np.array([np.inf]))[0]
    if not np.isfinite(least):
        return None
    bounds, most = _bounds(work, (machine,)), least * (1 + slack)
    _, halvings, tiling, _ = _joined(list(_left(bounds, np.nextafter(np.array([most]), np.inf))))
    plan = _exact(work, p, np.zeros_like(tiling), halvings, tiling)
    fewest = np.where(plan.cycles <= most, plan.dram_bytes, np.inf)
    index = int(np.argmin(np.where(fewest == fewest.min(), plan.cycles, np.inf)))
    side, ways, turns = (
        int(value[index]) for value in (plan.split.side, plan.split.ways, plan.split.turns)
    )
    return Chosen(
        work,
        tilings(work).choices[int(tiling[index])],
        ways,
        side,
        turns,
        float(plan.cycles[index]),
        _waits(plan, index),
        float(fewest[index]),
    )


def fastest(work: Work, machines: Sequence[ArrayDescription], below: Amounts) -> Amounts:
    """Cycles of the fastest tiling on each of several machines.

    The bound of every tiling first; then exactly those that it does not rule out.

    Args:
        work: the layer.
        machines: the machines.
        below: cycles that have to be improved on, one for each machine; infinite for none.

    Returns:
        Cycles, or ``below`` where no tiling takes fewer.
    """
    p, bounds = _parameters(tuple(machines)), _bounds(work, tuple(machines))
    best = below
    every, likely = np.arange(len(machines)), bounds.of_tiles().argmin(axis=1)
    halvings = bounds.of_splits(every, likely).argmin(axis=1)
    column = bounds.of_tilings(every, halvings, likely).argmin(axis=1)
    tiling = bounds.tilings(likely)[every, column]
    best = np.minimum(best, _exact(work, p, every, halvings, tiling).cycles)
    for owner, halvings, tiling, bound in _left(bounds, best):
        # The most likely one of each machine first: it rules out most of the others.
        order = np.lexsort((bound, owner))
        first = order[np.unique(owner[order], return_index=True)[1]]
        for likely in (first, np.setdiff1d(order, first)):
            some = likely[bound[likely] < best[owner[likely]]]
            if len(some):
                chosen = owner[some], halvings[some], tiling[some]
                np.minimum.at(best, chosen[0], _exact(work, p, *chosen).cycles)
    return best


_Candidates = tuple[Indices, Indices, Indices, Amounts]


def _left(bounds: Bounds, best: Amounts) -> Iterator[_Candidates]:
    """Machines, halvings and tilings that could take fewer cycles than ``best``, and their bounds.

    In batches; ``best`` may fall while they are gone through, and the most likely come first.
    """
    of_tiles = bounds.of_tiles()
    row, tile = np.nonzero(of_tiles < best[:, None])
    order = np.argsort(
        of_tiles[row, tile] / best[row] if np.isfinite(best).all() else of_tiles[row, tile]
    )
    row, tile = row[order], tile[order]
    found: list[_Candidates] = []
    size = 0
    for part in _parts(len(row)):
        some = part[of_tiles[row[part], tile[part]] < best[row[part]]]
        if not len(some):
            continue
        owner, where = row[some], tile[some]
        pair, halvings = np.nonzero(bounds.of_splits(owner, where) < best[owner][:, None])
        owner, where = owner[pair], where[pair]
        of_tilings = bounds.of_tilings(owner, halvings, where)
        pair, column = np.nonzero(of_tilings < best[owner][:, None])
        tiling = bounds.tilings(where)[pair, column]
        found.append((owner[pair], halvings[pair], tiling, of_tilings[pair, column]))
        size += len(pair)
        if size > _BATCH:
            yield _joined(found)
            found, size = [], 0
    if size:
        yield _joined(found)


def _parts(size: int) -> Sequence[Indices]:
    """Indices of so many tiles, in parts that are bounded together."""
    return np.array_split(np.arange(size), -(-size // _TILES)) if size > 0 else ()


def _joined(found: Sequence[_Candidates]) -> _Candidates:
    owner, halvings, tiling, bound = (np.concatenate(one) for one in zip(*found, strict=True))
    return owner, halvings, tiling, bound


def _exact(
    work: Work, p: Parameters, owner: Indices, halvings: Indices, tiling: Indices
) -> Schedule:
    """The schedules of pairs of a machine and a tiling, as flat arrays."""
    single = p.take(np.array(0)) if len(p.slices) == 1 else p.take(owner)
    return schedule(work, tilings(work).take(tiling), single, halvings)


def refusal(work: Work, machine: ArrayDescription) -> Infeasible | None:
    """Why no tiling of a layer fits the machine; None where one does.

    Args:
        work: the layer and how it runs.
        machine: the accelerator.
    """
    nameless = replace(machine, name="", mapping_pj_per_cycle=None)
    return None if _fits(work.nameless, nameless) else _too_small(work, machine)


@lru_cache(maxsize=65536)
def _fits(work: Work, machine: ArrayDescription) -> bool:
    """Whether any tiling does."""
    bounds = _bounds(work, (machine,))
    of_tiles = bounds.of_tiles()[0]
    likely = np.argsort(of_tiles)[: np.count_nonzero(np.isfinite(of_tiles))]
    for part in (
        likely[:1],
        likely[1:32],
        *(likely[32:][some] for some in _parts(len(likely) - 32)),
    ):
        pair, halvings = np.nonzero(np.isfinite(bounds.of_splits(np.zeros_like(part), part)))
        where = part[pair]
        if np.isfinite(bounds.of_tilings(np.zeros_like(where), halvings, where)).any():
            return True
    return False


def _too_small(work: Work, machine: ArrayDescription) -> Infeasible:
    layer, nameless = work.layer, work.nameless
    start = f"accelerator {machine.name} cannot run {layer.name} ({layer.R}x{layer.S}, "
    start += f"{layer.C} to {layer.K} channels, {layer.H}x{layer.W}, {work.execution.name}): "
    wanted = needs(nameless, Parameters.of((machine,)))
    bytes_needed, row = math.ceil(wanted.input_bits.min() / 8), float(wanted.row_bytes.min())
    if bytes_needed > machine.input_bytes:
        return Infeasible(
            f"{start}its smallest tile takes {bytes_needed} bytes of the memory of inputs and "
            f"there are {machine.input_bytes}; make it {bytes_needed} or more (input_buffer bytes)",
            bytes_needed, machine.input_bytes, "bytes of input buffer", ("input_buffer bytes",),
        )  # fmt: skip
    if row > machine.row_buffer_bytes:
        return Infeasible(
            f"{start}the rows that wait for those below them take {row:.0f} bytes of row buffer at "
            f"least and there are {machine.row_buffer_bytes}; make it {row:.0f} or more "
            "(row_buffer_bytes)",
            row, machine.row_buffer_bytes, "bytes of row buffer", ("row_buffer_bytes",),
        )  # fmt: skip
    least = _least_weights(nameless, machine)
    if least > machine.weight_bytes:
        return Infeasible(
            f"{start}its smallest chunk of weights takes {least:.0f} bytes of the memory of "
            f"weights and there are {machine.weight_bytes}; make it {least:.0f} or more "
            "(weight_buffer bytes)",
            least, machine.weight_bytes, "bytes of weight buffer", ("weight_buffer bytes",),
        )  # fmt: skip
    return _too_many_sums(start, nameless, machine)


def _least_weights(work: Work, machine: ArrayDescription) -> float:
    """Bytes that the weights of the smallest tile take."""
    roomy = replace(machine, weight_bytes=10**9, input_bytes=10**9, accumulator_entries=10**9)
    bounds = Bounds(work, Parameters.of((replace(roomy, row_buffer_bytes=10**9),)))
    return bounds.least_weights()


def _too_many_sums(start: str, work: Work, machine: ArrayDescription) -> Infeasible:
    spots = tilings(work).spots
    sums = int((spots.lines[:, 0] * spots.line[:, 0]).min()) * work.sums
    held, ways = machine.accumulator_entries // 2, machine.most_ways
    return Infeasible(
        f"{start}no tile fits {machine.input_bytes} bytes of inputs, {machine.weight_bytes} of "
        f"weights and {held} accumulator entries a slice and half; the smallest tile has {sums} "
        f"sums of one output channel, over at most {ways} ways; raise accumulator_entries, ways or "
        "the bytes of input_buffer and weight_buffer",
        demand=sums,
        bound=held * ways,
        unit="accumulator entries",
        levers=("accumulator_entries", "ways", "input_buffer bytes", "weight_buffer bytes"),
    )


def _waits(plan: Schedule, index: int) -> tuple[float, ...]:
    """Give every step's cycles to the resource that takes longest in it."""
    waits = [0.0] * len(BOUNDS)
    waits[_DRAM] += float(plan.begin[index])
    for at in np.flatnonzero(plan.owner == index).tolist():
        count, compute = float(plan.count[at]), float(plan.compute[at])
        load, leave = float(plan.load[at]), float(plan.leave[at])
        longest = max(compute, leave, load, 1.0)
        if compute == longest:
            refill = float(plan.refill[at])
            waits[0] += count * (compute - refill)
            waits[_PORTS] += count * refill
        elif leave == longest:
            waits[_PORTS] += count * leave
        else:
            waits[_UNIT if plan.unit[at] else _DRAM] += count * longest
    return tuple(waits)
