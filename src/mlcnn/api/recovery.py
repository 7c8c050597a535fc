"""Approximate swaps trained: all of them, or as many as a budget of accuracy allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import onnx_ir as ir
import torch

from mlcnn import nn, training
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import Progress
from mlcnn.api.sensitivity import Judge, Right, Swap, paired, swapped
from mlcnn.api.training import EpochTeller, TrainOptions
from mlcnn.errors import InputError
from mlcnn.report import ORIGINAL, Accuracy, Difference
from mlcnn.training import Data, History, Normal, Processes, Teacher
from mlcnn.training.records import Records

__all__ = ["Attempt", "Recovery", "Teaching"]


@dataclass(frozen=True, slots=True)
class Teaching:
    """How much the original network teaches.

    Attributes:
        weight: of what it says; the rest is that of the labels.
        temperature: by which logits are divided.
    """

    weight: float = 0.9
    temperature: float = 2.0

    def __post_init__(self) -> None:
        if not 0 <= self.weight <= 1 or self.temperature <= 0:
            raise InputError(
                f"--teacher-weight must lie in 0..1 and --temperature be above 0, got {self.weight}"
                f" and {self.temperature}"
            )


@dataclass(frozen=True, slots=True)
class Attempt:
    """A set of swaps, trained.

    Attributes:
        optimized: the rewrite, with the original's weights.
        states: of the module after each step before training, by the step's name.
        module: the trained module.
        history: its epochs.
    """

    optimized: Optimized
    states: dict[str, dict[str, torch.Tensor]]
    module: torch.nn.Module
    history: History


@dataclass(frozen=True, slots=True)
class Recovery:
    """How swaps are trained, with the original as the teacher.

    Attributes:
        model: the original network.
        passes: approximate passes.
        data: what to train, to re-estimate and to choose on.
        normal: what the network takes for an image.
        options: how to train.
        teaching: how much the original teaches.
        processes: which share each batch.
        tell: told how the work goes on.
        say: told each epoch's result.
    """

    model: ir.Model
    passes: str
    data: Data
    normal: Normal
    options: TrainOptions
    teaching: Teaching
    processes: Processes
    tell: Progress
    say: Callable[[str], None]

    def run(self, folder: Path | None, max_drop: float | None) -> tuple[tuple[Swap, ...], Attempt]:
        """Train all swaps, or those that a budget in percentage points allows.

        Raises:
            InputError: there is nothing to swap, training diverges, or nothing meets the budget.
        """
        if max_drop is None:
            return (), self.attempt(folder, None)
        return self.within(folder, max_drop / 100)

    def attempt(self, folder: Path | None, layers: Sequence[str] | None) -> Attempt:
        """Swap some sites (all for None), re-estimate statistics, and train."""
        optimized = swapped(self.model, self.passes, layers)
        if not optimized.changes:
            raise InputError(f"--passes {self.passes}: there is nothing to swap in this network")
        module, hardware = optimized.module(), self.options.hardware
        hardware.place(module)
        states = {"rewritten": _state(module)}
        if training.reestimate(module, self.data.calibration, self.normal, hardware):
            states["statistics re-estimated"] = _state(module)
        teacher = Teacher(nn.to_module(self.model), self.teaching.weight, self.teaching.temperature)
        records = None if folder is None or self.processes.rank else Records(folder)
        say = EpochTeller(self.say, self.options.recipe.epochs)

        def after(history: History) -> None:
            if records is not None:
                records.write(history)
            if not self.processes.rank:
                say(history)

        data = self.data if self.options.limit is None else self.data.first(self.options.limit)
        history = training.train(
            module,
            data.training,
            self.options.recipe,
            normal=self.normal,
            validation=data.validation,
            seed=self.options.seed,
            hooks=(teacher,),
            hardware=hardware,
            processes=self.processes,
            checkpoint=None if folder is None else folder / "checkpoint.npz",
            every_s=self.options.every_s,
            progress=after,
            tell=lambda done, total: self.tell("train", done, total),
        )
        if records is not None:
            records.write(history)
        return Attempt(optimized, states, module, history)

    def within(self, folder: Path | None, budget: float) -> tuple[tuple[Swap, ...], Attempt]:
        """Leave swaps out, the costliest first, until training meets the budget."""
        judge = Judge(
            self.model, self.passes, self.data, self.normal, self.options.hardware, self.tell
        )
        found = judge.swaps()
        before = judge.right(nn.to_module(self.model))
        nearest = -1.0
        for count in range(len(found), 0, -1):
            kept = [swap.layer for swap in found[:count]]
            place = None if folder is None else folder / f"{count}-swaps"
            if place is not None:
                place.mkdir(exist_ok=True)
            attempt = self.attempt(place, kept)
            change = paired("validation", before, judge.right(attempt.module))
            self.say(f"{count} of {len(found)} swaps: {100 * change.top1:+.2f} points, trained")
            if change.top1 >= -budget:
                return tuple(replace(s, kept=s.layer in kept) for s in found), attempt
            nearest = max(nearest, change.top1)
        raise InputError(
            f"--max-drop {100 * budget:g}: nothing meets it, the nearest is {-100 * nearest:.2f} "
            "points below the original; allow so many, or train for more --epochs"
        )

    def tested(self, module: torch.nn.Module) -> Right:
        """Which test images a module classifies correctly, in float32."""
        hardware = replace(self.options.hardware, precision=training.Precision.FP32)
        hardware.place(module)
        return training.right_images(module, self.data.test, self.normal, hardware)

    def compare(self, attempt: Attempt) -> tuple[tuple[Accuracy, ...], tuple[Difference, ...]]:
        """Accuracy of the original and after each step, and the differences to the original."""
        self.tell("test", 0, 0)
        rights = {ORIGINAL: self.tested(nn.to_module(self.model))}
        module = attempt.optimized.module()
        for step, state in attempt.states.items():
            module.load_state_dict(state)
            rights[step] = self.tested(module)
        rights["fine-tuned"] = self.tested(attempt.module)
        name = self.data.test.name
        rows = tuple(Accuracy(k, name, len(r), float(r.mean())) for k, r in rights.items())
        return rows, tuple(paired(name, rights[ORIGINAL], r) for r in rights.values())


def _state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}
