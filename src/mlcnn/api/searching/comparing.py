"""Two searches side by side: what was asked, what each came to, what one alone tried."""

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from os import PathLike
from pathlib import Path
from typing import Any

from mlcnn.errors import InputError
from mlcnn.frontier.costs import label
from mlcnn.frontier.outcome import Entry, Outcome, Tried
from mlcnn.report import Page, comparison_page
from mlcnn.table import Shown, Tabular, flat
from mlcnn.training.intervals import points

__all__ = ["ComparedRuns", "compare_runs"]

_RESULT = "result.json"
_REQUIRED = "a folder that -o of `mlcnn cheapest` named is required"


@dataclass(frozen=True, slots=True, repr=False)
class ComparedRuns(Tabular):
    """Two searches for the cheapest way to run a network.

    Attributes:
        names: of their folders.
        runs: what each came to.
    """

    names: tuple[str, str]
    runs: tuple[Outcome, Outcome]

    @property
    def options(self) -> list[tuple[str, str, str]]:
        """What was asked for and differs: option, and its value in each."""
        first, second = (flat(run.options) for run in self.runs)
        return [
            (name, _told(first.get(name)), _told(second.get(name)))
            for name in dict.fromkeys([*first, *second])
            if first.get(name) != second.get(name)
        ]

    @property
    def keys(self) -> list[str]:
        """Costs that both know of their originals, those that were made small first."""
        wanted = [key for run in self.runs for key in run.objectives]
        known = [set(run.entries[0].costs) for run in self.runs]
        both = dict.fromkeys([*wanted, *self.runs[0].entries[0].costs])
        return [key for key in both if key in known[0] & known[1]]

    @property
    def joined(self) -> list[tuple[str, Entry | None, Entry | None]]:
        """The entries by name; the cheapest of each, whatever they are called, first."""
        both = [{entry.what: entry for entry in run.entries} for run in self.runs]
        best = [run.entries[run.best] for run in self.runs]
        names = dict.fromkeys([*both[0], *both[1]])
        rows = [(name, both[0].get(name), both[1].get(name)) for name in names]
        return [("the cheapest", best[0], best[1]), *rows]

    @property
    def alone(self) -> tuple[list[Tried], list[Tried]]:
        """What one of them tried and the other did not: by steps, as it was trained longest."""
        tried = [_longest(run.tried) for run in self.runs]
        return (
            [one for key, one in tried[0].items() if key not in tried[1]],
            [one for key, one in tried[1].items() if key not in tried[0]],
        )

    @property
    def told(self) -> str:
        """The result in a sentence."""
        parts = [
            f"{name}: {run.entries[run.best].pipeline or 'the network as it is'}"
            f"{f' ({run.gains})' if run.gains else ''}"
            for name, run in zip(self.names, self.runs, strict=True)
        ]
        return "; ".join(parts)

    @property
    def warnings(self) -> tuple[str, ...]:
        """Why figures may not compare."""
        first, second = self.runs
        found: list[str] = []
        if first.name != second.name:
            found.append(f"two networks: {first.name} and {second.name}")
        if first.where != second.where:
            found.append(f"two processors: {first.where} and {second.where}; latencies are of each")
        elif any("latency_ms" in run.objectives for run in self.runs):
            found.append("latencies were measured at two times; compare each with its original's")
        for name, run in zip(self.names, self.runs, strict=True):
            if run.interrupted:
                found.append(f"{name} was interrupted: it has no accuracy on test images")
        return tuple(found)

    def records(self) -> list[dict[str, Any]]:
        """A row for each name of an entry: both sides' figures, and their differences."""
        return [
            {
                "what": what,
                "first": None if first is None else first.to_json(),
                "second": None if second is None else second.to_json(),
                "difference": _difference(first, second, self.keys),
            }
            for what, first, second in self.joined
        ]

    def shown(self) -> Shown:
        """The entries; what is needed beside them is in ``tables``."""
        columns = ("network", "what", *self.names, "change")
        rows: list[tuple[str, ...]] = []
        for what, first, second in self.joined:
            lines = [line for line in self._lines(first, second) if line[1] or line[2]]
            rows += [(what if not i else "", *line) for i, line in enumerate(lines)]
        notes = (self.told, *self.warnings)
        return Shown(f"{self.names[0]} and {self.names[1]}", columns, tuple(rows), notes)

    def _lines(
        self, first: Entry | None, second: Entry | None
    ) -> Iterable[tuple[str, str, str, str]]:
        """What one name came to in both: a line a cost, and accuracy."""
        both = (first, second)
        for key in self.keys:
            values = [math.nan if e is None else e.costs.get(key, math.nan) for e in both]
            cells = [
                "" if entry is None else run.cost(entry, key)
                for run, entry in zip(self.runs, both, strict=True)
            ]
            change = "" if not values[0] else _percent(values[1] / values[0] - 1)
            yield label(key), cells[0], cells[1], change
        tops = [None if e is None or e.test is None else 100 * e.test.top1 for e in both]
        cells = ["" if top is None else f"{top:.2f} %" for top in tops]
        apart = "" if tops[0] is None or tops[1] is None else f"{tops[1] - tops[0]:+.2f} points"
        yield "top-1 on test images", cells[0], cells[1], apart
        changes = [
            "" if e is None or e.test_change is None or not e.pipeline else points(e.test_change)
            for e in both
        ]
        yield "to its original", changes[0], changes[1], ""

    @property
    def tables(self) -> tuple[Shown, ...]:
        """Everything: entries, options that differ, pipelines, what one alone tried."""
        found = [self.shown()]
        if self.options:
            found.append(
                Shown("What was asked otherwise", ("option", *self.names), tuple(self.options))
            )
        else:
            found.append(Shown("What was asked otherwise", ("option",), (("nothing",),)))
        pipelines = tuple(
            (what, one, other)
            for what, first, second in self.joined
            for one, other in [tuple("" if e is None else e.pipeline for e in (first, second))]
            if one or other
        )
        if pipelines:
            columns = ("network", *(f"pipeline, {name}" for name in self.names))
            found.append(Shown("Pipelines", columns, pipelines))
        for name, other, alone in zip(self.names, reversed(self.names), self.alone, strict=True):
            if alone:
                columns = ("pipeline", "images", "share of cost", "accuracy, points", "why not")
                rows = tuple(map(_tried, alone))
                found.append(Shown(f"Tried in {name}, not in {other}", columns, rows))
        return tuple(found)

    def text(self) -> str:
        """All tables as lines of text."""
        return "\n\n".join(table.text() for table in self.tables)

    def report(self) -> Page:
        """The same as a page."""
        first, *others = self.tables
        plain = Shown(first.title, first.columns, first.rows)
        title = f"{self.names[0]} and {self.names[1]}"
        return Page(comparison_page(title, self.told, [plain, *others], self.warnings))

    def to_json(self) -> dict[str, Any]:
        """What ``mlcnn compare --json`` prints."""
        return {
            "names": list(self.names),
            "options": [
                {"option": name, "first": one, "second": other} for name, one, other in self.options
            ],
            "points": self.records(),
            "tried_alone": {
                side: [one.to_json() for one in alone]
                for side, alone in zip(("first", "second"), self.alone, strict=True)
            },
            "warnings": list(self.warnings),
            "runs": [run.to_json() for run in self.runs],
        }


def compare_runs(first: "str | PathLike[str]", second: "str | PathLike[str]") -> ComparedRuns:
    """Set two searches of ``cheapest`` side by side.

    Args:
        first: the folder of one.
        second: that of another one.

    Raises:
        InputError: a folder is none of ``cheapest``.

    Example:
        ``mlcnn.api.compare_runs("runs/one", "runs/other").report().save("compare.html")``
    """
    paths = (Path(first), Path(second))
    return ComparedRuns(_names(*paths), (_read(paths[0]), _read(paths[1])))


def _names(first: Path, second: Path) -> tuple[str, str]:
    """The ends of both paths, as long as it takes to tell them apart."""
    sides = [path.resolve().parts for path in (first, second)]
    for count in range(1, max(map(len, sides)) + 1):
        short = ["/".join(parts[-count:]).replace("//", "/") for parts in sides]
        if short[0] != short[1]:
            return short[0], short[1]
    return f"{first} (1)", f"{second} (2)"


def _read(folder: Path) -> Outcome:
    path = folder / _RESULT
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder; {_REQUIRED}")
    if not path.is_file():
        raise InputError(f"{folder}: there is no {_RESULT} in it; {_REQUIRED}")
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read: {error}; {_REQUIRED}") from error
    try:
        return Outcome.from_json(document)
    except KeyError as error:
        raise InputError(f"{path}: has no {error}; {_REQUIRED}") from error
    except (AttributeError, TypeError, ValueError) as error:
        raise InputError(f"{path}: no result of `mlcnn cheapest`: {error}; {_REQUIRED}") from error


def _longest(tried: Iterable[Tried]) -> dict[str, Tried]:
    """The last of each: every later round trains longer."""
    return {one.pipeline: one for one in sorted(tried, key=lambda one: one.images)}


def _tried(one: Tried) -> tuple[str, ...]:
    change = "" if one.change is None else points(one.change).replace(" points", "")
    share = "" if one.share is None else f"{one.share:.3f}"
    return one.pipeline, f"{one.images:,}" if one.images else "", share, change, one.why


def _difference(
    first: Entry | None, second: Entry | None, keys: Iterable[str]
) -> dict[str, float] | None:
    """The second's costs as shares of the first's, and its accuracy less the first's."""
    if first is None or second is None:
        return None
    found = {
        key: second.costs[key] / first.costs[key]
        for key in keys
        if key in second.costs and first.costs.get(key)
    }
    if first.test is not None and second.test is not None:
        found["accuracy"] = second.test.top1 - first.test.top1
    return found


def _percent(change: float) -> str:
    return "" if math.isnan(change) else f"{100 * change:+.1f} %"


def _told(value: object) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(str, value))  # pyright: ignore[reportUnknownArgumentType]
    return "" if value is None else str(value)
