"""Approximate passes on a trained network, and its accuracy back by fine-tuning."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import onnx_ir as ir

from mlcnn import graph, training
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.affording import APPROXIMATE, EXACT, approximate_passes
from mlcnn.api.benchmarking import MeasureOptions, chooser_for, measure, settings
from mlcnn.api.budgeting import Budget, Budgeted, Budgeter, Quantity
from mlcnn.api.loading import Source, load, model_name
from mlcnn.api.optimized import Optimized
from mlcnn.api.optimizing import Progress, rewrite, silent
from mlcnn.api.provenance import training_record, write_result
from mlcnn.api.recovery import Recovery, Step, Teaching
from mlcnn.api.sensitivity import Judge, Swap
from mlcnn.api.settling import kept, settled
from mlcnn.api.training import TrainOptions, require_classifier
from mlcnn.api.writing import results_folder
from mlcnn.engines import Bench
from mlcnn.passes import Chooser, restore
from mlcnn.report import ORIGINAL, RESULT
from mlcnn.table import Shown, Tabular
from mlcnn.training import Data, History, Processes, Recipe
from mlcnn.training.intervals import Accuracy, Difference, points

__all__ = ["FINETUNE_RECIPE", "Finetuned", "finetune"]

FINETUNE_RECIPE = Recipe(epochs=3, batch_size=64, learning_rate=0.01, warmup_epochs=0.1)
"""What holds where nothing else is asked for."""


@dataclass(frozen=True, slots=True, repr=False)
class Finetuned(Tabular):
    """A rewritten network whose accuracy was recovered.

    Attributes:
        name: of the network.
        optimized: the approximate rewrite (the last step of it) with its trained weights; batch
            norms whole, so that it can be trained further.
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
    passes: str = APPROXIMATE,
    epochs: int | None = None,
    max_drop: float | None = None,
    budget: str | None = None,
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
    its teacher. Batch norms are never folded before. Where a pass is gradual, this is done step by
    step, and the steps share the epochs. The same call with a folder goes on where it was
    interrupted.

    Args:
        source: see ``load``: a trained network.
        data: labelled images; see ``training.open_data``.
        passes: the pipeline; what is exact in it after the last approximate pass runs in the end,
            with all exact passes.
        epochs: passes over the training images, in place of those of ``options``.
        max_drop: percentage points of accuracy on the validation images that may be lost; swaps are
            left out, the costliest first, until training meets it.
        budget: how much smaller or faster the network is to be, for passes with a size for each
            layer: ``4x`` (parameters), ``multiplications=3x``, or ``time=2x`` on the fastest of the
            engines of ``measuring``; or what it may lose without training, ``accuracy-drop=0.5``
            (percentage points on the validation images). Chooses the sizes.
        options: how to train; ``FINETUNE_RECIPE`` by default.
        images: how the images go to the network.
        teaching: how much the original teaches.
        measuring: on what to measure the speed, and to choose forms and, where a pass asks for it,
            layers by; None for nothing, and an estimate.
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
    Step.of(approximate, options.recipe)  # too few epochs are refused before any work
    limit = None if budget is None else Budget.parse(budget)
    tell, say = progress or silent, notice or _quiet
    tell("read images", 0, 0)
    opened, normal, note = (images or ImageOptions()).open(data, source)
    if note:
        say(note)
    model = load(source, weights=weights, dropout=True, image_shape=opened.image_shape)
    require_classifier(model, opened)
    trained, budgeted = restore(model, lowered=True), None
    chooser = None if measuring is None else chooser_for(trained, measuring)
    with nullcontext() if folder is None else results_folder(Path(folder)) as path:
        if limit is None:
            approximate = settled(
                trained, approximate, chooser, folder=path, processes=processes, say=say
            )
        else:
            judge = Judge(trained, approximate, opened, normal, options.hardware, tell)
            budgeter = Budgeter(judge, measuring or MeasureOptions(), chooser)
            approximate, budgeted = _within(budgeter, limit, path, processes)
            say(f"within {limit.text}: {approximate}")
            if budgeted is not None:
                say(budgeted.told)
        recovery = Recovery(
            trained, approximate, Step.of(approximate, options.recipe), opened, normal, options,
            teaching or Teaching(), processes, tell, say,
        )  # fmt: skip
        name = model_name(source)
        return _Run(name, model, recovery, max_drop, budgeted, measuring, chooser, tell).into(path)


def _within(
    budgeter: Budgeter, limit: Budget, folder: Path | None, processes: Processes
) -> tuple[str, Budgeted | None]:
    """The pipeline with sizes within a budget, and what was tried, unless an earlier call did."""
    tried: list[Budgeted] = []

    def decide() -> str:
        tried.append(budgeter.within(limit))
        return tried[0].passes

    if limit.quantity is not Quantity.TIME and not budgeter.undecided:
        return decide(), tried[0]
    text = kept(f"{budgeter.judge.passes} within {limit.text}", decide, folder, processes)
    return text, tried[0] if tried else None


@dataclass(frozen=True, slots=True)
class _Run:
    """What is left to do once everything is read."""

    name: str
    model: ir.Model
    recovery: Recovery
    max_drop: float | None
    budgeted: Budgeted | None
    measuring: MeasureOptions | None
    chooser: Chooser | None
    tell: Progress

    def into(self, folder: Path | None) -> Finetuned:
        """Train, run the exact passes, compare, measure and write."""
        found, attempt = self.recovery.run(folder, self.max_drop)
        trained = attempt.last.result()
        result = rewrite(
            graph.without_dropout(trained.model), EXACT, chooser=self.chooser, progress=self.tell
        )
        accuracies, differences = self.recovery.compare(attempt)
        finetuned = Finetuned(
            self.name, trained, result, accuracies, differences, found, attempt.history,
            self._measured(result.model), folder,
        )  # fmt: skip
        if folder is not None and not self.recovery.processes.rank:
            _write(finetuned, folder)
            write_result(folder, {**finetuned.to_json(), **self._record()})
        return finetuned

    def _record(self) -> dict[str, object]:
        """How it was trained."""
        it = self.recovery
        return {
            "passes": it.passes,
            "steps": [step.passes for step in it.steps],
            "max_drop": self.max_drop,
            "budget": None if self.budgeted is None else self.budgeted.to_json(),
            "sizes": [s.to_json() for s in (self.budgeted.sizings if self.budgeted else ())],
            "teaching": asdict(it.teaching),
            **training_record(it.options, it.normal, it.processes),
        }

    def _measured(self, result: ir.Model) -> Bench | None:
        """Latency of the original and of the result."""
        options, variants = self.measuring, {ORIGINAL: self.model, RESULT: result}
        if options is None:
            return None
        return measure(settings(self.model, options), lambda _: variants, options, self.tell)


def _quiet(message: str) -> None:
    del message


def _write(finetuned: Finetuned, folder: Path) -> None:
    finetuned.result.save(folder / f"{finetuned.name}.onnx")
    graph.save(finetuned.optimized.model, folder / f"{finetuned.name}-trained.onnx")
