"""A figure of the study as a picture: mean accuracies with their intervals, by network.

It stands alone, in a document of the reader's, so its colours are its own.
"""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import altair as alt
import vl_convert

from mlcnn.errors import InputError
from mlcnn.graph import check_output
from mlcnn.reproduce.study import Average

__all__ = ["COLOURS", "draw_study", "study_chart", "write_figure"]

COLOURS = (
    "#0b62a8", "#c26a00", "#1a7f5a", "#8a5fb5", "#b3261e",
    "#5c6b7a", "#58a6e8", "#e0a03c", "#6fc29f", "#c3a6e0",
)  # fmt: skip
_WIDTH, _HEIGHT = 320, 260
_PIXELS = 2.0


def study_chart(what: str, rows: Sequence[Average]) -> dict[str, Any]:
    """The figure as a Vega-Lite specification.

    Args:
        what: its name, for the heading.
        rows: averages; places that were not run are left out.

    Raises:
        InputError: nothing was run.
    """
    values = [_value(row) for row in rows if row.top1 is not None]
    if not values:
        raise InputError(f"{what}: nothing of it was run, so there is nothing to draw")
    series = list(dict.fromkeys(value["series"] for value in values))
    base = alt.Chart(alt.InlineData(values=values)).encode(
        x=alt.X(
            "network:N",
            sort=None,
            title=None,
            scale=alt.Scale(type="band"),
            axis=alt.Axis(labelAngle=0),
        ),
        xOffset=alt.XOffset("series:N", scale=alt.Scale(type="point", domain=series, padding=1)),
        color=alt.Color(
            "series:N",
            sort=series,
            title=None,
            scale=alt.Scale(domain=series, range=list(COLOURS[: len(series)])),
        ),
    )
    level = alt.Y(
        "top1:Q", title="top-1 accuracy on the test images, %", scale=alt.Scale(zero=False)
    )
    points = base.mark_point(filled=True, size=60, opacity=1).encode(y=level)
    spread = base.mark_rule(strokeWidth=2).encode(y="low:Q", y2="high:Q")
    layered = alt.layer(spread, points).properties(width=_WIDTH, height=_HEIGHT)
    figure = layered.facet(column=alt.Column("dataset:N", title=None, sort=None))
    return (
        figure.resolve_scale(y="independent")
        .properties(
            title=alt.TitleParams(
                f"{what}, our runs: mean over seeds and its 95 % interval", anchor="start"
            ),
            background="white",
        )
        .to_dict()
    )


def _value(row: Average) -> dict[str, Any]:
    found = row.top1
    if found is None:
        raise ValueError(f"{row.cell.name} was not run")
    alone = row.cell.precision == "fp32"
    return {
        "network": row.cell.network,
        "dataset": row.cell.dataset,
        "series": row.cell.form if alone else f"{row.cell.form}, {row.cell.precision}",
        "top1": 100 * found.value,
        "low": 100 * found.low,
        "high": 100 * found.high,
        "runs": found.runs,
    }


_Writer = Callable[[Mapping[str, Any]], bytes]
_WRITERS: dict[str, _Writer] = {
    ".png": lambda chart: vl_convert.vegalite_to_png(dict(chart), scale=_PIXELS),
    ".svg": lambda chart: vl_convert.vegalite_to_svg(dict(chart)).encode(),
    ".html": lambda chart: vl_convert.vegalite_to_html(dict(chart), bundle=True).encode(),
}


def draw_study(what: str, rows: Sequence[Average], path: Path) -> None:
    """Write a figure of the study as a picture or a page that needs no network.

    Args:
        what: its name.
        rows: averages.
        path: an ``.html``, ``.png`` or ``.svg`` file.

    Raises:
        InputError: another kind of file, one that cannot be written, or nothing was run.
    """
    write_figure(lambda: study_chart(what, rows), path)


def write_figure(chart: Callable[[], Mapping[str, Any]], path: Path) -> None:
    """Write a Vega-Lite specification as a picture or a page that needs no network.

    Args:
        chart: makes the specification, once the path is one that can be written.
        path: an ``.html``, ``.png`` or ``.svg`` file.

    Raises:
        InputError: another kind of file, or one that cannot be written.
    """
    writer = _WRITERS.get(path.suffix)
    if writer is None:
        raise InputError(f"--out {path}: a figure is an {', '.join(_WRITERS)} file")
    checked = check_output(path)
    content = writer(chart())
    partial = checked.with_name(f".{checked.name}.part")
    try:
        partial.write_bytes(content)
        partial.replace(checked)
    except OSError as error:
        raise InputError(f"{path}: cannot be written: {error.strerror or error}") from error
