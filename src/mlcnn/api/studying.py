"""Train the paper's study: every run that is asked for and has no record yet."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from mlcnn import nn, training
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.loading import load
from mlcnn.api.optimizing import Progress, silent
from mlcnn.api.provenance import where
from mlcnn.api.quantized_training import TuneOptions, tune
from mlcnn.api.training import TrainOptions, train
from mlcnn.api.writing import results_folder
from mlcnn.errors import InputError
from mlcnn.report.charts.saving import draw_saving
from mlcnn.report.charts.study import draw_study
from mlcnn.reproduce.sefact import saved_points
from mlcnn.reproduce.study import (
    FIGURES,
    Cell,
    Form,
    Precise,
    Run,
    averages,
    load_study,
    read_run,
    read_runs,
    recorded_runs,
    write_run,
)
from mlcnn.reproduce.study.plan import FP16, FP32
from mlcnn.training import Data, Hardware, History, Normal, Recipe
from mlcnn.training.quantisation import Setting

__all__ = ["StudyOptions", "draw_reproduced", "study"]

_CALIBRATION = 512
_TOP = 5
_WORK = "work"
_SAVING = "sefact"


@dataclass(frozen=True, slots=True)
class StudyOptions:
    """Which runs of the study, and where.

    Attributes:
        networks: by name.
        forms: by name; all that a network has by default.
        precisions: by name.
        seeds: of the runs.
        epochs: of training, instead of the recipe's.
        limit: at most so many training images.
        hardware: where.
        every_s: seconds between checkpoints.
    """

    networks: tuple[str, ...]
    forms: tuple[str, ...] = ()
    precisions: tuple[str, ...] = (FP32,)
    seeds: tuple[int, ...] = (0, 1, 2, 3, 4)
    epochs: int | None = None
    limit: int | None = None
    hardware: Hardware = field(default_factory=Hardware)
    every_s: float = 60.0

    def recipe(self, network: str) -> Recipe:
        """Of a network."""
        usual = load_study().network(network).recipe
        return usual if self.epochs is None else replace(usual, epochs=self.epochs)

    def cells(self, datasets: Sequence[str]) -> tuple[Cell, ...]:
        """The places of the matrix, in order.

        Raises:
            InputError: a name is not in the study, or no network has such a form.
        """
        plan = load_study()
        for form in self.forms:
            plan.form(form)
        for precision in self.precisions:
            plan.precision(precision)
        cells = tuple(
            Cell(network, dataset, form, precision)
            for network in self.networks
            for dataset in datasets
            for form in plan.network(network).forms
            if form in self.forms or not self.forms
            for precision in self.precisions
        )
        if not cells:
            raise InputError(
                f"--form {', '.join(self.forms)}: {', '.join(self.networks)} has no such form"
            )
        return cells


def study(
    data: "Sequence[str | PathLike[str] | Data]",
    options: StudyOptions,
    *,
    folder: "str | PathLike[str]",
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> tuple[Run, ...]:
    """Train what has no record yet; the same call goes on where it was interrupted.

    A seed goes through all places of the matrix before the next one, so that whatever is finished
    can be compared.

    Args:
        data: labelled images, as ``training.open_data`` takes them.
        options: which runs.
        folder: where the records go, one JSON file a run, and checkpoints, in ``work``.
        progress: told how the work goes on.
        notice: told what each run came to.

    Raises:
        InputError: an option or the data cannot be used, or a record is damaged or of another
            recipe.
    """
    tell, say = progress or silent, notice or _quiet
    _require(options)
    tell("read images", 0, 0)
    opened = [one if isinstance(one, Data) else training.open_data(one) for one in data]
    by_name = {one.name: one for one in opened}
    if not opened or len(by_name) < len(opened):
        raise InputError("--data: at least one data set is required, and each only once")
    cells = options.cells([*by_name])
    wanted = [(cell, seed) for seed in options.seeds for cell in cells]
    with results_folder(Path(folder)) as path:
        runs: list[Run] = []
        for done, (cell, seed) in enumerate(wanted):
            tell("study", done, len(wanted))
            work = _Work(cell, seed, by_name[cell.dataset], options, path, tell)
            known = work.known()
            run = known or work.run()
            if known is None:
                write_run(run, path)
                say(f"{done + 1} of {len(wanted)}, {run.name}: {100 * run.top1:.2f} %, "
                    f"{run.seconds:.0f} s")  # fmt: skip
            runs.append(run)
        return tuple(runs)


def draw_reproduced(
    what: str, path: "str | PathLike[str]", runs: "str | PathLike[str] | None" = None
) -> None:
    """Draw a figure of the study, or energy saved against accuracy lost.

    Args:
        what: its name.
        path: the ``.html``, ``.png`` or ``.svg`` file to write.
        runs: folder of records; the package's own by default.

    Raises:
        InputError: it is no figure of the study, nothing of it was run, or the file cannot be
            written.
    """
    if what == _SAVING:
        draw_saving(what, saved_points(what), Path(path))
        return
    if what not in FIGURES:
        known = ", ".join((*FIGURES, _SAVING))
        raise InputError(f"--out: {what} is not drawn, only {known}")
    found = recorded_runs() if runs is None else read_runs(Path(runs))
    draw_study(what, averages(what, found), Path(path))


def _quiet(message: str) -> None:
    del message


def _require(options: StudyOptions) -> None:
    if not options.networks:
        raise InputError(f"no network to study; there are {', '.join(load_study().networks)}")
    if not options.seeds or min(options.seeds) < 0:
        raise InputError("--seeds: at least 1 is required")
    options.cells(("any",))  # an unknown name is told before images are read


@dataclass(frozen=True, slots=True)
class _Work:
    """One run: what it is, and what it needs."""

    cell: Cell
    seed: int
    data: Data
    options: StudyOptions
    folder: Path
    tell: Progress

    @property
    def form(self) -> Form:
        return load_study().form(self.cell.form)

    @property
    def precise(self) -> Precise:
        return load_study().precision(self.cell.precision)

    @property
    def recipe(self) -> dict[str, Any]:
        """What decides the result, as the record has it."""
        told: dict[str, Any] = asdict(self.options.recipe(self.cell.network))
        told["optimizer"] = str(told["optimizer"])
        if self.options.limit is not None:
            told["limit"] = self.options.limit
        if self.options.hardware.precision is not training.Precision.FP32:
            told["computed_in"] = str(self.options.hardware.precision)
        if self.cell.precision != FP32:
            told["then"] = asdict(self.precise)
        return told

    def known(self) -> Run | None:
        """Its record, if there is one.

        Raises:
            InputError: it is damaged, or of another recipe.
        """
        path = self.folder / f"{self.cell.name}-{self.seed}.json"
        if not path.exists():
            return None
        run = read_run(path)
        mine = self.recipe
        for key in {**mine, **run.recipe}:
            if mine.get(key) != run.recipe.get(key):
                raise InputError(
                    f"{path}: a run of another recipe: {key} is {run.recipe.get(key)} there and "
                    f"{mine.get(key)} here; give another --out"
                )
        return run

    def run(self) -> Run:
        """Train it, or go on from its checkpoint."""
        _, normal, _ = ImageOptions().open(self.data, self.cell.network)
        if self.cell.precision == FP32:
            return self._train(normal)
        model = self._trained()
        if self.cell.precision == FP16:
            return self._tested(_Half(nn.to_module(model)), normal, ())
        return self._tune(model, normal)

    def _train(self, normal: Normal) -> Run:
        options = self.options
        work = self.folder / _WORK / f"{self.cell.name}-{self.seed}"
        trained = train(
            self.cell.network,
            self.data,
            TrainOptions(
                options.recipe(self.cell.network), options.hardware, self.seed, options.every_s,
                options.limit,
            ),
            folder=work,
            pooling=self.form.pooling,
            order="reordered" if self.form.order == "reordered" else "original",
            progress=self.tell,
        )  # fmt: skip
        return self._tested(nn.to_module(trained.model), normal, trained.history)

    def _trained(self) -> ir.Model:
        """The network that was trained in floats from the same seed."""
        cell = replace(self.cell, precision=FP32)
        found = [*(self.folder / _WORK / f"{cell.name}-{self.seed}").glob("*.onnx")]
        if len(found) != 1 or replace(self, cell=cell).known() is None:
            raise InputError(
                f"--precision {self.cell.precision} starts from the weights of "
                f"{cell.name}-{self.seed}, which is not in {self.folder}; add --precision fp32"
            )
        return load(found[0])

    def _tune(self, model: ir.Model, normal: Normal) -> Run:
        precise, data = self.precise, self.data
        if self.options.limit is not None:
            data = data.first(self.options.limit)
        options = TuneOptions(
            epochs=precise.epochs,
            hardware=self.options.hardware,
            seed=self.seed,
            checkpoint=self.folder / _WORK / f"{self.cell.name}-{self.seed}.npz",
        )
        tuned = tune(
            model,
            data,
            normal,
            Setting(precise.weight_bits, precise.input_bits),
            options,
            calibration=normal.apply(data.calibration.first(_CALIBRATION).images),
            tests=data.test,
            progress=self.tell,
        )
        return self._record(tuned.classes == data.test.labels, None, tuned.history)

    def _tested(self, module: torch.nn.Module, normal: Normal, history: History) -> Run:
        exact = replace(self.options.hardware, precision=training.Precision.FP32)
        exact.place(module)
        logits = training.logits(module, self.data.test, normal, exact)
        labels = torch.from_numpy(self.data.test.labels)
        best = logits.topk(min(_TOP, logits.shape[1]), dim=1).indices
        top5 = float((best == labels[:, None]).any(dim=1).double().mean())
        return self._record((best[:, 0] == labels).numpy(), top5, history)

    def _record(self, right: NDArray[np.bool_], top5: float | None, history: History) -> Run:
        epochs = tuple(asdict(epoch) for epoch in history)
        seconds = sum(epoch.seconds for epoch in history)
        place = where(self.options.hardware)
        return Run(self.cell, self.seed, self.recipe, epochs, seconds, right, top5, place)


class _Half(torch.nn.Module):
    """A network that computes in half precision, weights and activations.

    Args:
        module: the network in floats.
    """

    def __init__(self, module: torch.nn.Module) -> None:
        super().__init__()
        self.module = module.half()

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Logits (images, classes)."""
        return self.module(images.half())
