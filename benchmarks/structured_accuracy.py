"""Accuracy of networks that are trained from scratch in structured weights, over seeds.

Each row is a network, its data and a pipeline that it is rewritten by before it is trained; a row
that is in the results is not run again, and one that was interrupted goes on from its checkpoint:

    python -m benchmarks.structured_accuracy --mnist FOLDER --cifar10 FOLDER

Beside networks of CIFAR-10 stand dense ones of fewer channels, with as many numbers as each has in
blocks. Differences are paired by seed and by test image.
"""

import argparse
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import nn

from benchmarks.results import FOLDER, KEPT, Row, conditions, show
from examples import small_vgg
from mlcnn import training
from mlcnn.api import ImageOptions, Trained, TrainOptions, train
from mlcnn.reproduce.study.records import packed, unpacked
from mlcnn.reproduce.study.statistics import Estimate, mean_over_seeds, paired_difference
from mlcnn.training import Data, ImageSet, Recipe
from mlcnn.zoo import Pooling
from mlcnn.zoo.resnet_cifar import resnet20

__all__ = [
    "CASES", "COLUMNS", "MNIST_RECIPE", "Case", "lenet5", "main", "resized", "summary", "trained",
]  # fmt: skip

COLUMNS = (
    "network", "block", "numbers", "top-1, % (95 %)", "less dense, points", "less narrower, points",
    "seeds", "epochs",
)  # fmt: skip


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
        limit: at most so many training images; None for all.
        instead_of: a network and its block size that this one is to be compared with.
    """

    name: str
    network: Callable[[], nn.Module]
    data: str
    side: int
    blocks: tuple[int, ...]
    recipe: Recipe
    limit: int | None = None
    instead_of: tuple[str, int] | None = None


MNIST_RECIPE = Recipe(epochs=10, learning_rate=0.05, crop=2, flip=False, weight_decay=1e-4)
# A shift by 2 of 16 pixels is more than so small a net can learn beside the digits.
_SMALL = Recipe(epochs=10, learning_rate=0.05, crop=0, flip=False, weight_decay=1e-5)
# Far from converged: what two cores train in an hour or two, all rows together.
_CIFAR = Recipe(epochs=4, learning_rate=0.1, warmup_epochs=0.5)
_FEW = 20_000
_CIFAR_NETWORKS: dict[str, Callable[..., nn.Module]] = {
    "small_vgg": small_vgg.network,
    "resnet20": partial(resnet20, 10, Pooling.AVG),
}
# Channels of each stage in a dense network with as many numbers as in blocks of each size.
_NARROWER = {
    "small_vgg": {4: (16, 32, 49), 8: (12, 24, 34), 16: (9, 18, 25)},
    "resnet20": {4: (8, 16, 32), 8: (6, 12, 23), 16: (4, 8, 17)},
}


def _cifar_cases(name: str) -> list[Case]:
    """A network in blocks, and the narrower ones."""
    made = _CIFAR_NETWORKS[name]
    blocks = (1, *_NARROWER[name])
    cases = [Case(name, made, "cifar10", 32, blocks, _CIFAR, _FEW)]
    for block, widths in _NARROWER[name].items():
        narrow = f"{name} {'-'.join(map(str, widths))}"
        network = partial(made, widths=widths)
        cases.append(Case(narrow, network, "cifar10", 32, (1,), _CIFAR, _FEW, (name, block)))
    return cases


CASES = (
    Case("mlp 256-128-128-10", lambda: _mlp(256, 128), "mnist", 16, (1, 64, 128), _SMALL),
    Case("mlp 121-64-64-10", lambda: _mlp(121, 64), "mnist", 11, (1, 32, 64), _SMALL),
    Case("lenet5", lenet5, "mnist", 28, (1, 4, 8, 16), MNIST_RECIPE),
    *_cifar_cases("small_vgg"),
    *_cifar_cases("resnet20"),
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
    hardware = training.Hardware(precision=training.Precision(given.precision))
    return train(
        case.network(),
        data,
        TrainOptions(case.recipe, hardware, seed, limit=case.limit),
        ImageOptions(),
        folder=given.checkpoints / name,
        passes=passes,
    )


def _run(case: Case, block: int, seed: int, data: Data, given: argparse.Namespace) -> Row:
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
        "limit": case.limit, "right": packed(found.right),
    }  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.structured_accuracy",
        description=(__doc__ or "").splitlines()[0],
    )
    parser.add_argument("networks", nargs="*", help="or their first words; by default all")
    parser.add_argument("--mnist", help="folder of the MNIST files")
    parser.add_argument("--cifar10", help="folder of the CIFAR-10 files")
    parser.add_argument("--blocks", type=int, nargs="*", help="by default all; 1 for dense")
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
    rows: list[Row] = (
        json.loads(given.out.read_text(encoding="utf-8")) if given.out.exists() else []
    )
    told = conditions(argparse.Namespace(processor_time=True)) | {"threads": given.threads}
    for case in CASES:
        path = getattr(given, case.data)
        blocks = [block for block in case.blocks if _asked(case, block, given)]
        if path is None or not blocks:
            continue
        data = resized(training.open_data(path), case.side)
        for seed in range(given.seeds):
            for block in blocks:
                key = {"network": case.name, "block": block, "seed": seed}
                if any(all(row[name] == key[name] for name in key) for row in rows):
                    continue
                rows.append({**_run(case, block, seed, data, given), "conditions": told})
                given.out.parent.mkdir(parents=True, exist_ok=True)
                given.out.write_text(json.dumps(rows, indent=1) + "\n", encoding="utf-8")
    show("structured weights, trained from scratch", COLUMNS, summary(rows))
    print(f"results: {given.out}")


def _asked(case: Case, block: int, given: argparse.Namespace) -> bool:
    """Narrower networks go with the blocks that they are to be compared with."""
    named = not given.networks or not {case.name, case.name.split()[0]}.isdisjoint(given.networks)
    size = block if case.instead_of is None else case.instead_of[1]
    return named and (not given.blocks or size in given.blocks)


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """Cells of ``COLUMNS`` for each network and block size; differences where bits are kept."""
    groups: dict[tuple[str, int], list[Row]] = {}
    for row in rows:
        groups.setdefault((row["network"], row["block"]), []).append(row)
    narrower = {case.instead_of: (case.name, 1) for case in CASES if case.instead_of}
    return [
        [key[0], str(key[1]), f"{mine[0]['parameters']:,}",
         _cell(mean_over_seeds([row["top1"] for row in mine], mine[0]["images"])),
         _less(mine, groups.get((key[0].split()[0], 1), [])),
         _less(mine, groups.get(narrower.get(key, ("", 0)), [])),
         str(len(mine)), str(mine[0]["recipe"]["epochs"])]
        for key, mine in groups.items()
    ]  # fmt: skip


def _cell(found: Estimate) -> str:
    """A share, or a difference of shares, and its interval as far as there are such shares."""
    low, high = max(found.low, -1), min(found.high, 1)
    return f"{100 * found.value:.2f} ({100 * low:.2f} to {100 * high:.2f})"


def _less(mine: Sequence[Row], other: Sequence[Row]) -> str:
    """The difference, empty if it is the same network or no seed is in both with its bits."""
    bits = [
        {row["seed"]: unpacked(row["right"], row["images"]) for row in rows if "right" in row}
        for rows in (mine, other)
    ]
    seeds = sorted(bits[0].keys() & bits[1].keys())
    if not seeds or mine is other:
        return ""
    return _cell(paired_difference(*([each[seed] for seed in seeds] for each in bits)))


if __name__ == "__main__":
    main()
