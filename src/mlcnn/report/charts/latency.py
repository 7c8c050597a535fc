"""Latency of each variant in each engine, with its quartiles, one chart per batch and threads.

Batches of different sizes take times of different magnitude: on one scale the small ones would
vanish, so each has its own, which starts at zero.
"""

from typing import Any

import altair as alt

from mlcnn.report.charts.chart import Chart, LegendItem, finish
from mlcnn.report.speed import Setting, settings
from mlcnn.report.summary import ORIGINAL, RESULT, RunSummary, ordered
from mlcnn.report.wording import duration, plural, printable

__all__ = ["latency_charts"]

# Style by variant; what stands between has the last.
_STYLES = {ORIGINAL: "same", RESULT: "fused"}
_BETWEEN = "stage"
_ROW = 22


def _style(variant: str) -> str:
    return _STYLES.get(variant, _BETWEEN)


def _rows(setting: Setting) -> list[dict[str, Any]]:
    return [
        {
            "engine": printable(row.engine),
            "variant": row.variant,
            "median": row.median_ms,
            "q1": row.q1_ms,
            "q3": row.q3_ms,
            "label": duration(row.median_ms),
            "spread": f"{duration(row.q1_ms)} to {duration(row.q3_ms)}",
        }
        for row in setting.rows
    ]


def _specification(setting: Setting, variants: tuple[str, ...], description: str) -> dict[str, Any]:
    rows = _rows(setting)
    engines = list(dict.fromkeys(row["engine"] for row in rows))
    names = list(variants)
    colours = [f"var(--{_style(variant)})" for variant in variants]
    offset = alt.YOffset("variant:N", sort=None, scale=alt.Scale(domain=names, paddingInner=0.2))
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("engine:N", sort=None, title=None, scale=alt.Scale(paddingInner=0.3)),
        yOffset=offset,
        tooltip=[
            alt.Tooltip("engine:N"),
            alt.Tooltip("variant:N"),
            alt.Tooltip("label:N", title="median"),
            alt.Tooltip("spread:N", title="quartiles"),
        ],
    )
    bars = base.mark_bar().encode(
        x=alt.X(
            "median:Q",
            axis=alt.Axis(title="milliseconds per run", tickCount=5, format="~r"),
            scale=alt.Scale(zero=True),
        ),
        color=alt.Color(
            "variant:N",
            legend=None,
            scale=alt.Scale(domain=names, range=colours),
        ),
    )
    spread = base.mark_rule(aria=False, color="var(--ink)", strokeWidth=1.5).encode(
        x="q1:Q", x2="q3:Q"
    )
    ends = [
        base.mark_tick(aria=False, color="var(--ink)", thickness=1.5, height=8, opacity=1).encode(
            x=f"{end}:Q"
        )
        for end in ("q1", "q3")
    ]
    text = base.mark_text(aria=False, align="left", dx=6).encode(x="q3:Q", text="label:N")
    height = len(engines) * (len(variants) + 0.6)
    return finish([bars, spread, *ends, text], description=description, rows=height, step=_ROW)


def _chart(setting: Setting, index: int) -> Chart:
    variants = ordered(row.variant for row in setting.rows)
    where = f"batch {setting.batch}, {plural(setting.threads, 'thread')}"
    figures = "; ".join(
        f"{printable(row.engine)} {row.variant} {duration(row.median_ms)}" for row in setting.rows
    )
    description = f"Bar chart of median latency at {where}: {figures}."
    return Chart(
        id=f"chart-latency-{index}",
        title=where[0].upper() + where[1:],
        description=description,
        legend=(
            *(LegendItem(_style(variant), variant) for variant in variants),
            LegendItem("spread", "quartiles"),
        ),
        specification=_specification(setting, variants, description),
    )


def latency_charts(summary: RunSummary) -> tuple[Chart, ...]:
    """One chart per batch size and number of threads."""
    return tuple(_chart(setting, index) for index, setting in enumerate(settings(summary), 1))
