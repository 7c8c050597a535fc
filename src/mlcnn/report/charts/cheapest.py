"""A search as pictures: what it found, what it foretold, and where its time went."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import altair as alt

from mlcnn.frontier.costs import label
from mlcnn.frontier.outcome import Outcome, Tried
from mlcnn.report.charts.chart import Chart, LegendItem, finish
from mlcnn.report.charts.chart import labels as short
from mlcnn.report.summary import ORIGINAL
from mlcnn.report.wording import percent, plural, printable

__all__ = ["front_charts", "prediction_charts", "spent_chart", "unbeaten"]

_HEIGHT = 280
_ROW = 22
_BELOW = 4.0
_LEAST_SHOWN = 2.0
_KINDS = {
    ORIGINAL: "same",
    "one step": "series-2",
    "several steps": "series-1",
    "another tool": "series-5",
}
"""What a point is: its colour."""
_SHAPES = ["square", "circle", "circle", "diamond"]


@dataclass(frozen=True, slots=True)
class _Spot:
    """A network in the picture: its number in the table of what was tried, and what it takes."""

    number: int
    tried: Tried
    costs: tuple[float, ...]

    @property
    def lost(self) -> float:
        """Percentage points."""
        return 0.0 if self.tried.change is None else -100 * self.tried.change.top1

    @property
    def kind(self) -> str:
        """Of ``_KINDS``."""
        if self.tried.peer:
            return "another tool"
        if self.tried.pipeline == ORIGINAL:
            return ORIGINAL
        inside, depth = 0, 0
        for sign in self.tried.pipeline:
            depth += (sign == "{") - (sign == "}")
            inside += sign == "," and not depth
        return "several steps" if inside else "one step"


def unbeaten(values: Sequence[tuple[float, ...]]) -> list[bool]:
    """Of which points no other one is as good in everything and better in something.

    Args:
        values: of each, the smaller the better.
    """
    return [
        not any(all(o <= v for o, v in zip(other, one, strict=True)) and other != one
                for other in values)
        for one in values
    ]  # fmt: skip


def _spots(outcome: Outcome) -> list[_Spot]:
    """What was tried and judged; costs are shares of the original's, in per cent."""
    judged = [(n, t) for n, t in enumerate(outcome.tried, 1) if t.change is not None]
    known = next((t.costs for _, t in judged if t.pipeline == ORIGINAL), outcome.entries[0].costs)
    return [
        _Spot(n, t, tuple(100 * t.costs[key] / known[key] for key in outcome.objectives))
        for n, t in judged
        if all(known.get(key) and key in t.costs for key in outcome.objectives)
    ]


def front_charts(outcome: Outcome) -> tuple[Chart, ...]:
    """Accuracy against each cost that was made small; of two, also one against the other."""
    spots = _spots(outcome)
    if len(spots) < 2:
        return ()
    charts = [_accuracy(outcome, spots, place) for place in range(len(outcome.objectives))]
    within = [spot for spot in spots if outcome.allows(spot.tried)]
    if len(outcome.objectives) > 1 and len(within) > 1:
        charts.insert(0, _costs(outcome, within))
    return tuple(charts)


def _row(spot: _Spot, *, front: bool, **values: float) -> dict[str, Any]:
    change = spot.tried.change
    low, high = (0.0, 0.0) if change is None else change.interval
    images = f", {spot.tried.images:,} images" if spot.tried.images else ""
    return {
        "number": str(spot.number),
        "network": f"{printable(spot.tried.pipeline)}{images}",
        "kind": spot.kind,
        "front": front,
        "change": f"{-spot.lost:+.2f} points ({100 * low:+.2f} to {100 * high:+.2f})",
        **values,
    }


def _drawn(
    rows: Sequence[dict[str, Any]], x: alt.X, y: alt.Y, tips: Sequence[alt.Tooltip]
) -> list[alt.Chart]:
    """Points, those that no other beats with a ring, a number and a line."""
    colours = [f"var(--{style})" for style in _KINDS.values()]
    base = alt.Chart(alt.InlineData(values=list(rows))).encode(
        x=x, y=y,
        color=alt.Color("kind:N", legend=None, scale=alt.Scale(domain=[*_KINDS], range=colours)),
    )  # fmt: skip
    shape = alt.Shape("kind:N", legend=None, scale=alt.Scale(domain=[*_KINDS], range=_SHAPES))
    told = [alt.Tooltip("number:N", title="no."), alt.Tooltip("network:N"), *tips]
    points = base.mark_point(filled=True, size=60, opacity=0.9).encode(tooltip=told, shape=shape)
    front = base.transform_filter("datum.front")
    line = front.mark_line(strokeWidth=1, opacity=0.6).encode(
        color=alt.value("var(--line-2)"), order="along:Q"
    )
    rings = front.mark_point(filled=False, size=190, strokeWidth=1.5, opacity=1).encode(
        tooltip=told
    )
    names = front.mark_text(align="left", dx=10, dy=-8, fontWeight=600, aria=False).encode(
        text="number:N", color=alt.value("var(--ink)")
    )
    return [line, points, rings, names]


def _axis(kind: Any, name: str, cost: str) -> Any:
    """From zero, as a share of what the original takes."""
    axis = alt.Axis(labelFlush=False, tickCount=6)
    return kind(f"{name}:Q", title=f"{cost}, % of the original", axis=axis,
                scale=alt.Scale(zero=True))  # fmt: skip


def _legend(spots: Sequence[_Spot]) -> list[LegendItem]:
    seen = {spot.kind for spot in spots}
    items = [LegendItem(style, kind) for kind, style in _KINDS.items() if kind in seen]
    return [*items, LegendItem("ring", "no other beats it; numbers are those of the table")]


def _accuracy(outcome: Outcome, spots: Sequence[_Spot], place: int) -> Chart:
    key, floor = outcome.objectives[place], max(_BELOW * outcome.max_drop, _LEAST_SHOWN)
    shown = [spot for spot in spots if spot.lost <= floor]
    first = unbeaten([(spot.costs[place], spot.lost) for spot in shown])
    data = [
        _row(s, front=one, cost=s.costs[place], change_points=-s.lost, along=s.costs[place])
        for s, one in zip(shown, first, strict=True)
    ]
    top = max(0.0, *(-spot.lost for spot in shown)) + 0.1 * floor
    x = _axis(alt.X, "cost", label(key))
    y = alt.Y(
        "change_points:Q", title="accuracy, points to the original",
        scale=alt.Scale(domain=[-floor, top], nice=False),
    )  # fmt: skip
    tips = [
        alt.Tooltip("cost:Q", title=f"{label(key)}, %", format=".1f"),
        alt.Tooltip("change:N", title="accuracy"),
    ]
    most = alt.Chart(alt.InlineData(values=[{"limit": -outcome.max_drop}]))
    limit = most.mark_rule(strokeDash=[5, 4], strokeWidth=1.5, color="var(--paper)").encode(
        y="limit:Q"
    )
    left = len(spots) - len(shown)
    beyond = f" {plural(left, 'network')} below {floor:g} points lost not drawn." if left else ""
    description = (
        f"Accuracy against {label(key)} of {plural(len(shown), 'network')} on the images that "
        f"choose; {sum(first)} of them are beaten by no other.{beyond}"
    )
    within = LegendItem("limit", f"at most {outcome.max_drop:g} points lost")
    hidden = f"; {left} that lose more than {floor:g} points: in the table" if left else ""
    return Chart(
        id=f"chart-front-{place + 1}",
        title=f"Accuracy against {label(key)}{hidden}",
        description=description,
        legend=(*_legend(shown), within),
        specification=finish(
            [limit, *_drawn(data, x, y, tips)], description=description, rows=1, step=_HEIGHT
        ),
    )


def _costs(outcome: Outcome, within: Sequence[_Spot]) -> Chart:
    first = unbeaten([spot.costs for spot in within])
    data = [
        _row(s, front=one, first=s.costs[0], second=s.costs[1], along=s.costs[0])
        for s, one in zip(within, first, strict=True)
    ]
    names = [label(key) for key in outcome.objectives]
    x, y = _axis(alt.X, "first", names[0]), _axis(alt.Y, "second", names[1])
    tips = [
        alt.Tooltip("first:Q", title=f"{names[0]}, %", format=".1f"),
        alt.Tooltip("second:Q", title=f"{names[1]}, %", format=".1f"),
        alt.Tooltip("change:N", title="accuracy"),
    ]
    title = f"{names[0].capitalize()} against {names[1]}, at most {outcome.max_drop:g} points lost"
    description = f"{title}: {plural(len(within), 'network')}, {sum(first)} beaten by no other."
    return Chart(
        id="chart-front",
        title=title,
        description=description,
        legend=tuple(_legend(within)),
        specification=finish(
            _drawn(data, x, y, tips), description=description, rows=1, step=_HEIGHT
        ),
    )


def prediction_charts(outcome: Outcome) -> tuple[Chart, ...]:
    """What was foretold against what was found, of costs and of accuracy; none without any."""
    told = outcome.prediction
    known = [
        (n, t, t.predicted, t.share, -100 * t.change.top1)
        for n, t in enumerate(outcome.tried, 1)
        if t.predicted is not None and t.share is not None and t.change is not None
    ]
    if not known or told is None:
        return ()
    sides = (
        ("cost", "Cost, % of the original", told.cost_rank,
         [(n, t, 100 * p[0], 100 * share) for n, t, p, share, _ in known]),
        ("accuracy", "Accuracy lost, points", told.drop_rank,
         [(n, t, p[1], lost) for n, t, p, _, lost in known]),
    )  # fmt: skip
    return tuple(_foretold(*side) for side in sides)


def _foretold(
    what: str, title: str, rank: float | None, known: Sequence[tuple[int, Tried, float, float]]
) -> Chart:
    data = [
        {"number": str(n), "network": printable(t.pipeline), "foretold": p, "found": f}
        for n, t, p, f in known
    ]
    ends = [value for _, _, *pair in known for value in pair]
    low, high = min(0.0, *ends), max(ends)
    scale = alt.Scale(domain=[low, high if high > low else low + 1.0], nice=True)
    base = alt.Chart(alt.InlineData(values=data)).encode(
        x=alt.X("foretold:Q", title="foretold", scale=scale),
        y=alt.Y("found:Q", title="found", scale=scale),
    )
    points = base.mark_point(filled=True, size=60, opacity=0.9, color="var(--series-1)").encode(
        tooltip=[
            alt.Tooltip("number:N", title="no."), alt.Tooltip("network:N"),
            alt.Tooltip("foretold:Q", format=".2f"), alt.Tooltip("found:Q", format=".2f"),
        ]
    )  # fmt: skip
    same = [{"foretold": end, "found": end} for end in (low, high)]
    line = (
        alt.Chart(alt.InlineData(values=same))
        .mark_line(strokeWidth=1, color="var(--line-2)")
        .encode(x="foretold:Q", y="found:Q")
    )
    told = "too few for a rank correlation" if rank is None else f"rank correlation {rank:.2f}"
    description = f"{title}: foretold against found for {plural(len(known), 'stack')}; {told}."
    return Chart(
        id=f"chart-foretold-{what}",
        title=f"{title}: {told}",
        description=description,
        legend=(LegendItem("series-1", "a stack"), LegendItem("same", "as foretold")),
        specification=finish([line, points], description=description, rows=1, step=_HEIGHT),
    )


def spent_chart(outcome: Outcome) -> Chart | None:
    """How much of the time each method took; None where nothing took any."""
    total = sum(outcome.spent.values())
    if total <= 0:
        return None
    spent = sorted(outcome.spent.items(), key=lambda item: -item[1])
    names = short([name for name, _ in spent])
    data = [
        {
            "method": name,
            "seconds": seconds,
            "told": f"{seconds:,.0f} s, {percent(seconds / total)}",
        }
        for name, (_, seconds) in zip(names, spent, strict=True)
    ]
    base = alt.Chart(alt.InlineData(values=data)).encode(
        x=alt.X("seconds:Q", title="seconds", scale=alt.Scale(zero=True)),
        y=alt.Y("method:N", sort=None, title=None),
    )
    bars = base.mark_bar(height=alt.RelativeBandSize(0.78), color="var(--series-1)").encode(
        tooltip=[alt.Tooltip("method:N"), alt.Tooltip("told:N", title="took")]
    )
    figures = base.mark_text(aria=False, align="left", dx=5).encode(text="told:N")
    description = f"Seconds that each of {plural(len(data), 'method')} took, {total:,.0f} in all."
    return Chart(
        id="chart-spent",
        title="Seconds by method",
        description=description,
        legend=(LegendItem("series-1", "of a stack, shared among its methods"),),
        specification=finish([bars, figures], description=description, rows=len(data), step=_ROW),
    )
