"""Multiplications and additions per layer, before and after.

The scale is linear and starts at zero: the length of a bar is the work, and the eye may add
bars up. What is small on it is small in the network; figures stand at each rewritten layer.
"""

from dataclasses import dataclass
from typing import Any

import altair as alt

from mlcnn.counting import LayerCount
from mlcnn.report.charts.chart import Chart, LegendItem, finish, labels
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import amount, per, plural, removed

__all__ = ["operation_charts"]

_MANY_ROWS = 30


@dataclass(frozen=True, slots=True)
class _Count:
    """One layer's number of one operation."""

    original: int
    chosen: int
    paper: int | None


def _rows(layers: tuple[LayerCount, ...], counts: list[_Count]) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    names = labels([layer.name for layer in layers])
    for label, layer, count in zip(names, layers, counts, strict=True):
        row: dict[str, Any] = {
            "layer": label,
            "before": count.original,
            "state": "rewritten" if layer.changed else "unchanged",
            "tip_before": amount(count.original),
            "tip_after": amount(count.chosen),
        }
        if layer.changed:
            row["after"] = count.chosen
            row["end"] = max(count.original, count.chosen)
            row["change"] = removed(count.original, count.chosen).replace("-", "\N{MINUS SIGN}")
            row["paper"] = count.paper
        rows.append(row)
    return rows


def _axis(title: str, rows: int) -> alt.X:
    orient = "top" if rows > _MANY_ROWS else "bottom"
    axis = alt.Axis(
        title=title,
        format="~s",
        orient=orient,
        tickCount=5,
        # Without this, zero would carry a prefix as the other labels do.
        labelExpr="datum.value === 0 ? '0' : datum.label",
    )
    return alt.X("before:Q", axis=axis, scale=alt.Scale(zero=True, nice=True))


def _specification(rows: list[dict[str, Any]], *, title: str, description: str) -> dict[str, Any]:
    many = len(rows) > _MANY_ROWS
    y = alt.Y("layer:N", sort=None, title=None, axis=alt.Axis(labelFontSize=10 if many else 11))
    tooltip = [
        alt.Tooltip("layer:N", title="layer"),
        alt.Tooltip("tip_before:N", title="before"),
        alt.Tooltip("tip_after:N", title="after"),
    ]
    everything = alt.Chart(alt.InlineData(values=rows)).encode(y=y)
    rewritten = everything.transform_filter("datum.state === 'rewritten'")
    before = everything.mark_bar(height=alt.RelativeBandSize(0.78)).encode(
        x=_axis(title, len(rows)),
        color=alt.Color(
            "state:N",
            legend=None,
            scale=alt.Scale(
                domain=["unchanged", "rewritten"], range=["var(--same)", "var(--gone)"]
            ),
        ),
        tooltip=tooltip,
    )
    after = rewritten.mark_bar(height=alt.RelativeBandSize(0.78), color="var(--fused)").encode(
        x="after:Q", tooltip=tooltip
    )
    change = rewritten.mark_text(aria=False, align="left", dx=5, fontWeight=600).encode(
        x="end:Q", text="change:N"
    )
    layers = [before, after, change]
    if any(row.get("paper") is not None for row in rows):
        paper = rewritten.mark_tick(
            aria=False,
            color="var(--paper)",
            thickness=2,
            height=alt.RelativeBandSize(0.95),
            opacity=1,
        ).encode(x="paper:Q")
        layers.append(paper)
    return finish(layers, description=description, rows=len(rows), step=13 if many else 22)


def _chart(summary: RunSummary, noun: str, counts: list[_Count]) -> Chart:
    before, after = sum(c.original for c in counts), sum(c.chosen for c in counts)
    changed = sum(layer.changed for layer in summary.counts.layers)
    legend = [LegendItem("same", "layer left as it is")]
    if changed:
        legend += [
            LegendItem("fused", "rewritten layer: what remains"),
            LegendItem("gone", "what is gone"),
        ]
    if any(c.paper is not None for c in counts):
        legend.append(LegendItem("paper", "what remains as the paper counts"))
    description = (
        f"Bar chart of {noun} per layer for {plural(len(counts), 'layer')}, "
        f"{changed} of them rewritten: {amount(before)} in all before, {amount(after)} after."
    )
    return Chart(
        id=f"chart-{noun}",
        title=f"{noun.capitalize()} per layer",
        description=description,
        legend=tuple(legend),
        specification=_specification(
            _rows(summary.counts.layers, counts),
            title=f"{noun} {per(summary.images)}",
            description=description,
        ),
    )


def operation_charts(summary: RunSummary) -> tuple[Chart, ...]:
    """One chart of multiplications and one of additions; none for a network without layers."""
    layers = summary.counts.layers
    if not layers:
        return ()
    multiplications = [
        _Count(row.multiplications.original, row.chosen.multiplications, None) for row in layers
    ]
    additions = [
        _Count(
            row.additions.original, row.chosen.additions, row.additions.paper if row.fused else None
        )
        for row in layers
    ]
    return (
        _chart(summary, "multiplications", multiplications),
        _chart(summary, "additions", additions),
    )
