"""Energy saved against accuracy lost: published points and ours in one picture."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import altair as alt

from mlcnn.report.charts.study import COLOURS, write_figure
from mlcnn.reproduce.sefact import Saved

__all__ = ["draw_saving", "saving_chart"]

_WIDTH, _HEIGHT = 460, 320


def saving_chart(what: str, points: Sequence[Saved]) -> dict[str, Any]:
    """The picture as a Vega-Lite specification.

    Args:
        what: its name, for the heading.
        points: ranges are drawn as areas.
    """
    values = [
        {"series": p.series, "loss": p.loss[0], "loss2": p.loss[1], "saved": p.saved[0],
         "saved2": p.saved[1], "range": p.loss[0] != p.loss[1]}
        for p in points
    ]  # fmt: skip
    series = list(dict.fromkeys(p.series for p in points))
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X("loss:Q", title="accuracy lost, points"),
        y=alt.Y("saved:Q", title="energy saved, %", scale=alt.Scale(domain=[0, 100])),
        color=alt.Color(
            "series:N", sort=series, title=None, legend=alt.Legend(labelLimit=400, symbolOpacity=1),
            scale=alt.Scale(domain=series, range=list(COLOURS[: len(series)])),
        ),
    )  # fmt: skip
    areas = base.transform_filter("datum.range").mark_rect(opacity=0.5)
    single = base.transform_filter("!datum.range").mark_point(filled=True, size=80, opacity=1)
    title = f"{what}: published, and our runs on images that nothing was chosen on"
    return (
        alt.layer(areas.encode(x2="loss2:Q", y2="saved2:Q"), single)
        .properties(
            width=_WIDTH, height=_HEIGHT, background="white",
            title=alt.TitleParams(title, anchor="start"),
        )
        .to_dict()
    )  # fmt: skip


def draw_saving(what: str, points: Sequence[Saved], path: Path) -> None:
    """Write it as a picture or a page that needs no network.

    Args:
        what: its name.
        points: published and ours.
        path: an ``.html``, ``.png`` or ``.svg`` file.

    Raises:
        InputError: another kind of file, or one that cannot be written.
    """
    write_figure(lambda: saving_chart(what, points), path)
