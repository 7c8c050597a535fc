"""Networks that compare beside the same with fixed taps, and with learnt ones.

All are the network `lbcnn_cnn` of the zoo: blocks of a 3x3 convolution, ReLU and a 1x1 convolution
[LBCNN]. A pass fixes the taps of the 3x3 convolutions, or puts comparisons of taps in place of
each block's layers, before the network is trained; recipe, images and seeds are the same for all.
A point that is in the results is not run again, and one that was interrupted goes on:

    python -m benchmarks.comparator_networks --data FOLDER_OF_MNIST --seeds 0 1 2

With --codes, networks that compare and are trained become codes besides, weights and inputs of
comparisons of 8 bits after calibration.
"""

import argparse
import json
import time
from collections.abc import Sequence
from itertools import groupby, product
from pathlib import Path
from statistics import mean
from typing import Any

import onnx_ir as ir
import torch

import mlcnn
from benchmarks.results import FOLDER, KEPT, Row, conditions, show
from mlcnn import counting
from mlcnn.api import QuantizeOptions, Setting, TrainOptions, train
from mlcnn.graph import constant, layer_name
from mlcnn.reproduce.study.statistics import mean_over_seeds
from mlcnn.training import Recipe
from mlcnn.workload import Operations

__all__ = ["COLUMNS", "main", "points", "summary"]

COLUMNS = (
    "data, network", "epochs", "seeds", "accuracy, %", "95 % interval", "in codes, %", "trained",
    "multiplications", "additions", "comparisons", "an epoch, processor s",
)  # fmt: skip

NETWORKS = {
    "CNN": None,
    "LBCNN": "fix-taps",
    "CMPNET": "compare-taps",
    "CMPNET, 2 pairs": "compare-taps{pairs=2}",
    "CMPNET, 8 pairs": "compare-taps{pairs=8}",
    "CMPNET, pairs of each channel": "compare-taps{share=1}",
    "CMPNET, taps and centre": "compare-taps{centre=true}",
}
"""By name: the pass that makes the network of the CNN."""

_BASE = "lbcnn_cnn"
_MIRRORED = ("cifar10", "cifar100")
_CROP = {"mnist": 2}
_KEY = ("data", "network", "epochs", "limit", "seed")


def points(given: argparse.Namespace, known: list[Row]) -> list[dict[str, Any]]:
    """The points that are asked for and not known, seed after seed."""
    name = Path(given.data).name
    wanted = [
        {"data": name, "network": network, "epochs": given.epochs, "limit": given.limit,
         "seed": seed}
        for seed, network in product(given.seeds, given.networks)
    ]  # fmt: skip
    there = [{key: row[key] for key in _KEY} for row in known]
    return [point for point in wanted if point not in there]


def _folder(point: dict[str, Any], given: argparse.Namespace) -> Path:
    name = "-".join(str(point[key]) for key in _KEY)
    return given.runs / "".join(c if c.isalnum() or c in "-_" else "_" for c in name)


def _run(point: dict[str, Any], given: argparse.Namespace) -> dict[str, Any]:
    """Train one network, and count it."""
    data = point["data"]
    recipe = Recipe(epochs=point["epochs"], crop=_CROP.get(data, 4), flip=data in _MIRRORED)
    start = time.process_time()
    trained = train(
        _BASE,
        given.data,
        TrainOptions(recipe, seed=point["seed"], limit=point["limit"]),
        folder=_folder(point, given),
        passes=NETWORKS[point["network"]],
        notice=print,
    )
    spent = time.process_time() - start
    after = _operations(trained.model)
    return {
        **point,
        "accuracy": trained.test.top1,
        "images": trained.test.images,
        "validation": trained.history[-1].validation,
        "parameters": _trained(trained.model),
        "multiplications": after.multiplications,
        "additions": after.additions,
        "comparisons": after.comparisons,
        "processor_s": round(spent / point["epochs"], 2),
        "codes": None,
    }


def _operations(model: ir.Model) -> Operations:
    """What a network computes; a fixed tap of 1 or -1 adds, and multiplies nothing."""
    found, shares = Operations(), _shares(model)
    for row in counting.count(model).layers:
        share = shares.get(row.name)
        chosen = row.chosen
        taken = Operations(additions=round((share or 0) * chosen.multiplications))
        found += chosen if share is None else taken
    return found


def _shares(model: ir.Model) -> dict[str, float]:
    """Which share of a layer's fixed taps is not zero."""
    found = dict[str, float]()
    for node in model.graph:
        maker = node.inputs[1].producer() if node.op_type == "Conv" and node.inputs[1] else None
        taps = None if maker is None else constant(maker.inputs[0])
        if taps is not None:
            found[layer_name(node)] = float((taps != 0).mean())
    return found


def _trained(model: ir.Model) -> int:
    """Numbers that are trained: floats of layers and norms, statistics not."""
    kept = dict[str, int]()
    for node in model.graph:
        norm = node.op_type == "BatchNormalization"
        for value in node.inputs[1:3] if norm else node.inputs[1:]:
            array = constant(value)
            if array is not None and array.dtype.kind == "f" and node.op_type in _LEARNING:
                kept[(value and value.name) or ""] = array.size
    return sum(kept.values())


_LEARNING = frozenset({"BatchNormalization", "ComparatorConv", "Conv", "Gemm"})


def _codes(point: dict[str, Any], given: argparse.Namespace) -> float:
    """Accuracy in codes of 8 bits, after calibration."""
    (file,) = _folder(point, given).glob("*.onnx")
    found = mlcnn.quantize(
        str(file), given.data, QuantizeOptions(Setting(), engines=(given.engine,)),
        images=mlcnn.api.ImageOptions(mean=(0.5,), std=(0.25,)),
    )  # fmt: skip
    return found.accuracies[0].after.top1


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.comparator_networks",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("--data", required=True, help="a folder named mnist, cifar10, ...")
    parser.add_argument("--networks", nargs="+", default=["CNN", "LBCNN", "CMPNET"],
                        choices=[*NETWORKS])  # fmt: skip
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--epochs", type=int, default=15)
    parser.add_argument("--limit", type=int, help="of the training images")
    parser.add_argument("--codes", action="store_true", help="of networks that compare")
    parser.add_argument("--engine", default="onnxruntime", help="that codes run in")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=FOLDER / "comparator_networks")
    parser.add_argument("--out", type=Path, default=KEPT / "comparator_networks.json")
    return parser.parse_args()


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """Cells of ``COLUMNS``: a network after the other, its seeds together."""
    return [_cells(list(seeds)) for _, seeds in groupby(sorted(rows, key=_order), _order)]


def _order(row: Row) -> tuple[str, int, int, int]:
    return row["data"], row["limit"] or 0, row["epochs"], [*NETWORKS].index(row["network"])


def _cells(rows: Sequence[Row]) -> list[str]:
    row, found = rows[0], [each["accuracy"] for each in rows]
    spread = mean_over_seeds(found, row["images"]) if len(rows) > 1 else None
    codes = [each["codes"] for each in rows if each["codes"] is not None]
    limited = "" if row["limit"] is None else f", {row['limit']:,} images"
    return [
        f"{row['data']}{limited}, {row['network']}", f"{row['epochs']}", f"{len(rows)}",
        f"{100 * mean(found):.2f}",
        "" if spread is None else f"{100 * spread.low:.2f} to {100 * spread.high:.2f}",
        f"{100 * mean(codes):.2f}" if codes else "", f"{row['parameters']:,}",
        f"{row['multiplications']:,}", f"{row['additions']:,}", f"{row['comparisons']:,}",
        f"{mean(each['processor_s'] for each in rows):.1f}",
    ]  # fmt: skip


def main() -> None:
    """Train what is missing, and print the table."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    told = conditions(argparse.Namespace(processor_time=True)) | {"threads": given.threads}
    for point in points(given, _known(given.out)):
        row = {**_run(point, given), "conditions": told}
        _keep(given.out, [*_known(given.out), row])
        show("networks that compare", COLUMNS, summary(_known(given.out)))
    if given.codes:
        known = _known(given.out)
        for row in known:
            if row["data"] == Path(given.data).name and row["comparisons"] and not row["codes"]:
                row["codes"] = _codes({key: row[key] for key in _KEY}, given)
                _keep(given.out, known)
        show("networks that compare", COLUMNS, summary(known))
    print(f"results: {given.out}")


def _known(path: Path) -> list[Row]:
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else []


def _keep(path: Path, rows: Sequence[Row]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
