"""The designs of an exploration that no other beats, as a picture."""

from typing import Any

import altair as alt

from mlcnn.codesign.exploration import Explored, FrontDesign, Quantity
from mlcnn.report.wording import plural, printable

__all__ = ["front_chart"]

_WIDTH, _HEIGHT = 480, 320
_UNITS = {
    Quantity.LATENCY: (1e-6, "latency, million cycles"),
    Quantity.ENERGY: (1e-6, "energy, uJ"),
    Quantity.POWER: (1.0, "power, W"),
    Quantity.AREA: (1e-6, "area, mm2"),
    Quantity.EDP: (1.0, "energy x latency, pJ x cycles"),
}


def front_chart(found: Explored) -> dict[str, Any]:
    """A Vega-Lite specification: the first two objectives as axes, the third as colour.

    Args:
        found: of two or three objectives.
    """
    first, second, *others = found.objectives
    rows = [_row(found, number, one) for number, one in enumerate(found.front, 1)]
    base = alt.Chart(alt.InlineData(values=rows)).encode(
        x=_axis(alt.X, first), y=_axis(alt.Y, second)
    )
    points = base.mark_point(filled=True, size=70, opacity=1)
    if others:
        title = _UNITS[others[0]][1]
        points = points.encode(
            color=alt.Color(f"{others[0]}:Q", title=title, scale=alt.Scale(scheme="viridis"))
        )
    names = base.mark_text(dx=9, dy=-6, fontSize=9).encode(text="number:N")
    bounds = "".join(f", {one}" for one in found.limits)
    title = (
        f"{printable(found.network)} on {printable(found.space.template.name)}{bounds}: "
        f"{plural(len(rows), 'design')} that no other beats"
    )
    return (
        alt.layer(points, names)
        .properties(
            width=_WIDTH, height=_HEIGHT, background="white",
            title=alt.TitleParams(title, anchor="start"),
        )
        .to_dict()
    )  # fmt: skip


def _row(found: Explored, number: int, one: FrontDesign) -> dict[str, Any]:
    values = {str(q): q.of(one.found) * _UNITS[q][0] for q in found.objectives}
    return {"number": str(number), **values}


def _axis(kind: Any, quantity: Quantity) -> Any:
    return kind(f"{quantity}:Q", title=_UNITS[quantity][1], scale=alt.Scale(type="log"))
