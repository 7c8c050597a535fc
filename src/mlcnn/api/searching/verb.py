"""All methods on one network, under a budget of accuracy and one of time."""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from os import PathLike
from pathlib import Path

import numpy as np
import onnx_ir as ir

import mlcnn
from mlcnn import accelerators, graph, nn, training
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.affording import EXACT
from mlcnn.api.loading import Source, load, model_name
from mlcnn.api.optimizing import Progress, rewrite, silent
from mlcnn.api.recovery import Teaching
from mlcnn.api.searching.elsewhere import workers
from mlcnn.api.searching.ending import Ending
from mlcnn.api.searching.found import Cheapest
from mlcnn.api.searching.leaving import Given, leave
from mlcnn.api.searching.options import CheapestOptions, Objective
from mlcnn.api.searching.peers import onnxruntime_int8
from mlcnn.api.searching.prices import Prices, Stopwatch
from mlcnn.api.searching.search import Search, Training
from mlcnn.api.searching.trials import Done, Here, Trials, right_of
from mlcnn.api.searching.unlabelled import require_exact, unlabelled
from mlcnn.api.stacking import ON_MACHINES, STACK_RECIPE, Lab
from mlcnn.api.training import TrainOptions, require_classifier, require_static
from mlcnn.api.writing import results_folder, resumable
from mlcnn.codesign.interruption import interruptions
from mlcnn.errors import InputError
from mlcnn.frontier.stacks import Aspect
from mlcnn.journal import Journal
from mlcnn.passes import restore
from mlcnn.training import Data, ImageSet, Teacher
from mlcnn.training.intervals import Accuracy, points

__all__ = ["cheapest"]

_VERSION = 1
_CHOOSING = 0.6
"""Of the validation images, what chooses; the rest judges what was chosen."""
_MOST_CHOOSING = 3000
_LOOKED_AT = 2000
_KNOWN = 0.01
_CALIBRATION = 256
_TIMED_IMAGES = 400
_PACE_IMAGES = 64
_PRUNED = 0.3
_ORT = "INT8 of ONNX Runtime"


def cheapest(
    source: Source,
    data: "Data | str | PathLike[str] | None" = None,
    options: CheapestOptions | None = None,
    *,
    training_options: TrainOptions | None = None,
    images: ImageOptions | None = None,
    folder: "str | PathLike[str]",
    fresh: bool = False,
    weights: "str | PathLike[str] | None" = None,
    input_shape: Sequence[int] | None = None,
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Cheapest:
    """Find the cheapest way to run a network: all methods, stacked, under an accuracy budget.

    First what is the same network, run better; then what calibration allows; then the most
    promising stacks are trained, longer and longer, with the original as teacher. Choices are made
    on validation images; what they came to is judged on others, and on test images once, in the
    end. Every result is kept: the same call goes on where it was interrupted.

    Args:
        source: see ``load``: a trained network.
        data: labelled images; see ``training.open_data``. None: methods that need them are left
            out.
        options: what is made small, and the budgets.
        training_options: how to train; its epochs are decided by the budget.
        images: how the images go to the network.
        folder: where the journal, all networks and the result go.
        fresh: begin anew, whatever is there.
        weights: see ``load``.
        input_shape: see ``load``.
        progress: told how the work goes on.
        notice: told what the user should know, and every result.

    Raises:
        InputError: the source, the data or an option cannot be used.
        UnsupportedError: an engine is missing, or none runs the network.
        InfeasibleError: the machine cannot run a layer.

    Example:
        ``mlcnn.cheapest("shop.onnx", "photos/", folder="runs/shop").save("shop-small.onnx")``
    """
    chosen = options or CheapestOptions()
    chosen.require()
    if chosen.on is not None:
        accelerators.load_accelerator(chosen.on)
    tell, say = progress or silent, notice or _quiet
    run = _Run(chosen, model_name(source), tell, say, Given(source, data, weights))
    with results_folder(Path(folder)) as path:
        if data is None:
            model = load(source, input_shape=input_shape, weights=weights)
            return run.without_images(model, path)
        tell("read images", 0, 0)
        opened, normal, note = (images or ImageOptions()).open(data, source)
        model = load(
            source, input_shape=input_shape, weights=weights, dropout=True,
            image_shape=opened.image_shape,
        )  # fmt: skip
        _require_static(model)
        require_classifier(model, opened)
        run.restrict(graph.without_dropout(model))
        if note:
            run.note(note)
        how = training_options or TrainOptions(recipe=STACK_RECIPE)
        lab = Lab(
            restore(model, lowered=True), opened, normal, replace(how, seed=chosen.seed),
            Teaching(temperature=4.0), tell=tell, say=say,
        )  # fmt: skip
        return run.with_images(lab, path, fresh=fresh)


def _quiet(message: str) -> None:
    del message


def _require_static(model: ir.Model) -> None:
    try:
        require_static(model)
    except InputError as error:
        raise InputError(
            f"{error}; of this one, mlcnn bench --data finds the engine in which its images are "
            "fastest"
        ) from error


@dataclass(eq=False)
class _Run:
    """One call.

    Attributes:
        options: what is asked for.
        name: of the network.
        tell: told how the work goes on.
        say: told what the user should know.
        given: the network and the images, as they were given.
        notes: what the reader should know.
    """

    options: CheapestOptions
    name: str
    tell: Progress
    say: Callable[[str], None]
    given: Given
    notes: list[str] = field(default_factory=list[str])

    def note(self, text: str) -> None:
        """Say it now and below the table."""
        self.notes.append(text)
        self.say(text)

    def without_images(self, model: ir.Model, path: Path) -> Cheapest:
        """The first stage alone."""
        require_exact(self.options)
        gains = self._exact_gains(graph.without_dropout(model))
        done = unlabelled(model, self.name, self.options, tuple(self.notes), self.tell, gains=gains)
        return leave(done, path, self.given, self.options, None)

    def with_images(self, lab: Lab, path: Path, *, fresh: bool) -> Cheapest:
        """All stages."""
        original = graph.without_dropout(lab.original)
        options = self.options
        lab, judge = self._split(lab, original)
        pixels = lab.normal.apply(lab.data.validation.first(_TIMED_IMAGES).images)
        watch = Stopwatch(options.where, pixels, options.threads)
        prices = Prices(options, original, watch, pixels)
        gains = self._exact_gains(original)
        identity = {
            "mlcnn": f"cheapest {_VERSION}, {mlcnn.__version__}",
            "network, images or training": lab.key(""),
            "objective": options.objective,
            "max-drop": options.max_drop,
            "methods": [kind.name for kind in options.kinds],
            "on": options.on,
            "template": options.template,
            "engines": list(options.where),
            "threads": options.threads,
            "first": options.first,
            "predict": options.predict,
            "network_name": self.name,
        }
        with resumable(path), Journal(
            path / "journal.db", identity, work="search for the cheapest", given=("-o", "folder"),
            fresh=fresh,
        ) as journal:  # fmt: skip
            networks, steps = path / "networks", path / "steps"
            for place in (networks, steps):
                place.mkdir(exist_ok=True)
            trials = Trials(Here(lab, steps), prices, journal, networks)
            before = trials.original(original, lambda: right_of(original, lab, lab.data.validation))
            ending = Ending(self.options, lab, judge, trials, watch, original, before, gains)
            taken = Training(
                len(lab.data.training),
                lambda: _pace(lab),
                lambda: ending.seconds,
            )
            search = Search(options, trials, before, taken, self._coded(options), self.say)
            trials.tell = partial(self._told, search, path / f"{self.name}.onnx")
            # Forms are chosen by measured time in the engine that the network runs best in.
            # On a machine every site is fused that can be.
            engine = ON_MACHINES if options.on_machines else None
            engine = (before.price and before.price.engine) or engine
            with workers(options, replace(lab, engine=engine), steps) as trials.workers:
                interrupted = self._stages(search, lab, original)
            done = ending.result(search, self.name, interrupted, tuple(self.notes))
            return leave(done, path, self.given, self.options, lab)

    def _split(self, lab: Lab, original: ir.Model) -> tuple[Lab, ImageSet]:
        """Images that choose, and those that judge what was chosen.

        They are the validation images; where the network was trained on these and knows them, half
        of the test images, and the other half alone is reported.
        """
        data = lab.data
        whole, test = data.validation, data.test
        known, new = (right_of(original, lab, part.first(_LOOKED_AT)) for part in (whole, test))
        seen = Accuracy("", whole.name, len(known), float(known.mean())).interval[0]
        if seen > float(new.mean()) + _KNOWN:
            self.note(
                f"the network has {100 * known.mean():.2f} % of the validation images right and "
                f"{100 * new.mean():.2f} % of the test images: it was trained on the former, and "
                "what training loses there says nothing; half of the test images choose and judge, "
                "the other half is reported"
            )
            order = np.random.default_rng(0).permutation(len(test))
            place = np.isin(np.arange(len(test)), order[: len(test) // 2])
            whole = test.chosen(place, f"{test.name}, a half")
            test = test.chosen(~place, f"{test.name}, the other half")
        count = min(int(_CHOOSING * len(whole)), _MOST_CHOOSING)
        place = np.arange(len(whole)) < count
        choose = whole.chosen(place, whole.name)
        judge = whole.chosen(~place, f"{whole.name}, kept for judging")
        return replace(lab, data=replace(data, validation=choose, test=test)), judge

    def restrict(self, model: ir.Model) -> None:
        """Leave out methods that cannot be applied to such a network.

        Raises:
            InputError: none of those that were asked for can.
        """
        kinds = self.options.kinds
        coded = any(node.op_type == "DequantizeLinear" for node in model.graph.all_nodes())
        zeros = _zeros(model)
        if coded:
            why = "the network is quantised already"
            kinds = [k for k in kinds if k.aspect in {Aspect.FORMS, Aspect.IMAGES} and not k.trains]
        elif zeros > _PRUNED:
            why = f"{zeros:.0%} of its weights are zero already, and training would fill them again"
            kinds = [k for k in kinds if not k.trains]
        else:
            return
        left = ", ".join(kind.name for kind in self.options.kinds if kind not in kinds)
        if not kinds:
            raise InputError(
                f"{self.name}: {why}; none of --methods {','.join(self.options.methods)} goes with "
                "that: leave --methods away, or give the network that it was made from"
            )
        self.note(f"{why}: left out are {left}; left are {', '.join(k.name for k in kinds)}")
        self.options = replace(self.options, methods=tuple(kind.name for kind in kinds))

    def _exact_gains(self, model: ir.Model) -> bool:
        """Whether exact passes find anything; said at once where not."""
        if not rewrite(model, EXACT, check=False).changes:
            self.note("exact passes find nothing to gain in this network")
            return False
        return True

    def _coded(self, options: CheapestOptions) -> bool:
        if Objective.ENERGY not in options.objectives or options.on is None:
            return False
        machine = accelerators.load_accelerator(options.on)
        precision = accelerators.precision_of(machine)
        return precision is not None and precision.is_integer

    def _stages(self, search: Search, lab: Lab, original: ir.Model) -> bool:
        """All stages; whether the user interrupted them."""
        try:
            with interruptions() as search.trials.interrupted:
                self.say("exact passes and engines")
                search.exact()
                self.say("what calibration allows")
                self._peer(search.trials, lab, original)
                search.calibrated()
                self.say("training")
                search.trained()
        except KeyboardInterrupt:
            return True
        return False

    def _peer(self, trials: Trials, lab: Lab, original: ir.Model) -> None:
        """What the user would get without this: the engine's own quantiser."""

        def make() -> tuple[ir.Model, np.ndarray]:
            pixels = lab.normal.apply(lab.data.calibration.first(_CALIBRATION).images)
            made = onnxruntime_int8(original, (image[None] for image in pixels))
            return made, right_of(made, lab, lab.data.validation)

        trials.peer(_ORT, make)

    def _told(self, search: Search, best: Path, done: Done) -> None:
        """A line for each trial; the best network is there at any time."""
        if done.trial.peer:
            return
        if done.price is None:
            self.say(f"{done.trial.told}: {done.why}")
            return
        share = f"{search.cost(done):.3f} of the cost"
        judged = "" if done.trial.is_untrained else f", {points(done.change(search.original))}"
        self.say(f"{done.trial.told}: {share}{judged}")
        found = search.found
        if found and found[0] is done:
            graph.save(search.trials.model(done), best)


def _pace(lab: Lab) -> float:
    """Seconds that an image takes in a step of training, the teacher included."""
    module = nn.to_module(lab.original)
    lab.options.hardware.place(module)
    teacher = Teacher(nn.to_module(lab.original), lab.teaching.weight, lab.teaching.temperature)
    recipe = replace(lab.options.recipe, epochs=1, batch_size=_PACE_IMAGES)
    count = min(_PACE_IMAGES, len(lab.data.training))
    took: list[float] = []
    for _ in range(2):  # the first one warms up
        begun = time.perf_counter()
        training.train(
            module, lab.data.training.first(count), recipe, normal=lab.normal, hooks=(teacher,),
            hardware=lab.options.hardware,
        )  # fmt: skip
        took.append(time.perf_counter() - begun)
    return took[-1] / count


def _zeros(model: ir.Model) -> float:
    """Share of the weights of convolutions and dense layers that are zero."""
    arrays = [
        array
        for node in model.graph
        if node.op_type in {"Conv", "Gemm", "MatMul"}
        for value in node.inputs[1:2]
        if (array := graph.constant(value)) is not None
    ]
    total = sum(array.size for array in arrays)
    return sum(int((array == 0).sum()) for array in arrays) / total if total else 0.0
