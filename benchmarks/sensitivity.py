"""Speed-up and energy ratio of the fused layers against what the paper does not give.

One parameter at a time changes, in both machines; the other ones stay as in the library. Draws
``docs/images/accelerator-sensitivity.svg``.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from benchmarks.results import arguments, show, write
from mlcnn.accelerators import DEFAULT_TECHNOLOGY, load_technology
from mlcnn.accelerators.array import load_array
from mlcnn.reproduce.experiment import SENSITIVITY, SweepPoint, sensitivity

__all__ = ["main"]

PICTURE = Path("docs/images/accelerator-sensitivity.svg")
AGAINST = "dcnn-fp32"
BATCH = 16
TITLES = {
    "batch": "batch, images",
    "dram_bytes_per_cycle": "DRAM, bytes per cycle",
    "dram_pj_per_bit": "DRAM, pJ per bit",
    "multipliers": "multipliers per slice",
    "input_adders_share": "adders of the input unit, share of the library's",
}
# Colours that stay apart for colour-blind readers (Okabe and Ito).
COLOURS = {"mlcnn-fp32": "#0072B2", "mlcnn-fp16": "#D55E00", "mlcnn-int8": "#009E73"}
# Means of the paper (reproduce/published, figures 13 and 15).
PUBLISHED = {
    "speedup": {"mlcnn-fp32": 3.2, "mlcnn-fp16": 6.2, "mlcnn-int8": 12.8},
    "energy_ratio": {"mlcnn-fp32": 2.9, "mlcnn-fp16": 5.9, "mlcnn-int8": 11.3},
}
MEASURES = {"speedup": "mean speed-up, times", "energy_ratio": "mean energy ratio, times"}
TICKS = [1, 2, 3, 5, 10, 20, 30, 50]


def defaults() -> dict[str, float]:
    """The library's value of every parameter."""
    machine = load_array(AGAINST)
    return {
        "batch": BATCH,
        "dram_bytes_per_cycle": machine.dram_bytes_per_cycle,
        "dram_pj_per_bit": load_technology().dram.pj_per_bit,
        "multipliers": machine.multipliers,
        "input_adders_share": 1,
    }


def panel(
    points: Sequence[SweepPoint], measure: str, parameter: str
) -> alt.LayerChart | alt.FacetChart:
    """One measure against one parameter.

    Args:
        points: of all parameters.
        measure: a key of ``MEASURES``.
        parameter: a key of ``TITLES``.
    """
    usual = defaults()[parameter]
    values = [
        {"x": p.value, "y": getattr(p, measure), "accelerator": p.accelerator,
         "usual": p.value == usual}
        for p in points
        if p.parameter == parameter
    ]  # fmt: skip
    paper = [{"y": y, "accelerator": name} for name, y in PUBLISHED[measure].items()]
    x = alt.X(
        "x:Q",
        title=TITLES[parameter],
        scale=alt.Scale(type="log", base=2, nice=False, padding=10),
        axis=alt.Axis(values=list(SENSITIVITY[parameter]), format="~g", grid=False),
    )
    y = alt.Y(
        "y:Q",
        title=MEASURES[measure],
        scale=alt.Scale(type="log", domain=[2, 60], nice=False),
        axis=alt.Axis(values=TICKS, format="~g"),
    )
    colour = alt.Color(
        "accelerator:N",
        title=None,
        scale=alt.Scale(domain=list(COLOURS), range=list(COLOURS.values())),
    )
    at_usual = alt.Chart(alt.InlineData(values=[{"x": usual}])).mark_rule(
        color="#bbbbbb", strokeWidth=6, opacity=0.5
    )
    reference = alt.Chart(alt.InlineData(values=paper)).mark_rule(strokeDash=[5, 4], opacity=0.8)
    lines = alt.Chart(alt.InlineData(values=values)).encode(x=x, y=y, color=colour)
    circles = lines.mark_point(filled=True, opacity=1)
    size = alt.condition("datum.usual", alt.value(80), alt.value(28))
    return alt.layer(
        at_usual.encode(x=x),
        reference.encode(y=y, color=colour),
        lines.mark_line(strokeWidth=2),
        circles.encode(size=size),
    ).properties(width=270, height=150)


def picture(points: Sequence[SweepPoint]) -> dict[str, Any]:
    """All panels as Vega-Lite."""
    bandwidth = load_array(AGAINST).dram_bytes_per_cycle
    rows = [
        alt.hconcat(*(panel(points, measure, one) for measure in MEASURES), spacing=20)
        for one in TITLES
    ]
    title = alt.TitleParams(
        f"MLCNN over {AGAINST}: means over the 22 fused layers of four networks",
        subtitle=[
            f"else batch {BATCH}, {bandwidth:g} DRAM bytes a cycle, {DEFAULT_TECHNOLOGY}",
            "band and large points: the library's values; dashed: the paper's means",
        ],
        anchor="start",
    )
    chart = alt.vconcat(*rows, spacing=14, title=title).configure(
        background="white",
        font="Arial, sans-serif",
        legend=alt.LegendConfig(orient="top", labelFontSize=12, symbolOpacity=1),
        view=alt.ViewConfig(stroke="#dddddd"),
        axis=alt.AxisConfig(labelFontSize=11, titleFontSize=12, titleFontWeight="normal"),
        title=alt.TitleConfig(fontSize=14, subtitleFontSize=12, offset=12),
    )
    return chart.to_dict()


def main() -> None:
    """Sweep, print and draw."""
    parser = arguments(__doc__, "sensitivity")
    parser.add_argument("--picture", type=Path, default=PICTURE, help="where to draw, .svg or .png")
    options = parser.parse_args()
    points = sensitivity(against=AGAINST, batch=BATCH)
    rows = [
        [
            f"{point.accelerator}, {TITLES[point.parameter]} {point.value:g}",
            f"{point.speedup:.2f}",
            f"{point.energy_ratio:.2f}",
            f"{point.worst_speedup:.2f}",
        ]
        for point in points
    ]
    title = f"fused layers over {AGAINST}, else as in the library"
    show(title, ["changed", "mean speed-up", "mean energy ratio", "least speed-up"], rows)
    names = SweepPoint.__slots__
    results = [{name: getattr(point, name) for name in names} for point in points]
    write(options, {"technology": DEFAULT_TECHNOLOGY, "results": results})
    specification = picture(points)
    if options.picture.suffix == ".png":
        options.picture.write_bytes(vl_convert.vegalite_to_png(specification, scale=2))
    else:
        options.picture.write_text(vl_convert.vegalite_to_svg(specification), encoding="utf-8")
    print(f"results: {options.out}, picture: {options.picture}")


if __name__ == "__main__":
    main()
