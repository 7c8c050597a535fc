"""Accuracy against cost: every network that was tried, by method, the front as a line."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from mlcnn.frontier import Frontier, Point, label
from mlcnn.report.charts.chart import Chart, LegendItem, finish
from mlcnn.report.wording import plural, printable

__all__ = ["frontier_charts"]

_HEIGHT = 240
_SERIES = 8  # colours of the page's style sheet


def frontier_charts(frontier: Frontier) -> tuple[Chart, ...]:
    """A chart for each cost that is known of every network and differs between them."""
    methods = list(dict.fromkeys(point.method for point in frontier.points))
    common = [q for q in frontier.original.costs if all(q in point.costs for point in frontier)]
    return tuple(
        _chart(frontier, quantity, number, methods)
        for number, quantity in enumerate(common, 1)
        if len({point.costs[quantity].mean for point in frontier}) > 1
    )


def _style(index: int) -> str:
    return f"series-{index % _SERIES + 1}"


def _row(point: Point, frontier: Frontier, quantity: str, *, on_front: bool) -> dict[str, Any]:
    accuracy, change = (
        (point.accuracy, point.change) if point.test is None else (point.test, point.test_change)
    )
    low, high = accuracy.interval
    share = point.costs[quantity].mean / frontier.original.costs[quantity].mean
    return {
        "network": printable(point.told),
        "method": printable(point.method),
        "cost": 100 * share,
        "top1": 100 * accuracy.top1,
        "low": 100 * low,
        "high": 100 * high,
        "front": on_front,
        "tip": f"{100 * accuracy.top1:.2f} % ({100 * low:.2f} to {100 * high:.2f})",
        "change": "" if change is None else f"{100 * change.top1:+.2f} points",
    }


def _chart(frontier: Frontier, quantity: str, number: int, methods: Sequence[str]) -> Chart:
    front = frontier.front(quantity)
    rows = [_row(p, frontier, quantity, on_front=p in front) for p in frontier]
    judged = frontier.original.test or frontier.original.accuracy
    description = (
        f"Accuracy against {label(quantity)} of {plural(len(rows), 'network')}, the original among "
        f"them; {len(front)} of them are beaten by no other."
    )
    legend = [LegendItem("same", "original")]
    legend += [LegendItem(_style(i), printable(name)) for i, name in enumerate(methods)]
    names = [printable(name) for name in (frontier.original.method, *methods)]
    colours = ["var(--same)", *(f"var(--{_style(i)})" for i in range(len(methods)))]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=alt.X(
            "cost:Q", title=f"{label(quantity)}, % of the original", scale=alt.Scale(zero=True)
        ),
        color=alt.Color("method:N", legend=None, scale=alt.Scale(domain=names, range=colours)),
    )
    level = alt.Y(
        "top1:Q",
        title=f"accuracy, % of {judged.images:,} {'test' if frontier.original.test else ''} images",
        scale=alt.Scale(zero=False),
    )
    tips = [
        alt.Tooltip("network:N"), alt.Tooltip("tip:N", title="accuracy"),
        alt.Tooltip("change:N", title="to the original"),
        alt.Tooltip("cost:Q", title="cost, %", format=".1f"),
    ]  # fmt: skip
    line = (
        base.transform_filter("datum.front")
        .mark_line(strokeWidth=1, opacity=0.5)
        .encode(y=level, color=alt.value("var(--line-2)"), order="cost:Q")
    )
    spread = base.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q")
    points = base.mark_point(filled=True, size=70, opacity=1).encode(y=level, tooltip=tips)
    return Chart(
        id=f"chart-frontier-{number}",
        title=f"Accuracy against {label(quantity)}",
        description=description,
        legend=tuple(legend),
        specification=finish([line, spread, points], description=description, rows=1, step=_HEIGHT),
    )
