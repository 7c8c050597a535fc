"""What a search for the cheapest way to run a network came to, as it is kept in a file."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Self

from mlcnn.frontier.budget import Budget
from mlcnn.frontier.costs import amount, label
from mlcnn.frontier.reasons import grouped
from mlcnn.table import Shown
from mlcnn.training.intervals import Accuracy, Difference, points

__all__ = ["Entry", "Outcome", "Prediction", "Tried"]

_MOST_COSTS = 3
_HEADINGS = {
    "latency_ms": "latency",
    "energy_pj": "energy",
    "area_um2": "area",
    "bytes": "size",
    "peak_bytes": "memory",
}


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
        images: that each of its training steps saw; 0 where nothing was trained.
    """

    what: str
    pipeline: str
    engine: str
    costs: dict[str, float]
    chosen: Difference | None
    judged: Difference | None
    test: Accuracy | None
    test_change: Difference | None
    images: int = 0

    def to_json(self) -> dict[str, Any]:
        """One entry of ``points``."""
        test = self.test
        return {
            "what": self.what,
            "pipeline": self.pipeline,
            "engine": self.engine,
            "images": self.images,
            "accuracy": None if test is None else test.top1,
            "interval": None if test is None else list(test.interval),
            "test_set": None if test is None else test.dataset,
            "test_images": None if test is None else test.images,
            "change": None if self.test_change is None else asdict(self.test_change),
            "chosen": None if self.chosen is None else asdict(self.chosen),
            "judged": None if self.judged is None else asdict(self.judged),
            **self.costs,
        }

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Of one entry of ``points``."""
        what, test = row["what"], None
        if row["accuracy"] is not None:
            test = Accuracy(what, row["test_set"], row["test_images"], row["accuracy"])
        costs = {key: float(row[key]) for key in _HEADINGS if row.get(key) is not None}
        return cls(
            what, row["pipeline"], row["engine"], costs, _change(row["chosen"]),
            _change(row["judged"]), test, _change(row["change"]), row["images"],
        )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Tried:
    """A stack that was tried.

    Attributes:
        pipeline: the steps; the name of another tool's network.
        images: that each training step saw.
        share: of the original's cost; None where it failed.
        change: accuracy less the original's on the images that choose; None likewise, and where it
            was not trained enough to tell.
        seconds: that it took.
        why: it failed, or is not gone on with; empty for neither.
        costs: of one image, by quantity, measured beside the original; empty where it failed.
        predicted: share of the original's cost and points lost, as foretold; None where nothing
            was.
        peer: whether it is another tool's.
    """

    pipeline: str
    images: int
    share: float | None
    change: Difference | None
    seconds: float
    why: str
    costs: dict[str, float] = field(default_factory=dict[str, float])
    predicted: tuple[float, float] | None = None
    peer: bool = False

    def to_json(self) -> dict[str, Any]:
        """One entry of ``tried``."""
        return asdict(self)

    @classmethod
    def from_json(cls, row: Mapping[str, Any]) -> Self:
        """Of one entry of ``tried``."""
        told = row["predicted"]
        return cls(
            row["pipeline"], row["images"], row["share"], _change(row["change"]), row["seconds"],
            row["why"], dict(row["costs"]), None if told is None else (told[0], told[1]),
            row["peer"],
        )  # fmt: skip


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


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a search came to, without the networks.

    Attributes:
        name: of the network.
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
        options: what was asked for.
        replay: the command that makes the cheapest network again; empty where there is none.
        versions: of what took part.
    """

    name: str
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
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    replay: str = ""
    versions: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def keys(self) -> list[str]:
        """Costs of the short table: what was made small, size and memory; three at most."""
        wanted = dict.fromkeys([*self.objectives, "bytes", "peak_bytes"])
        known = [key for key in wanted if any(key in entry.costs for entry in self.entries)]
        return known[: max(_MOST_COSTS, len(self.objectives))]

    def allows(self, tried: Tried) -> bool:
        """Whether a stack stays within the budget, as far as the images that choose say."""
        return tried.change is not None and Budget(self.max_drop).allows(tried.change)

    def shown(self) -> Shown:
        """The short table; pipelines below it, because they are long."""
        judged = self._judged
        rows = tuple(
            (
                f"{entry.what}{' *' if place == self.best else ''}",
                entry.engine,
                *(self.cost(entry, key) for key in self.keys),
                *(cells[place] for _, cells in judged),
            )
            for place, entry in enumerate(self.plain)
        )
        costs = (_HEADINGS.get(key, label(key)) for key in self.keys)
        columns = ("network", "engine", *costs, *(heading for heading, _ in judged))
        engines = any(entry.engine for entry in self.entries)
        if not engines:
            columns, rows = (_without(1, columns), tuple(_without(1, row) for row in rows))
        within = f"at most {self.max_drop:g} points of accuracy lost"
        objective = " and ".join(map(label, self.objectives))
        return Shown(f"{self.name}: {objective}, {within}", columns, rows, self.told)

    @property
    def _judged(self) -> list[tuple[str, list[str]]]:
        """Columns of accuracy: on test images; if they were not looked at, where it was chosen."""
        tests = ["" if e.test is None else f"{100 * e.test.top1:.2f}" for e in self.entries]
        changes = ["", *(_points(e.test_change) for e in self.entries[1:])]
        chosen = ["", *(_points(e.chosen) for e in self.entries[1:])]
        if any(tests):
            return [("top-1, %", tests), ("change, points", changes)]
        return [("change where chosen", chosen)] if any(chosen) else []

    @property
    def plain(self) -> tuple[Entry, ...]:
        """The entries without the engine in their names: it has a column."""
        return tuple(
            replace(entry, what=entry.what.removesuffix(f", in {entry.engine}"))
            for entry in self.entries
        )

    def cost(self, entry: Entry, key: str) -> str:
        """A cost in words; of what was made small, how many times less than the original's too."""
        value, before = entry.costs.get(key, math.nan), self.entries[0].costs.get(key, math.nan)
        if not math.isfinite(value):
            return ""
        told = amount(key, value)
        if entry.what == self.entries[0].what or key not in self.objectives or not value:
            return told
        return f"{told} ({before / value:.2f}x)"

    @property
    def gains(self) -> str:
        """What the cheapest one saves; empty where that is the original."""
        best, first = self.entries[self.best], self.entries[0]
        if best is first:
            return ""
        return ", ".join(
            f"{label(key)} {first.costs[key] / best.costs[key]:.2f} times less"
            for key in self.objectives
        )

    @property
    def told(self) -> tuple[str, ...]:
        """What stands below the table."""
        best = self.entries[self.best]
        lines = [f"* the cheapest: {best.pipeline or 'the network as it is'}"]
        lines += [self.gains] if self.gains else []
        lines += [
            f"{entry.what}: {entry.pipeline}"
            for entry in self.entries
            if entry.pipeline and entry is not best
        ]
        lines += [] if self.prediction is None else [self.prediction.told]
        lines += [f"left out: {names}: {why}" for names, why in grouped(self.dropped)]
        return (*lines, f"measured on {self.where}; {self.seconds:,.0f} s", *self.notes)

    def to_json(self) -> dict[str, Any]:
        """The whole, as ``result.json`` has it."""
        return {
            "name": self.name,
            "objectives": list(self.objectives),
            "max_drop": self.max_drop,
            "points": [entry.to_json() for entry in self.entries],
            "best": self.best,
            "pipeline": self.entries[self.best].pipeline,
            "seconds": self.seconds,
            "spent": self.spent,
            "tried": [row.to_json() for row in self.tried],
            "dropped": self.dropped,
            "prediction": None if self.prediction is None else asdict(self.prediction),
            "interrupted": self.interrupted,
            "where": self.where,
            "notes": list(self.notes),
            "options": self.options,
            "replay": self.replay,
            "versions": self.versions,
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Self:
        """Of such a document.

        Raises:
            KeyError: something is missing.
            TypeError: something is of another kind.
            ValueError: something is out of range.
        """
        told = document["prediction"]
        entries = tuple(map(Entry.from_json, document["points"]))
        if not 0 <= document["best"] < len(entries):
            raise ValueError(f"best {document['best']}: there are {len(entries)} points")
        return cls(
            document["name"], tuple(document["objectives"]), document["max_drop"], entries,
            document["best"], tuple(map(Tried.from_json, document["tried"])),
            dict(document["dropped"]), None if told is None else Prediction(**told),
            document["seconds"], dict(document["spent"]), document["interrupted"],
            document["where"], tuple(document["notes"]), dict(document["options"]),
            document["replay"], dict(document["versions"]),
        )  # fmt: skip


def _points(change: Difference | None) -> str:
    return "" if change is None else points(change).replace(" points", "")


def _without(place: int, cells: tuple[str, ...]) -> tuple[str, ...]:
    return cells[:place] + cells[place + 1 :]


def _change(row: Mapping[str, Any] | None) -> Difference | None:
    if row is None:
        return None
    low, high = row["interval"]
    return Difference(row["top1"], (low, high))
