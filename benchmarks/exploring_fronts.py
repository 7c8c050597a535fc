"""Fronts of latency and power under area budgets: bounds in place of weights.

The yardstick is that of ``python -m benchmarks.exploring yardstick``: every design mapped. Of each
area budget three ways are compared by the volume that their designs dominate, on a logarithmic
scale of both, up to 1.1 times the worst of the yardstick's front in each:

* front: ``explore`` with the objectives latency and power;
* bounds: ``explore`` for latency alone under bounds of power, which lie evenly on a logarithmic
  scale between what the fastest design draws and the least that was found; a bound begins with the
  designs that those before it mapped;
* weights: the points of the yardstick's front that the best weighted sum finds, for any weights,
  on a linear scale of both: those on the lower convex hull. The others none finds.

    python -m benchmarks.exploring_fronts yardstick.csv --areas 1 3
"""

import argparse
import csv
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.exploring import resnet18
from mlcnn.codesign.conventions import EXACT
from mlcnn.codesign.exploration import (
    Archive,
    Candidates,
    Here,
    Limit,
    LoopNests,
    Quantity,
    Question,
    Space,
    Work,
    front_of,
    load_template,
)
from mlcnn.errors import InfeasibleError, InputError
from mlcnn.journal import Journal

__all__ = ["Reached", "by_bounds", "by_front", "dominated", "main", "on_hull"]

Array = NDArray[np.float64]
_UM2_PER_MM2 = 1e6
_MARGIN = 1.1
_BOUNDS = 16
_BOTH = (Quantity.LATENCY, Quantity.POWER)


@dataclass(frozen=True, slots=True)
class Reached:
    """What a way of searching found.

    Attributes:
        values: of its designs that no other beats, shape (designs, 2): latency and power.
        designs: that were mapped.
        seconds: of processor time, bounds and estimates included.
    """

    values: Array
    designs: int
    seconds: float


def on_hull(front: Array) -> NDArray[np.bool_]:
    """Which points are the least of all for some weighted sum, with weights of 0 or more.

    Args:
        front: points of which none beats another, shape (points, 2).
    """
    order = np.lexsort(front.T[::-1])
    kept: list[int] = []
    for number in order:
        while len(kept) > 1 and _turn(front[kept[-2]], front[kept[-1]], front[number]) < 0:
            kept.pop()
        kept.append(int(number))
    result = np.zeros(len(front), bool)
    result[kept] = True
    return result


def _turn(first: Array, middle: Array, last: Array) -> float:
    """Positive where the middle one is below the line from the first to the last."""
    one, other = middle - first, last - first
    return float(one[0] * other[1] - one[1] * other[0])


def dominated(values: Array, worst: Array) -> float:
    """The area between points and the worst that counts, on a logarithmic scale.

    Args:
        values: shape (points, 2).
        worst: shape (2,); points that are worse in something count for nothing.
    """
    inside = values[(values < worst).all(1)]
    front = np.log(inside[front_of(inside)])
    ends = np.append(front[1:, 0], np.log(worst[0]))
    return float(((ends - front[:, 0]) * (np.log(worst[1]) - front[:, 1])).sum())


def by_front(candidates: Candidates, limit: Limit, seed: int) -> Reached:
    """Explore with both objectives.

    Args:
        candidates: the designs within the area.
        limit: that area.
        seed: of what is drawn.
    """
    begun = time.process_time()
    archive = _explored(candidates, _BOTH, (limit,), seed, None)
    return _reached(archive, begun)


def by_bounds(candidates: Candidates, limit: Limit, seed: int, count: int = _BOUNDS) -> Reached:
    """Explore for latency under bounds of power.

    Args:
        candidates: the designs within the area.
        limit: that area.
        seed: of what is drawn.
        count: of bounds.
    """
    begun = time.process_time()
    archive = _explored(candidates, (Quantity.LATENCY,), (limit,), seed, None)
    most = _power(archive)
    archive = _explored(candidates, (Quantity.POWER,), (limit,), seed, archive)
    least = _power(archive)
    for bound in np.geomspace(most, least, count + 2)[1:-1]:
        limits = (limit, Limit(Quantity.POWER, float(bound)))
        archive = _explored(candidates, (Quantity.LATENCY,), limits, seed, archive)
    return _reached(archive, begun)


def _explored(
    candidates: Candidates,
    objectives: tuple[Quantity, ...],
    limits: tuple[Limit, ...],
    seed: int,
    before: Archive | None,
) -> Archive:
    """What is known after an exploration that begins with what was known before."""
    question = Question(candidates.space, objectives, limits, seed=seed)
    workers = Here(LoopNests(resnet18(), EXACT))
    with Journal(None, {}) as journal:
        work = Work(question, candidates, journal, workers, lambda _: None)
        work.archive.found.update({} if before is None else before.found)
        try:
            work.explored("resnet18")
        except InfeasibleError:
            print(f"none has {' and '.join(str(one) for one in limits)}")
        return work.archive


def _power(archive: Archive) -> float:
    """Of the best design in the archive's objective."""
    best = archive.found[archive.front()[0]]
    assert best is not None
    return best.power_w


def _reached(archive: Archive, begun: float) -> Reached:
    values = Archive(archive.candidates, _BOTH, (), archive.found).values(archive.found)
    front = values[front_of(values)]
    return Reached(front, len(archive.found), time.process_time() - begun)


def _yardstick(path: Path, clock_mhz: float, area_um2: float) -> Array:
    """Latency and power of all designs that are not larger, shape (designs, 2)."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if float(row["area_um2"]) <= area_um2]
    energy = np.array([float(row["energy_pj"]) for row in rows])
    latency = np.array([float(row["latency_cycles"]) for row in rows])
    return np.stack([latency, energy / latency * clock_mhz * 1e-6], 1)


def _compare(path: Path, space: Space, areas: Sequence[float], seeds: int, count: int) -> None:
    """Print the share of the yardstick's volume that each way reaches.

    Raises:
        InputError: the yardstick is not of all designs of the space.
    """
    for area in areas:
        limit = Limit(Quantity.AREA, area * _UM2_PER_MM2)
        candidates = Candidates.of(space, LoopNests(resnet18(), EXACT), [limit])
        everything = _yardstick(path, candidates.clock_mhz, limit.most)
        if len(everything) != len(candidates):
            raise InputError(
                f"{path}: it has {len(everything)} designs of at most {area:g} mm2, and the space "
                f"{len(candidates)}; finish it with python -m benchmarks.exploring yardstick, or "
                "give its --range"
            )
        front = everything[front_of(everything)]
        hull, worst = on_hull(front), front.max(0) * _MARGIN
        whole = dominated(front, worst)
        missed = len(front) - int(hull.sum())
        print(
            f"area <= {area:g} mm2: {len(everything)} designs, {len(front)} on the front, of "
            f"which no weighted sum reaches {missed}; up to {worst[0]:.4g} cycles, {worst[1]:.4g} W"
        )
        print(f"  weights: {dominated(front[hull], worst) / whole:.1%} of the volume")
        for seed in range(seeds):
            for name, found in (
                ("front", by_front(candidates, limit, seed)),
                ("bounds", by_bounds(candidates, limit, seed, count)),
            ):
                share = dominated(found.values, worst) / whole
                print(
                    f"  {name}, seed {seed}: {share:.1%} of the volume with {found.designs} "
                    f"designs mapped in {found.seconds:.1f} CPU-seconds",
                    flush=True,
                )


def main(arguments: Sequence[str] | None = None) -> None:
    """Compare the ways with the yardstick."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("path", type=Path)
    parser.add_argument("--template", default="gemmini")
    parser.add_argument("--space")
    parser.add_argument("--range", action="append", default=[], dest="ranges")
    parser.add_argument("--areas", type=float, nargs="+", default=[1.0, 3.0])
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--bounds", type=int, default=_BOUNDS)
    given = parser.parse_args(arguments)
    space = load_template(given.template).space(given.space, given.ranges)
    _compare(given.path, space, given.areas, given.seeds, given.bounds)


if __name__ == "__main__":
    main()
