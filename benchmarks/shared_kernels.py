"""What sharing kernels costs a trained network before any training: accuracy, energies, counts.

Every k x k convolution gets so many basis kernels, and nothing is trained. Runs on the first test
images, and says how much of each layer's energy the best 1, 2, ... directions keep:

    python -m benchmarks.shared_kernels resnet20 --weights FILE.npz --data CIFAR10_BINARY
"""

import argparse
import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from benchmarks.results import KEPT
from mlcnn import engines, training, zoo
from mlcnn.api.machine import versions
from mlcnn.counting import executed_operations
from mlcnn.graph import constant, layer_name
from mlcnn.ops.shared_kernels import energies
from mlcnn.passes import pipeline
from mlcnn.training import ImageSet
from mlcnn.training.intervals import wilson
from mlcnn.workload import read

__all__ = ["main"]

_BATCH = 100
_RAN = "fold-batch-norm,choose{form=rebuilt}"
_COUNTED = "choose{form=two-stage}"


def _accuracy(model: ir.Model, images: np.ndarray, labels: np.ndarray) -> dict[str, Any]:
    prepared = engines.get("onnxruntime").prepare(model)
    name, right = str(model.graph.inputs[0].name), 0
    for first in range(0, len(images), _BATCH):
        part = slice(first, first + _BATCH)
        (scores,) = prepared.run({name: images[part]}).values()
        right += int((scores.argmax(1) == labels[part]).sum())
    low, high = wilson(right / len(images), len(images))
    return {"accuracy": right / len(images), "interval": [low, high], "images": len(images)}


def _multiplications(model: ir.Model) -> int:
    return sum(executed_operations(layer).multiplications for layer in read(model).layers)


def _energies(model: ir.Model) -> dict[str, list[float]]:
    """Of each layer with kernels of more than one tap, by name."""
    weights = {layer_name(n): constant(n.inputs[1]) for n in model.graph if n.op_type == "Conv"}
    return {
        name: [round(float(share), 4) for share in energies(weight.astype(np.float64))]
        for name, weight in weights.items()
        if weight is not None and weight.shape[2] * weight.shape[3] > 1
    }


def _rows(model: ir.Model, basis: list[int], test: ImageSet, images: np.ndarray) -> dict[str, Any]:
    dense = _multiplications(model)
    rows: dict[str, Any] = {"original": _accuracy(model, images, test.labels)}
    for count in basis:
        shared = pipeline.run(model, pipeline.parse(f"share-kernels{{basis={count}}}")).model
        ran, counted = (pipeline.run(shared, pipeline.parse(t)).model for t in (_RAN, _COUNTED))
        rows[str(count)] = _accuracy(ran, images, test.labels) | {
            "multiplications": _multiplications(counted) / dense
        }
        print(f"basis {count}: {rows[str(count)]}", flush=True)
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("network")
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--data", required=True)
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--basis", type=int, nargs="+", default=[8, 7, 6, 5, 4])
    parser.add_argument("--out", type=Path, default=KEPT / "shared_kernels.json")
    given = parser.parse_args()
    model = zoo.load(given.network, weights=given.weights)
    data = training.open_data(given.data)
    normal, _ = training.normal_for(data.training, zoo.describe(given.network))
    test = data.test.first(given.images)
    rows = _rows(model, given.basis, test, normal.apply(test.images))
    kept = json.loads(given.out.read_text()) if given.out.exists() else {}
    kept[given.network] = {
        "accuracy": rows, "energies": _energies(model), "conditions": {"versions": versions()},
    }  # fmt: skip
    given.out.parent.mkdir(parents=True, exist_ok=True)
    given.out.write_text(json.dumps(kept, indent=1) + "\n")
    print(f"original: {rows['original']}; written: {given.out}")


if __name__ == "__main__":
    main()
