"""The page of a network that was made smaller: what it costs, and the curve it was chosen from."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mlcnn.frontier import Frontier
from mlcnn.report.charts.frontier import frontier_charts
from mlcnn.report.page import page, write_page
from mlcnn.report.sections.provenance import Content as Provenance
from mlcnn.report.sections.section import Section
from mlcnn.report.wording import printable
from mlcnn.table import Shown

__all__ = ["write_compression"]


@dataclass(frozen=True, slots=True)
class Content:
    """What a section shows: a table, and lines below it."""

    table: Shown


def write_compression(
    path: Path,
    name: str,
    frontier: Frontier,
    layers: Shown,
    *,
    heading: str = "The smaller network, layer by layer",
    latency: Shown | None = None,
    recommended: Shown | None = None,
    facts: Sequence[tuple[str, str]] = (),
    command: str = "",
    created: str = "",
) -> None:
    """Write the page: whole or not at all.

    Args:
        path: the HTML file.
        name: of the network.
        frontier: the networks that were tried.
        layers: of the chosen one.
        heading: of that table.
        latency: measured; None where nothing was.
        recommended: for each layer, of several methods; None where there is one.
        facts: how it was made, as (name, value).
        command: that repeats it.
        created: date and time.

    Raises:
        InputError: ``path`` cannot be written.
    """
    charts = frontier_charts(frontier)
    sections = [
        Section("summary", "Accuracy against cost", "table.html", _shown(frontier.shown()), charts),
        Section("layers", heading, "table.html", _shown(layers)),
    ]
    if recommended is not None:
        sections.append(
            Section("recommended", recommended.title, "table.html", _shown(recommended))
        )
    if latency is not None:
        sections.append(Section("latency", "Latency", "table.html", _shown(latency)))
    known = tuple((key, printable(value)) for key, value in facts)
    sections.append(
        Section("provenance", "How to repeat this", "provenance.html",
                Provenance(printable(command), known, ()))
    )  # fmt: skip
    write_page(page(name, created, sections), path)


def _shown(table: Shown) -> Content:
    """The table without what could steer a reader's program."""
    clean = tuple(tuple(map(printable, row)) for row in table.rows)
    return Content(
        Shown(printable(table.title), table.columns, clean, tuple(map(printable, table.notes)))
    )
