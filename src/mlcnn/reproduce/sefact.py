"""SeFAct (ASP-DAC 2019) and SeFAct2 (TCAD 2021): energy saved for accuracy, beside recorded runs.

The papers save energy by fewer bits in early layers and by fewer filters in late ones, for the
classes that an image can still have. The runs here have fewer bits in early layers and an early
exit in place of the selection, on a ResNet-20 for CIFAR-10 that nothing trained further: another
network than theirs, so that a published saving is a floor to reach and no number to meet.
"""

import importlib.resources
import json
from collections.abc import Mapping, Sequence
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

__all__ = ["reproduce_sefact"]

_FIRST = "energy_pj"
_COLUMNS = (
    "budget, points",
    "method",
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
        "recorded runs of benchmarks/sefact.py: 5 bits in layer1 and layer2, 8 elsewhere, and one "
        "exit within the rest of the budget (0: bits alone); heads are charged, a selection of "
        "filters is not in it",
        _COLUMNS,
        tuple(_row(run) for run in runs),
    )
    conditions = (
        "a trained ResNet-20 on images that nothing was chosen on, mean energy at batch 1 on "
        "dcnn-int8-scaled, of the dense network at 8 bits"
    )
    return Reproduction(what, rows, conditions, (table,))


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
        100 * float(change["top1"]),
        f"{100 * low:+.2f} to {100 * high:+.2f}",
        100 * _share(run, _FIRST),
        100 * _share(run, f"{_FIRST} dcnn-int8-packed"),
        100 * float(cost[_FIRST]["after"]["mean"]) / wide,
    )
