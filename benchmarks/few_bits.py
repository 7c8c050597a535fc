"""Accuracy of weights and activations of few bits against the epochs that they were trained for.

A point with 0 epochs is calibrated only. Each of the others is a fine-tuning of its own by DoReFa's
rounding, with half a cosine over its epochs. Accuracy is that on the test images in an engine. A
point that is in the results is not run again, and one that was interrupted goes on from its
checkpoint. `{seed}` in the name of the weights stands for the seed, for networks that were trained
with it:

    python -m benchmarks.few_bits resnet20 --weights FILE.npz --data FOLDER_OF_CIFAR10_BINARY
"""

import argparse
import json
import re
import time
from collections.abc import Mapping, Sequence
from itertools import groupby, product
from pathlib import Path
from statistics import mean
from typing import Any

import torch

import mlcnn
from benchmarks.results import FOLDER, KEPT, Row, conditions, show
from mlcnn.api import InputRange, Setting, TuneOptions
from mlcnn.reproduce.study.statistics import mean_over_seeds
from mlcnn.training import Hardware, Precision

__all__ = ["COLUMNS", "main", "points", "summary"]

COLUMNS = (
    "few bits", "epochs", "seeds", "accuracy, %", "95 % interval", "drop, points",
    "95 % interval", "to training, points", "device", "precision", "processor, s",
)  # fmt: skip

_BITS = ((8, 8), (4, 4), (2, 2), (1, 2))
_EPOCHS = (0, 0.15, 0.5, 1)
_KEY = ("network", "weight_bits", "input_bits", "epochs", "learning_rate", "clip", "seed", "test")


def points(given: argparse.Namespace, known: list[Row]) -> list[dict[str, Any]]:
    """The points that are asked for and not known, the cheapest first."""
    wanted = [
        {"network": given.network, "weight_bits": weights, "input_bits": inputs, "epochs": epochs,
         "learning_rate": given.learning_rate, "clip": given.input_range, "seed": seed,
         "test": given.test_images}
        for epochs, (weights, inputs), seed in product(
            sorted(given.epochs), given.bits, given.seeds
        )
        if epochs or weights > 1  # signs are trained only
    ]  # fmt: skip
    there = [{key: row[key] for key in _KEY} for row in known]
    return [point for point in wanted if point not in there]


def _tuning(point: Mapping[str, Any], given: argparse.Namespace) -> TuneOptions | None:
    if not point["epochs"]:
        return None
    name = "-".join(str(point[key]) for key in _KEY)
    checkpoint = given.checkpoints / f"{name}.npz"
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    return TuneOptions(
        point["epochs"],
        point["learning_rate"],
        input_range=InputRange(point["clip"]),
        hardware=Hardware(given.device, Precision(given.precision)),
        seed=point["seed"],
        checkpoint=checkpoint,
    )


def _run(point: Mapping[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """Calibrate or train one point, measure it, and keep the network."""
    start, tuning = time.process_time(), _tuning(point, given)
    found = mlcnn.quantize(
        point["network"],
        given.data,
        mlcnn.QuantizeOptions(
            Setting(weight_bits=point["weight_bits"], input_bits=point["input_bits"]),
            tuning=tuning,
            engines=(given.engine,),
            test=point["test"],
        ),
        weights=given.weights and given.weights.format(seed=point["seed"]),
    )
    if tuning is not None and tuning.checkpoint is not None:
        found.save(tuning.checkpoint.with_suffix(".onnx"))
        tuning.checkpoint.unlink(missing_ok=True)
    (row,) = found.accuracies
    return {
        **point,
        **row.to_json(),
        "images": row.after.images,
        "precision": given.precision,
        "processor_s": round(time.process_time() - start, 1),
        "device": given.device if given.device == "cpu" else torch.cuda.get_device_name(),
    }


def _bits(text: str) -> tuple[int, int]:
    found = re.fullmatch(r"W(\d)A(\d)", text, re.IGNORECASE)
    if found is None:
        raise argparse.ArgumentTypeError(f"{text}: give bits as W2A2")
    return int(found[1]), int(found[2])


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.few_bits", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("network")
    parser.add_argument("--weights")
    parser.add_argument("--data", required=True)
    parser.add_argument("--bits", type=_bits, nargs="+", default=_BITS, help="as W2A2")
    parser.add_argument("--epochs", type=float, nargs="+", default=_EPOCHS)
    parser.add_argument("--learning-rate", type=float, default=0.01)
    parser.add_argument("--input-range", default="learned", choices=[*InputRange])
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--test-images", type=int)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu", help="to train on: cpu, or cuda")
    parser.add_argument("--precision", default="fp32", choices=[*Precision], help="to train in")
    parser.add_argument("--engine", default="openvino", help="that accuracy is measured in")
    parser.add_argument("--checkpoints", type=Path, default=FOLDER / "few_bits")
    parser.add_argument("--out", type=Path, default=KEPT / "few_bits.json")
    return parser.parse_args()


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """Cells of ``COLUMNS``, a curve after the other, the seeds of a point together."""
    return [_cells(list(seeds)) for _, seeds in groupby(sorted(rows, key=_curve), _curve)]


def _cells(rows: Sequence[Row]) -> list[str]:
    """One point: of one seed the interval is that of the test images, else Student's of seeds."""
    row, after, drops = rows[0], [r["after"] for r in rows], [r["drop_points"] for r in rows]
    ends, of_drop = row["interval"], row["drop_interval"]
    if len(rows) > 1:
        found = mean_over_seeds(after, row["images"]), mean_over_seeds(drops, row["images"])
        ends, of_drop = ((each.low, each.high) for each in found)
    apart = [100 * abs(r["trained"] - r["after"]) for r in rows if r["trained"] is not None]
    device = row["conditions"]["processor"]["name"] if row["device"] == "cpu" else row["device"]
    return [
        f"{row['network']}, W{row['weight_bits']}A{row['input_bits']}", f"{row['epochs']:g}",
        f"{len(rows)}", f"{100 * mean(after):.2f}",
        " to ".join(f"{100 * end:.2f}" for end in ends), f"{mean(drops):.2f}",
        " to ".join(f"{end:.2f}" for end in of_drop), f"{max(apart):.2f}" if apart else "",
        device, row["precision"] if row["epochs"] else "",
        f"{mean(r['processor_s'] for r in rows):.0f}",
    ]  # fmt: skip


def _curve(row: Row) -> tuple[str, str, float, float, float, str, float]:
    return (
        row["network"], str(row["test"]), -row["weight_bits"], -row["input_bits"], row["epochs"],
        row["clip"], row["learning_rate"],
    )  # fmt: skip


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
