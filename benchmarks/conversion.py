"""What each step of a conversion to block-circulant weights is worth.

The energy that the projection keeps in the 64 x 64 layers of a trained ResNet-20, by the order of
channels; and the accuracy of a LeNet-5 and that ResNet-20 after each step. Rows that are in the
results are not run again:

    python -m benchmarks.conversion --mnist FOLDER --cifar10 FOLDER --resnet20 WEIGHTS.npz
"""

import argparse
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch

import mlcnn
from benchmarks.results import FOLDER, KEPT, Row, conditions, show
from benchmarks.structured_accuracy import MNIST_RECIPE, lenet5
from mlcnn import training
from mlcnn.api import FINETUNE_RECIPE, ImageOptions, TrainOptions, train
from mlcnn.graph import constant
from mlcnn.ops.block_circulant import Blocks, KeptEnergy
from mlcnn.passes.channel_order import search
from mlcnn.passes.channel_spaces import Axis, Space, channel_spaces
from mlcnn.training import Data, ImageSet

__all__ = ["main"]

BLOCK = 8
RANDOM_ORDERS = 20
DENSE_EPOCHS = 5
# The command's own, with the images moved as for training from scratch. At that one's learning rate
# of 0.05 a projected LeNet-5, which has no norms, is thrown back to chance.
RECIPE = replace(FINETUNE_RECIPE, crop=MNIST_RECIPE.crop, flip=MNIST_RECIPE.flip, weight_decay=1e-4)
TESTED = 2000
"""Test images of the ResNet-20, which is not trained here."""


@dataclass(frozen=True, slots=True)
class Case:
    """A conversion to run.

    Attributes:
        network: lenet5 or resnet20.
        options: of the pass.
        epochs: of training, all steps together.
    """

    network: str
    options: str
    epochs: int = 0


CASES = (
    *(
        Case(network, f"block={block}{order}")
        for network in ("lenet5", "resnet20")
        for order in ("", ",order=searched")
        for block in (2, 4, 8)
    ),
    *(Case("lenet5", "block=8", epochs) for epochs in (1, 2)),
    Case("lenet5", "block=8,gradual=true", 3),
    Case("lenet5", "block=8", 3),
    Case("lenet5", "block=8,gradual=true,order=searched", 3),
)


def _layers(model: ir.Model) -> Iterator[ir.Value]:
    """The weights of the 3 x 3 layers of 64 channels."""
    for node in model.graph:
        weight = node.inputs[1] if node.op_type == "Conv" else None
        array = constant(weight)
        if weight is not None and array is not None and array.shape == (64, 64, 3, 3):
            yield weight


def _energy(weight: np.ndarray) -> KeptEnergy:
    return KeptEnergy(weight.astype(np.float64), Blocks(BLOCK, *weight.shape[:2]))


def _energies(weights: Path) -> Iterator[Row]:
    """Shares of the energy kept: as it is, random, each layer's order free, and one for all."""
    model = mlcnn.load("resnet20", weights=weights)
    found = {value: constant(value) for value in _layers(model)}
    arrays = {value: array for value, array in found.items() if array is not None}
    together = {value: _energy(array) for value, array in arrays.items()}
    search(channel_spaces(model), together)
    for value, array in arrays.items():
        generator = np.random.default_rng(0)
        shuffled = [
            _energy(array[generator.permutation(64)][:, generator.permutation(64)]).share
            for _ in range(RANDOM_ORDERS)
        ]
        alone = _energy(array)
        # 12 for each of 128 inputs and outputs: 1,536 swaps.
        places = np.arange(64)[:, None]
        sides = tuple(Space(64, (Axis(value, axis, places),)) for axis in (0, 1))
        search(sides, {value: alone}, swaps_per_channel=12)
        yield {
            "layer": (value.name or "").removesuffix(".weight"), "block": BLOCK,
            "given": _energy(array).share, "random": float(np.mean(shuffled)),
            "random_deviation": float(np.std(shuffled)), "free": alone.share,
            "consistent": together[value].share,
        }  # fmt: skip


@dataclass(frozen=True, eq=False)
class Bench:
    """Data, and where trained networks are found again."""

    given: argparse.Namespace

    @cache  # noqa: B019 - there is one, as long as the program runs
    def data(self, network: str) -> Data:
        """Images of a network."""
        if network == "lenet5":
            return training.open_data(self.given.mnist)
        data = training.open_data(self.given.cifar10)
        test = data.test
        part = ImageSet(test.name, test.images[:TESTED], test.labels[:TESTED], test.classes)
        return replace(data, test=part)

    def dense(self) -> ir.Model:
        """A LeNet-5 as the user has it."""
        torch.manual_seed(0)
        folder = self.given.checkpoints / "lenet5"
        options = TrainOptions(replace(MNIST_RECIPE, epochs=DENSE_EPOCHS))
        return train(lenet5(), self.data("lenet5"), options, ImageOptions(), folder=folder).model

    def run(self, case: Case) -> list[Row]:
        """A row for the original and each step of a conversion."""
        weights = None
        if case.network == "lenet5":
            source: Any = self.dense()
        else:
            source, weights = "resnet20", self.given.resnet20
        passes = f"block-circulant{{{case.options}}}"
        options = TrainOptions(replace(RECIPE, epochs=case.epochs))
        done = mlcnn.finetune(
            source, self.data(case.network), passes=passes, options=options,
            folder=self.given.checkpoints / f"{case.network}-{passes}-{case.epochs}",
            weights=weights, notice=print,
        )  # fmt: skip
        seconds = sum(epoch.seconds for epoch in done.history)
        rows = [row for row in done.accuracies if case.epochs or row.variant != "fine-tuned"]
        return [
            {**asdict(case), "step": row.variant, "top1": row.top1, "interval": row.interval,
             "images": row.images, "seconds": seconds}
            for row in rows
        ]  # fmt: skip


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.conversion", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("--mnist", help="folder of the MNIST files")
    parser.add_argument("--cifar10", help="folder of the CIFAR-10 files")
    parser.add_argument("--resnet20", type=Path, help="weights trained on CIFAR-10")
    parser.add_argument("--checkpoints", type=Path, default=FOLDER / "conversion")
    parser.add_argument(
        "--scratch", type=Path, default=KEPT / "structured_accuracy.json",
        help="results of benchmarks.structured_accuracy, to compare with",
    )  # fmt: skip
    parser.add_argument("--out", type=Path, default=KEPT / "conversion.json")
    return parser.parse_args()


def main() -> None:
    """Run what is missing, and print both tables."""
    given = _arguments()
    torch.set_num_threads(1)
    kept: dict[str, Any] = {"energy": [], "accuracy": []}
    if given.out.exists():
        kept = json.loads(given.out.read_text(encoding="utf-8"))

    def write() -> None:
        kept["conditions"] = conditions(argparse.Namespace(processor_time=False))
        given.out.parent.mkdir(parents=True, exist_ok=True)
        given.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")

    if given.resnet20 is not None and not kept["energy"]:
        kept["energy"] = list(_energies(given.resnet20))
        write()
    rows: list[Row] = kept["accuracy"]
    bench = Bench(given)
    can = {"lenet5": given.mnist is not None, "resnet20": given.cifar10 and given.resnet20}
    for case in CASES:
        if can[case.network] and not any(asdict(case).items() <= row.items() for row in rows):
            rows += bench.run(case)
            write()
    scratch = given.scratch.read_text(encoding="utf-8") if given.scratch.exists() else "[]"
    _show(kept, json.loads(scratch))


def _show(kept: dict[str, Any], scratch: list[Row]) -> None:
    columns = ("layer", "as it is", "random orders", "both orders free", "one order for all")
    parts = ("given", "random", "free", "consistent")
    lines = [[row["layer"], *(f"{row[part]:.3f}" for part in parts)] for row in kept["energy"]]
    show(f"energy that the projection keeps, blocks of {BLOCK}", columns, lines)
    lines = [
        [row["network"], row["options"], str(row["epochs"]), row["step"],
         f"{100 * row['top1']:.2f}", "{:.2f} to {:.2f}".format(*(100 * e for e in row["interval"])),
         f"{row['seconds']:.0f}"]
        for row in kept["accuracy"]
    ]  # fmt: skip
    lines += [
        ["lenet5", f"block={row['block']}", str(row["recipe"]["epochs"]),
         f"from scratch, seed {row['seed']}", f"{100 * row['top1']:.2f}", "",
         f"{row['seconds']:.0f}"]
        for row in scratch
        if row["network"] == "lenet5"
    ]  # fmt: skip
    columns = ("network", "pass", "epochs", "after", "top-1, %", "95 % interval", "seconds")
    show("accuracy", columns, lines)


if __name__ == "__main__":
    main()
