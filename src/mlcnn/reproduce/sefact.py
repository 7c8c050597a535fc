"""SeFAct (ASP-DAC 2019) and SeFAct2 (TCAD 2021): energy saved for accuracy, beside recorded runs.

The papers save energy by fewer bits in early layers and by fewer filters in late ones, for the
classes that an image can still have. The runs here have fewer bits in early layers and an early
exit in place of the selection, on a ResNet-20 for CIFAR-10 that nothing trained further: another
network than theirs, so that a published saving is a floor to reach and no number to meet.
"""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast

from mlcnn.reproduce.reproduction import (
    Beside,
    Cell,
    Reproduction,
    Tell,
    compared,
    number,
    published_rows,
)

__all__ = ["Saved", "reproduce_sefact", "saved_points"]

_FIRST = "energy_pj"
_COLUMNS = (
    "budget, points",
    "method",
    "bits",
    "to the original, points",
    "95 % interval",
    "energy of dense INT8, %: multipliers that scale",
    "multipliers of 8 bits, packed words",
    "of a dense 16-bit machine, %",
)


def reproduce_sefact(what: str, _: Tell) -> Reproduction:
    """Reproduce ``sefact``."""
    runs = _runs(what)
    rows = tuple(
        compared(row, _saved(runs, number(row["loss"]), row["item"]))
        for row in published_rows(what)
    )
    table = Beside(
        "recorded runs. Given bits: benchmarks/sefact.py, 5 in layer1 and layer2, 8 elsewhere, and "
        "one exit within the rest of the budget (0: bits alone); searched: mlcnn skip --method "
        "bits+exit; heads are charged, a selection of filters is not in it",
        _COLUMNS,
        tuple(_row(run) for run in runs),
    )
    conditions = (
        "a trained ResNet-20 on images that nothing was chosen on, mean energy at batch 1 on "
        "dcnn-int8-scaled, of the dense network at 8 bits"
    )
    return Reproduction(what, rows, conditions, (table,))


@dataclass(frozen=True, slots=True)
class Saved:
    """Energy saved at a loss of accuracy, for a picture.

    Attributes:
        series: what it belongs to.
        loss: points of accuracy, least and largest.
        saved: per cent of the energy, least and largest.
    """

    series: str
    loss: tuple[float, float]
    saved: tuple[float, float]


def saved_points(what: str = "sefact") -> tuple[Saved, ...]:
    """The published points, and each run of ours against three baselines.

    They are 8 bits where multipliers scale, 8 bits where words are packed alone, and 16 bits.
    """
    found = [
        Saved(f"{name}, published", _ends(rows, "from_loss", "loss"), _ends(rows, "published"))
        for name, rows in _by_paper(published_rows(what)).items()
    ]
    for run in _runs(what):
        loss, cost = _lost(run), run["cost"]
        wide = float(cost[f"{_FIRST} dcnn-int16"]["before"])
        shares = {
            "to 8 bits, multipliers scale": _share(run, _FIRST),
            "to 8 bits, words packed": _share(run, f"{_FIRST} dcnn-int8-packed"),
            "to 16 bits, multipliers scale": float(cost[_FIRST]["after"]["mean"]) / wide,
        }
        for series, share in shares.items():
            saved = 100 * (1 - share)
            found.append(Saved(f"{series}, {run['run']} bits", (loss, loss), (saved, saved)))
    return tuple(found)


def _by_paper(rows: Sequence[Mapping[str, str]]) -> dict[str, list[Mapping[str, str]]]:
    found: dict[str, list[Mapping[str, str]]] = {}
    for row in rows:
        found.setdefault(row["source"].split("]")[0].removeprefix("["), []).append(row)
    return found


def _ends(rows: Sequence[Mapping[str, str]], *columns: str) -> tuple[float, float]:
    """The least and the largest number of some columns."""
    values = [float(row[column]) for row in rows for column in columns]
    return min(values), max(values)


def _runs(what: str) -> Sequence[Mapping[str, Any]]:
    path = importlib.resources.files("mlcnn.reproduce") / "measured" / f"{what}.json"
    return cast("list[dict[str, Any]]", json.loads(path.read_text(encoding="utf-8")))


def _saved(runs: Sequence[Mapping[str, Any]], loss: float, item: str) -> float:
    """Percent of the dense network's energy that is gone, in the best run that lost no more."""
    found = [100 * (1 - _share(run, _FIRST)) for run in runs if _lost(run) <= loss]
    if not found:
        raise ValueError(f"{item}: no recorded run lost {loss:g} points or less")
    return max(found)


def _lost(run: Mapping[str, Any]) -> float:
    return -100 * float(run["accuracy"]["change"]["top1"])


def _share(run: Mapping[str, Any], name: str) -> float:
    cost = run["cost"][name]
    return float(cost["after"]["mean"]) / float(cost["before"])


def _row(run: Mapping[str, Any]) -> tuple[Cell, ...]:
    change, cost = run["accuracy"]["change"], run["cost"]
    wide = float(cost[f"{_FIRST} dcnn-int16"]["before"])
    low, high = change["interval"]
    return (
        float(run["budget"]),
        run["method"],
        run["run"],
        100 * float(change["top1"]),
        f"{100 * low:+.2f} to {100 * high:+.2f}",
        100 * _share(run, _FIRST),
        100 * _share(run, f"{_FIRST} dcnn-int8-packed"),
        100 * float(cost[_FIRST]["after"]["mean"]) / wide,
    )
