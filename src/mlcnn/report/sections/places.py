"""The network around each place where a rewrite, or another network, differs."""

from collections.abc import Sequence
from dataclasses import dataclass

from mlcnn.report.charts import Chart, LegendItem
from mlcnn.report.drawing import LEGEND, Box, Neighbourhood, drawings, width_of
from mlcnn.report.sections.section import Section
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import plural, printable

__all__ = ["places", "places_section"]

_MOST_DRAWN, _MOST_NAMES = 12, 4
_HALF_PAGE = 630  # pixels that can still be read when they are fitted into half of the page


@dataclass(frozen=True, slots=True)
class Place:
    """One place, in words and as two drawings.

    Attributes:
        title: the layers there.
        told: (heading, what it holds) of what went, came and changed.
        alike: the other places that look the same, or empty.
        left_out: what is too much to be drawn, or empty.
        charts: before and after.
        wide: whether the two need the whole width of the page each.
    """

    title: str
    told: tuple[tuple[str, str], ...]
    alike: str
    left_out: str
    charts: tuple[Chart, Chart]
    wide: bool


@dataclass(frozen=True, slots=True)
class Content:
    """What the section shows.

    Attributes:
        places: each once for all that look the same.
        more: what else there is and is not drawn, or empty.
        legend: what strokes and signs mean.
    """

    places: tuple[Place, ...]
    more: str
    legend: tuple[LegendItem, ...] = LEGEND


def _listed(names: Sequence[str], most: int = _MOST_NAMES) -> str:
    shown = ", ".join(map(printable, names[:most]))
    return f"{shown} and {len(names) - most} more" if len(names) > most else shown


def _boxes(boxes: Sequence[Box]) -> str:
    return _listed([box.told.replace(" x ", "×") for box in boxes], 12)


def _place(found: Neighbourhood, number: int) -> Place:
    told = (("Went", found.went), ("Came", found.came), ("Changed", found.changed))
    alike = ""
    if found.alike:
        count = plural(len(found.alike), "other place")
        names = _listed([_listed(names, 2) for names in found.alike], 12)
        alike = f"{count} of the same look, names and sizes apart: {names}"
    sides = (("before", found.before.left_out), ("after", found.after.left_out))
    left_out = ", ".join(f"{plural(count, 'node')} {side}" for side, count in sides if count)
    charts = drawings(found, f"place-{number}")
    return Place(
        found.title or _listed(found.names),
        tuple((name, _boxes(boxes)) for name, boxes in told if boxes),
        alike,
        f"Not drawn, because it is too much to be read: {left_out}" if left_out else "",
        charts,
        max(map(width_of, charts)) > _HALF_PAGE,
    )


def places_section(found: Sequence[Neighbourhood], title: str) -> Section | None:
    """The section; None where there is nothing to draw.

    Args:
        found: the places.
        title: of the section.
    """
    if not found:
        return None
    drawn = tuple(_place(one, number) for number, one in enumerate(found[:_MOST_DRAWN], 1))
    rest = found[_MOST_DRAWN:]
    more = f"Not drawn: {_listed([_listed(one.names, 2) for one in rest], 24)}." if rest else ""
    charts = tuple(chart for one in drawn for chart in one.charts)
    return Section("places", title, "places.html", Content(drawn, more), charts)


def places(summary: RunSummary) -> Section | None:
    """The section of a run."""
    return places_section(summary.places, "Before and after, drawn")
