"""Train a network from scratch on a user's data, and keep what came of it."""

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any, Literal

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from mlcnn import graph, nn, training, zoo
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.benchmarking import MeasureOptions, chooser_for
from mlcnn.api.loading import Source, as_defined, load, model_name, zoo_entry
from mlcnn.api.optimizing import Progress, rewrite, silent
from mlcnn.api.provenance import training_record, write_result
from mlcnn.api.settling import settled
from mlcnn.api.writing import results_folder
from mlcnn.errors import InputError
from mlcnn.passes import pipeline, restore
from mlcnn.table import Shown, Tabular
from mlcnn.training import Data, Hardware, History, Processes, Recipe
from mlcnn.training.initialise import initialise
from mlcnn.training.intervals import Accuracy
from mlcnn.training.records import Records
from mlcnn.workload import Record, read_record

__all__ = ["ImageOptions", "Order", "TrainOptions", "Trained", "require_static", "train"]

Order = Literal["original", "reordered"]
Told = Callable[[str], None]
_REORDER = "reorder"


@dataclass(frozen=True, slots=True)
class TrainOptions:
    """How to train, but for the data.

    Attributes:
        recipe: what decides the result.
        hardware: where.
        seed: of the first weights, the shuffling, the augmentation and dropout.
        every_s: seconds between checkpoints.
        limit: at most so many training images; None for all.
    """

    recipe: Recipe = field(default_factory=Recipe)
    hardware: Hardware = field(default_factory=Hardware)
    seed: int = 0
    every_s: float = 60.0
    limit: int | None = None


@dataclass(frozen=True, slots=True, repr=False)
class Trained(Tabular):
    """A trained network.

    Attributes:
        name: of the network.
        model: the network with its weights.
        history: its epochs.
        data: name of the test images.
        right: which test images it classifies correctly, in their order; they chose nothing.
        seconds: of training, all calls together.
        folder: where everything was written.
    """

    name: str
    model: ir.Model
    history: History
    data: str
    right: NDArray[np.bool_]
    seconds: float
    folder: Path

    @property
    def test(self) -> Accuracy:
        """Its accuracy on the test images."""
        return Accuracy(self.name, self.data, len(self.right), float(self.right.mean()))

    def records(self) -> list[dict[str, Any]]:
        """A row for each epoch."""
        return [asdict(epoch) for epoch in self.history]

    def shown(self) -> Shown:
        """The epochs, a row each, and the accuracy on the test images."""
        records = self.records()
        columns = tuple(records[0]) if records else ()
        rows = tuple(tuple(map(_cell, record.values())) for record in records)
        low, high = self.test.interval
        title = (
            f"{self.name}: {100 * self.test.top1:.2f} % of {self.test.images:,} test images "
            f"({100 * low:.2f} to {100 * high:.2f} %)"
        )
        return Shown(title, columns, rows, (f"written to {self.folder}",))

    def to_json(self) -> dict[str, object]:
        """What ``mlcnn train --json`` prints."""
        low, high = self.test.interval
        return {
            "name": self.name,
            "output": str(self.folder / f"{self.name}.onnx"),
            "test": {**asdict(self.test), "low": low, "high": high},
            "epochs": [asdict(epoch) for epoch in self.history],
            "seconds": self.seconds,
        }


def _cell(value: object) -> str:
    if value is None:
        return ""
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def train(
    source: Source,
    data: "Data | str | PathLike[str]",
    options: TrainOptions | None = None,
    images: ImageOptions | None = None,
    *,
    folder: "str | PathLike[str]",
    pooling: str | None = None,
    order: Order = "original",
    passes: str | None = None,
    processes: Processes = training.Processes(),  # noqa: B008 - frozen
    progress: Progress | None = None,
    notice: Told | None = None,
) -> Trained:
    """Train a network from scratch; the same call goes on where it was interrupted.

    Args:
        source: see ``load``; a zoo network gets as many classes as the data have.
        data: labelled images; see ``training.open_data``.
        options: how to train.
        images: how the images go to the network.
        folder: where the checkpoint, the table of epochs, the result and the network go.
        pooling: pools of a zoo network: max, avg or all-conv.
        order: ``reordered``: activations behind the average pools ([MLCNN] section III).
        passes: a pipeline that rewrites the network before it is trained. What depends on time in
            it is measured on the first engine; forms of structured layers are left for afterwards.
        processes: which share each batch.
        progress: told how the work goes on.
        notice: told what the user should know, and each epoch's result.

    Raises:
        InputError: the source, the data or an option cannot be used.
    """
    options, images = options or TrainOptions(), images or ImageOptions()
    tell, say = progress or silent, notice or _quiet
    with results_folder(Path(folder)) as path:
        tell("read images", 0, 0)
        opened, normal, note = images.open(data, source)
        if note:
            say(note)
        model = _network(source, opened, pooling, order)
        if passes is not None:
            model = _structured(model, passes, path, processes, say)
        name = _named(source, pooling, order, passes)
        require_classifier(model, opened)
        if options.limit is not None:
            opened = opened.first(options.limit)
        module = nn.to_module(model)
        initialise(module, options.seed)
        records, told = Records(path), EpochTeller(say, options.recipe.epochs)

        def after(history: History) -> None:
            if not processes.rank:
                records.write(history)
                told(history)

        history = training.train(
            module,
            opened.training,
            options.recipe,
            normal=normal,
            validation=opened.validation,
            seed=options.seed,
            hardware=options.hardware,
            processes=processes,
            checkpoint=path / "checkpoint.npz",
            every_s=options.every_s,
            progress=after,
            tell=lambda done, total: tell("train", done, total),
        )
        tell("test", 0, 0)
        exact = replace(options.hardware, precision=training.Precision.FP32)
        right = training.right_images(module, opened.test, normal, exact)
        trained = nn.write_weights(module.cpu(), model)
        seconds = sum(epoch.seconds for epoch in history)
        result = Trained(name, trained, history, opened.test.name, right, seconds, path)
        if not processes.rank:
            records.write(history)
            _write(result, module)
            write_result(path, {**result.to_json(), **training_record(options, normal, processes)})
        return result


def _quiet(message: str) -> None:
    del message


class EpochTeller:
    """Says what each epoch came to, and how long the rest will take."""

    def __init__(self, say: Told, epochs: int) -> None:
        self._say, self._epochs = say, epochs
        self._started, self._first = time.monotonic(), 0

    def __call__(self, history: History) -> None:
        last = history[-1]
        self._first = self._first or last.number
        each = (time.monotonic() - self._started) / (last.number - self._first + 1)
        left = each * (self._epochs - last.number)
        checked = "" if last.validation is None else f", validation {100 * last.validation:.2f} %"
        self._say(
            f"epoch {last.number} of {self._epochs}: loss {last.loss:.4f}, training "
            f"{100 * last.accuracy:.2f} %{checked}, {last.seconds:.0f} s; {left / 60:.0f} min left"
        )


def _network(source: Source, data: Data, pooling: str | None, order: Order) -> ir.Model:
    entry = None if isinstance(source, torch.nn.Module) else zoo_entry(source)
    if entry is None:
        if pooling is not None:
            raise InputError(f"--pooling {pooling}: only networks of the zoo have other pools")
        model = restore(load(source, dropout=True, image_shape=data.image_shape), lowered=True)
    else:
        if pooling is not None:
            if pooling not in {*zoo.Pooling}:
                raise InputError(f"--pooling {pooling}: {', '.join(zoo.Pooling)} are the forms")
            entry = zoo.with_pooling(entry, zoo.Pooling(pooling))
        channels, height, width = data.image_shape
        entry = entry.for_images((channels, height, width))
        entry = replace(entry, classes=data.training.classes)
        model = as_defined(zoo.untrained(entry), entry)
    if order == "reordered":
        model = _rewritten(
            model, _REORDER, "--order reordered: no activation stands before an average pool here; "
            "--pooling avg makes average pools of a zoo network's",
        )  # fmt: skip
    return model


def _structured(
    model: ir.Model, passes: str, folder: Path, processes: Processes, say: Told
) -> ir.Model:
    """The rewritten network, structured layers as the operators that are trained."""
    chooser = chooser_for(model, MeasureOptions())
    text = settled(model, passes, chooser, folder=folder, processes=processes, say=say)
    nothing = f"--passes {passes}: there is nothing to rewrite here"
    return restore(_rewritten(model, text, nothing), lowered=True)


def _rewritten(model: ir.Model, passes: str, nothing: str) -> ir.Model:
    rewritten = rewrite(model, passes, check=False)
    if not rewritten.changes:
        raise InputError(nothing)
    return rewritten.model


def _named(source: Source, pooling: str | None, order: Order, passes: str | None) -> str:
    parts = [model_name(source), pooling or "", "" if order == "original" else order]
    parts += [] if passes is None else [item.name for item in pipeline.parse(passes)]
    return "-".join(part for part in parts if part)


def require_classifier(model: ir.Model, data: Data) -> None:
    """Refuse a network that does not classify such images.

    Raises:
        InputError: several inputs, no logits, other classes or another size of images, or a network
            of which what runs depends on the image.
    """
    inputs, output = model.graph.inputs, model.graph.outputs[0].shape
    if len(inputs) != 1 or inputs[0].shape is None or inputs[0].shape.rank() != 4:
        raise InputError("--data: a network with one input (batch, channels, height, width) only")
    classes = output[1] if output is not None and output.rank() == 2 else None
    if not isinstance(classes, int):
        raise InputError("--data: the network's first output is no logits (batch, classes)")
    require_static(model)
    data.require_fit(classes, inputs[0].shape.dims[1:], "--data")


def require_static(model: ir.Model) -> None:
    """Refuse a network of which what runs depends on the image: no method here changes one.

    Raises:
        InputError: it has branches, or layers of which a mask says what is computed.
    """
    records = (read_record(node) for node in model.graph)
    if any(node.op_type == "If" for node in model.graph) or any(
        isinstance(record, Record) and record.masks for record in records
    ):
        raise InputError(
            "what runs of the network depends on the image already; give the network that it was "
            "made from"
        )


def _write(result: Trained, module: torch.nn.Module) -> None:
    graph.save(graph.without_dropout(result.model), result.folder / f"{result.name}.onnx")
    training.save_weights(module, result.folder / f"{result.name}.npz")
