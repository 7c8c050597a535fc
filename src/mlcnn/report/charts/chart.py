"""What a chart is, and how all charts look.

Colours are CSS variables of the page's style sheet: one drawing serves light, dark and paper.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from mlcnn.report.wording import printable

__all__ = ["Chart", "LegendItem", "finish", "labels"]

_LABEL_CHARACTERS = 34
_CONFIG: dict[str, Any] = {
    "background": "transparent",
    # Named, not inherited: labels are measured before they are drawn.
    "font": "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif",
    # Room for the figures behind the longest bars.
    "padding": {"left": 0, "top": 5, "right": 56, "bottom": 5},
    "view": {"stroke": None},
    "axis": {
        "labelColor": "var(--ink-2)",
        "titleColor": "var(--ink-2)",
        "gridColor": "var(--line)",
        "domainColor": "var(--line-2)",
        "tickColor": "var(--line-2)",
        "titleFontWeight": "normal",
        "labelFontSize": 11,
        "titleFontSize": 11,
    },
    "axisY": {"domain": False, "ticks": False, "labelLimit": 260, "labelPadding": 6},
    "text": {"fill": "var(--ink)", "fontSize": 11},
}


@dataclass(frozen=True, slots=True)
class LegendItem:
    """One entry of a legend: a style class of the page and its meaning."""

    style: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Chart:
    """A chart of the page.

    Attributes:
        id: its identifier in the page.
        title: heading above it.
        description: what it shows, for those who cannot see it.
        legend: what the colours mean.
        specification: Vega-Lite, without address of a schema.
    """

    id: str
    title: str
    description: str
    legend: tuple[LegendItem, ...]
    specification: Mapping[str, Any]


def _shortened(name: str) -> str:
    """The end of a long name, whole components if possible: neighbours differ there."""
    if len(name) <= _LABEL_CHARACTERS:
        return name
    end = name[1 - _LABEL_CHARACTERS :]
    first = min((end.find(sign) for sign in "./" if sign in end), default=-1)
    return "…" + (end[first + 1 :] if first < len(end) // 2 else end)


def labels(names: Sequence[str]) -> list[str]:
    """Axis labels: short, printable, and each one different, so that no two bars share a row.

    >>> labels(["conv", "conv", "features.denseblock3.denselayer24.norm1"])
    ['conv', 'conv (2)', '…denseblock3.denselayer24.norm1']
    """
    seen: dict[str, int] = {}
    result: list[str] = []
    taken = set[str]()
    for name in names:
        label = unique = _shortened(printable(name))
        while unique in taken:
            seen[label] = seen.get(label, 1) + 1
            unique = f"{label} ({seen[label]})"
        taken.add(unique)
        result.append(unique)
    return result


def finish(
    layers: Iterable[alt.Chart], *, description: str, rows: float, step: float
) -> dict[str, Any]:
    """Lay charts over each other and give them the page's width and look.

    Args:
        layers: the charts, lowest first; they share their axes.
        description: what the whole shows, for those who cannot see it.
        rows: number of rows along the vertical axis.
        step: height of a row in pixels.
    """
    layered = alt.layer(*layers).properties(
        description=description,
        width="container",
        height=rows * step,
        autosize=alt.AutoSizeParams(type="fit-x"),
    )
    specification = layered.to_dict()
    # The page is drawn offline, and whatever theme the user's session has must not change it.
    specification.pop("$schema", None)
    specification["config"] = _CONFIG
    return specification
