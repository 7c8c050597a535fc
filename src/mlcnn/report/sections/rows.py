"""A section of tables with words and code in them, which fold, beside numbers, which do not."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from mlcnn.report.wording import printable

__all__ = ["CODE", "NUMBER", "WORDS", "Content", "Rows", "rows"]

WORDS, NUMBER, CODE = "words", "number", "code"
"""What a column holds; also its class in the style sheet."""


@dataclass(frozen=True, slots=True)
class Rows:
    """A table.

    Attributes:
        title: what stands above it.
        columns: heading, and what it holds, of each.
        cells: as many in each row as there are columns.
        best: number of the row that stands out; None for none.
    """

    title: str
    columns: tuple[tuple[str, str], ...]
    cells: tuple[tuple[str, ...], ...]
    best: int | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows.

    Attributes:
        lead: the result in a sentence; may be empty.
        warnings: what the reader must know.
        tables: in order, behind the charts.
        notes: below them.
    """

    lead: str = ""
    warnings: tuple[str, ...] = ()
    tables: tuple[Rows, ...] = ()
    notes: tuple[str, ...] = ()


def rows(
    title: str,
    columns: Sequence[tuple[str, str]],
    cells: Iterable[Sequence[str]],
    best: int | None = None,
) -> Rows:
    """A table without what could steer a reader's program, and without columns that are empty."""
    clean = [[printable(cell) for cell in row] for row in cells]
    keep = [i for i in range(len(columns)) if not clean or any(row[i] for row in clean)]
    return Rows(
        printable(title),
        tuple(columns[i] for i in keep),
        tuple(tuple(row[i] for i in keep) for row in clean),
        best,
    )
