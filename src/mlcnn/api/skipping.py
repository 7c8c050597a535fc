"""Leave out what single images do not need, as far as a budget of accuracy allows."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from itertools import combinations
from os import PathLike
from pathlib import Path

import numpy as np
import onnx_ir as ir
import torch
from numpy.typing import NDArray

from mlcnn import engines, graph
from mlcnn.api.accuracy import ImageOptions
from mlcnn.api.dynamic import Dynamic
from mlcnn.api.evaluation import EvaluateOptions, Machines
from mlcnn.api.loading import Source, load, model_name
from mlcnn.api.machine import machine
from mlcnn.api.optimizing import Progress, rewrite, silent
from mlcnn.api.provenance import write_result
from mlcnn.api.training import require_classifier
from mlcnn.api.writing import results_folder
from mlcnn.engines import Array
from mlcnn.engines.timing import one_by_one
from mlcnn.errors import InputError
from mlcnn.frontier import Budget, Cost, Frontier, Point
from mlcnn.frontier.activity import recorded
from mlcnn.frontier.exits import Judged, Thresholds, judged, thresholds
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import GRID, Head, exit_points, with_heads
from mlcnn.report import ORIGINAL, write_compression
from mlcnn.training import Data, ImageSet, Normal
from mlcnn.training.heads import fit_linear, region_means
from mlcnn.training.intervals import Accuracy, Difference, paired
from mlcnn.workload import Layer, read

__all__ = ["Ends", "Found", "Parts", "Place", "SkipOptions", "Work", "skip"]

_HEAD_IMAGES = 10_000
_TIMED_IMAGES = 1_000
_BATCH = 250
_LEAST, _MOST = 0.05, 0.95
_PLACES = 8
_CHECKED = 0.4
_TIGHTER = 5
_CHOOSE_ON = ("auto", "validation", "test")


@dataclass(frozen=True, slots=True)
class SkipOptions:
    """How far, and by what.

    Attributes:
        max_drop: percentage points of accuracy that may be lost.
        objective: what is to be small on average: ``multiplications`` or ``energy``.
        exits: at most so many, 1 or 2.
        choose_on: images for the thresholds: ``validation``, ``test`` (half of them, the other half
            is reported), or ``auto``: ``test`` where the network knows the validation images.
        method: ``exit``; ``bits``, of its own for every layer; or ``bits+exit``.
    """

    max_drop: float = 1.0
    objective: str = "multiplications"
    exits: int = 1
    choose_on: str = "auto"
    method: str = "exit"

    def __post_init__(self) -> None:
        Budget(self.max_drop)
        if self.objective not in {"multiplications", "energy"}:
            raise InputError(f"--objective {self.objective}: multiplications or energy is required")
        if self.exits not in {1, 2}:
            raise InputError(f"--exits {self.exits}: 1 or 2 are searched for")
        if self.method not in _METHODS:
            raise InputError(f"--method {self.method}: {', '.join(_METHODS)} are known")
        if self.choose_on not in _CHOOSE_ON:
            raise InputError(f"--choose-on {self.choose_on}: {', '.join(_CHOOSE_ON)} are known")


@dataclass(frozen=True, slots=True)
class Parts:
    """Images, none in two parts.

    Attributes:
        heads: what heads are fitted to.
        choose: what thresholds are chosen on.
        check: what they are checked on.
        test: what is reported.
        told: what the reader must know of them.
    """

    heads: ImageSet
    choose: ImageSet
    check: ImageSet
    test: ImageSet
    told: tuple[str, ...] = ()


def skip(
    source: Source,
    data: "Data | str | PathLike[str]",
    skipping: SkipOptions | None = None,
    *,
    max_drop: float | None = None,
    images: ImageOptions | None = None,
    evaluating: EvaluateOptions | None = None,
    measure: bool = True,
    folder: "str | PathLike[str] | None" = None,
    weights: "str | PathLike[str] | None" = None,
    command: str = "",
    progress: Progress | None = None,
    notice: Callable[[str], None] | None = None,
) -> Dynamic:
    """Let images leave a trained network early where a first head is sure of them.

    The network stays as it is; heads are linear, on averages over regions, fitted to training
    images. Where images leave is chosen on images that nothing was trained on, checked on others,
    and reported on others still.

    Args:
        source: see ``load``: a trained network.
        data: labelled images; see ``training.open_data``.
        skipping: how far, and by what.
        max_drop: in place of that of ``skipping``.
        images: how the images go to the network.
        evaluating: on which accelerators energy is evaluated; choices are made by the first one's.
            None for none.
        measure: measure the latency of real images, one by one.
        folder: where the record and the report go; None for nowhere.
        weights: see ``load``.
        command: what the report names as the command that repeats the run.
        progress: told how the work goes on.
        notice: told what the user should know.

    Returns:
        The network of standard operators that leaves work out, and what it costs.

    Raises:
        InputError: the source, the data or an option cannot be used, or nothing meets the budget.

    Example:
        ``mlcnn.skip("shop.onnx", "photos/", max_drop=1).save("dynamic.onnx")``
    """
    chosen = skipping or SkipOptions()
    chosen = chosen if max_drop is None else replace(chosen, max_drop=max_drop)
    tell, say = progress or silent, notice or _quiet
    machines = None if evaluating is None else evaluating.load()
    if chosen.objective == "energy" and machines is None:
        raise InputError("--objective energy: name the accelerator, as --on mlcnn-int8")
    tell("read images", 0, 0)
    opened, normal, note = (images or ImageOptions()).open(data, source)
    if note:
        say(note)
    model = load(source, weights=weights, image_shape=opened.image_shape)
    require_classifier(model, opened)
    if read(model, batch=1).is_conditional:
        raise InputError(
            f"{model_name(source)}: what runs depends on the image already; give the network that "
            "it was made from"
        )
    model = rewrite(model, "fold-batch-norm", progress=tell).model
    work = Work(model, opened, normal, chosen, machines, measure, tell, say)
    done = _METHODS[chosen.method]()(model_name(source), work)
    if folder is not None:
        with results_folder(Path(folder)) as path:
            _write(done, work, path, command)
    return done


def _write(done: Dynamic, work: "Work", folder: Path, command: str) -> None:
    write_result(folder, {**done.to_json(), "skip": asdict(work.options)})
    facts = (("images", work.data.name), ("machine", machine()), *(("note", n) for n in done.notes))
    write_compression(
        folder / "report.html", done.name, done.frontier, done.shown(), facts=facts, command=command
    )


@dataclass(frozen=True, slots=True)
class Place:
    """A head, fitted, and what it says of the images that thresholds are chosen and checked on."""

    layer: str
    head: Head
    choose: Judged
    check: Judged


@dataclass(frozen=True, slots=True)
class Ends:
    """What the whole network says of the images that thresholds are chosen and checked on."""

    choose: Judged
    check: Judged

    def drop(self, exits: Sequence[Judged], values: Sequence[float]) -> float:
        """What is lost on the images that check, 0 to 1."""
        right = self.check.right.copy()
        for says, value in zip(reversed(exits), reversed(values), strict=True):
            right = np.where(says.sure >= value, says.right, right)
        return float(self.check.right.mean() - right.mean())


@dataclass(frozen=True, slots=True)
class Found:
    """Exits with thresholds, within the budget on the images that they were chosen on."""

    places: tuple[Place, ...]
    thresholds: Thresholds

    @property
    def setting(self) -> dict[str, float | str]:
        """What the point on the curve says of it."""
        values = self.thresholds.values
        return {p.layer: value for p, value in zip(self.places, values, strict=True)}

    @property
    def text(self) -> str:
        """As ``early-exit`` takes it."""
        return "+".join(f"exit{i}={value!r}" for i, value in enumerate(self.thresholds.values, 1))


@dataclass(frozen=True, slots=True)
class Work:
    """What is left to do once everything is read."""

    model: ir.Model
    data: Data
    normal: Normal
    options: SkipOptions
    machines: Machines | None
    measure: bool
    tell: Progress
    say: Callable[[str], None]

    def done(self, name: str) -> Dynamic:
        """Fit, choose, build, judge."""
        parts = self.parts()
        for line in parts.told:
            self.say(line)
        places = self.places(parts)
        end = Ends(*(self.says(self.model, part) for part in (parts.choose, parts.check)))
        found = self.search(places, end)
        return self._judge(name, found, parts)

    def parts(self) -> Parts:
        """The images, and what is to be told of them."""
        data, told = self.data, list[str]()
        on, unseen = self.options.choose_on, data.validation
        if on == "auto":
            known, test = (self.says(self.model, p).right for p in (unseen, data.test.first(5000)))
            seen = Accuracy("", unseen.name, len(known), float(known.mean())).interval[0]
            on = "test" if seen > float(test.mean()) + 0.01 else "validation"
            if on == "test":
                told.append(
                    f"the network has {100 * known.mean():.2f} % of the validation images right "
                    f"and {100 * test.mean():.2f} % of the test images: it knows the former, and "
                    "its probabilities say nothing there; half of the test images choose the "
                    "thresholds, the other half is reported"
                )
        test = data.test
        if on == "test":
            half = np.arange(len(test)) < len(test) // 2
            order = np.random.default_rng(0).permutation(len(test))
            unseen = test.chosen(np.isin(np.arange(len(test)), order[half]), f"{test.name}, a half")
            test = test.chosen(
                np.isin(np.arange(len(test)), order[~half]), f"{test.name}, the other half"
            )
        count = int(len(unseen) * (1 - _CHECKED))
        first = np.arange(len(unseen)) < count
        choose, check = (unseen.chosen(w, unseen.name) for w in (first, ~first))
        self._require(choose, check, told)
        return Parts(data.training.first(_HEAD_IMAGES), choose, check, test, tuple(told))

    def _require(self, choose: ImageSet, check: ImageSet, told: list[str]) -> None:
        """Enough images for the budget, and all classes among them."""
        budget = max(self.options.max_drop, 0.1) / 100
        # A drop of b needs at least b of the images to differ; three times that is usual.
        needed = int(np.ceil(1.96**2 * 3 * budget / budget**2))
        if min(len(choose), len(check)) < 50:
            raise InputError(
                f"{choose.name}: {len(choose)} images choose the thresholds and {len(check)} check "
                f"them: at least 50 are required for each, about {needed:,} for a budget of "
                f"{self.options.max_drop:g} points at 95 %"
            )
        if len(choose) < needed:
            told.append(
                f"{len(choose):,} images choose the thresholds: a budget of "
                f"{self.options.max_drop:g} points takes about {needed:,} at 95 %"
            )
        missing = sorted({*range(self.data.test.classes)} - {*choose.labels.tolist()})
        if missing:
            raise InputError(
                f"{choose.name}: no image of class {missing[0]} among those that choose the "
                "thresholds; every class is required"
            )

    def _outputs(self, model: ir.Model, images: ImageSet, what: str) -> Iterator[Sequence[Array]]:
        """The outputs of a network, batch by batch, in the order of the outputs."""
        (name,) = (value.name or "" for value in model.graph.inputs)
        session = engines.get("onnxruntime").prepare(model, threads=1)
        for start in range(0, len(images), _BATCH):
            self.tell(what, start, len(images))
            pixels = self.normal.apply(images.images[start : start + _BATCH])
            yield list(session.run({name: pixels}).values())

    def _scores(self, model: ir.Model, images: ImageSet, what: str) -> list[Array]:
        batches = zip(*self._outputs(model, images, what), strict=True)
        return [np.concatenate(each) for each in batches]

    def scores(self, model: ir.Model, images: ImageSet) -> Array:
        """The first output of a network, shape (images, classes)."""
        return self._scores(model, images, "classify")[0]

    def says(self, model: ir.Model, images: ImageSet) -> Judged:
        """What a network says of images."""
        return judged(self.scores(model, images), images.labels)

    def places(self, parts: Parts) -> tuple[Place, ...]:
        """Heads where a network can be left after a twentieth of its work, or more."""
        points = self._points()
        copied = graph.clone(self.model)
        values = {v.name: v for node in copied.graph for v in node.outputs}
        copied.graph.outputs.extend(values[name] for name in points.values())

        def features(images: ImageSet) -> list[torch.Tensor]:
            batches: list[list[torch.Tensor]] = [[] for _ in points]
            for _, *found in self._outputs(copied, images, "look at the values on the way"):
                for batch, value in zip(batches, found, strict=True):
                    batch.append(region_means(torch.from_numpy(value), GRID))
            return [torch.cat(batch) for batch in batches]

        seen = [(images, features(images)) for images in (parts.heads, parts.choose, parts.check)]
        (heads, fitted), *others = seen
        found: list[Place] = []
        for index, (layer, name) in enumerate(points.items()):
            self.tell("fit heads", index, len(points))
            weight, bias = fit_linear(fitted[index], heads.labels, self.data.test.classes)
            says = [
                judged(inputs[index].numpy() @ weight.T + bias, images.labels)
                for images, inputs in others
            ]
            found.append(Place(layer, Head(name, weight, bias), *says))
            self.say(f"a head behind {layer}: {100 * says[0].right.mean():.1f} % alone")
        return tuple(found)

    def _points(self) -> dict[str, str]:
        """Values by the layer in front of them, at most eight, evenly over the network's work."""
        layers = read(self.model, batch=1).layers
        work = np.cumsum([layer.nest.macs for layer in layers])
        share = {layer.name: done / work[-1] for layer, done in zip(layers, work, strict=True)}
        sizes = {v.name: v.shape for node in self.model.graph for v in node.outputs}
        found = {
            layer: name
            for layer, name in exit_points(self.model)
            if _LEAST <= share.get(layer, 1.0) <= _MOST and _is_wide(sizes.get(name))
        }
        if not found:
            raise InputError(
                "no place for an exit: between a twentieth and 95 % of the network's work there is "
                f"no single value of at least {GRID}x{GRID} positions"
            )
        kept = np.unique(np.linspace(0, len(found) - 1, _PLACES).round().astype(int))
        return {layer: name for i, (layer, name) in enumerate(found.items()) if i in kept}

    def search(self, places: Sequence[Place], end: "Ends") -> tuple[Found, ...]:
        """The cheapest thresholds of the best pair and of the three best places."""
        cost = self._costs(with_heads(self.model, [place.head for place in places]))
        found: list[Found] = []
        sets = [*combinations(places, 1)]
        sets += combinations(places, 2) if self.options.exits == 2 else []
        for done, each in enumerate(sets):
            self.tell("choose thresholds", done, len(sets))
            result = self._within(each, end, self._cumulative(each, cost))
            if result is not None:
                found.append(Found(each, result))
        if not found:
            raise InputError(
                f"--max-drop {self.options.max_drop:g}: no exit saves anything within it; allow "
                "more, or train heads with the network"
            )
        order = sorted(found, key=lambda item: item.thresholds.cost)
        pairs = [item for item in order if len(item.places) == 2]
        singles = [item for item in order if len(item.places) == 1]
        return (*pairs[:1], *singles[:3])

    def _within(
        self, places: Sequence[Place], end: "Ends", costs: Sequence[float]
    ) -> Thresholds | None:
        """Chosen on some images, with less to lose as long as others lose more than the budget."""
        budget = self.options.max_drop / 100
        allowed = budget
        for _ in range(_TIGHTER):
            count = allowed * len(end.choose.right)
            result = thresholds([place.choose for place in places], end.choose, costs, count)
            if min(result.values) > 1:
                return None
            drop = end.drop([place.check for place in places], result.values)
            if drop <= budget:
                return result
            allowed *= min(budget / drop, 0.9)
        return None

    def _costs(self, model: ir.Model) -> Callable[[Layer], float]:
        """What a layer costs one image."""
        if self.options.objective == "multiplications" or self.machines is None:
            return lambda layer: float(layer.nest.macs)
        energy = self._energies(model)["energy_pj"]
        return lambda layer: energy[layer.name]

    def _cumulative(self, places: Sequence[Place], cost: Callable[[Layer], float]) -> list[float]:
        """What an image costs that leaves at each place, and at the end."""
        model = with_heads(self.model, [place.head for place in places])
        model = EarlyExit("+".join(f"exit{i}=0.5" for i in range(1, len(places) + 1))).apply(model)
        layers = read(model.model, batch=1).every
        conditions = list(dict.fromkeys(layer.condition for layer in layers))
        parts = [sum(cost(la) for la in layers if la.condition == c) for c in conditions]
        return np.cumsum(parts).tolist()

    def _judge(self, name: str, found: Sequence[Found], parts: Parts) -> Dynamic:
        before = {p: self.says(self.model, getattr(parts, p)).right for p in ("check", "test")}
        models: list[ir.Model] = []
        points: list[Point] = []
        for item in found:
            model, point = self.point(item, before, parts)
            models.append(model)
            points.append(point)
        times = self.latencies([self.model, *models], parts.test)
        original, *points = (
            replace(point, costs={**point.costs, **more})
            for point, more in zip([self.original(before, parts), *points], times, strict=True)
        )
        key = self.options.objective if self.options.objective != "energy" else "energy_pj"
        frontier = Frontier(original, tuple(points), key)
        best = self.best(frontier)
        index = points.index(best)
        return Dynamic(name, self.model, models[index], best, frontier, parts.told)

    def point(
        self, found: Found, before: Mapping[str, NDArray[np.bool_]], parts: Parts
    ) -> tuple[ir.Model, Point]:
        """The network with exits, and what it costs.

        Args:
            found: the exits.
            before: what the original has right, by name of the part: ``check`` and ``test``.
            parts: the images.
        """
        heads = with_heads(self.model, [place.head for place in found.places])
        model = EarlyExit(found.text).apply(heads).model
        right = {p: self.says(model, getattr(parts, p)).right for p in before}
        changes = {p: paired(before[p], right[p]) for p in before}
        accuracies = {
            p: Accuracy("exit", getattr(parts, p).name, len(r), float(r.mean()))
            for p, r in right.items()
        }
        self.say(
            f"exit {found.setting}: {100 * changes['check'].top1:+.2f} points on the images that "
            "check it"
        )
        point = Point(
            "exit", found.setting, self.all_costs(model, heads, parts),
            accuracies["check"], changes["check"], accuracies["test"], changes["test"],
        )  # fmt: skip
        return model, point

    def best(self, frontier: Frontier) -> Point:
        """The cheapest that is not surely outside of the budget on the images that check it."""
        budget = Budget(self.options.max_drop)
        within = [point for point in frontier.points if not budget.exceeded(point.change)]
        if not within:
            raise InputError(
                f"--max-drop {self.options.max_drop:g}: what was chosen within it loses more on "
                "the images that check it; give more images, or allow more"
            )
        return min(within, key=lambda point: point.costs[frontier.quantity].mean)

    def original(self, before: Mapping[str, NDArray[np.bool_]], parts: Parts) -> Point:
        """The network as it was, beside what is made of it; see ``point``."""
        none = Difference(0.0, (0.0, 0.0))
        accuracies = [
            Accuracy(ORIGINAL, getattr(parts, p).name, len(r), float(r.mean()))
            for p, r in before.items()
        ]
        costs = self.all_costs(self.model, self.model, parts)
        return Point(ORIGINAL, {}, costs, accuracies[0], none, accuracies[1], none)

    def all_costs(self, model: ir.Model, heads: ir.Model, parts: Parts) -> dict[str, Cost]:
        """Distributions over the test images."""
        self.tell("find out what runs", 0, 0)
        pixels = self.normal.apply(parts.test.images)
        activity = recorded(model, pixels)
        costs = {"multiplications": activity.cost(model, lambda layer: float(layer.nest.macs))}
        for name, energy in self._energies(heads).items():
            costs[name] = activity.cost(model, lambda layer, of=energy: of[layer.name])
        return costs

    def _energies(self, heads: ir.Model) -> dict[str, dict[str, float]]:
        """Of one image by layer, on each machine; the first machine's needs no name."""
        found: dict[str, dict[str, float]] = {}
        if self.machines is None:
            return found
        for each in self.machines.on:
            one = replace(self.machines, on=(each,))
            compared = one.compare_networks((heads, self.model), ("heads", "network"))
            name = f"energy_pj {each.name}" if found else "energy_pj"
            found[name] = {r.name: r.costs.energy_pj / compared.batch for r in compared.layers}
        return found

    def latencies(self, models: Sequence[ir.Model], images: ImageSet) -> list[dict[str, Cost]]:
        """Of real images, one by one, the networks in turn; nothing where none is wanted."""
        if not self.measure:
            return [{} for _ in models]
        self.tell("time real images", 0, 0)
        pixels = self.normal.apply(images.images[:_TIMED_IMAGES])
        engine = engines.get("onnxruntime")

        def caller(model: ir.Model) -> Callable[[int], object]:
            (name,) = (value.name or "" for value in model.graph.inputs)
            session = engine.prepare(model, threads=1)
            return lambda number: session.run({name: pixels[number : number + 1]})

        times = one_by_one([caller(model) for model in models], len(pixels))
        return [{f"latency_ms {engine.name}": Cost.over(np.asarray(each))} for each in times]


def _is_wide(shape: ir.Shape | None) -> bool:
    dims = () if shape is None else shape.dims[2:]
    return len(dims) == 2 and all(isinstance(d, int) and d >= GRID for d in dims)


def _quiet(message: str) -> None:
    del message


_Method = Callable[[str, Work], Dynamic]


def _exit() -> _Method:
    return lambda name, work: work.done(name)


def _bits() -> _Method:
    from mlcnn.api.narrowing import narrow  # noqa: PLC0415 - it stands on this module

    return narrow


def _bits_and_exit() -> _Method:
    from mlcnn.api.narrow_exits import narrow_with_exits  # noqa: PLC0415 - likewise

    return narrow_with_exits


_METHODS: dict[str, Callable[[], _Method]] = {
    "exit": _exit,
    "bits": _bits,
    "bits+exit": _bits_and_exit,
}
