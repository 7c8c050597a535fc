"""A side of a neighbourhood as a drawing: boxes and lines, which the page enlarges.

Vega draws it. Every place and size is a number of CSS pixels times the signal ``zoom``, so that
text is text at every size. Colours are those of the page; a sign in front of each operator and the
stroke of its box say the same without colour.
"""

import textwrap
from typing import Any

from mlcnn.report.charts.chart import Chart, LegendItem
from mlcnn.report.drawing.around import Box, Neighbourhood, Side
from mlcnn.report.drawing.differing import Status
from mlcnn.report.drawing.layout import Layout, lay_out
from mlcnn.report.wording import printable

__all__ = ["LEGEND", "drawings", "width_of"]

_LINE, _PAD, _STUB, _MARGIN = 15.0, 7.0, 16.0, 6.0
_CHARACTER, _BOLD = 7.1, 7.9  # of the widest usual font at 11 pixels
_SIGNS = {Status.KEPT: "", Status.CHANGED: "~ ", Status.REMOVED: "− ", Status.ADDED: "+ "}
_STROKES = {
    Status.KEPT: ("var(--line-2)", 1.0, []),
    Status.CHANGED: ("var(--warn)", 1.6, [2, 2]),
    Status.REMOVED: ("var(--bad)", 1.6, [7, 4]),
    Status.ADDED: ("var(--good)", 2.6, []),
}
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, Arial, sans-serif"
_LEAST_WIDTH, _MOST_CHARACTERS, _DETAIL, _MOST_LINES = 84.0, 26, 20, 4

LEGEND = (
    LegendItem("node removed", "− went"),
    LegendItem("node added", "+ came"),
    LegendItem("node changed", "~ changed"),
    LegendItem("node kept", "the same"),
)
"""What strokes and signs mean."""


def drawings(found: Neighbourhood, anchor: str) -> tuple[Chart, Chart]:
    """The two drawings of a place, before and after.

    Args:
        found: the place.
        anchor: of the place in the page.
    """
    sides = (("Before", found.before), ("After", found.after))
    before, after = (
        Chart(f"{anchor}-{title.lower()}", title, _described(title, side), LEGEND, _drawing(side))
        for title, side in sides
    )
    return before, after


def width_of(chart: Chart) -> float:
    """Width of a drawing in CSS pixels, before it is enlarged."""
    return next(s["value"] for s in chart.specification["signals"] if s["name"] == "wide")


def _described(title: str, side: Side) -> str:
    parts = (
        printable(f"{box.told}{'' if box.status is Status.KEPT else f', {box.status}'}")
        for box in side.boxes
    )
    return f"{title}, from top to bottom: {'; '.join(parts)}."


def _texts(box: Box) -> list[str]:
    """What stands in a box: operator, layer, what it does, what it gives."""
    name = printable(box.name)
    short = name if len(name) <= _MOST_CHARACTERS else f"…{name[1 - _MOST_CHARACTERS :]}"
    # A name and its number stay on one line.
    phrases = (
        part.replace(" ", "\N{NO-BREAK SPACE}") for part in printable(box.detail).split(", ")
    )
    detail = textwrap.wrap(", ".join(phrases), _DETAIL)
    if len(detail) > _MOST_LINES:
        detail = [*detail[: _MOST_LINES - 1], "…"]
    shape = printable(box.shape).replace(" x ", "×")
    head = f"{_SIGNS[box.status]}{printable(box.operator)}"
    return [head, *(text for text in (short, *detail, shape) if text)]


def _size(texts: list[str]) -> tuple[float, float]:
    width = max(len(texts[0]) * _BOLD, *(len(text) * _CHARACTER for text in texts)) + 2 * _PAD
    return max(width, _LEAST_WIDTH), len(texts) * _LINE + 2 * _PAD


def _drawing(side: Side) -> dict[str, Any]:
    texts = [_texts(box) for box in side.boxes]
    sizes = list(map(_size, texts))
    layout = lay_out(sizes, side.edges)
    boxes, lines = list[dict[str, Any]](), list[dict[str, Any]]()
    places = [(x + _MARGIN, y + _STUB + _MARGIN) for x, y in layout.centres]
    for box, words, (x, y), (width, height) in zip(side.boxes, texts, places, sizes, strict=True):
        stroke, thick, dash = _STROKES[box.status]
        boxes.append({
            "x": _round(x - width / 2), "y": _round(y - height / 2),
            "w": _round(width), "h": _round(height),
            "stroke": stroke, "thick": thick, "dash": dash, "tip": _tip(box),
        })  # fmt: skip
        for row, text in enumerate(words):
            lines.append({
                "x": _round(x), "y": _round(y - height / 2 + _PAD + _LINE * (row + 0.5)),
                "text": text, "weight": "normal" if row else "bold",
                "fill": "var(--ink-2)" if row and row < len(words) - 1 else "var(--ink)",
            })  # fmt: skip
    stubs = [
        {"x": _round(x), "y": _round(y + half), "y2": _round(y + half + step)}
        for box, (x, y), (_, height) in zip(side.boxes, places, sizes, strict=True)
        for half, step, there in (
            (-height / 2, -_STUB, box.above), (height / 2, _STUB, box.below)
        )
        if there
    ]  # fmt: skip
    return _specification(layout, boxes, lines, stubs)


def _tip(box: Box) -> str:
    parts = (box.operator, box.name, box.detail, box.shape, box.note)
    return printable(" · ".join(part for part in parts if part))


def _round(number: float) -> float:
    return round(number, 1)


def _path(points: tuple[tuple[float, float], ...]) -> str:
    """Upright at every point: between two layers the line turns as an S."""
    moved = [(_round(x + _MARGIN), _round(y + _STUB + _MARGIN)) for x, y in points]
    (x, y), *others = moved
    parts = [f"M{x},{y}"]
    for following in others:
        middle = _round((y + following[1]) / 2)
        parts.append(f"C{x},{middle},{following[0]},{middle},{following[0]},{following[1]}")
        x, y = following
    return "".join(parts)


def _specification(
    layout: Layout,
    boxes: list[dict[str, Any]],
    lines: list[dict[str, Any]],
    stubs: list[dict[str, Any]],
) -> dict[str, Any]:
    edges = [{"path": _path(line)} for line in layout.lines]
    tips = [
        {"x": _round(line[-1][0] + _MARGIN), "y": _round(line[-1][1] + _STUB + _MARGIN)}
        for line in layout.lines
    ]
    size = {
        "wide": _round(layout.width + 2 * _MARGIN),
        "high": _round(layout.height + 2 * (_STUB + _MARGIN)),
    }
    return {
        "padding": 0,
        "autosize": "none",
        "background": "transparent",
        "signals": [
            {"name": "zoom", "value": 1},
            *({"name": name, "value": value} for name, value in size.items()),
            {"name": "width", "update": "wide * zoom"},
            {"name": "height", "update": "high * zoom"},
        ],
        "data": [
            {"name": "edges", "values": edges},
            {"name": "tips", "values": tips},
            {"name": "stubs", "values": stubs},
            {"name": "boxes", "values": boxes},
            {"name": "lines", "values": lines},
        ],
        "marks": [_edge_mark(), _stub_mark(), _tip_mark(), _box_mark(), _text_mark()],
    }


def _zoomed(expression: str) -> dict[str, str]:
    return {"signal": f"({expression}) * zoom"}


def _edge_mark() -> dict[str, Any]:
    return {
        "type": "path", "from": {"data": "edges"}, "interactive": False,
        "encode": {"update": {
            "path": {"field": "path"}, "scaleX": {"signal": "zoom"}, "scaleY": {"signal": "zoom"},
            "stroke": {"value": "var(--line-2)"}, "strokeWidth": {"value": 1.3},
        }},
    }  # fmt: skip


def _stub_mark() -> dict[str, Any]:
    return {
        "type": "rule", "from": {"data": "stubs"}, "interactive": False,
        "encode": {"update": {
            "x": _zoomed("datum.x"), "y": _zoomed("datum.y"), "y2": _zoomed("datum.y2"),
            "stroke": {"value": "var(--line-2)"}, "strokeWidth": {"value": 1.3},
            "strokeDash": {"value": [2, 3]},
        }},
    }  # fmt: skip


def _tip_mark() -> dict[str, Any]:
    """The points of the arrows."""
    return {
        "type": "symbol", "from": {"data": "tips"}, "interactive": False,
        "encode": {"update": {
            "shape": {"value": "triangle-down"}, "x": _zoomed("datum.x"),
            "y": _zoomed("datum.y - 3.5"), "size": {"signal": "44 * zoom * zoom"},
            "fill": {"value": "var(--line-2)"},
        }},
    }  # fmt: skip


def _box_mark() -> dict[str, Any]:
    return {
        "type": "rect", "from": {"data": "boxes"},
        "encode": {"update": {
            "x": _zoomed("datum.x"), "y": _zoomed("datum.y"),
            "width": _zoomed("datum.w"), "height": _zoomed("datum.h"),
            "cornerRadius": {"value": 4}, "fill": {"value": "var(--panel)"},
            "stroke": {"field": "stroke"}, "strokeWidth": {"field": "thick"},
            "strokeDash": {"field": "dash"}, "tooltip": {"field": "tip"},
        }},
    }  # fmt: skip


def _text_mark() -> dict[str, Any]:
    return {
        "type": "text", "from": {"data": "lines"}, "interactive": False,
        "encode": {"update": {
            "x": _zoomed("datum.x"), "y": _zoomed("datum.y"), "text": {"field": "text"},
            "align": {"value": "center"}, "baseline": {"value": "middle"},
            "fontWeight": {"field": "weight"}, "fill": {"field": "fill"},
            "font": {"value": _FONT}, "fontSize": _zoomed("11"),
        }},
    }  # fmt: skip
