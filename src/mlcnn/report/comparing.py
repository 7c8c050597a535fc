"""Two searches side by side, as a page."""

from collections.abc import Sequence

from mlcnn.report.page import page
from mlcnn.report.sections.rows import CODE, NUMBER, WORDS, Content, rows
from mlcnn.report.sections.section import Section
from mlcnn.report.wording import printable
from mlcnn.table import Shown

__all__ = ["comparison_page"]

_WORDS = {"option", "network", "what", "why"}


def comparison_page(name: str, lead: str, tables: Sequence[Shown], notes: Sequence[str]) -> str:
    """The HTML text, complete in itself.

    Args:
        name: what stands in its head.
        lead: the result in a sentence.
        tables: a section each.
        notes: what the reader must know.
    """
    sections = [
        Section(
            "summary" if place == 0 else f"part-{place}", table.title, "rows.html",
            Content(
                printable(lead) if place == 0 else "",
                tuple(map(printable, notes)) if place == 0 else (),
                (rows("", [(c, _kind(c, table, i)) for i, c in enumerate(table.columns)],
                      table.rows),),
                tuple(map(printable, table.notes)),
            ),
        )
        for place, table in enumerate(tables)
    ]  # fmt: skip
    return page(name, "", sections)


def _kind(heading: str, table: Shown, place: int) -> str:
    """What a column holds: figures, code that folds, or words."""
    if heading.startswith("pipeline"):
        return CODE
    cells = [row[place] for row in table.rows if row[place]]
    figures = all(cell.lstrip("+-")[:1].isdigit() for cell in cells)
    return NUMBER if figures and place and heading not in _WORDS else WORDS
