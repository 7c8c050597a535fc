"""Accuracy that ``mlcnn finetune`` recovers after approximate passes, and the speed they bring.

It reads what ``mlcnn train`` and ``mlcnn finetune`` left in their folders, and times the networks
there in turn, one image, one thread:

    mlcnn train examples.small_googlenet:network --data FOLDER --out original ...
    mlcnn finetune original/network.onnx --data FOLDER --out finetuned ...
    python -m benchmarks.recovery "GoogLeNet, an eighth" --original original --finetuned finetuned

``--scratch`` names the folder of the same network trained from scratch in the new order.
"""

import argparse
import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import onnx_ir as ir

from benchmarks.interleaved import prepare, samples
from benchmarks.results import KEPT, Row, conditions, show
from mlcnn import engines
from mlcnn.graph import load_file

__all__ = ["COLUMNS", "main", "summary"]

_ENGINES = ("onnxruntime", "openvino", "native")
_STEPS = ("original", "rewritten", "statistics re-estimated", "fine-tuned")
COLUMNS = (
    "network", *_STEPS, "to the original, points (95 %)", "from scratch in the new order",
    *_ENGINES,
)  # fmt: skip


def speed(original: ir.Model, fused: ir.Model, budget_s: float) -> dict[str, float]:
    """How many times as fast the second is in each engine, by processor time."""
    found: dict[str, float] = {}
    for name in _ENGINES:
        if name not in engines.available():
            continue
        runners: dict[str, Any] = {}
        for variant, model in (("original", original), ("fused", fused)):
            (value,) = model.graph.inputs
            shape = [1, *(int(size) for size in list(value.shape or ())[1:])]  # pyright: ignore
            images = np.random.default_rng(0).standard_normal(shape).astype(np.float32)
            runners[variant] = partial(prepare(name, model).run, {str(value.name): images})
        times = samples(runners, budget_s, processor_time=True)["samples"]
        pairs = zip(times["original"], times["fused"], strict=True)
        found[name] = median(slow / fast for slow, fast in pairs)
    return found


def _result(folder: Path) -> dict[str, Any]:
    return json.loads((folder / "result.json").read_text(encoding="utf-8"))


def _trained(folder: Path | None) -> dict[str, Any] | None:
    """Of a run of ``mlcnn train``: its accuracy, and what it was trained for."""
    if folder is None:
        return None
    found = _result(folder)
    keys = ("recipe", "limit", "hardware", "where")
    return {"top1": found["test"]["top1"], **{key: found.get(key) for key in keys}}


def _row(given: argparse.Namespace) -> Row:
    tuned = _result(given.finetuned)
    before, after = (
        load_file(folder / f"{_result(folder)['name']}.onnx")
        for folder in (given.original, given.finetuned)
    )
    return {
        "network": given.name, "accuracy": tuned["accuracy"], "passes": tuned["passes"],
        "original": _trained(given.original), "scratch": _trained(given.scratch),
        "finetuned": {key: tuned.get(key) for key in ("recipe", "limit", "hardware", "where")},
        "speed": speed(before, after, given.seconds),
        "conditions": conditions(argparse.Namespace(processor_time=True)),
    }  # fmt: skip


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """Cells of ``COLUMNS``."""
    lines: list[list[str]] = []
    for row in rows:
        steps = {step["variant"]: step for step in row["accuracy"]}
        change = steps["fine-tuned"]["difference"]
        points = [f"{100 * share:.2f}" for share in (change["top1"], *change["interval"])]
        scratch = row["scratch"]
        lines.append([
            row["network"],
            *(f"{100 * steps[name]['top1']:.2f}" if name in steps else "" for name in _STEPS),
            "{} ({} to {})".format(*points),
            "" if scratch is None else f"{100 * scratch['top1']:.2f}",
            *(f"{row['speed'][name]:.2f}" if name in row["speed"] else "" for name in _ENGINES),
        ])  # fmt: skip
    return lines


def main() -> None:
    """Measure a network, keep its row, and print all."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.recovery", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("name", help="of the row, as the table shows it")
    parser.add_argument("--original", type=Path, required=True)
    parser.add_argument("--finetuned", type=Path, required=True)
    parser.add_argument("--scratch", type=Path)
    parser.add_argument("--seconds", type=float, default=4, help="of measuring per engine")
    parser.add_argument("--out", type=Path, default=KEPT / "recovery.json")
    given = parser.parse_args()
    text = given.out.read_text(encoding="utf-8") if given.out.exists() else "[]"
    rows: list[Row] = [row for row in json.loads(text) if row["network"] != given.name]
    rows.append(_row(given))
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    show("approximate passes, recovered", COLUMNS, summary(rows))
    print(f"results: {given.out}")


if __name__ == "__main__":
    main()
