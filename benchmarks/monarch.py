"""Monarch weights beside block-circulant ones of as many numbers, in dense layers.

A Monarch weight is a product of two block-diagonal matrices with a fixed permutation between them;
its projection takes the largest singular vectors of each block [Dao 2022]. Both kinds are trained
from scratch, and projected from a trained dense network and fine-tuned with it as the teacher, by
the same recipes. Rows that are in the results are not run again:

    python -m benchmarks.monarch --mnist FOLDER
"""

import argparse
import copy
import itertools
import json
import time
from collections.abc import Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from benchmarks.results import KEPT, Row, conditions, show
from benchmarks.structured_accuracy import CASES, Case, resized
from mlcnn import training
from mlcnn.api import FINETUNE_RECIPE, ImageOptions
from mlcnn.api.recovery import Teaching
from mlcnn.errors import InputError
from mlcnn.ops.block_circulant import Blocks, projected
from mlcnn.ops.block_circulant.module import dense_tensor
from mlcnn.reproduce.study.statistics import mean_over_seeds
from mlcnn.training import Data, Hardware, Hook, Normal, Recipe, Teacher
from mlcnn.training.initialise import initialise

__all__ = ["COLUMNS", "KINDS", "Circulant", "Monarch", "main", "monarch_shape", "summary"]

BLOCKS = {"mlp 256-128-128-10": (8, 64), "mlp 121-64-64-10": (8, 32), "lenet5": (8,)}
SEEDS = {"lenet5": 1}
"""At most, where training takes minutes."""


class _Structured(nn.Module):
    """A dense layer with fewer numbers than its weight has."""

    def __init__(self, outputs: int, inputs: int, block: int) -> None:
        super().__init__()
        self.blocks = Blocks(block, outputs, inputs)
        self.bias = nn.Parameter(torch.zeros(outputs))

    def dense(self) -> Tensor:
        """The weight written out, shape (outputs, inputs)."""
        raise NotImplementedError

    def forward(self, inputs: Tensor) -> Tensor:
        """Shape (N, inputs) to (N, outputs)."""
        return F.linear(inputs, self.dense(), self.bias)

    def project(self, layer: nn.Linear) -> float:
        """Take the nearest weight, and the bias; returns the share of the energy that it keeps."""
        with torch.no_grad():
            self.fit(layer.weight)
            self.bias.copy_(layer.bias)
            return float((self.dense() ** 2).sum() / (layer.weight**2).sum())

    def fit(self, weight: Tensor) -> None:
        """Take the nearest weight."""
        raise NotImplementedError

    def draw(self, generator: torch.Generator) -> None:
        """First values, with the deviation of the dense layer's weight: sqrt(1 / (3 inputs))."""
        raise NotImplementedError


class Circulant(_Structured):
    """Circulant blocks, as the package trains them."""

    def __init__(self, outputs: int, inputs: int, block: int) -> None:
        super().__init__(outputs, inputs, block)
        shape = (self.blocks.rows, self.blocks.columns, block)
        self.weight = nn.Parameter(torch.zeros(shape))

    def dense(self) -> Tensor:
        """Gathered."""
        return dense_tensor(self.weight, self.blocks)

    def fit(self, weight: Tensor) -> None:
        """The mean of each wrapped diagonal."""
        self.weight.copy_(torch.from_numpy(projected(weight.double().numpy(), self.blocks)))

    def draw(self, generator: torch.Generator) -> None:
        """Normal."""
        self.weight.normal_(0, (3 * self.blocks.channels) ** -0.5, generator=generator)


class Monarch(_Structured):
    """``L P R``: k blocks of inputs to m numbers each, a permutation, m blocks of k numbers.

    As many numbers as circulant blocks of ``block``, or up to a tenth more. Entry
    (t m + j, b q + i) of the weight is ``left[j, t, b] right[b, j, i]``: of rank 1 for each pair of
    blocks (j, b).
    """

    def __init__(self, outputs: int, inputs: int, block: int) -> None:
        super().__init__(outputs, inputs, block)
        words = self.blocks.rows * self.blocks.columns * block
        self.k, self.m = monarch_shape(outputs, inputs, words)
        size, made = -(-inputs // self.k), -(-outputs // self.m)
        self.right = nn.Parameter(torch.zeros(self.k, self.m, size))
        self.left = nn.Parameter(torch.zeros(self.m, made, self.k))

    def dense(self) -> Tensor:
        """The product, without what pads it."""
        whole = torch.einsum("jtb,bji->tjbi", self.left, self.right)
        return whole.flatten(2).flatten(0, 1)[: self.blocks.filters, : self.blocks.channels]

    def fit(self, weight: Tensor) -> None:
        """The largest singular vectors of each pair of blocks; both get half of the value."""
        (k, _, size), (m, made, _) = self.right.shape, self.left.shape
        padded = F.pad(weight, (0, k * size - weight.shape[1], 0, m * made - weight.shape[0]))
        pairs = padded.reshape(made, m, k, size).permute(1, 2, 0, 3)
        left, values, right = torch.linalg.svd(pairs, full_matrices=False)
        root = values[..., :1].sqrt()
        self.left.copy_((left[..., 0] * root).transpose(1, 2))
        self.right.copy_((right[..., 0, :] * root).transpose(0, 1))

    def draw(self, generator: torch.Generator) -> None:
        """Normal; both factors alike, and entries of the product with the deviation."""
        for factor in (self.left, self.right):
            factor.normal_(0, (3 * self.blocks.channels) ** -0.25, generator=generator)


KINDS: dict[str, type[_Structured]] = {"block-circulant": Circulant, "monarch": Monarch}


def monarch_shape(outputs: int, inputs: int, words: int) -> tuple[int, int]:
    """Blocks k and m of the two factors: the most numbers between the factors.

    Of at least ``words`` numbers and at most a tenth more, or of the fewest where there are none
    of so few. Between the factors stand k m numbers; few of them are a bottleneck.

    Args:
        outputs: of the layer.
        inputs: of the layer.
        words: numbers of the weight that it is held against.
    """

    def numbers(shape: tuple[int, int]) -> int:
        k, m = shape
        return k * m * (-(-inputs // k) - (-outputs // m))

    every = itertools.product(range(1, inputs + 1), range(1, outputs + 1))
    enough = [shape for shape in every if numbers(shape) >= words]
    most = max(1.1 * words, min(map(numbers, enough)))
    near = [shape for shape in enough if numbers(shape) <= most]
    return max(near, key=lambda shape: (shape[0] * shape[1], -numbers(shape)))


def replaced(module: nn.Module, kind: str, block: int) -> tuple[nn.Module, dict[str, float]]:
    """A copy with structured dense layers, projected, and the energy that each layer keeps.

    The last layer of a network with convolutions stays dense, as ``block-circulant`` leaves it.

    Args:
        module: a sequence of layers.
        kind: of ``KINDS``.
        block: of circulant blocks.
    """
    copied = copy.deepcopy(module)
    layers = [(name, one) for name, one in copied.named_children() if isinstance(one, nn.Linear)]
    if any(isinstance(one, nn.Conv2d) for one in copied.children()):
        del layers[-1]
    kept: dict[str, float] = {}
    for name, layer in layers:
        made = KINDS[kind](layer.out_features, layer.in_features, block)
        kept[name] = made.project(layer)
        copied.set_submodule(name, made)
    return copied, kept


@dataclass(frozen=True, slots=True)
class Harness:
    """Trains and tests modules of a case."""

    case: Case
    data: Data
    normal: Normal
    seed: int

    def trained(self, module: nn.Module, recipe: Recipe, *hooks: Hook) -> float:
        """Train it; returns the share of the test images that are classified correctly."""
        training.train(
            module, self.data.training, recipe, normal=self.normal,
            validation=self.data.validation, seed=self.seed, hooks=hooks,
        )  # fmt: skip
        return self.top1(module)

    def top1(self, module: nn.Module) -> float:
        """Share of the test images that are classified correctly."""
        right = training.right_images(module, self.data.test, self.normal, Hardware())
        return float(right.mean())

    def first(self, module: nn.Module) -> nn.Module:
        """The module with the first values of this seed."""
        initialise(module, self.seed)
        generator = torch.Generator().manual_seed(self.seed)
        with torch.no_grad():
            for layer in module.modules():
                if isinstance(layer, _Structured):
                    layer.draw(generator)
        return module

    def scratch(self, module: nn.Module) -> tuple[float, float]:
        """Train it from first values: accuracy, and the largest learning rate that does not fail.

        The product of two factors diverges at a rate that one weight takes.
        """
        for share in (1.0, 0.3, 0.1):
            recipe = self.case.recipe
            recipe = replace(recipe, learning_rate=share * recipe.learning_rate)
            with suppress(InputError):
                return self.trained(self.first(module), recipe), recipe.learning_rate
        return float("nan"), float("nan")

    def rows(self, done: Container[tuple[int, str]]) -> Iterator[Row]:
        """A row for each block size and kind that is not done."""
        wanted = list(itertools.product(BLOCKS[self.case.name], KINDS))
        if all(pair in done for pair in wanted):
            return
        dense = self.first(self.case.network())
        before = self.trained(dense, self.case.recipe)
        for block, kind in wanted:
            if (block, kind) not in done:
                yield {**self._row(dense, block, kind), "dense": before}

    def _row(self, dense: nn.Module, block: int, kind: str) -> Row:
        own, taught, start = self.case.recipe, Teaching(), time.process_time()
        recipe = replace(
            FINETUNE_RECIPE, crop=own.crop, flip=False, weight_decay=own.weight_decay
        )  # fmt: skip
        module, kept = replaced(dense, kind, block)
        projection = self.top1(module)
        fresh = copy.deepcopy(module)
        teacher = Teacher(copy.deepcopy(dense), taught.weight, taught.temperature)
        tuned = self.trained(module, recipe, teacher)
        scratch, rate = self.scratch(fresh)
        return {
            "network": self.case.name, "block": block, "kind": kind, "seed": self.seed,
            "numbers": _numbers(module), "energy": kept, "projected": projection,
            "fine-tuned": tuned, "scratch": scratch, "scratch_rate": rate,
            "images": len(self.data.test), "epochs": [recipe.epochs, own.epochs],
            "seconds": time.process_time() - start,
        }  # fmt: skip


def _numbers(module: nn.Module) -> int:
    """Of the weights of the structured layers."""
    layers = [one for one in module.modules() if isinstance(one, _Structured)]
    return sum(p.numel() for one in layers for p in one.parameters() if p is not one.bias)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.monarch", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("networks", nargs="*", help="by default all")
    parser.add_argument("--mnist", required=True, help="folder of the MNIST files")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=KEPT / "monarch.json")
    return parser.parse_args()


def main() -> None:
    """Run what is missing, and print both kinds side by side."""
    given = _arguments()
    torch.set_num_threads(1)
    kept: dict[str, Any] = {"rows": []}
    if given.out.exists():
        kept = json.loads(given.out.read_text(encoding="utf-8"))
    for case in CASES:
        if case.name not in BLOCKS or (given.networks and case.name not in given.networks):
            continue
        data = resized(training.open_data(given.mnist), case.side)
        normal, _ = ImageOptions().normal(data.training, None)
        for seed in range(min(given.seeds, SEEDS.get(case.name, given.seeds))):
            done = {
                (row["block"], row["kind"])
                for row in kept["rows"]
                if (row["network"], row["seed"]) == (case.name, seed)
            }
            for row in Harness(case, data, normal, seed).rows(done):
                kept["rows"].append(row)
                kept["conditions"] = conditions(argparse.Namespace(processor_time=True))
                given.out.parent.mkdir(parents=True, exist_ok=True)
                given.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    show("dense layers of as many numbers, MNIST", COLUMNS, summary(kept["rows"]))
    print(f"results: {given.out}")


COLUMNS = ("network, block", "weights", "numbers", "energy kept, %", "dense, %", "projected, %",
           "fine-tuned, %", "from scratch, %", "95 % interval", "seeds")  # fmt: skip


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """A line for each network, block size and kind: means over the seeds.

    Args:
        rows: of the results.
    """
    lines: list[list[str]] = []
    for network, block, kind in dict.fromkeys((r["network"], r["block"], r["kind"]) for r in rows):
        mine = [r for r in rows if (r["network"], r["block"], r["kind"]) == (network, block, kind)]
        parts = ("dense", "projected", "fine-tuned", "scratch")
        means = [f"{100 * np.mean([row[part] for row in mine]):.2f}" for part in parts]
        energies = np.mean([list(row["energy"].values()) for row in mine], axis=0)
        found = mean_over_seeds([row["scratch"] for row in mine], mine[0]["images"])
        lines.append(
            [f"{network}, {block}", kind, f"{mine[0]['numbers']:,}",
             ", ".join(f"{100 * energy:.1f}" for energy in energies), *means,
             f"{100 * found.low:.2f} to {100 * found.high:.2f}", str(len(mine))]
        )  # fmt: skip
    return lines


if __name__ == "__main__":
    main()
