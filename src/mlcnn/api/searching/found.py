"""What ``cheapest`` returns: a short table, and all that was tried."""

from dataclasses import asdict, dataclass
from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mlcnn import graph
from mlcnn.api.loading import Rewritten
from mlcnn.frontier.costs import amount, label
from mlcnn.table import Shown, Tabular
from mlcnn.training.intervals import Accuracy, Difference, points

__all__ = ["Cheapest", "Entry", "Prediction", "Tried"]


@dataclass(frozen=True, slots=True)
class Entry:
    """A network of the answer.

    Attributes:
        what: what it is: ``original``, a method alone, the best stack, or another tool's network.
        pipeline: as text that replays; empty for the original and for other tools' networks.
        engine: in which it is fastest; empty where latency does not count.
        costs: of one image, by quantity; latencies of all entries are of one run.
        chosen: accuracy less the original's on the images that chose; None without images.
        judged: likewise on images that chose nothing; None where there were none to spare.
        test: accuracy on the test images; None where the search was interrupted.
        test_change: less the original's.
    """

    what: str
    pipeline: str
    engine: str
    costs: dict[str, float]
    chosen: Difference | None
    judged: Difference | None
    test: Accuracy | None
    test_change: Difference | None

    def to_json(self) -> dict[str, Any]:
        """One entry of ``points``."""
        return {
            "what": self.what,
            "pipeline": self.pipeline,
            "engine": self.engine,
            "accuracy": None if self.test is None else self.test.top1,
            "interval": None if self.test is None else list(self.test.interval),
            "change": None if self.test_change is None else asdict(self.test_change),
            "chosen": None if self.chosen is None else asdict(self.chosen),
            "judged": None if self.judged is None else asdict(self.judged),
            **self.costs,
        }


@dataclass(frozen=True, slots=True)
class Tried:
    """A stack that was tried.

    Attributes:
        pipeline: the steps.
        images: that each training step saw.
        share: of the original's cost; None where it failed.
        change: accuracy less the original's on the images that choose; None likewise.
        seconds: that it took.
        why: it failed, or is not gone on with; empty for neither.
    """

    pipeline: str
    images: int
    share: float | None
    change: Difference | None
    seconds: float
    why: str

    def to_json(self) -> dict[str, Any]:
        """One entry of ``tried``."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Prediction:
    """How good the predictions were, over the stacks that were tried after they were made.

    Attributes:
        stacks: how many.
        cost_rank: Spearman's correlation of costs foretold and measured; None below three.
        drop_rank: of drops.
    """

    stacks: int
    cost_rank: float | None
    drop_rank: float | None

    @property
    def told(self) -> str:
        """In words."""
        if self.cost_rank is None and self.drop_rank is None:
            return f"predictions: {self.stacks} stacks, too few to say how good they were"
        ranks = " and ".join(
            f"{value:.2f} ({name})"
            for name, value in (("cost", self.cost_rank), ("accuracy", self.drop_rank))
            if value is not None
        )
        return f"predictions of {self.stacks} stacks: rank correlation with what was found {ranks}"


@dataclass(frozen=True, slots=True, repr=False)
class Cheapest(Rewritten, Tabular):
    """The cheapest ways to run a network.

    Attributes:
        name: of the network.
        original: the network as it was.
        model: the cheapest one.
        objectives: keys of the costs that were made small.
        max_drop: percentage points that could be lost.
        entries: the original first.
        best: place of the cheapest among them.
        tried: everything, in order.
        dropped: what was left out, by name, and why.
        prediction: how good predictions were; None where nothing was foretold.
        seconds: that it took, earlier calls that it goes on from included.
        spent: seconds by method.
        interrupted: whether the user ended it.
        where: the processor.
        notes: what the reader should know.
    """

    name: str
    original: ir.Model
    model: ir.Model
    objectives: tuple[str, ...]
    max_drop: float
    entries: tuple[Entry, ...]
    best: int
    tried: tuple[Tried, ...]
    dropped: dict[str, str]
    prediction: Prediction | None
    seconds: float
    spent: dict[str, float]
    interrupted: bool
    where: str
    notes: tuple[str, ...] = ()

    @property
    def pipeline(self) -> str:
        """The cheapest one's, as ``mlcnn stack --steps`` replays it."""
        return self.entries[self.best].pipeline

    def save(self, path: "str | PathLike[str]") -> None:
        """Write the cheapest network to an ``.onnx`` file of standard operators.

        Raises:
            InputError: the file cannot be written.
        """
        graph.save(self.model, Path(path))

    def records(self) -> list[dict[str, Any]]:
        """A row for each entry."""
        return [entry.to_json() for entry in self.entries]

    def shown(self) -> Shown:
        """The short table."""
        keys = [key for key in self._keys if any(key in entry.costs for entry in self.entries)]
        first = self.entries[0]
        rows = tuple(
            (
                f"{entry.what}{' *' if place == self.best else ''}",
                entry.pipeline,
                entry.engine,
                *(_cost(entry, first, key) for key in keys),
                "" if entry.test is None else f"{100 * entry.test.top1:.2f}",
                "" if entry.test_change is None or not place else points(entry.test_change),
            )
            for place, entry in enumerate(self.entries)
        )
        columns = ("network", "pipeline", "engine", *map(label, keys), "accuracy, %",
                   "to the original")  # fmt: skip
        within = f"at most {self.max_drop:g} points of accuracy lost"
        objective = " and ".join(map(label, self.objectives))
        return Shown(f"{self.name}: {objective}, {within}", columns, rows, self.told)

    @property
    def _keys(self) -> list[str]:
        return list(dict.fromkeys([*self.objectives, "latency_ms", "bytes", "peak_bytes",
                                   "energy_pj", "area_um2"]))  # fmt: skip

    @property
    def told(self) -> tuple[str, ...]:
        """What stands below the table."""
        best, first = self.entries[self.best], self.entries[0]
        gains = ", ".join(
            f"{label(key)} {first.costs[key] / best.costs[key]:.2f} times less"
            for key in self.objectives
        )
        lines = [f"* the cheapest: {best.pipeline or 'the network as it is'}"]
        lines += [gains] if best is not first else []
        lines += [] if self.prediction is None else [self.prediction.told]
        lines += [f"left out: {name}: {why}" for name, why in self.dropped.items()]
        return (*lines, f"measured on {self.where}; {self.seconds:,.0f} s", *self.notes)

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn cheapest --json`` prints, apart from the output's path."""
        return {
            "name": self.name,
            "objectives": list(self.objectives),
            "max_drop": self.max_drop,
            "points": self.records(),
            "best": self.best,
            "pipeline": self.pipeline,
            "seconds": self.seconds,
            "spent": self.spent,
            "tried": [row.to_json() for row in self.tried],
            "dropped": self.dropped,
            "prediction": None if self.prediction is None else asdict(self.prediction),
            "interrupted": self.interrupted,
            "where": self.where,
            "notes": list(self.notes),
        }


def _cost(entry: Entry, first: Entry, key: str) -> str:
    if key not in entry.costs:
        return ""
    told = amount(key, entry.costs[key])
    return told if entry is first else f"{told} ({first.costs[key] / entry.costs[key]:.2f}x)"
