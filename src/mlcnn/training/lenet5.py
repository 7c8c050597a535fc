"""Trains the LeNet-5 that the package carries, as the original network and as the reordered one.

``python -m mlcnn.training.lenet5 --data DIR --output DIR`` writes ``lenet5.npz``,
``lenet5-reordered.npz``, ``lenet5-tested.json`` and ``cifar10-sample.npz``. Both networks are
trained by the same recipe from several seeds; a seed means the same first weights and the same
images in the same order for both. The last 5,000 training images are held out: of each network the
seed is kept that classifies most of them. The test set decides nothing; it is used once, at the
end. The same command goes on after an interruption.
"""

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import nn

from mlcnn import zoo
from mlcnn.errors import InputError, MlcnnError
from mlcnn.nn import to_module
from mlcnn.passes import MaxToAverage, Reorder
from mlcnn.training.accuracy import right_images
from mlcnn.training.checkpoint import save_weights
from mlcnn.training.formats import load_dataset
from mlcnn.training.hardware import Hardware
from mlcnn.training.images import ImageSet, Normal
from mlcnn.training.loop import Epoch, train
from mlcnn.training.recipe import Recipe
from mlcnn.training.sample import save_sample

__all__ = ["HELD_OUT", "RECIPE", "SEEDS", "best_seed", "fresh_module", "main", "networks"]

RECIPE = Recipe(epochs=100, crop=2, weight_decay=1e-3, warmup_epochs=3, label_smoothing=0.1)
"""For both networks; the constants of the normalisation are the zoo's."""

# By what torch's first weights of a convolution are multiplied: averages of four are smaller.
_CONVOLUTION_GAIN = 4.0

HELD_OUT = 5_000
"""The last training images, which choose the seed and are not trained on."""

SEEDS = 5
"""Runs of each network."""

_ORIGINAL, _REORDERED = "lenet5", "lenet5-reordered"
# Which images each run of a network classifies correctly, by the network's name.
_Right = Mapping[str, Sequence[NDArray[np.bool_]]]


@dataclass(frozen=True, slots=True)
class _Plan:
    """What every run of both networks shares."""

    training: ImageSet
    validation: ImageSet
    recipe: Recipe
    output: Path
    device: str

    def checkpoint(self, name: str, seed: int) -> Path:
        return self.output / f"{name}-{seed}.checkpoint.npz"

    def right(self, module: nn.Module, images: ImageSet) -> NDArray[np.bool_]:
        """Which images the network classifies correctly."""
        return right_images(module, images, _normal())

    def trained(self, name: str, model: ir.Model, seed: int) -> nn.Module:
        """The network after its last epoch, on the processor; goes on from its checkpoint."""
        module = fresh_module(model, seed)
        train(
            module,
            self.training,
            self.recipe,
            normal=_normal(),
            seed=seed,
            hardware=Hardware(self.device),
            checkpoint=self.checkpoint(name, seed),
            progress=lambda history: _report(f"{name}, seed {seed}", history[-1]),
        )
        return module.cpu()


def _normal() -> Normal:
    constants = zoo.describe(_ORIGINAL).normalisation
    return Normal(constants.mean, constants.std)


def networks() -> dict[str, ir.Model]:
    """LeNet-5 by the name of its weights: the original, and its activations behind the pools."""
    original = zoo.load("lenet5")
    averaged = MaxToAverage().apply(original).model
    return {_ORIGINAL: original, _REORDERED: Reorder().apply(averaged).model}


def fresh_module(model: ir.Model, seed: int) -> nn.Module:
    """The network as a module, initialised layer by layer, in order.

    Dense layers as torch does it; the weights of convolutions are four times that.
    """
    module = to_module(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.reset_parameters()
            if isinstance(layer, nn.Conv2d):
                layer.weight.data.mul_(_CONVOLUTION_GAIN)
    return module


def best_seed(correct: Sequence[int]) -> int:
    """The seed with most held-out images classified correctly; of equal ones the smallest.

    Args:
        correct: how many each seed's run classifies correctly.
    """
    return max(range(len(correct)), key=lambda seed: (correct[seed], -seed))


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m mlcnn.training.lenet5", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10, binary")
    parser.add_argument("--output", type=Path, default=Path(), help="folder to write to")
    parser.add_argument("--seeds", type=int, default=SEEDS, help="runs of each network")
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    parser.add_argument("--device", default="cpu", help="torch device to train on, as cuda")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        recipe = replace(RECIPE, epochs=options.epochs)
        _train_both(options.data, options.output, recipe, options.seeds, options.device)
    except InputError as error:
        sys.stderr.write(f"{error}\n")
        return 2
    except MlcnnError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("interrupted; the same command goes on from the last epoch\n")
        return 130
    return 0


def _train_both(data: Path, output: Path, recipe: Recipe, seeds: int, device: str) -> None:
    _check(output, seeds, device)
    training, validation = load_dataset("cifar10", data, "train").split(HELD_OUT)
    test = load_dataset("cifar10", data, "test")
    plan = _Plan(training, validation, recipe, output, device)
    models = networks()
    modules = {n: [plan.trained(n, m, seed) for seed in range(seeds)] for n, m in models.items()}
    held_out = {n: [plan.right(m, validation) for m in of] for n, of in modules.items()}
    # The choice is made before the test set is looked at.
    chosen = {name: best_seed([int(row.sum()) for row in rows]) for name, rows in held_out.items()}
    for name, seed in chosen.items():
        save_weights(modules[name][seed], output / f"{name}.npz")
    save_sample(test, output)
    tested = {n: [plan.right(m, test) for m in of] for n, of in modules.items()}
    text = json.dumps(asdict(_record(held_out, tested, chosen)), indent=1)
    (output / "lenet5-tested.json").write_text(text + "\n")
    sys.stdout.write(text + "\n")
    for name in models:
        for seed in range(seeds):
            plan.checkpoint(name, seed).unlink()


def _record(held_out: _Right, tested: _Right, chosen: Mapping[str, int]) -> zoo.TestedPair:
    runs = {
        name: tuple(
            zoo.TrainingRun(seed, float(held_out[name][seed].mean()), float(row.mean()))
            for seed, row in enumerate(rows)
        )
        for name, rows in tested.items()
    }
    original, reordered = (tested[name][chosen[name]] for name in (_ORIGINAL, _REORDERED))
    return zoo.TestedPair(
        dataset="cifar10 test",
        images=len(original),
        original=int(original.sum()),
        reordered=int(reordered.sum()),
        only_original=int((original & ~reordered).sum()),
        only_reordered=int((reordered & ~original).sum()),
        original_runs=runs[_ORIGINAL],
        reordered_runs=runs[_REORDERED],
    )


def _check(output: Path, seeds: int, device: str) -> None:
    if not output.is_dir():
        msg = f"{output}: no such folder; create it or name another with --output"
        raise InputError(msg)
    if seeds < 1:
        msg = f"--seeds {seeds}: at least 1 run of each network is required"
        raise InputError(msg)
    Hardware(device)


def _report(name: str, epoch: Epoch) -> None:
    line = f"{name}: epoch {epoch.number}, loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.4f}\n"
    sys.stderr.write(line)


if __name__ == "__main__":
    sys.exit(main())
