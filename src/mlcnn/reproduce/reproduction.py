"""A published table or figure beside what is computed here."""

import csv
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass

__all__ = ["Number", "Reproduction", "Row", "number", "published_rows"]

Number = int | float
_ROUNDING = 1e-9  # of the decimal numbers themselves, which no binary number equals


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
    """

    item: str
    published: Number
    computed: Number
    tolerance: Number
    source: str
    note: str = ""

    @property
    def ok(self) -> bool:
        """Whether both agree."""
        return abs(self.published - self.computed) <= self.tolerance + _ROUNDING

    def to_json(self) -> dict[str, object]:
        """The row of the document."""
        return {
            "item": self.item,
            "published": self.published,
            "computed": self.computed,
            "tolerance": self.tolerance,
            "ok": self.ok,
            "source": self.source,
            "note": self.note,
        }


@dataclass(frozen=True, slots=True)
class Reproduction:
    """All rows of one table or figure, or of several."""

    what: str
    rows: tuple[Row, ...]

    @property
    def ok(self) -> bool:
        """Whether every row agrees."""
        return all(row.ok for row in self.rows)

    def to_json(self) -> dict[str, object]:
        """The document that ``mlcnn reproduce --json`` prints."""
        return {"what": self.what, "rows": [row.to_json() for row in self.rows], "ok": self.ok}


def published_rows(what: str) -> list[Mapping[str, str]]:
    """The published numbers of a table or figure, from the package's own data.

    Args:
        what: name of a file in ``published/``, without its ending. Each has the columns
            ``item``, ``published``, ``tolerance``, ``source`` and those that say what to compute.
    """
    path = importlib.resources.files("mlcnn.reproduce") / "published" / f"{what}.csv"
    return list(csv.DictReader(path.read_text(encoding="utf-8").splitlines()))


def number(text: str) -> Number:
    """An integer where the text is one."""
    return float(text) if "." in text else int(text)
