"""Make a trained network smaller while it trains, as far as a budget of accuracy allows."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from os import PathLike
from pathlib import Path

from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.benchmarking import MeasureOptions
from mlcnn.api.budgeting import Budget as Size
from mlcnn.api.budgeting import Quantity
from mlcnn.api.compressed import Compressed
from mlcnn.api.evaluation import EvaluateOptions, Machines
from mlcnn.api.judging import Judged, Judging, Objective
from mlcnn.api.layer_results import LayerResult
from mlcnn.api.loading import Source, load, model_name
from mlcnn.api.machine import machine
from mlcnn.api.optimizing import Progress, silent
from mlcnn.api.provenance import training_record, write_result
from mlcnn.api.recommending import Recommendation, recommend
from mlcnn.api.recovery import Teaching
from mlcnn.api.shrinking import Sensitivity, Shrinking, Shrunk
from mlcnn.api.training import TrainOptions, require_classifier
from mlcnn.api.writing import results_folder
from mlcnn.errors import InputError
from mlcnn.frontier import (
    ALL,
    BasisTraining,
    Budget,
    Compression,
    Frontier,
    Point,
    Settings,
    compressions,
)
from mlcnn.passes import restore
from mlcnn.report import write_compression
from mlcnn.training import Data, Processes, Recipe
from mlcnn.training.group_penalty import require_penalty
from mlcnn.training.intervals import points

__all__ = ["COMPRESS_RECIPE", "CompressOptions", "compress"]

COMPRESS_RECIPE = Recipe(epochs=3, batch_size=128, learning_rate=0.02, warmup_epochs=0.05)
"""What holds where nothing else is asked for, the same for every method."""


_SIZES = (Quantity.PARAMETERS, Quantity.MULTIPLICATIONS)


_TEACHING = Teaching(temperature=4.0)


@dataclass(frozen=True, slots=True)
class CompressOptions:
    """How far, and by what.

    Attributes:
        max_drop: percentage points of accuracy on the validation images that may be lost.
        budget: how much smaller the network is to be, ``4x`` (parameters) or
            ``multiplications=2x``, in place of a search.
        method: ``weights``, ``channels``, ``shared-kernels``, or ``all``.
        objective: what is to be small: ``parameters``, ``multiplications``, ``latency`` or
            ``energy``.
        attempts: networks that are trained at most, for each method, to find the smallest.
        ends: whether single weights of the first and of the last layer go too.
        importance: what channels are judged by: ``l2``, ``l1`` or ``taylor``.
        multiple: of the channels that stay in each group.
        evenly: whether the same share of every block's inner channels goes, in place of the least
            important ones; residual streams stay whole.
        basis: how many kernels each layer shares: ``5``; others for single layers, ``5+conv1=4``;
            ``auto``: for each layer as many, or none, as lose least for what they cost.
        group_penalty: weight of a penalty that shrinks whole channels while it trains; 0 for none.
        basis_training: how these train: ``joint``, with their coefficients, which go one by one;
            ``alternate``, in turn with them, as in PENNI, and all that goes does at once.
        sensitivity: judge each layer alone before anything is trained.
    """

    max_drop: float | None = None
    budget: str | None = None
    method: str = ALL
    objective: str = "parameters"
    attempts: int = 3
    ends: bool = False
    importance: str = "l2"
    multiple: int = 8
    evenly: bool = False
    basis: str = "auto"
    group_penalty: float = 0.0
    basis_training: str = "joint"
    sensitivity: bool = False

    def __post_init__(self) -> None:
        if self.max_drop is None and self.budget is None:
            raise InputError(
                "what may be lost is not said: give --max-drop 0.5 (percentage points), or "
                "--budget 4x for a size"
            )
        if self.objective not in {*Objective}:
            raise InputError(
                f"--objective {self.objective}: {', '.join(Objective)} are what can be small"
            )
        if self.basis_training not in {*BasisTraining}:
            raise InputError(
                f"--basis-training {self.basis_training}: {' or '.join(BasisTraining)} is required"
            )
        if self.attempts < 1:
            raise InputError(f"--attempts {self.attempts}: at least 1 is required")
        if self.multiple < 1:
            raise InputError(f"--multiple {self.multiple}: at least 1 is required")
        require_penalty(self.group_penalty)

    @property
    def size(self) -> Size | None:
        """The size asked for.

        Raises:
            InputError: it is none of parameters or multiplications.
        """
        size = None if self.budget is None else Size.parse(self.budget)
        if size is not None and size.quantity not in _SIZES:
            raise InputError(
                f"--budget {self.budget}: {' or '.join(_SIZES)} are cut, as in 4x or "
                "multiplications=2x; what may be lost is --max-drop, and for time there is "
                "--objective latency"
            )
        return size

    @property
    def settings(self) -> Settings:
        """What methods need to know; time and energy go by multiplications while it trains."""
        plain = "parameters" if self.objective == Objective.PARAMETERS else "multiplications"
        quantity = plain if self.size is None else str(self.size.quantity)
        return Settings(
            quantity, self.ends, self.importance, self.multiple, self.evenly, self.basis,
            self.group_penalty, BasisTraining(self.basis_training),
        )  # fmt: skip


def compress(
    source: Source,
    data: "Data | str | PathLike[str]",
    compressing: CompressOptions | None = None,
    *,
    max_drop: float | None = None,
    epochs: int | None = None,
    options: TrainOptions | None = None,
    images: ImageOptions | None = None,
    teaching: Teaching | None = None,
    measuring: MeasureOptions | None = None,
    evaluating: EvaluateOptions | None = None,
    folder: "str | PathLike[str] | None" = None,
    weights: "str | PathLike[str] | None" = None,
    command: str = "",
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Compressed:
    """Make a trained network smaller, with the original as its teacher.

    Each method trains the network several times, down to shares that close in on the smallest one
    within the budget; all by one recipe and seed. What is chosen is chosen on validation images.
    The same call with a folder goes on where it was interrupted.

    Args:
        source: see ``load``: a trained network, or one that was compressed before.
        data: labelled images; see ``training.open_data``.
        compressing: how far, and by what.
        max_drop: in place of that of ``compressing``.
        epochs: passes over the training images for each attempt, in place of those of ``options``.
        options: how to train; ``COMPRESS_RECIPE`` by default.
        images: how the images go to the network.
        teaching: how much the original teaches; a temperature of 4 by default.
        measuring: on what to measure the speed; None for nothing.
        evaluating: on which accelerator to evaluate, the first one named; None for none.
        folder: where checkpoints, the record and the report go, and what a repeated call goes on
            from; None for nowhere.
        weights: see ``load``.
        command: what the report names as the command that repeats the run.
        progress: told how the work goes on.
        notice: told what the user should know, and each epoch's result.

    Returns:
        The smaller network, what it costs, and the curve that it was chosen from.

    Raises:
        InputError: the source, the data or an option cannot be used, or nothing meets the budget.

    Example:
        ``mlcnn.compress("shop.onnx", "photos/", max_drop=0.5).save("small.onnx")``
    """
    chosen = _options(compressing, max_drop)
    how = options or TrainOptions(recipe=COMPRESS_RECIPE)
    if epochs is not None:
        how = replace(how, recipe=replace(how.recipe, epochs=epochs))
    _require_recipe(how.recipe)
    tell, say = progress or silent, notice or _quiet
    machines = None if evaluating is None else evaluating.load()
    _require_objective(chosen.objective, measuring, machines)
    tell("read images", 0, 0)
    opened, normal, note = (images or ImageOptions()).open(data, source)
    if note:
        say(note)
    model = load(source, weights=weights, dropout=True, image_shape=opened.image_shape)
    require_classifier(model, opened)
    model = restore(model, lowered=True)
    shrinking = Shrinking(
        model, chosen.settings, opened, normal, how, teaching or _TEACHING, tell, say
    )
    run = _Run(model_name(source), chosen, shrinking, measuring, machines, command)
    if folder is None:
        return run.into(None)
    with results_folder(Path(folder)) as path:
        return run.into(path)


def _options(options: CompressOptions | None, max_drop: float | None) -> CompressOptions:
    if options is None:
        return CompressOptions(max_drop=max_drop)
    return options if max_drop is None else replace(options, max_drop=max_drop)


def _require_recipe(recipe: Recipe) -> None:
    if recipe.epochs < 1:
        raise InputError(
            f"--epochs {recipe.epochs}: at least 1 is required: weights go in training"
        )
    if recipe.ema:
        raise InputError(
            f"--ema {recipe.ema:g}: averages of weights that go one by one are not zero; leave it "
            "away"
        )


def _require_objective(
    objective: str, measuring: MeasureOptions | None, machines: Machines | None
) -> None:
    if objective == Objective.LATENCY and measuring is None:
        raise InputError("--objective latency: nothing is measured; leave --no-measure away")
    if objective == Objective.ENERGY and machines is None:
        raise InputError("--objective energy: name the accelerator, as --on mlcnn-int8")


@dataclass(frozen=True, slots=True)
class _Run:
    """What is left to do once everything is read."""

    name: str
    options: CompressOptions
    shrinking: Shrinking
    measuring: MeasureOptions | None
    machines: Machines | None
    command: str

    def into(self, folder: Path | None) -> Compressed:
        """Train, judge, choose."""
        sensitivities = self._sensitivities()
        found, notes = self._all(folder)
        judged = Judging(self.shrinking, self.measuring, self.machines).of(found)
        frontier = judged.frontier(Objective(self.options.objective))
        best = self._best(frontier)
        index = frontier.points.index(best)
        layers = judged.layers(index)
        done = Compressed(
            self.name,
            self.shrinking.model,
            judged.models[index],
            best,
            frontier,
            layers,
            sensitivities,
            tuple(shrunk.history for shrunk in found),
            judged.bench,
            judged.machine,
            (*notes, *judged.notes, *self._doubts(judged.original, best)),
            self._recommended(judged, frontier, {index: layers}, sensitivities),
        )
        if folder is not None:
            self._write(done, folder)
        return done

    def _recommended(
        self,
        judged: Judged,
        frontier: Frontier,
        known: Mapping[int, Sequence[LayerResult]],
        sensitivities: Sequence[Sensitivity],
    ) -> tuple[Recommendation, ...]:
        """What each layer is best served by, of several methods, each at its best point."""
        methods = dict.fromkeys(point.method for point in frontier.points)
        if len(methods) < 2:
            return ()
        results: dict[str, Sequence[LayerResult]] = {}
        for method in methods:
            mine = tuple(point for point in frontier.points if point.method == method)
            curve = replace(frontier, points=mine)
            best = curve.best(self._budget) or curve.nearest()
            index = frontier.points.index(best)
            results[method] = known.get(index) or judged.layers(index)
        return recommend(frontier.quantity, results, sensitivities)

    def _doubts(self, original: Point, best: Point) -> tuple[str, ...]:
        """What test images, which chose nothing, say against the choice."""
        test, change, notes = original.test, best.test_change, list[str]()
        if test is None or change is None:
            return ()
        if original.accuracy.interval[0] > test.interval[1]:
            notes.append(
                f"the original has {100 * original.accuracy.top1:.2f} % of the validation images "
                f"right and {100 * test.top1:.2f} % of the test images: it was trained on the "
                "former, so the budget is met on paper; give images that it has not seen"
            )
        if self._budget.exceeded(change):
            notes.append(
                f"on the test images {best.told} is {points(change)} from the original: more than "
                f"the budget of {self._budget.max_drop:g} points"
            )
        return tuple(notes)

    def _write(self, done: Compressed, folder: Path) -> None:
        """The record of the run, and the page."""
        it = self.shrinking
        record = training_record(it.options, it.normal, Processes())
        chosen = {"compress": asdict(self.options), "teaching": asdict(it.teaching)}
        write_result(folder, {**done.to_json(), **chosen, **record})
        recipe = it.options.recipe
        facts = (
            ("recipe", f"{recipe}, seed {it.options.seed}, the same for every method"),
            ("images", f"{it.data.name}; chosen on {len(it.data.validation):,} validation images"),
            ("machine", machine()),
        )
        latency = None if done.bench is None else done.bench.shown()
        write_compression(
            folder / "report.html", done.name, done.frontier, done.shown(), latency=latency,
            recommended=done.recommended_shown(), facts=facts, command=self.command,
        )  # fmt: skip

    def _sensitivities(self) -> tuple[Sensitivity, ...]:
        """Of every method that finds something to cut."""
        found: list[Sensitivity] = []
        for method in compressions(self.options.method) if self.options.sensitivity else ():
            with suppress(InputError):  # it is told where the method is to train
                found += self.shrinking.sensitivities(method)
        for item in found:
            self.shrinking.say(item.told)
        return tuple(found)

    def _all(self, folder: Path | None) -> tuple[tuple[Shrunk, ...], tuple[str, ...]]:
        """Every point of every method, and why methods have none."""
        listed = compressions(self.options.method)
        found: list[Shrunk] = []
        notes: list[str] = []
        # An option that does not fit is the user's to mend, whatever other methods can do.
        for line in [
            line
            for method in listed
            for line in method.check(self.shrinking.model, self.options.settings)
        ]:
            self.shrinking.say(line)
        for method in listed:
            try:
                found += self._method(method, folder)
            except InputError as error:
                if len(listed) == 1:
                    raise
                notes.append(f"{method.name}: {error}")
        if not found:
            raise InputError("; ".join(notes))
        return tuple(found), tuple(notes)

    def _method(self, method: Compression, folder: Path | None) -> Sequence[Shrunk]:
        size, budget = self.options.size, self._budget
        if size is not None:
            return [self.shrinking.to(method, 1 / size.amount, folder)]
        return self.shrinking.within(method, budget, self.options.attempts, folder)

    @property
    def _budget(self) -> Budget:
        return Budget(100.0 if self.options.max_drop is None else self.options.max_drop)

    def _best(self, frontier: Frontier) -> Point:
        if self.options.max_drop is None:
            return frontier.nearest()
        best = frontier.best(self._budget)
        if best is not None:
            return best
        nearest = frontier.nearest()
        raise InputError(
            f"--max-drop {self.options.max_drop:g}: nothing meets it; the nearest is "
            f"{nearest.told}, {-100 * nearest.change.top1:.2f} points below the original; allow "
            "so many, or train for more --epochs or in more --attempts"
        )


def _quiet(message: str) -> None:
    del message
