"""The fused layers on accelerators: speed-up, operations removed, energy ([MLCNN] Figs. 13-15).

Every scale is linear and starts at zero. A layer has a bar for each machine, in the machines'
order; energies are shares of what the other machine takes for the same layer.
"""

import math
from collections.abc import Sequence
from typing import Any

import altair as alt

from mlcnn.accelerators import Evaluation, LayerComparison
from mlcnn.counting import Reuse, fused, original
from mlcnn.report.charts.chart import Chart, LegendItem, finish, labels
from mlcnn.report.summary import RunSummary
from mlcnn.report.wording import percent, plural, printable, ratio, removed

__all__ = ["ENERGY_PARTS", "accelerator_charts"]

ENERGY_PARTS = {"dram": "DRAM", "buffer": "buffer", "mac": "MAC", "static": "static"}
_COLOURS = 4
_KIND_STYLES = ("fused", "same")
_BAR = 15
_FEW_BARS = 48
# Room behind the longest bar for the name of its machine.
_NAME_ROOM = 1.4


def _fused(comparison: Evaluation) -> list[LayerComparison]:
    return [row for row in comparison.layers if row.fused]


def _names(summary: RunSummary) -> list[str]:
    return labels([found.accelerator.name for found in summary.evaluations])


def _layers(summary: RunSummary) -> list[str]:
    return labels([row.name for row in _fused(summary.evaluations[0])])


def _step(bars: int) -> float:
    """Height of a bar: fewer pixels where there are many."""
    return _BAR if bars <= _FEW_BARS else _BAR * 0.8


def _series(names: Sequence[str]) -> list[str]:
    """A style for each; they repeat where there are many."""
    return [f"series-{index % _COLOURS + 1}" for index in range(len(names))]


def _legend(names: Sequence[str], styles: Sequence[str]) -> tuple[LegendItem, ...]:
    return tuple(LegendItem(style, name) for style, name in zip(styles, names, strict=True))


def _base(
    rows: list[dict[str, Any]], layers: list[str], names: list[str], tooltip: Sequence[str]
) -> alt.Chart:
    """Bars side by side: one for each of ``names`` in every layer."""
    return alt.Chart(alt.InlineData(values=rows)).encode(
        y=alt.Y("layer:N", sort=layers, title=None, scale=alt.Scale(paddingInner=0.25)),
        yOffset=alt.YOffset("kind:N", sort=None, scale=alt.Scale(domain=names, paddingInner=0.1)),
        tooltip=[alt.Tooltip(f"{name}:N") for name in tooltip],
    )


def _coloured(names: list[str], styles: Sequence[str]) -> alt.Color:
    colours = [f"var(--{style})" for style in styles]
    return alt.Color("kind:N", legend=None, scale=alt.Scale(domain=names, range=colours))


def _height(layers: list[str], bars: int) -> float:
    return len(layers) * (bars + 0.5)


def _speed(summary: RunSummary) -> Chart:
    names, layers = _names(summary), _layers(summary)
    rows = [
        {
            "layer": layer,
            "kind": name,
            "value": row.speedup,
            "label": ratio(row.speedup).replace("x", "\N{MULTIPLICATION SIGN}"),
            "bound": printable(row.cost.bound),
        }
        for name, found in zip(names, summary.evaluations, strict=True)
        for layer, row in zip(layers, _fused(found), strict=True)
    ]
    against = printable(summary.evaluations[0].against.name)
    means = "; ".join(
        f"{name} {ratio(found.rewritten.speedup)} in the mean"
        for name, found in zip(names, summary.evaluations, strict=True)
        if found.rewritten is not None
    )
    count = plural(len(layers), "fused layer")
    description = f"Bar chart of the speed-up over {against} of {count}: {means}."
    base = _base(rows, layers, names, ("layer", "kind", "label", "bound"))
    axis = alt.Axis(title=f"times as fast as {against}", tickCount=5)
    bars = base.mark_bar().encode(
        x=alt.X("value:Q", axis=axis, scale=alt.Scale(zero=True)),
        color=_coloured(names, _series(names)),
    )
    text = base.mark_text(aria=False, align="left", dx=5).encode(x="value:Q", text="label:N")
    same = (
        alt.Chart(alt.InlineData(values=[{"value": 1}]))
        .mark_rule(aria=False, color="var(--ink)", strokeDash=[3, 3])
        .encode(x="value:Q")
    )
    return Chart(
        id="chart-accelerator-speed",
        title="Speed-up per fused layer",
        description=description,
        legend=_legend(names, _series(names)),
        specification=finish(
            [bars, text, same],
            description=description,
            rows=_height(layers, len(names)),
            step=_step(len(rows)),
        ),
    )


def _share_removed(before: float, after: float) -> float:
    return 1 - after / before if before else 0.0


def _operation_rows(layer: str, row: LayerComparison) -> list[dict[str, Any]]:
    nest = row.task.nest
    before, shared, paper = original(nest), fused(nest, Reuse.SHARED), fused(nest, Reuse.PAPER)
    found = {
        "multiplications": (before.multiplications, shared.multiplications, paper.multiplications),
        "additions": (before.additions, shared.additions, paper.additions),
    }
    return [
        {
            "layer": layer,
            "kind": kind,
            "value": _share_removed(old, new),
            "label": removed(old, new).replace("-", "\N{MINUS SIGN}"),
            "paper": _share_removed(old, by_paper),
        }
        for kind, (old, new, by_paper) in found.items()
    ]


def _operations(summary: RunSummary) -> Chart:
    kinds, layers = ["multiplications", "additions"], _layers(summary)
    found = _fused(summary.evaluations[0])
    rows = [
        entry
        for layer, row in zip(layers, found, strict=True)
        for entry in _operation_rows(layer, row)
    ]
    shares = [row["value"] for row in rows if row["kind"] == "multiplications"]
    description = (
        f"Bar chart of multiplications and additions that fusion removes from "
        f"{plural(len(layers), 'layer')}: {percent(min(shares))} to {percent(max(shares))} of the "
        "multiplications."
    )
    base = _base(rows, layers, kinds, ("layer", "kind", "label"))
    axis = alt.Axis(title="removed by fusing", tickCount=5, format="%")
    bars = base.mark_bar().encode(
        x=alt.X("value:Q", axis=axis, scale=alt.Scale(zero=True)),
        color=_coloured(kinds, _KIND_STYLES),
    )
    text = base.mark_text(aria=False, align="left", dx=5).encode(x="value:Q", text="label:N")
    additions = base.transform_filter("datum.kind === 'additions'")
    paper = additions.mark_tick(
        aria=False, color="var(--ink)", thickness=2, height=_BAR, opacity=1
    ).encode(x="paper:Q")
    return Chart(
        id="chart-accelerator-operations",
        title="Operations removed per fused layer",
        description=description,
        legend=(
            *_legend(kinds, _KIND_STYLES),
            LegendItem("mark", "additions as the paper counts"),
        ),
        specification=finish(
            [bars, text, paper],
            description=description,
            rows=_height(layers, len(kinds)),
            step=_step(len(rows)),
        ),
    )


def _energy_rows(summary: RunSummary, names: list[str], layers: list[str]) -> list[dict[str, Any]]:
    """A row for each part of each bar; the other machine's bar comes first."""
    rows: list[dict[str, Any]] = []
    first = summary.evaluations[0]
    costs = [[row.against for row in _fused(first)]]
    costs += [[row.cost for row in _fused(found)] for found in summary.evaluations]
    for name, column in zip(names, costs, strict=True):
        for layer, cost, whole in zip(layers, column, costs[0], strict=True):
            start = 0.0
            label = f"{name} {percent(cost.energy.total / whole.energy.total)}"
            for key, part in ENERGY_PARTS.items():
                share = getattr(cost.energy, key) / whole.energy.total
                end = start + share
                rows.append(
                    {
                        "layer": layer,
                        "kind": name,
                        "part": part,
                        "start": start,
                        "end": end,
                        "share": percent(share),
                        "label": label if part == "static" else "",
                    }
                )
                start = end
    return rows


def _energy(summary: RunSummary) -> Chart:
    layers = _layers(summary)
    first = summary.evaluations[0]
    names = labels([first.against.name, *(e.accelerator.name for e in summary.evaluations)])
    rows = _energy_rows(summary, names, layers)
    parts = list(ENERGY_PARTS.values())
    description = (
        f"Stacked bar chart of the energy of {plural(len(layers), 'fused layer')} by part, as "
        f"share of that on {names[0]}: "
        + "; ".join(
            f"{name} {percent(1 / found.rewritten.total_energy_ratio)} over all"
            for name, found in zip(names[1:], summary.evaluations, strict=True)
            if found.rewritten is not None
        )
        + "."
    )
    base = _base(rows, layers, names, ("layer", "kind", "part", "share"))
    longest = max(row["end"] for row in rows)
    ticks = [quarter / 4 for quarter in range(math.floor(4 * longest) + 1)]
    axis = alt.Axis(title=f"energy, {names[0]} = 100 %", format="%", values=ticks)
    colours = [f"var(--{style})" for style in _series(parts)]
    bars = base.mark_bar().encode(
        x=alt.X("start:Q", axis=axis, scale=alt.Scale(zero=True, domainMax=_NAME_ROOM * longest)),
        x2="end:Q",
        color=alt.Color("part:N", legend=None, scale=alt.Scale(domain=parts, range=colours)),
    )
    text = (
        base.transform_filter("datum.label !== ''")
        .mark_text(aria=False, align="left", dx=5, fontSize=10)
        .encode(x="end:Q", text="label:N")
    )
    return Chart(
        id="chart-accelerator-energy",
        title=f"Energy per fused layer, beside {names[0]}",
        description=description,
        legend=_legend(parts, _series(parts)),
        specification=finish(
            [bars, text],
            description=description,
            rows=_height(layers, len(names)),
            step=_step(len(layers) * len(names)),
        ),
    )


def accelerator_charts(summary: RunSummary) -> tuple[Chart, ...]:
    """Speed-up, operations and energy of the fused layers; none where no layer is fused."""
    if not summary.evaluations or not _fused(summary.evaluations[0]):
        return ()
    return _speed(summary), _operations(summary), _energy(summary)
