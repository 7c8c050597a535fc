"""What every method of ``skip`` needs: parts of the images, runs, and judging what was found."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import engines
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.dynamic import Dynamic
from mlcnn.api.evaluation import Machines
from mlcnn.api.optimizing import Progress
from mlcnn.api.per_image import require_finite
from mlcnn.api.skipping.energies import Energy
from mlcnn.api.skipping.options import SkipOptions
from mlcnn.api.skipping.requirements import needed
from mlcnn.api.skipping.together import Together
from mlcnn.counting import executed_multiplications
from mlcnn.engines import Array
from mlcnn.engines.timing import one_by_one
from mlcnn.errors import InputError
from mlcnn.frontier import Budget, Cost, Frontier, Point
from mlcnn.frontier.activity import recorded
from mlcnn.frontier.exits import Judged, judged
from mlcnn.report import ORIGINAL
from mlcnn.training import Data, ImageSet, Normal
from mlcnn.training.intervals import Accuracy, Difference, paired
from mlcnn.workload import Layer

__all__ = ["Candidate", "Parts", "Work"]

_HEAD_IMAGES = 10_000
_TIMED_IMAGES = 1_000
_BATCH = 250
_CHECKED = 0.4
_RUN = "multiplications run"


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


@dataclass(frozen=True, slots=True)
class Candidate:
    """A dynamic network to be judged.

    Attributes:
        method: what made it.
        setting: of the method, by name.
        model: the network.
        whole: all that an image can run, without branches, for what a machine says of it; None
            where no machine can say.
        yardstick: whether it is only there to be compared with.
        more: what an image costs besides, by quantity, whatever runs of it.
        definition: says what has to be computed, where the network may compute more; None where it
            does not.
    """

    method: str
    setting: Mapping[str, float | str]
    model: ir.Model
    whole: ir.Model | None = None
    yardstick: bool = False
    more: Mapping[str, float] = field(default_factory=dict[str, float])
    definition: ir.Model | None = None


@dataclass(frozen=True, slots=True)
class Work:
    """What is left to do once everything is read.

    Attributes:
        model: the network, batch norms folded.
        data: labelled images.
        normal: how they go to the network.
        options: how far, and by what.
        machines: on which energy is evaluated; None for none.
        measure: whether latencies are measured.
        tell: told how the work goes on.
        say: told what the user should know.
        together: how heads and network train together first; None where they do not.
        whole: the network with its batch norms, where there is one.
    """

    model: ir.Model
    data: Data
    normal: Normal
    options: SkipOptions
    machines: Machines | None
    measure: bool
    tell: Progress
    say: Callable[[str], None]
    together: Together | None = None
    whole: ir.Model | None = None

    def parts(self) -> Parts:
        """Images to fit heads, to choose, to check and to report on.

        Raises:
            InputError: too few, or a class is missing.
        """
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
        least = needed(self.options.max_drop)
        if min(len(choose), len(check)) < 50:
            raise InputError(
                f"{choose.name}: {len(choose)} images choose the thresholds and {len(check)} check "
                f"them: at least 50 are required for each, about {least:,} for a budget of "
                f"{self.options.max_drop:g} points at 95 %"
            )
        if len(choose) < least:
            told.append(
                f"{len(choose):,} images choose the thresholds: a budget of "
                f"{self.options.max_drop:g} points takes about {least:,} at 95 %"
            )
        shape = self.model.graph.outputs[0].shape
        told_apart = shape[1] if shape is not None else None  # not those that the images have
        classes = told_apart if isinstance(told_apart, int) else self.data.test.classes
        missing = sorted({*range(classes)} - {*choose.labels.tolist()})
        if missing:
            raise InputError(
                f"{choose.name}: no image of class {missing[0]} among those that choose the "
                "thresholds; every class is required"
            )

    def outputs(self, model: ir.Model, images: ImageSet, what: str) -> Iterator[Sequence[Array]]:
        """The outputs of a network, batch by batch, in the order of the outputs.

        Raises:
            InputError: one of them is not finite.
        """
        (name,) = (value.name or "" for value in model.graph.inputs)
        session = engines.get("onnxruntime").prepare(model, threads=1)
        step = fixed_batch(model) or _BATCH
        for start in range(0, len(images), step):
            self.tell(what, start, len(images))
            pixels = self.normal.apply(images.images[start : start + step])
            found = session.run({name: pixels})
            require_finite(found, images.name)
            yield list(found.values())

    def scores(self, model: ir.Model, images: ImageSet, what: str) -> list[Array]:
        """The outputs of a network for all images."""
        batches = zip(*self.outputs(model, images, what), strict=True)
        return [np.concatenate(each) for each in batches]

    def says(self, model: ir.Model, images: ImageSet) -> Judged:
        """What a network says of images, and whether it is right."""
        return judged(self.scores(model, images, "classify")[0], images.labels)

    @property
    def quantity(self) -> str:
        """The cost that is to be small."""
        return "energy_pj" if self.options.objective == "energy" else self.options.objective

    def judge(self, name: str, found: Sequence[Candidate], parts: Parts) -> Dynamic:
        """Accuracy and costs of candidates, and the cheapest of them that is no yardstick.

        Raises:
            InputError: all lose more than the budget on the images that check them.
        """
        before = {p: self.says(self.model, getattr(parts, p)).right for p in ("check", "test")}
        points = [self.point(item, before, parts) for item in found]
        times = self._latencies([self.model, *(item.model for item in found)], parts.test)
        original, *points = (
            replace(point, costs={**point.costs, **more})
            for point, more in zip([self.original(before, parts), *points], times, strict=True)
        )
        key = self.quantity
        if any(_RUN in point.costs for point in points):
            original, *points = (_with_run(point) for point in (original, *points))
        frontier = Frontier(original, tuple(points), key)
        best = self.best(
            [p for p, item in zip(points, found, strict=True) if not item.yardstick], key
        )
        model = found[points.index(best)].model
        return Dynamic(name, self.model, model, best, frontier, parts.told)

    def point(
        self, item: Candidate, before: Mapping[str, NDArray[np.bool_]], parts: Parts
    ) -> Point:
        """What a dynamic network costs, and what it loses.

        Args:
            item: the network.
            before: what the original has right, by name of the part: ``check`` and ``test``.
            parts: the images.
        """
        right = {p: self.says(item.model, getattr(parts, p)).right for p in before}
        changes = {p: paired(before[p], right[p]) for p in before}
        accuracies = {
            p: Accuracy(item.method, getattr(parts, p).name, len(r), float(r.mean()))
            for p, r in right.items()
        }
        self.say(
            f"{item.method} {dict(item.setting)}: {100 * changes['check'].top1:+.2f} points on the "
            "images that check it"
        )
        costs = self.all_costs(item.definition or item.model, item.whole, parts, item.more)
        if item.definition is not None:
            run = self.all_costs(item.model, None, parts)
            costs[_RUN] = run["multiplications"]
        return Point(
            item.method, item.setting, costs,
            accuracies["check"], changes["check"], accuracies["test"], changes["test"],
        )  # fmt: skip

    def best(self, points: Sequence[Point], quantity: str) -> Point:
        """The cheapest that is not surely outside of the budget on the images that check it."""
        budget = Budget(self.options.max_drop)
        within = [point for point in points if not budget.exceeded(point.change)]
        if not within:
            raise InputError(
                f"--max-drop {self.options.max_drop:g}: what was chosen within it loses more on "
                "the images that check it; give more images, or allow more"
            )
        return min(within, key=lambda point: point.costs[quantity].mean)

    def original(self, before: Mapping[str, NDArray[np.bool_]], parts: Parts) -> Point:
        """The network as it was, beside what is made of it; see ``point``."""
        none = Difference(0.0, (0.0, 0.0))
        accuracies = [
            Accuracy(ORIGINAL, getattr(parts, p).name, len(r), float(r.mean()))
            for p, r in before.items()
        ]
        costs = self.all_costs(self.model, self.model, parts)
        return Point(ORIGINAL, {}, costs, accuracies[0], none, accuracies[1], none)

    def all_costs(
        self,
        model: ir.Model,
        whole: ir.Model | None,
        parts: Parts,
        more: Mapping[str, float] | None = None,
    ) -> dict[str, Cost]:
        """Distributions over the test images.

        Args:
            model: the network.
            whole: all that an image can run, without branches; None for no energies.
            parts: the images.
            more: what every image costs besides.
        """
        self.tell("find out what runs", 0, 0)
        pixels = self.normal.apply(parts.test.images)
        activity = recorded(model, pixels)
        costs = {"multiplications": activity.cost(model, executed_multiplications)}
        for name, energy in {} if whole is None else self.energies(whole).items():
            costs[name] = activity.cost(model, energy)
        return {name: cost.plus((more or {}).get(name, 0.0)) for name, cost in costs.items()}

    def energies(self, whole: ir.Model) -> dict[str, Energy]:
        """Of one image by layer, on each machine; the first machine's needs no name.

        Args:
            whole: all that an image can run, without branches.
        """
        found: dict[str, Energy] = {}
        if self.machines is not None:
            for each in self.machines.on:
                name = f"energy_pj {each.name}" if found else "energy_pj"
                found[name] = Energy.of(whole, each, self.machines)
        return found

    def cost_of(self, whole: ir.Model) -> Callable[[Layer], float]:
        """What a layer costs one image, of the quantity that is to be small.

        Args:
            whole: all that an image can run, without branches.
        """
        if self.options.objective == "multiplications" or self.machines is None:
            return executed_multiplications
        return self.energies(whole)["energy_pj"]

    def _latencies(self, models: Sequence[ir.Model], images: ImageSet) -> list[dict[str, Cost]]:
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


def _with_run(point: Point) -> Point:
    """With the multiplications that run, where they are not apart from those that count."""
    return replace(point, costs={_RUN: point.costs["multiplications"], **point.costs})
