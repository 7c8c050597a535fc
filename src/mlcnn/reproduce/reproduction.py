"""A published table or figure beside what is computed here."""

import csv
import importlib.resources
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from mlcnn.table import Shown, Tabular

__all__ = [
    "Beside",
    "Cell",
    "Number",
    "Relation",
    "Reproduction",
    "Row",
    "Tell",
    "compared",
    "number",
    "published_rows",
]

Number = int | float
Cell = str | Number | None
Tell = Callable[[str, int, int], None]
"""Hears what is being worked on, the steps done and their number; 0 of 0 if unknown."""

_ROUNDING = 1e-9  # of the decimal numbers themselves, which no binary number equals


class Relation(StrEnum):
    """How a computed number is held against the published one."""

    EQUAL = "equal"
    """They differ by no more than the tolerance."""
    AT_LEAST = "at least"
    """The published number is a floor, which has to be reached."""


@dataclass(frozen=True, slots=True)
class Row:
    """One published number.

    Attributes:
        item: what it is.
        published: the paper's number.
        computed: ours, in the same unit.
        tolerance: largest difference: 0, or half of the last printed digit.
        source: where it is published.
        note: what the paper prints or counts differently, if anything.
        relation: how the numbers are compared.
        difference: why they are known to differ; empty where they should not.
    """

    item: str
    published: Number
    computed: Number
    tolerance: Number
    source: str
    note: str = ""
    relation: Relation = Relation.EQUAL
    difference: str = ""

    @property
    def ok(self) -> bool:
        """Whether the number is the published one, or reaches it."""
        allowed = self.tolerance + _ROUNDING
        if self.relation is Relation.AT_LEAST:
            return self.computed >= self.published - allowed
        return abs(self.published - self.computed) <= allowed

    @property
    def accepted(self) -> bool:
        """Whether it is ok, or differs for a documented reason."""
        return self.ok or bool(self.difference)

    def to_json(self) -> dict[str, object]:
        """The row of the document."""
        return {
            "item": self.item,
            "published": self.published,
            "computed": self.computed,
            "relation": self.relation.value,
            "tolerance": self.tolerance,
            "ok": self.ok,
            "difference": self.difference,
            "source": self.source,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Beside:
    """A table of ours that belongs beside the published numbers.

    Attributes:
        title: what it holds and under which conditions.
        columns: their headings, with units.
        rows: as many cells each as there are columns; None where there is nothing to say.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]

    def to_json(self) -> dict[str, object]:
        """One entry of ``beside``."""
        return {"title": self.title, "columns": self.columns, "rows": self.rows}


@dataclass(frozen=True, slots=True, repr=False)
class Reproduction(Tabular):
    """One table or figure, or several.

    Attributes:
        what: its name.
        rows: the published numbers beside ours.
        conditions: what the computed numbers hang on, where they do.
        beside: what belongs beside them.
    """

    what: str
    rows: tuple[Row, ...]
    conditions: str = ""
    beside: tuple[Beside, ...] = ()

    @property
    def ok(self) -> bool:
        """Whether no row differs but for a documented reason."""
        return all(row.accepted for row in self.rows)

    def named(self) -> "Reproduction":
        """The same, with its name in front of everything in it."""
        return replace(
            self,
            rows=tuple(replace(row, item=f"{self.what}: {row.item}") for row in self.rows),
            beside=tuple(replace(one, title=f"{self.what}: {one.title}") for one in self.beside),
        )

    def records(self) -> list[dict[str, Any]]:
        """A row for each published number."""
        return [row.to_json() for row in self.rows]

    def shown(self) -> Shown:
        """The published numbers beside ours."""
        rows = tuple(
            (
                row.item,
                f"{row.published:,}",
                f"{row.computed:,.6g}" if isinstance(row.computed, float) else f"{row.computed:,}",
                "ok" if row.ok else "known to differ" if row.accepted else "differs",
            )
            for row in self.rows
        )
        notes = (self.conditions,) if self.conditions else ()
        return Shown(self.what, ("item", "published", "computed", ""), rows, notes)

    def to_json(self) -> dict[str, object]:
        """The document that ``mlcnn reproduce --json`` prints."""
        return {
            "what": self.what,
            "conditions": self.conditions,
            "rows": [row.to_json() for row in self.rows],
            "beside": [one.to_json() for one in self.beside],
            "ok": self.ok,
        }


def published_rows(what: str) -> list[Mapping[str, str]]:
    """The published numbers of a table or figure, from the package's own data.

    Args:
        what: name of a file in ``published/``, without its ending. Each has the columns
            ``item``, ``published``, ``tolerance``, ``source`` and those that say what to compute,
            and may have ``relation`` and ``difference``.
    """
    path = importlib.resources.files("mlcnn.reproduce") / "published" / f"{what}.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def compared(published: Mapping[str, str], computed: Number, note: str = "") -> Row:
    """A line of a published file beside what is computed for it.

    Args:
        published: the line.
        computed: ours, in its unit.
        note: see ``Row``.
    """
    return Row(
        item=published["item"],
        published=number(published["published"]),
        computed=computed,
        tolerance=number(published["tolerance"]),
        source=published["source"],
        note=note,
        relation=Relation(published.get("relation") or Relation.EQUAL),
        difference=published.get("difference", ""),
    )


def number(text: str) -> Number:
    """An integer where the text is one."""
    return float(text) if "." in text else int(text)
