"""Focused convolution (AICAS 2022, ASP-DAC 2024): what a published mask leaves out, and runs.

The published latencies are those of networks for images of 224 pixels, of which no trained weights
and no images come with the package. Counted is what the one mask whose share is published leaves
out of the network's multiplications: more than that no engine can gain. What a user's network
gains is read from results of ``mlcnn skip``.
"""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from mlcnn.reproduce.penni_runs import gone, percent, rows_of
from mlcnn.reproduce.reproduction import (
    Beside,
    Cell,
    Reproduction,
    Tell,
    compared,
    number,
    published_rows,
)
from mlcnn.reproduce.structure import conv_layers

__all__ = ["focused_with_runs", "reproduce_focused"]

_COMMAND = "mlcnn skip"
_BEFORE = 2
"""Convolutions in front of the mask."""
_COLUMNS = (
    "network",
    "method",
    "multiplications gone, %",
    "latency gone in ONNX Runtime, %",
    "to the original, points",
    "95 % interval",
    "accuracy before, %",
    "after, %",
    "test images",
)
_SKIP = (
    "mlcnn skip net.onnx --data photos --resize 224x224 --method focus --max-drop 1 "
    "-o runs/net.onnx"
)
_SHOW = "mlcnn reproduce focused --runs runs"


def reproduce_focused(what: str, _: Tell) -> Reproduction:
    """Reproduce ``focused``."""
    return _found(what, ())


def focused_with_runs(what: str, runs: Path) -> Reproduction:
    """The same, with what runs came to beside it.

    Args:
        what: ``focused``.
        runs: folder in which ``mlcnn skip --method focus`` wrote its folders.

    Raises:
        InputError: there is no such folder, no result in it, or one is damaged.
    """
    rows = tuple(rows_of(runs, _COMMAND, "focused", _row))
    return _found(what, (Beside(f"runs of `{_COMMAND}` in {runs}", _COLUMNS, rows),))


def _found(what: str, more: Sequence[Beside]) -> Reproduction:
    rows = tuple(
        compared(row, _bound(row["network"], number(row["kept"]))) for row in published_rows(what)
    )
    conditions = (
        "published: seconds; computed: multiplications that such a mask leaves out behind the "
        "second convolution at 224 pixels, which is the most that an engine can gain"
    )
    return Reproduction(what, rows, conditions, (_published(), _recorded(what), _recipe(), *more))


def _bound(network: str, kept: float) -> float:
    """Percent of the multiplications that a mask leaves out; dense layers have no positions."""
    layers = conv_layers(network)
    behind = sum(layer.macs for layer in layers[_BEFORE:] if layer.outputs > 1)
    return 100 * (1 - kept) * behind / sum(layer.macs for layer in layers)


def _published() -> Beside:
    return Beside(
        "published, and not run here",
        ("quantity", "published", "source", "needs"),
        tuple(
            (row["quantity"], f"{row['published']} {row['unit']}", row["source"], row["needs"])
            for row in published_rows("focused-trained")
        ),
    )


def _recorded(what: str) -> Beside:
    path = importlib.resources.files("mlcnn.reproduce") / "measured" / f"{what}.json"
    runs = cast("list[dict[str, Any]]", json.loads(path.read_text(encoding="utf-8")))
    title = (
        "recorded runs of `mlcnn skip --method focus` on images of 32 pixels, judged on images "
        "that nothing was chosen on; yardsticks have the same cost"
    )
    return Beside(title, _COLUMNS, tuple(row for run in runs for row in _points(run)))


def _points(run: Mapping[str, Any]) -> list[tuple[Cell, ...]]:
    """The chosen masks, and what stands beside them."""
    first, *points = run["frontier"]["points"]
    return [
        (
            str(run["name"]),
            _named(point),
            *(_gone_of(point, first, name) for name in ("multiplications", _latency(first))),
            *_changed(point["test"]["change"]),
            percent(first["test"]["top1"]),
            percent(point["test"]["top1"]),
            point["test"]["images"],
        )
        for point in points
    ]


def _named(point: Mapping[str, Any]) -> str:
    beside = " (yardstick)" if "yardstick" in point["setting"] else ""
    return f"{point['method']}{beside}"


def _gone_of(point: Mapping[str, Any], first: Mapping[str, Any], name: str) -> float | None:
    both = first["costs"].get(name), point["costs"].get(name)
    return gone({"before": both[0], "after": both[1]}) if None not in both else None


def _latency(found: Mapping[str, Any]) -> str:
    return next((name for name in found["costs"] if name.startswith("latency_ms")), "")


def _changed(change: Mapping[str, Any]) -> tuple[Cell, Cell]:
    low, high = change["interval"]
    return 100 * float(change["top1"]), f"{100 * low:+.2f} to {100 * high:+.2f}"


def _row(found: Mapping[str, Any]) -> tuple[Cell, ...]:
    """What was chosen in a run."""
    accuracy, cost = found["accuracy"], found["cost"]
    latency = next((name for name in cost if name.startswith("latency_ms")), "")
    return (
        str(found["name"]),
        str(found["method"]),
        gone(cost["multiplications"]),
        gone(cost.get(latency)),
        *_changed(accuracy["change"]),
        percent(accuracy["before"]),
        percent(accuracy["after"]),
        accuracy["images"],
    )


def _recipe() -> Beside:
    title, column = "how a network of yours is run", "commands, one after the other"
    return Beside(title, (column,), ((_SKIP,), (_SHOW,)))
