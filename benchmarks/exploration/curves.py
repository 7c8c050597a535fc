"""Curves of searches in a file, and what they say at equal work."""

import csv
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.exploration.runs import Point

__all__ = ["Curve", "append", "at_work", "merged", "read", "to_reach"]

_FIELDS = (
    "peer", "area_mm2", "seed", "cpu_seconds", "evaluations", "designs", "edp", "finished",
    "processor",
)  # fmt: skip
_CLOSE = 1e-9

Key = tuple[str, float, int]


@dataclass(frozen=True, slots=True)
class Curve:
    """How a search came down.

    Attributes:
        peer: its name.
        area_mm2: the largest area of a design.
        seed: of what is drawn.
        points: where it got better, and its end.
        finished: whether it ended by itself, and not because its time was over.
        processor: on which its time was taken.
    """

    peer: str
    area_mm2: float
    seed: int
    points: tuple[Point, ...]
    finished: bool
    processor: str

    @property
    def key(self) -> Key:
        """Of which there is one."""
        return self.peer, self.area_mm2, self.seed

    @property
    def final(self) -> float:
        """The least energy times latency."""
        return self.points[-1].edp

    def best(self, work: float, of: Callable[[Point], float]) -> float:
        """The least after so much work; infinite for nothing yet, not a number for not known."""
        if not self.finished and of(self.points[-1]) < work:
            return math.nan
        return min((one.edp for one in self.points if of(one) <= work), default=math.inf)

    def until(self, edp: float) -> Point | None:
        """Where it is first as good as that; None for never."""
        return next((one for one in self.points if one.edp <= edp * (1 + _CLOSE)), None)


def append(path: Path, curve: Curve) -> None:
    """Write a curve behind others, in one piece."""
    new = not path.exists()
    with path.open("a", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        if new:
            writer.writerow(_FIELDS)
        writer.writerows(
            (*curve.key, f"{p.cpu_seconds:.3f}", p.evaluations, p.designs, repr(p.edp),
             int(curve.finished), curve.processor)
            for p in curve.points
        )  # fmt: skip


def read(path: Path) -> tuple[Curve, ...]:
    """The curves of a file."""
    points: dict[tuple[Key, bool, str], list[Point]] = {}
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            key = row["peer"], float(row["area_mm2"]), int(row["seed"])
            point = Point(
                float(row["cpu_seconds"]), int(row["evaluations"]), int(row["designs"]),
                float(row["edp"]),
            )  # fmt: skip
            finished = row["finished"] == "1"
            points.setdefault((key, finished, row["processor"]), []).append(point)
    return tuple(
        Curve(*key, tuple(each), finished, processor)
        for (key, finished, processor), each in points.items()
    )


def merged(parts: Sequence[Sequence[Curve]]) -> tuple[Curve, ...]:
    """The curves of several files; of equal ones that of the last file."""
    return tuple({one.key: one for part in parts for one in part}.values())


def at_work(
    curves: Sequence[Curve], best: float, steps: Sequence[float], of: Callable[[Point], float]
) -> list[str]:
    """Quartiles over seeds of the least so far, over the best value known.

    Args:
        curves: of one peer and area.
        best: energy times latency.
        steps: of the work.
        of: the work at a point.

    Returns:
        For each step the median and, in brackets, the quartiles; - where there is nothing yet, and
        an empty text where a search was ended before.
    """
    cells: list[str] = []
    for step in steps:
        values = [curve.best(step, of) / best for curve in curves]
        if any(map(math.isnan, values)):
            cells.append("")
            continue
        low, middle, high = (_told(value) for value in _quartiles(values))
        cells.append(middle if middle == "-" else f"{middle} [{low}, {high}]")
    return cells


def _quartiles(values: Sequence[float]) -> Iterator[float]:
    """By the values themselves, since infinite ones have no means."""
    ranked = sorted(values)
    for share in (0.25, 0.5, 0.75):
        rank = share * (len(ranked) - 1)
        low, high = ranked[math.floor(rank)], ranked[math.ceil(rank)]
        yield low if low == high else low + (rank % 1) * (high - low)


def _told(value: float) -> str:
    return "-" if math.isinf(value) else f"{value:.3f}"


def to_reach(
    ours: Sequence[Curve], others: Sequence[Curve], of: Callable[[Point], float]
) -> tuple[list[float], list[float]]:
    """Work until the final values of other searches, seed by seed.

    Args:
        ours: curves of one area.
        others: of the same area; seeds that only one has are left out.
        of: the work at a point.

    Returns:
        Our work until what the other ends with, infinite for never, and the other's until it first
        had that.
    """
    by_seed = {one.seed: one for one in ours}
    pairs = [(by_seed[one.seed], one) for one in others if one.seed in by_seed]
    mine, theirs = np.full(len(pairs), np.inf), np.empty(len(pairs))
    for number, (own, other) in enumerate(pairs):
        if (point := own.until(other.final)) is not None:
            mine[number] = of(point)
        theirs[number] = of(other.until(other.final) or other.points[-1])
    return mine.tolist(), theirs.tolist()
