"""What pulling the weights towards circulant blocks is worth before they are projected.

A dense LeNet-5 is trained on with its own outputs as the teacher and a pull towards the nearest
block-circulant weights, then projected and fine-tuned; beside it the same number of epochs without
the pull, from ``benchmarks.conversion``. Rows that are in the results are not run again:

    python -m benchmarks.pulling --mnist FOLDER
"""

import argparse
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from torch import Tensor, nn

from benchmarks.conversion import BLOCK, RECIPE, Bench
from benchmarks.results import FOLDER, KEPT, Row, conditions, show
from mlcnn import training
from mlcnn.api import ImageOptions
from mlcnn.api.recovery import Teaching
from mlcnn.api.sensitivity import swapped
from mlcnn.nn import to_module, write_weights
from mlcnn.ops.block_circulant import Blocks, dense_weight
from mlcnn.training import Data, Hardware, Hook, ImageSet, Normal, Step, Teacher

__all__ = ["CASES", "COLUMNS", "Case", "Pull", "main", "summary"]


STEPS_OF_A_DUAL = 50
CONVERSION = KEPT / "conversion.json"
"""Results of ``benchmarks.conversion``."""


@dataclass(frozen=True, slots=True)
class Case:
    """A road from a dense network to a block-circulant one.

    Attributes:
        road: penalty (a pull that grows) or multipliers (the same with a dual).
        pulled: epochs of the pull.
        tuned: epochs after the projection.
        first: weight of the pull in the first step.
        last: in the last one.
    """

    road: str
    pulled: int
    tuned: int
    first: float = 0.01
    last: float = 5.0


CASES = tuple(
    Case(road, pulled, tuned)
    for pulled, tuned in ((1, 2), (2, 1), (1, 1))
    for road in ("penalty", "multipliers")
)


@dataclass(frozen=True, slots=True, eq=False)
class _Nearest:
    """The nearest block-circulant weight: the mean of each wrapped diagonal."""

    places: Tensor  # of each dense weight, its number in the compact ones
    entries: Tensor  # dense weights of each compact one

    @classmethod
    def of(cls, weight: Tensor) -> "_Nearest":
        blocks = Blocks(BLOCK, weight.shape[0], weight.shape[1])
        shape = (blocks.rows, blocks.columns, BLOCK, *weight.shape[2:])
        numbers = np.arange(np.prod(shape), dtype=np.float64).reshape(shape)
        places = torch.from_numpy(dense_weight(numbers, blocks)).long()
        return cls(places, torch.bincount(places.flatten(), minlength=numbers.size))

    def __call__(self, weight: Tensor) -> Tensor:
        sums = weight.new_zeros(len(self.entries)).index_add(
            0, self.places.flatten(), weight.flatten()
        )
        return (sums / self.entries.clamp(min=1))[self.places]


@dataclass(slots=True)
class Pull(Hook):
    """Adds ``weight / 2`` times the squared distance to the nearest block-circulant weights.

    The weight grows by the same factor from step to step. With a dual the distance D becomes
    ``D + U``, and U gathers D every so many steps: the method of multipliers, which is ADMM with
    the projected copy eliminated, as the nearest weights are linear in the weights [Boyd 2011].

    Attributes:
        names: of the parameters.
        steps: of the whole training.
        first: weight in the first step.
        last: in the last one.
        every: steps between updates of the dual; 0 for no dual.
    """

    names: tuple[str, ...]
    steps: int
    first: float
    last: float
    every: int = 0
    _done: int = field(default=0, init=False)
    _nearest: dict[str, _Nearest] = field(default_factory=dict, init=False, repr=False)
    _duals: dict[str, Tensor] = field(default_factory=dict, init=False, repr=False)

    @property
    def told(self) -> str:
        """Its weights."""
        return f"Pull({self.first} to {self.last}, every={self.every})"

    def start(self, module: nn.Module, images: int, hardware: Hardware) -> None:
        """Looks at the shapes."""
        del images, hardware
        parameters = dict(module.named_parameters())
        self._nearest = {name: _Nearest.of(parameters[name]) for name in self.names}
        self._duals = {name: torch.zeros_like(parameters[name]) for name in self.names}

    def loss(self, step: Step, loss: Tensor) -> Tensor:
        """The loss with the pull."""
        grown = (self.last / self.first) ** (1 / max(self.steps - 1, 1))
        weight = self.first * grown**self._done
        self._done += 1
        parameters = dict(step.module.named_parameters())
        total = loss
        for name, nearest in self._nearest.items():
            distance = parameters[name] - nearest(parameters[name])
            dual = self._duals[name]
            dual /= grown  # it is scaled by the weight
            if self.every and self._done % self.every == 0:
                dual += distance.detach()
            total = total + weight / 2 * ((distance + dual) ** 2).sum()
        return total


@dataclass(frozen=True, eq=False)
class Roads:
    """A dense network, and the ways from it."""

    bench: Bench
    original: ir.Model

    def run(self, case: Case, seed: int) -> list[Row]:
        """A row after the pull, after the projection and after the training that follows."""
        start, module = time.process_time(), to_module(self.original)
        # The last epoch counts, not the best: the pull is strongest there.
        pull = _pull(module, self.bench.data("lenet5"), case)
        self._train(module, case.pulled, seed, None, pull)
        found = {"pulled": self._top1(module)}
        pulled = write_weights(module, self.original)
        module = swapped(pulled, f"block-circulant{{block={BLOCK}}}", None).module()
        found["projected"] = self._top1(module)
        self._train(module, case.tuned, seed, self.bench.data("lenet5").validation)
        found["fine-tuned"] = self._top1(module)
        told = {**asdict(case), "block": BLOCK, "seed": seed, "images": len(self._test)}
        seconds = time.process_time() - start
        return [{**told, "step": step, "top1": top1, "seconds": seconds}
                for step, top1 in found.items()]  # fmt: skip

    def _train(
        self, module: nn.Module, epochs: int, seed: int, validation: ImageSet | None, *hooks: Hook
    ) -> None:
        """With the original as the teacher, as ``mlcnn finetune`` trains."""
        taught = Teaching()
        teacher = Teacher(to_module(self.original), taught.weight, taught.temperature)
        data = self.bench.data("lenet5")
        training.train(
            module, data.training, replace(RECIPE, epochs=epochs), normal=self._normal,
            validation=validation, seed=seed, hooks=(teacher, *hooks),
        )  # fmt: skip

    def _top1(self, module: nn.Module) -> float:
        return float(training.right_images(module, self._test, self._normal, Hardware()).mean())

    @property
    def _test(self) -> ImageSet:
        return self.bench.data("lenet5").test

    @property
    def _normal(self) -> Normal:
        return ImageOptions().normal(self._test, None)[0]


def _pull(module: nn.Module, data: Data, case: Case) -> Pull:
    """On the layers that the pass rewrites: all but the first and the last."""
    names = tuple(name for name, value in module.named_parameters() if value.ndim > 1)[1:-1]
    steps = case.pulled * -(-len(data.training) // RECIPE.batch_size)
    every = STEPS_OF_A_DUAL if case.road == "multipliers" else 0
    return Pull(names, steps, case.first, case.last, every)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.pulling", description=(__doc__ or "").splitlines()[0]
    )
    parser.add_argument("roads", nargs="*", help="by default all")
    parser.add_argument("--mnist", required=True, help="folder of the MNIST files")
    parser.add_argument("--seeds", type=int, default=1, help="of the training after the dense one")
    parser.add_argument("--checkpoints", type=Path, default=FOLDER / "conversion")
    parser.add_argument("--out", type=Path, default=KEPT / "pulling.json")
    return parser.parse_args()


def main() -> None:
    """Run what is missing, and print what each road comes to."""
    given = _arguments()
    torch.set_num_threads(1)
    kept: dict[str, Any] = {"rows": []}
    if given.out.exists():
        kept = json.loads(given.out.read_text(encoding="utf-8"))
    rows: list[Row] = kept["rows"]
    bench = Bench(given)
    roads = Roads(bench, bench.dense())
    for seed in range(given.seeds):
        for case in CASES:
            key = {**asdict(case), "seed": seed}
            wanted = not given.roads or case.road in given.roads
            if wanted and not any(key.items() <= row.items() for row in rows):
                rows += roads.run(case, seed)
                kept["conditions"] = conditions(argparse.Namespace(processor_time=True))
                given.out.parent.mkdir(parents=True, exist_ok=True)
                given.out.write_text(json.dumps(kept, indent=1) + "\n", encoding="utf-8")
    show(f"LeNet-5, MNIST, blocks of {BLOCK}", COLUMNS, summary(rows))
    print(f"results: {given.out}")


COLUMNS = ("road, epochs of the pull + after it", "pulled, %", "projected, %", "fine-tuned, %",
           "seeds")  # fmt: skip


def summary(rows: Sequence[Row]) -> list[list[str]]:
    """A line for each road, means over the seeds; those without a pull first.

    Args:
        rows: of the results.
    """
    kept = json.loads(CONVERSION.read_text(encoding="utf-8"))["accuracy"]
    lines = [
        [f"{options}, 0 + {epochs}", "", f"{100 * projected:.2f}", f"{100 * tuned:.2f}", "1"]
        for options, epochs, projected, tuned in _without(kept)
    ]
    for key in dict.fromkeys((row["road"], row["pulled"], row["tuned"]) for row in rows):
        mine = [row for row in rows if (row["road"], row["pulled"], row["tuned"]) == key]
        steps = {
            step: [row["top1"] for row in mine if row["step"] == step]
            for step in ("pulled", "projected", "fine-tuned")
        }
        means = [f"{100 * np.mean(found):.2f}" for found in steps.values()]
        road, pulled, tuned = key
        lines.append([f"{road}, {pulled} + {tuned}", *means, str(len(steps["pulled"]))])
    return lines


def _without(kept: Sequence[Row]) -> Iterator[tuple[str, int, float, float]]:
    """Roads of the same network without a pull: pass, epochs, accuracy projected and trained."""
    mine = [row for row in kept if row["network"] == "lenet5" and row["epochs"] >= 2]
    for options, epochs in dict.fromkeys((row["options"], row["epochs"]) for row in mine):
        steps = [row for row in mine if (row["options"], row["epochs"]) == (options, epochs)]
        *_, projected, tuned = (row["top1"] for row in steps)
        yield options, epochs, projected, tuned


if __name__ == "__main__":
    main()
