"""Approximate swaps trained: all of them, or as many as a budget of accuracy allows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import onnx_ir as ir
import torch

from mlcnn import nn, training
from mlcnn.api.affording import training_steps
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import Progress
from mlcnn.api.sensitivity import Judge, Swap, swapped
from mlcnn.api.training import EpochTeller, TrainOptions
from mlcnn.errors import InputError
from mlcnn.report import ORIGINAL
from mlcnn.training import Data, Epoch, History, Normal, Processes, Recipe, Teacher
from mlcnn.training.intervals import Accuracy, Difference, Right, paired
from mlcnn.training.records import Records

__all__ = ["Attempt", "Recovery", "Step", "Teaching", "Trained"]


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
class Step:
    """A rewrite and the training after it.

    Attributes:
        name: which of how many; empty for the only one.
        passes: the pipeline.
        recipe: how the network is trained after it.
        checkpoint: name of the file.
    """

    name: str
    passes: str
    recipe: Recipe
    checkpoint: str

    @classmethod
    def of(cls, passes: str, recipe: Recipe) -> "tuple[Step, ...]":
        """The steps of approximate passes, which share the epochs; what is left over, the last.

        Raises:
            InputError: there are fewer epochs than steps.
        """
        texts = training_steps(passes)
        if len(texts) == 1:
            return (cls("", passes, recipe, "checkpoint.npz"),)
        share, rest = divmod(recipe.epochs, len(texts))
        if not share:
            raise InputError(
                f"--epochs {recipe.epochs}: {passes} is trained in {len(texts)} steps, of an epoch "
                "each at least"
            )
        shares = [share] * (len(texts) - 1) + [share + rest]
        return tuple(
            cls(f"step {number} of {len(texts)}", text, replace(recipe, epochs=epochs),
                f"checkpoint-{number}.npz")
            for number, (text, epochs) in enumerate(zip(texts, shares, strict=True), 1)
        )  # fmt: skip

    def labelled(self, what: str) -> str:
        """What was done, and in which step if there are several."""
        return f"{self.name}, {what}" if self.name else what


@dataclass(frozen=True, slots=True)
class Trained:
    """A rewrite, trained.

    Attributes:
        step: which.
        optimized: the rewrite, with the weights before training.
        states: of the module before training, by what was done until then.
        module: the trained module.
        history: its epochs.
    """

    step: Step
    optimized: Optimized
    states: dict[str, dict[str, torch.Tensor]]
    module: torch.nn.Module
    history: History

    def result(self) -> Optimized:
        """The rewrite with the trained weights."""
        return self.optimized.update_weights(self.module.cpu())


@dataclass(frozen=True, slots=True)
class Attempt:
    """A set of swaps, trained.

    Attributes:
        steps: one after the other, each a rewrite of what the one before it came to.
    """

    steps: tuple[Trained, ...] = ()

    @property
    def last(self) -> Trained:
        """The step that all came to."""
        return self.steps[-1]

    @property
    def history(self) -> History:
        """The epochs of all steps."""
        return _counted([epoch for step in self.steps for epoch in step.history])


@dataclass(frozen=True, slots=True)
class Recovery:
    """How swaps are trained, with the original as the teacher.

    Attributes:
        model: the network that is rewritten.
        passes: approximate passes.
        steps: in which they are trained.
        data: what to train, to re-estimate and to choose on.
        normal: what the network takes for an image.
        options: how to train.
        teaching: how much the original teaches.
        processes: which share each batch.
        tell: told how the work goes on.
        say: told each epoch's result.
        original: the teacher; the network itself for None.
    """

    model: ir.Model
    passes: str
    steps: tuple[Step, ...]
    data: Data
    normal: Normal
    options: TrainOptions
    teaching: Teaching
    processes: Processes
    tell: Progress
    say: Callable[[str], None]
    original: ir.Model | None = None

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
        records = None if folder is None or self.processes.rank else Records(folder)
        say = EpochTeller(self.say, self.options.recipe.epochs)
        model, done = self.model, Attempt()
        for step in self.steps:
            optimized = swapped(model, step.passes, layers)
            if not optimized.changes:
                continue  # the layers of this attempt have nothing to gain by it
            if step.name:
                self.say(f"{step.name}: {step.passes}")

            after = partial(self._report, records, say, done.history)
            trained = self._train(step, optimized, folder, after)
            done = Attempt((*done.steps, trained))
            model = trained.result().model
        if not done.steps:
            raise InputError(f"--passes {self.passes}: there is nothing to swap in this network")
        if records is not None:
            records.write(done.history)
        return done

    def _report(
        self, records: Records | None, say: EpochTeller, before: History, now: History
    ) -> None:
        """Write and tell the epochs of earlier steps and of this one."""
        epochs = _counted([*before, *now])
        if records is not None:
            records.write(epochs)
        if not self.processes.rank:
            say(epochs)

    def _train(
        self,
        step: Step,
        optimized: Optimized,
        folder: Path | None,
        after: Callable[[History], None],
    ) -> Trained:
        """Re-estimate the statistics of a rewritten network, and train it."""
        module, hardware = optimized.module(), self.options.hardware
        hardware.place(module)
        states = {"rewritten": _state(module)}
        if training.reestimate(module, self.data.calibration, self.normal, hardware):
            states["statistics re-estimated"] = _state(module)
        taught_by = self.model if self.original is None else self.original
        teacher = Teacher(nn.to_module(taught_by), self.teaching.weight, self.teaching.temperature)
        data = self.data if self.options.limit is None else self.data.first(self.options.limit)
        history = training.train(
            module,
            data.training,
            step.recipe,
            normal=self.normal,
            validation=data.validation,
            seed=self.options.seed,
            hooks=(teacher,),
            hardware=hardware,
            processes=self.processes,
            checkpoint=None if folder is None else folder / step.checkpoint,
            every_s=self.options.every_s,
            progress=after,
            tell=lambda done, total: self.tell("train", done, total),
        )
        return Trained(step, optimized, states, module, history)

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
            change = paired(before, judge.right(attempt.last.module))
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
        for trained in attempt.steps:
            module = trained.optimized.module()
            for what, state in trained.states.items():
                module.load_state_dict(state)
                rights[trained.step.labelled(what)] = self.tested(module)
            rights[trained.step.labelled("fine-tuned")] = self.tested(trained.module)
        name = self.data.test.name
        rows = tuple(Accuracy(k, name, len(r), float(r.mean())) for k, r in rights.items())
        return rows, tuple(paired(rights[ORIGINAL], r) for r in rights.values())


def _counted(epochs: Sequence[Epoch]) -> History:
    """Epochs of several steps, numbered from 1."""
    return tuple(replace(epoch, number=number) for number, epoch in enumerate(epochs, 1))


def _state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}
