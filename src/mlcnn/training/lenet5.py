"""Trains the LeNet-5 that the package carries, as the original network and as the reordered one.

``python -m mlcnn.training.lenet5 --data DIR --output DIR`` writes ``lenet5.npz``,
``lenet5-reordered.npz`` and ``cifar10-sample.npz``. Both networks start from the same weights and
see the same images in the same order. About ten minutes on one idle core; the same command goes
on after an interruption.
"""

import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlcnn import zoo
from mlcnn.errors import InputError, MlcnnError
from mlcnn.nn import to_module
from mlcnn.passes import MaxToAverage, Reorder
from mlcnn.training.accuracy import accuracy
from mlcnn.training.checkpoint import save_weights
from mlcnn.training.images import ImageSet, load_dataset
from mlcnn.training.loop import Epoch, train
from mlcnn.training.recipe import Recipe
from mlcnn.training.sample import save_sample

__all__ = ["RECIPE", "fresh_module", "main", "networks"]

RECIPE = Recipe(epochs=30, crop=2, weight_decay=1e-4)
"""For both networks; the constants of the normalisation are the zoo's."""


def networks() -> dict[str, ir.Model]:
    """LeNet-5 by the name of its weights: the original, and its activations behind the pools."""
    original = zoo.load("lenet5")
    averaged = MaxToAverage().apply(original).model
    return {"lenet5": original, "lenet5-reordered": Reorder().apply(averaged).model}


def fresh_module(model: ir.Model, seed: int) -> nn.Module:
    """The network as a module, its layers as torch initialises them, in order."""
    module = to_module(model)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for layer in module.modules():
            if isinstance(layer, nn.Conv2d | nn.Linear):
                layer.reset_parameters()
    return module


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m mlcnn.training.lenet5", description=__doc__)
    parser.add_argument("--data", type=Path, required=True, help="folder of CIFAR-10, binary")
    parser.add_argument("--output", type=Path, default=Path(), help="folder to write to")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        _train_both(
            options.data, options.output, replace(RECIPE, epochs=options.epochs), options.seed
        )
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


def _train_both(data: Path, output: Path, recipe: Recipe, seed: int) -> None:
    if not output.is_dir():
        msg = f"{output}: no such folder; create it or name another with --output"
        raise InputError(msg)
    training_images = load_dataset("cifar10", data, "train")
    test_images = load_dataset("cifar10", data, "test")
    save_sample(test_images, output)
    for name, model in networks().items():
        module = fresh_module(model, seed)
        checkpoint = output / f"{name}.checkpoint.npz"
        train(
            module,
            training_images,
            recipe,
            seed=seed,
            checkpoint=checkpoint,
            progress=lambda epoch, name=name: _report(name, epoch),
        )
        save_weights(module, output / f"{name}.npz")
        checkpoint.unlink()
        result = {
            "weights": name,
            "accuracy": _test_accuracy(module, test_images, recipe),
            "images": len(test_images),
            "seed": seed,
            "epochs": recipe.epochs,
        }
        sys.stdout.write(json.dumps(result) + "\n")


def _report(name: str, epoch: Epoch) -> None:
    line = f"{name}: epoch {epoch.number}, loss {epoch.loss:.4f}, accuracy {epoch.accuracy:.4f}\n"
    sys.stderr.write(line)


def _test_accuracy(module: nn.Module, images: ImageSet, recipe: Recipe) -> float:
    def predict(batch: NDArray[np.float32]) -> NDArray[np.float32]:
        with torch.no_grad():
            logits: Tensor = module(torch.from_numpy(batch))
        return logits.numpy()

    return accuracy(predict, images.normalised(recipe.mean, recipe.std), images.labels)


if __name__ == "__main__":
    sys.exit(main())
