"""Approximate passes on a trained network, and its accuracy back by fine-tuning."""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir
import torch

from mlcnn import graph, nn, training
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.benchmarking import MeasureOptions, measure, settings
from mlcnn.api.loading import Source, load, model_name
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import Progress, rewrite, silent
from mlcnn.api.options import RewriteOptions
from mlcnn.api.sensitivity import Judge, Right, Swap, paired, swapped
from mlcnn.api.training import EpochTeller, TrainOptions, require_classifier
from mlcnn.api.writing import results_folder
from mlcnn.engines import Bench
from mlcnn.errors import InputError
from mlcnn.passes import pipeline
from mlcnn.report import ORIGINAL, RESULT, Accuracy, Difference, points
from mlcnn.table import Shown, Tabular
from mlcnn.training import Data, History, Normal, Processes, Recipe, Teacher
from mlcnn.training.records import Records

__all__ = ["FINETUNE_RECIPE", "Finetuned", "Teaching", "finetune", "within_budget"]

FINETUNE_RECIPE = Recipe(epochs=3, learning_rate=0.02, warmup_epochs=0.1)
"""What holds where nothing else is asked for."""

_PASSES = "max-to-average,reorder"
_NEVER = "fold-batch-norm"
_EXACT = "exact"


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


@dataclass(frozen=True, slots=True, repr=False)
class Finetuned(Tabular):
    """A rewritten network whose accuracy was recovered.

    Attributes:
        name: of the network.
        optimized: the approximate rewrite with its trained weights; batch norms whole, so that it
            can be trained further.
        result: the same after the exact passes: what runs fast.
        accuracies: on the test images: the original, and each step; nothing was chosen on them.
        differences: of each step to the original, paired on the same images.
        swaps: what each swap costs alone and saves; empty unless there was a budget.
        history: the epochs.
        bench: latency of the original and the result; None if it was not measured.
        folder: where everything was written; None if nothing was.
    """

    name: str
    optimized: Optimized
    result: Optimized
    accuracies: tuple[Accuracy, ...]
    differences: tuple[Difference, ...]
    swaps: tuple[Swap, ...]
    history: History
    bench: Bench | None
    folder: Path | None

    def records(self) -> list[dict[str, Any]]:
        """A row for the original and for each step."""
        return [
            {**asdict(row), "interval": list(row.interval), "difference": asdict(change)}
            for row, change in zip(self.accuracies, self.differences, strict=True)
        ]

    def shown(self) -> Shown:
        """Accuracy of the original and after each step."""
        rows = tuple(
            (
                row.variant,
                f"{100 * row.top1:.2f}",
                "{:.2f} to {:.2f}".format(*(100 * end for end in row.interval)),
                "" if row.variant == ORIGINAL else points(change),
            )
            for row, change in zip(self.accuracies, self.differences, strict=True)
        )
        title = f"{self.name}: accuracy on {self.accuracies[0].images} images of "
        return Shown(
            title + self.accuracies[0].dataset, ("", "%", "95 % interval", "to the original"), rows
        )

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn finetune --json`` prints."""
        return {
            "name": self.name,
            "output": None if self.folder is None else str(self.folder / f"{self.name}.onnx"),
            "accuracy": self.records(),
            "swaps": [swap.to_json() for swap in self.swaps],
            "epochs": [asdict(epoch) for epoch in self.history],
            "optimize": self.result.to_json(),
            "bench": None if self.bench is None else self.bench.to_json(),
        }


def finetune(
    source: Source,
    data: "Data | str | PathLike[str]",
    *,
    passes: str = _PASSES,
    epochs: int | None = None,
    max_drop: float | None = None,
    options: TrainOptions | None = None,
    images: ImageOptions | None = None,
    teaching: Teaching | None = None,
    measuring: MeasureOptions | None = None,
    folder: "str | PathLike[str] | None" = None,
    weights: "str | PathLike[str] | None" = None,
    processes: Processes = training.Processes(),  # noqa: B008 - frozen
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Finetuned:
    """Rewrite a trained network by approximate passes and recover its accuracy.

    The statistics of batch norms are re-estimated, then the network is trained with the original as
    its teacher. Batch norms are never folded before. The same call with a folder goes on where it
    was interrupted.

    Args:
        source: see ``load``: a trained network.
        data: labelled images; see ``training.open_data``.
        passes: the pipeline; what is exact in it after the last approximate pass runs in the end,
            with all exact passes.
        epochs: passes over the training images, in place of those of ``options``.
        max_drop: percentage points of accuracy on the validation images that may be lost; swaps are
            left out, the costliest first, until training meets it.
        options: how to train; ``FINETUNE_RECIPE`` by default.
        images: how the images go to the network.
        teaching: how much the original teaches.
        measuring: on what to measure the speed; None for nothing.
        folder: where the checkpoint, the table of epochs and the networks go; None for nowhere.
        weights: see ``load``.
        processes: which share each batch.
        progress: told how the work goes on.
        notice: told what the user should know, and each epoch's result.

    Returns:
        The network with its accuracy before and after each step.

    Raises:
        InputError: the source, the data or an option cannot be used, or nothing meets ``max_drop``.

    Example:
        ``mlcnn.finetune("shop.onnx", "photos/", epochs=2).result.save("shop-fast.onnx")``
    """
    options = options or TrainOptions(recipe=FINETUNE_RECIPE)
    if epochs is not None:
        options = replace(options, recipe=replace(options.recipe, epochs=epochs))
    approximate = approximate_passes(passes)
    tell, say = progress or silent, notice or _quiet
    tell("read images", 0, 0)
    opened, normal, note = (images or ImageOptions()).open(data, source)
    if note:
        say(note)
    model = _loaded(source, opened, weights)
    require_classifier(model, opened)
    job = _Job(
        model_name(source), model, approximate, opened, normal, options, teaching or Teaching(),
        processes, tell, say,
    )  # fmt: skip
    if folder is None:
        return job.run(None, max_drop, measuring)
    with results_folder(Path(folder)) as path:
        return job.run(path, max_drop, measuring)


def _quiet(message: str) -> None:
    del message


def _loaded(source: Source, data: Data, weights: "str | PathLike[str] | None") -> ir.Model:
    # Two images: one would make the exporter take the batch for a constant.
    shape = (2, *data.image_shape) if isinstance(source, torch.nn.Module) else None
    return load(source, input_shape=shape, weights=weights, dropout=True)


def approximate_passes(text: str) -> str:
    """The passes of a pipeline that run before training: those up to the last approximate one.

    Batch norms stay whole for training, so what folds them is left for afterwards.

    Raises:
        InputError: no pass is approximate.
    """
    parsed = pipeline.parse(text)
    last = max((i for i, item in enumerate(parsed) if not item.exact), default=None)
    if last is None:
        raise InputError(
            f"--passes {text}: every pass is exact, so nothing needs training; use mlcnn optimize, "
            f"or give approximate passes, as {_PASSES}"
        )
    return pipeline.text([item for item in parsed[: last + 1] if item.name != _NEVER])


@dataclass(frozen=True, slots=True)
class _Attempt:
    """A set of swaps, trained."""

    optimized: Optimized
    states: dict[str, dict[str, torch.Tensor]]
    module: torch.nn.Module
    history: History


@dataclass(frozen=True, slots=True)
class _Job:
    """What all attempts share."""

    name: str
    model: ir.Model
    passes: str
    data: Data
    normal: Normal
    options: TrainOptions
    teaching: Teaching
    processes: Processes
    tell: Progress
    say: Callable[[str], None]

    def run(
        self, folder: Path | None, max_drop: float | None, measuring: MeasureOptions | None
    ) -> Finetuned:
        if max_drop is None:
            found, attempt = (), self.attempt(folder, None)
        else:
            found, attempt = self.within(folder, max_drop / 100)
        trained = attempt.optimized.update_weights(attempt.module.cpu())
        result = rewrite(graph.without_dropout(trained.model), _EXACT, progress=self.tell)
        accuracies, differences = self.compare(attempt)
        bench = None if measuring is None else self.measure(result.model, measuring)
        finetuned = Finetuned(
            self.name, trained, result, accuracies, differences, found, attempt.history, bench,
            folder,
        )  # fmt: skip
        if folder is not None and not self.processes.rank:
            _write(finetuned, folder)
        return finetuned

    def attempt(self, folder: Path | None, layers: Sequence[str] | None) -> _Attempt:
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
        return _Attempt(optimized, states, module, history)

    def within(self, folder: Path | None, budget: float) -> tuple[tuple[Swap, ...], _Attempt]:
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

    def compare(self, attempt: _Attempt) -> tuple[tuple[Accuracy, ...], tuple[Difference, ...]]:
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

    def measure(self, result: ir.Model, options: MeasureOptions) -> Bench:
        """Latency of the original and of the result."""
        variants = {ORIGINAL: self.model, RESULT: result}
        return measure(settings(self.model, options), lambda _: variants, options, self.tell)


def _state(module: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: t.detach().cpu().clone() for name, t in module.state_dict().items()}


def _write(finetuned: Finetuned, folder: Path) -> None:
    finetuned.result.save(folder / f"{finetuned.name}.onnx")
    graph.save(finetuned.optimized.model, folder / f"{finetuned.name}-trained.onnx")
    partial = folder / ".result.json.partial"
    partial.write_text(json.dumps(finetuned.to_json(), indent=1) + "\n", encoding="utf-8")
    partial.replace(folder / "result.json")


def within_budget(
    source: Source,
    model: ir.Model,
    options: RewriteOptions,
    *,
    data: "Data | str | PathLike[str] | None",
    max_drop: float | None,
    images: ImageOptions,
    progress: Progress | None = None,
) -> tuple[ir.Model, RewriteOptions, tuple[Swap, ...]]:
    """Options of a rewrite that keep only the swaps that the accuracy affords, without training.

    Args:
        source: what the network was loaded from.
        model: the network.
        options: the rewrite.
        data: labelled images; see ``training.open_data``.
        max_drop: percentage points of accuracy on the validation images that may be lost.
        images: how the images go to the network.
        progress: told how the work goes on.

    Returns:
        The network with the kept swaps and statistics re-estimated, the options of the exact
        passes that are left to run on it, and every swap.

    Raises:
        InputError: one of ``data`` and ``max_drop`` is missing, the data do not fit, or no swap
            stays within the budget.
    """
    if data is None or max_drop is None:
        raise InputError("--data and --max-drop go together: images, and what may be lost on them")
    passes = approximate_passes(options.passes or _PASSES)
    opened, normal, _ = images.open(data, source)
    require_classifier(model, opened)
    judge = Judge(model, passes, opened, normal, training.Hardware(), progress or silent)
    found = judge.affordable(judge.swaps(), max_drop / 100)
    optimized = swapped(model, passes, [swap.layer for swap in found if swap.kept])
    renewed = optimized.update_weights(judge.renewed(optimized))
    return renewed.model, replace(options, passes=_EXACT), found
