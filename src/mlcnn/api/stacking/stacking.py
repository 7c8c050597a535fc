"""A stack of methods on a user's network: what it costs, and what it loses, step by step."""

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir

from mlcnn import graph
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.benchmarking import MeasureOptions, measure, settings
from mlcnn.api.engine_accuracy import decisions
from mlcnn.api.loading import Rewritten, Source, load, model_name
from mlcnn.api.optimizing import Progress, silent
from mlcnn.api.provenance import training_record, write_result
from mlcnn.api.recovery import Teaching
from mlcnn.api.stacking.lab import Lab
from mlcnn.api.stacking.stack import Stack, grow
from mlcnn.api.training import TrainOptions, require_classifier, require_static
from mlcnn.api.writing import results_folder
from mlcnn.engines import Bench
from mlcnn.errors import UnsupportedError
from mlcnn.frontier import file_bytes
from mlcnn.passes import restore
from mlcnn.report import ORIGINAL, RESULT
from mlcnn.table import Shown, Tabular
from mlcnn.training import Data, ImageSet, Processes, Recipe
from mlcnn.training.intervals import Accuracy, Difference, Right, paired, points

__all__ = ["STACK_RECIPE", "Stacked", "StepResult", "stack"]

STACK_RECIPE = Recipe(epochs=3, batch_size=128, learning_rate=0.02, warmup_epochs=0.05)
"""How a step trains where nothing else is asked for."""


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a network is after some steps.

    Attributes:
        steps: the steps so far; empty for the original.
        accuracy: on the validation images.
        change: less that of the original, on the same images.
        file_bytes: of the network as a file.
    """

    steps: str
    accuracy: Accuracy
    change: Difference
    file_bytes: int


@dataclass(frozen=True, slots=True, repr=False)
class Stacked(Rewritten, Tabular):
    """A network that several methods made cheaper, one after the other.

    Attributes:
        name: of the network.
        original: the network as it was.
        model: what the last step came to, of standard operators.
        pipeline: the steps as text that replays.
        steps: the original, and what it was after each step.
        test: accuracy before and after, on images that chose nothing.
        test_change: after less before.
        bench: latency of the original and of the result; None if it was not measured.
        notes: what could not be found out.
    """

    name: str
    original: ir.Model
    model: ir.Model
    pipeline: str
    steps: tuple[StepResult, ...]
    test: tuple[Accuracy, Accuracy]
    test_change: Difference
    bench: Bench | None
    notes: tuple[str, ...] = ()

    def save(self, path: "str | PathLike[str]") -> None:
        """Write the network to an ``.onnx`` file of standard operators.

        Raises:
            InputError: the file cannot be written.
        """
        graph.save(self.model, Path(path))

    def records(self) -> list[dict[str, Any]]:
        """A row for the original and after each step."""
        return [
            {
                "steps": row.steps,
                "top1": row.accuracy.top1,
                "interval": list(row.accuracy.interval),
                "change": asdict(row.change),
                "bytes": row.file_bytes,
            }
            for row in self.steps
        ]

    def shown(self) -> Shown:
        """Accuracy and size after each step."""
        rows = tuple(
            (
                row.steps or ORIGINAL,
                f"{100 * row.accuracy.top1:.2f}",
                points(row.change) if row.steps else "",
                f"{row.file_bytes / 1e3:,.0f}",
            )
            for row in self.steps
        )
        before, after = self.test
        told = (
            f"accuracy on {after.images:,} test images, which chose nothing: "
            f"{100 * before.top1:.2f} % before, {100 * after.top1:.2f} % after, "
            f"{points(self.test_change)}"
        )
        judged = self.steps[0].accuracy
        title = f"{self.name}: accuracy on {judged.images:,} validation images of {judged.dataset}"
        columns = ("after", "%", "to the original", "file, kB")
        return Shown(title, columns, rows, (told, *self.notes))

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn stack --json`` prints, apart from the output's path."""
        before, after = self.test
        return {
            "name": self.name,
            "pipeline": self.pipeline,
            "accuracy": {
                "before": before.top1,
                "after": after.top1,
                "interval": list(after.interval),
                "images": after.images,
                "change": asdict(self.test_change),
            },
            "steps": self.records(),
            "cost": {"bytes": {"before": self.steps[0].file_bytes,
                               "after": self.steps[-1].file_bytes}},
            "bench": None if self.bench is None else self.bench.to_json(),
            "notes": list(self.notes),
        }  # fmt: skip


def stack(
    source: Source,
    data: "Data | str | PathLike[str]",
    steps: str,
    *,
    epochs: int | None = None,
    options: TrainOptions | None = None,
    images: ImageOptions | None = None,
    teaching: Teaching | None = None,
    measuring: MeasureOptions | None = None,
    folder: "str | PathLike[str] | None" = None,
    weights: "str | PathLike[str] | None" = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Stacked:
    """Make a trained network cheaper by several methods, one after the other.

    The original teaches in every step that trains. Test images are looked at once, in the end. The
    same call with a folder goes on where it was interrupted, and steps that another stack in that
    folder began with are not done again.

    Args:
        source: see ``load``: a trained network.
        data: labelled images; see ``training.open_data``.
        steps: the methods in order, with what they leave open in braces:
            ``average-pools,channels{share=0.5},int8,exits``. Those that do not go together, or
            stand in another order than they go, are refused with the reason.
        epochs: passes over the training images for each step that trains, in place of those of
            ``options``.
        options: how to train; ``STACK_RECIPE`` by default.
        images: how the images go to the network.
        teaching: how much the original teaches; a temperature of 4 by default.
        measuring: on what to measure the speed; None for nothing.
        folder: where networks and checkpoints go; None for nowhere.
        weights: see ``load``.
        progress: told how the work goes on.
        notice: told what the user should know, and each epoch's result.

    Raises:
        InputError: the source, the data, a step or an option cannot be used.

    Example:
        ``mlcnn.stack("shop.onnx", "photos/", "channels{share=0.5},int8").save("shop-small.onnx")``
    """
    wanted, how = Stack.parse(steps), options or TrainOptions(recipe=STACK_RECIPE)
    if epochs is not None:
        how = replace(how, recipe=replace(how.recipe, epochs=epochs))
    tell, say = progress or silent, notice or _quiet
    tell("read images", 0, 0)
    opened, normal, note = (images or ImageOptions()).open(data, source)
    if note:
        say(note)
    model = load(source, weights=weights, dropout=True, image_shape=opened.image_shape)
    require_static(model)
    require_classifier(model, opened)
    lab = Lab(
        restore(model, lowered=True), opened, normal, how, teaching or Teaching(temperature=4.0),
        tell=tell, say=say,
    )  # fmt: skip
    with nullcontext() if folder is None else results_folder(Path(folder)) as path:
        done = _stacked(model_name(source), wanted, lab, path, measuring)
        if path is not None:
            record = training_record(how, normal, Processes())
            write_result(path, {**done.to_json(), **record})
        return done


def _quiet(message: str) -> None:
    del message


def _stacked(
    name: str, wanted: Stack, lab: Lab, path: Path | None, measuring: MeasureOptions | None
) -> Stacked:
    original = graph.without_dropout(lab.original)
    before = _right(original, lab, lab.data.validation)
    rows = [_row("", original, before, before, lab)]
    model = original
    for part, made in grow(wanted, lab, path):
        model = graph.inline(graph.without_dropout(made))
        rows.append(_row(part.text, model, before, _right(model, lab, lab.data.validation), lab))
        lab.say(f"{part.text}: {points(rows[-1].change)} on the validation images")
    lab.tell("test", 0, 0)
    tests = [_right(each, lab, lab.data.test) for each in (original, model)]
    bench, notes = None, tuple[str, ...]()
    if measuring is not None:
        variants = {ORIGINAL: original, RESULT: model}
        try:
            bench = measure(settings(original, measuring), lambda _: variants, measuring, lab.tell)
        except UnsupportedError as error:
            notes = (f"the speed is not measured: {error}",)
    accuracies = tuple(
        Accuracy(variant, lab.data.test.name, len(right), float(right.mean()))
        for variant, right in zip((ORIGINAL, RESULT), tests, strict=True)
    )
    return Stacked(
        name, original, model, wanted.text, tuple(rows), (accuracies[0], accuracies[1]),
        paired(*tests), bench, notes,
    )  # fmt: skip


def _right(model: ir.Model, lab: Lab, images: ImageSet) -> Right:
    found = decisions(model, lab.normal.apply(images.images), "onnxruntime")
    return np.equal(found, images.labels[: len(found)])


def _row(steps: str, model: ir.Model, before: Right, after: Right, lab: Lab) -> StepResult:
    name = lab.data.validation.name
    accuracy = Accuracy(steps or ORIGINAL, name, len(after), float(after.mean()))
    return StepResult(steps, accuracy, paired(before, after), file_bytes(model))
