"""Accuracy of networks that are trained from scratch in structured weights, over seeds.

Each row is a network, its data and a pipeline that it is rewritten by before it is trained; a row
that is in the results is not run again, and one that was interrupted goes on from its checkpoint:

    python -m benchmarks.structured_accuracy --mnist FOLDER --cifar10 FOLDER
"""

import argparse
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from benchmarks.results import FOLDER, KEPT, conditions, show
from examples import small_vgg
from mlcnn import training
from mlcnn.api import ImageOptions, Trained, TrainOptions, train
from mlcnn.reproduce.study.statistics import mean_over_seeds
from mlcnn.training import Data, ImageSet, Recipe

__all__ = ["CASES", "MNIST_RECIPE", "Case", "lenet5", "main", "resized", "trained"]


def _mlp(inputs: int, hidden: int) -> nn.Module:
    """A net of [DATE 2018]: inputs - hidden - hidden - 10."""
    return nn.Sequential(
        nn.Flatten(), nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, hidden), nn.ReLU(),
        nn.Linear(hidden, 10),
    )  # fmt: skip


def lenet5() -> nn.Module:
    """A LeNet-5 for MNIST, with as many channels as blocks of 16 need."""
    return nn.Sequential(
        nn.Conv2d(1, 16, 5, padding=2), nn.ReLU(), nn.MaxPool2d(2), nn.Conv2d(16, 32, 5), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(800, 128), nn.ReLU(), nn.Linear(128, 64),
        nn.ReLU(), nn.Linear(64, 10),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Case:
    """A network to train.

    Attributes:
        name: of it.
        network: makes it.
        data: mnist or cifar10.
        side: of the images, after resizing.
        blocks: sizes; 1 for dense.
        recipe: how it is trained.
    """

    name: str
    network: Callable[[], nn.Module]
    data: str
    side: int
    blocks: tuple[int, ...]
    recipe: Recipe


MNIST_RECIPE = Recipe(epochs=10, learning_rate=0.05, crop=2, flip=False, weight_decay=1e-4)
# A shift by 2 of 16 pixels is more than so small a net can learn beside the digits.
_SMALL = Recipe(epochs=10, learning_rate=0.05, crop=0, flip=False, weight_decay=1e-5)
_CIFAR = Recipe(epochs=6, learning_rate=0.1, warmup_epochs=1)
CASES = (
    Case("mlp 256-128-128-10", lambda: _mlp(256, 128), "mnist", 16, (1, 64, 128), _SMALL),
    Case("mlp 121-64-64-10", lambda: _mlp(121, 64), "mnist", 11, (1, 32, 64), _SMALL),
    Case("lenet5", lenet5, "mnist", 28, (1, 4, 8, 16), MNIST_RECIPE),
    Case("small_vgg", small_vgg.network, "cifar10", 32, (1, 4, 8, 16), _CIFAR),
)


def resized(data: Data, side: int) -> Data:
    """The images, bilinearly resized to a height and width of ``side``."""

    def scaled(images: ImageSet) -> ImageSet:
        if images.images.shape[2] == side:
            return images
        pixels = torch.from_numpy(images.images.copy()).float()
        small = F.interpolate(pixels, (side, side), mode="bilinear", antialias=True)
        return ImageSet(images.name, small.round().byte().numpy(), images.labels, images.classes)

    parts = {
        part: scaled(getattr(data, part))
        for part in ("training", "calibration", "validation", "test")
    }
    return Data(data.name, **parts, class_names=data.class_names)


def trained(case: Case, block: int, seed: int, data: Data, given: argparse.Namespace) -> Trained:
    """A network of a case, trained or taken from its checkpoint.

    Args:
        case: the network.
        block: one of its blocks.
        seed: of the first weights and the order of images.
        data: resized.
        given: has ``precision`` and the folder ``checkpoints``.
    """
    # Neither of the ends has channels for blocks in a convolutional network.
    ends = ",ends=true" if case.name.startswith("mlp") else ""
    passes = None if block == 1 else f"block-circulant{{block={block}{ends}}}"
    name = f"{case.name.replace(' ', '-')}-{block}-{seed}"
    torch.manual_seed(seed)
    return train(
        case.network(),
        data,
        TrainOptions(
            case.recipe, training.Hardware(precision=training.Precision(given.precision)), seed
        ),
        ImageOptions(),
        folder=given.checkpoints / name,
        passes=passes,
    )


def _run(
    case: Case, block: int, seed: int, data: Data, given: argparse.Namespace
) -> dict[str, Any]:
    """Train one, and what came of it."""
    found = trained(case, block, seed, data, given)
    weights = sum(
        value.const_value.size
        for value in found.model.graph.initializers.values()
        if value.const_value is not None
    )
    return {
        "network": case.name, "data": data.name, "block": block, "seed": seed,
        "top1": found.test.top1, "images": found.test.images, "parameters": weights,
        "recipe": {**asdict(case.recipe), "optimizer": str(case.recipe.optimizer)},
        "seconds": found.seconds, "precision": given.precision,
    }  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.structured_accuracy",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("networks", nargs="*", help="by default all")
    parser.add_argument("--mnist", help="folder of the MNIST files")
    parser.add_argument("--cifar10", help="folder of the CIFAR-10 files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="fp32", choices=("fp32", "bf16"))
    parser.add_argument("--checkpoints", type=Path, default=FOLDER / "structured_accuracy")
    parser.add_argument("--out", type=Path, default=KEPT / "structured_accuracy.json")
    return parser.parse_args()


def main() -> None:
    """Train what is missing, and print accuracy with intervals."""
    given = _arguments()
    torch.set_num_threads(given.threads)
    rows: list[dict[str, Any]] = (
        json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else []
    )
    told = conditions(argparse.Namespace(processor_time=True)) | {"threads": given.threads}
    for case in CASES:
        path = getattr(given, case.data)
        if path is None or (given.networks and case.name not in given.networks):
            continue
        data = resized(training.open_data(path), case.side)
        for seed in range(given.seeds):
            for block in case.blocks:
                key = {"network": case.name, "block": block, "seed": seed}
                if any(all(row[name] == key[name] for name in key) for row in rows):
                    continue
                rows.append({**_run(case, block, seed, data, given), "conditions": told})
                given.out.parent.mkdir(parents=True, exist_ok=True)
                given.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    _show(rows)
    print(f"results: {given.out}")


def _show(rows: list[dict[str, Any]]) -> None:
    lines: list[list[str]] = []
    for network, block in dict.fromkeys((row["network"], row["block"]) for row in rows):
        mine = [row for row in rows if (row["network"], row["block"]) == (network, block)]
        found = mean_over_seeds([row["top1"] for row in mine], mine[0]["images"])
        low, high = 100 * found.low, 100 * found.high
        lines.append(
            [network, str(block), f"{mine[0]['parameters']:,}", f"{100 * found.value:.2f}",
             f"{low:.2f} to {high:.2f}", str(len(mine)), str(mine[0]["recipe"]["epochs"])]
        )  # fmt: skip
    columns = ("network", "block", "numbers", "top-1, %", "95 % interval", "seeds", "epochs")
    show("structured weights, trained from scratch", columns, lines)


if __name__ == "__main__":
    main()
