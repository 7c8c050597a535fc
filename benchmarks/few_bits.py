"""Accuracy of weights and activations of few bits against the epochs that they were trained for.

Each point is a fine-tuning of its own by DoReFa's rounding, with half a cosine over its epochs, and
accuracy on the test images in an engine. A point that is in the results is not run again, and one
that was interrupted goes on from its checkpoint:

    python -m benchmarks.few_bits resnet20 --weights FILE.npz --data FOLDER_OF_CIFAR10_BINARY
"""

import argparse
import json
import time
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import torch

import mlcnn
from benchmarks.results import FOLDER, KEPT, Row, conditions, show
from mlcnn.api import Setting, TuneOptions
from mlcnn.training import Hardware, Precision

__all__ = ["BITS", "COLUMNS", "main", "points", "summary"]

COLUMNS = (
    "few bits", "epochs", "accuracy, %", "95 % interval", "drop, points", "test images", "device",
    "precision", "processor, s",
)  # fmt: skip

BITS = ((2, 2), (1, 2))
"""Of weights, and of activations."""

_EPOCHS = (0.05, 0.15, 0.5, 1, 2)
_KEY = ("network", "weight_bits", "input_bits", "epochs", "learning_rate", "seed", "test")


def points(given: argparse.Namespace, known: list[Row]) -> list[dict[str, Any]]:
    """The points that are asked for and not known, the cheapest first."""
    wanted = [
        {"network": given.network, "weight_bits": weights, "input_bits": inputs, "epochs": epochs,
         "learning_rate": given.learning_rate, "seed": given.seed, "test": given.test_images}
        for epochs, (weights, inputs) in product(sorted(given.epochs), BITS)
    ]  # fmt: skip
    there = [{key: row[key] for key in _KEY} for row in known]
    return [point for point in wanted if point not in there]


def _run(point: Mapping[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """Train one point, and measure it."""
    name = "-".join(str(point[key]) for key in _KEY)
    checkpoint = given.checkpoints / f"{name}.npz"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    start = time.process_time()
    found = mlcnn.quantize(
        point["network"],
        given.data,
        mlcnn.QuantizeOptions(
            Setting(weight_bits=point["weight_bits"], input_bits=point["input_bits"]),
            tuning=TuneOptions(
                point["epochs"],
                point["learning_rate"],
                hardware=Hardware(given.device, Precision(given.precision)),
                seed=point["seed"],
                checkpoint=checkpoint,
            ),
            engines=(given.engine,),
            test=point["test"],
        ),
        weights=given.weights,
    )
    checkpoint.unlink(missing_ok=True)
    (row,) = found.accuracies
    return {
        **point,
        **row.to_json(),
        "images": row.after.images,
        "agreement": found.agreement,
        "precision": given.precision,
        "processor_s": round(time.process_time() - start, 1),
        "device": given.device if given.device == "cpu" else torch.cuda.get_device_name(),
    }


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.few_bits", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("network")
    parser.add_argument("--weights", type=Path)
    parser.add_argument("--data", required=True)
    parser.add_argument("--epochs", type=float, nargs="+", default=_EPOCHS)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test-images", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="to train on: cpu, or cuda")
    parser.add_argument("--precision", default="fp32", choices=[*Precision], help="to train in")
    parser.add_argument("--engine", default="openvino", help="that accuracy is measured in")
    parser.add_argument("--checkpoints", type=Path, default=FOLDER / "few_bits")
    parser.add_argument("--out", type=Path, default=KEPT / "few_bits.json")
    return parser.parse_args()


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """Cells of ``COLUMNS``, a curve after the other."""
    return [
        [f"{row['network']}, W{row['weight_bits']}A{row['input_bits']}", f"{row['epochs']:g}",
         f"{100 * row['after']:.2f}", " to ".join(f"{100 * end:.2f}" for end in row["interval"]),
         f"{row['drop_points']:.2f}", f"{row['images']}",
         row["conditions"]["processor"]["name"] if row["device"] == "cpu" else row["device"],
         row["precision"], f"{row['processor_s']:.0f}"]
        for row in sorted(rows, key=_curve)
    ]  # fmt: skip


def _curve(row: Row) -> tuple[str, str, int, float]:
    return row["network"], str(row["test"]), -row["weight_bits"], row["epochs"]


def main() -> None:
    """Train what is missing, and print the curves."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    known: list[Row] = (
        json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else []
    )
    told = conditions(argparse.Namespace(processor_time=True)) | {"threads": given.threads}
    for point in points(given, known):
        known.append({**_run(point, given), "conditions": told})
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
    show("accuracy against epochs of fine-tuning", COLUMNS, summary(known))
    print(f"results: {given.out}")


if __name__ == "__main__":
    main()
