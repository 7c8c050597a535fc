"""A size for each layer under a budget: measured sensitivities, and an exact search over them."""

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from enum import StrEnum

import onnx_ir as ir
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from mlcnn import nn, training
from mlcnn.api.benchmarking import MeasureOptions
from mlcnn.api.layer_costs import Costs, Counter, Stopwatch
from mlcnn.api.optimizing import rewrite
from mlcnn.api.sensitivity import Judge
from mlcnn.errors import InputError
from mlcnn.passes import Chooser, Sized, pipeline

__all__ = ["Budget", "Budgeted", "Budgeter", "Quantity", "Sizing", "cheapest"]

_IMAGES = 500
_FORM = re.compile(r"(?:(?P<what>[a-z-]+)=)?(?P<amount>\d+(?:\.\d+)?)(?P<times>x?)")


class Quantity(StrEnum):
    """What a budget limits."""

    PARAMETERS = "parameters"
    MULTIPLICATIONS = "multiplications"
    TIME = "time"
    DROP = "accuracy-drop"


@dataclass(frozen=True, slots=True)
class Budget:
    """How much smaller or faster a network is to be, or how much accuracy it may lose.

    Attributes:
        amount: the factor; percentage points for an accuracy drop.
        quantity: of what.
    """

    amount: float
    quantity: Quantity = Quantity.PARAMETERS

    @classmethod
    def parse(cls, text: str) -> "Budget":
        """From ``4x``, ``multiplications=3x``, ``time=2x`` or ``accuracy-drop=0.5``.

        Raises:
            InputError: it is none of them, or no factor above 1.
        """
        found = _FORM.fullmatch(text)
        what = "" if found is None else found["what"] or Quantity.PARAMETERS
        if found is not None and what in tuple(Quantity):
            budget = cls(float(found["amount"]), Quantity(what))
            if budget.drops == (not found["times"]) and (budget.drops or budget.amount > 1):
                return budget
        raise InputError(
            f"--budget {text}: a factor above 1 is required, as in 4x, parameters=4x, "
            "multiplications=3x or time=2x, or percentage points, as in accuracy-drop=0.5"
        )

    @property
    def drops(self) -> bool:
        """Whether it limits the accuracy, and not what the network takes."""
        return self.quantity is Quantity.DROP

    @property
    def text(self) -> str:
        """As it is given."""
        return f"{self.quantity}={self.amount:g}{'' if self.drops else 'x'}"


@dataclass(frozen=True, slots=True)
class Sizing:
    """One size of one layer.

    Attributes:
        layer: its name.
        size: of its blocks, or whatever the pass sizes; 1 for the layer as it is.
        cost: of the layer then: parameters (of an accuracy drop, too), multiplications, or ms.
        loss: divergence of the network's answers from the original's with this layer alone
            rewritten (Kullback and Leibler, mean over validation images, in nats).
        wrong: how many more validation images the network then classifies wrongly, without
            training; below 0 for fewer.
        chosen: whether it is the layer's size.
    """

    layer: str
    size: int
    cost: float
    loss: float
    wrong: int = 0
    chosen: bool = False

    def to_json(self) -> dict[str, object]:
        """As ``--json`` prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Budgeted:
    """Sizes within a budget.

    Attributes:
        passes: the pipeline with them.
        sizings: every size tried.
        budget: the budget.
        predicted: what the network takes by the sum over its layers; of an accuracy drop, the
            percentage points that they lose one by one.
        found: the same of the whole network, untrained; a time is measured beside ``before``.
        before: what the original takes; 0 points of an accuracy drop.
        where: what it was measured on.
    """

    passes: str
    sizings: tuple[Sizing, ...]
    budget: Budget
    predicted: float
    found: float
    before: float
    where: str

    @property
    def told(self) -> str:
        """What the sizes come to, in words."""
        if self.budget.drops:
            return (
                f"{self.predicted:.2f} points lost by the sum over its layers, {self.found:.2f} "
                f"by all together, untrained, on {self.where}"
            )
        if self.budget.quantity is Quantity.TIME:
            return (
                f"{self.predicted:.3f} ms by the sum over its layers, {self.found:.3f} ms measured "
                f"as a whole ({self.before / self.found:.2f}x), {self.before:.3f} ms before "
                f"({self.where})"
            )
        return f"{self.found:,.0f} {self.budget.quantity} of {self.before:,.0f}"

    def to_json(self) -> dict[str, object]:
        """As ``result.json`` keeps it, without the sizings."""
        return {
            "text": self.budget.text, "predicted": self.predicted, "found": self.found,
            "before": self.before, "where": self.where,
        }  # fmt: skip


@dataclass(frozen=True, slots=True)
class Budgeter:
    """Chooses sizes by what each does alone to the answers on validation images.

    Attributes:
        judge: the original network, the pipeline, in which one of the passes has a size for each
            layer, and the images; norms are re-estimated on calibration images.
        measuring: on what a time is measured: on the fastest of the engines.
        chooser: what says at which sizes a layer gains; an estimate by default.
    """

    judge: Judge
    measuring: MeasureOptions
    chooser: Chooser | None = None

    @property
    def undecided(self) -> bool:
        """Whether the chooser has a say; the same in every process, whoever has a chooser."""
        return pipeline.undecided(pipeline.parse(self.judge.passes))

    def within(self, budget: Budget) -> Budgeted:
        """The sizes that lose least within a budget, or that leave least of the parameters.

        Raises:
            InputError: no pass has sizes, no sizes meet the budget, or an accuracy drop affords
                none.
            UnsupportedError: no engine that is asked for runs the network.
        """
        judge = self.judge
        parsed = pipeline.configure(pipeline.parse(judge.passes), chooser=self.chooser)
        place = next((i for i, item in enumerate(parsed) if isinstance(item, Sized)), None)
        sized = None if place is None else parsed[place]
        if place is None or not isinstance(sized, Sized):
            raise InputError(f"--budget: no pass of {judge.passes} has a size for each layer")
        before = pipeline.text(parsed[:place])
        model = rewrite(judge.model, before, check=False).model if before else judge.model
        costs = self._costs(budget.quantity)
        options = self._judged(model, sized, costs, self._images(budget))
        rest = costs.networks({"": model})[""] - sum(listed[0].cost for listed in options)
        whole = costs.networks({"": judge.model})[""]
        chosen = self._chosen(budget, options, whole, rest)
        picked = {s.layer: s.size for s in chosen if s.size > 1}
        done = pipeline.run(judge.model, [*parsed[:place], sized.sized(picked)])
        text = pipeline.text([*pipeline.parse(done.settled), *parsed[place + 1 :]])
        sizings = tuple(replace(s, chosen=s in chosen) for listed in options for s in listed)
        return self._whole(budget, text, sizings, costs, rest)

    def _costs(self, quantity: Quantity) -> Costs:
        if quantity is Quantity.TIME:
            return Stopwatch.fastest(self.judge.model, self.measuring)
        return Counter(quantity is Quantity.MULTIPLICATIONS)

    def _images(self, budget: Budget) -> training.ImageSet:
        """All that there are where accuracy is at stake; answers are compared on fewer."""
        images = self.judge.data.validation
        return images if budget.drops else images.first(_IMAGES)

    def _chosen(
        self, budget: Budget, options: Sequence[Sequence[Sizing]], whole: float, rest: float
    ) -> tuple[Sizing, ...]:
        if budget.drops:
            images = self._images(budget)
            allowed = math.floor(budget.amount / 100 * len(images) + 1e-9)
            found = cheapest(options, allowed, spends=_lost, loses=_cost)
            if found is not None and any(s.size > 1 for s in found):
                return found
            least = min(_lost(s) for listed in options for s in listed[1:])
            raise InputError(
                f"--budget {budget.text}: no layer stays within it without training; the nearest "
                f"loses {100 * least / len(images):.2f} points; allow so many, or give a factor "
                "such as 4x and recover the accuracy by training"
            )
        found = cheapest(options, whole / budget.amount - rest, spends=_cost, loses=_loss)
        if found is None:
            least = rest + sum(min(map(_cost, listed)) for listed in options)
            raise InputError(
                f"--budget {budget.text}: no sizes reach more than {whole / least:.2f}x; ask for "
                "less"
            )
        return found

    def _judged(
        self, model: ir.Model, sized: Sized, costs: Costs, images: training.ImageSet
    ) -> list[list[Sizing]]:
        """Of each layer: as it is, then each size."""
        answers = self._answers(self.judge.model, images)
        sizes = sized.sizes(model)
        steps, found = sum(map(len, sizes.values())), list[list[Sizing]]()
        done = 0
        for layer, listed in sizes.items():
            by_size = costs.layer(model, layer, sized, listed)
            found.append([Sizing(layer, 1, by_size[1], 0.0)])
            for size in listed:
                self.judge.tell("judge sizes", done, steps)
                done += 1
                result = pipeline.run(model, [sized.sized({layer: size})])
                if not result.changes:
                    continue  # no form of this size is faster than the layer as it is
                small = self._answers(result.model, images)
                found[-1].append(
                    Sizing(layer, size, by_size[size], _divergence(small, answers),
                           _wrong(small, images) - _wrong(answers, images))
                )  # fmt: skip
        return found

    def _answers(self, model: ir.Model, images: training.ImageSet) -> Tensor:
        judge, module = self.judge, nn.to_module(model)
        judge.hardware.place(module)
        if model is not judge.model:
            calibration = judge.data.calibration.first(_IMAGES)
            training.reestimate(module, calibration, judge.normal, judge.hardware)
        return training.logits(module, images, judge.normal, judge.hardware)

    def _whole(
        self, budget: Budget, text: str, sizings: tuple[Sizing, ...], costs: Costs, rest: float
    ) -> Budgeted:
        """What the sizes come to together."""
        chosen = [s for s in sizings if s.chosen]
        model = rewrite(self.judge.model, text, check=False).model
        if budget.drops:
            images = self._images(budget)
            wrong = [_wrong(self._answers(m, images), images) for m in (self.judge.model, model)]
            points = 100 / len(images)
            where = f"{len(images)} images of {images.name}"
            return Budgeted(text, sizings, budget, points * sum(map(_lost, chosen)),
                            points * (wrong[1] - wrong[0]), 0.0, where)  # fmt: skip
        found = costs.networks({"before": self.judge.model, "after": model})
        predicted = rest + sum(map(_cost, chosen))
        return Budgeted(
            text, sizings, budget, predicted, found["after"], found["before"], costs.where
        )


def _cost(sizing: Sizing) -> float:
    return sizing.cost


def _loss(sizing: Sizing) -> float:
    return sizing.loss


def _lost(sizing: Sizing) -> int:
    """Images that a size costs; what it gains pays for no other layer."""
    return max(sizing.wrong, 0)


def _divergence(answers: Tensor, original: Tensor) -> float:
    told = F.kl_div(
        F.log_softmax(answers, 1), F.log_softmax(original, 1), reduction="batchmean",
        log_target=True,
    )  # fmt: skip
    return float(told)


def _wrong(answers: Tensor, images: training.ImageSet) -> int:
    return int((answers.argmax(1).numpy() != images.labels).sum())


def cheapest(
    options: Sequence[Sequence[Sizing]],
    limit: float,
    *,
    spends: Callable[[Sizing], float],
    loses: Callable[[Sizing], float],
) -> tuple[Sizing, ...] | None:
    """One of each that lose least in all and spend at most ``limit`` in all: exact.

    Every partial choice that another one beats in both is left out, so that what is left is small.

    Args:
        options: of each layer.
        limit: of the sum.
        spends: what one takes of the limit, 0 or more.
        loses: what is to be least.

    Returns:
        None where nothing stays within.
    """
    front: list[tuple[float, float, tuple[Sizing, ...]]] = [(0, 0.0, ())]
    for listed in options:
        grown = [
            (spent + spends(one), lost + loses(one), (*kept, one))
            for spent, lost, kept in front
            for one in listed
        ]
        grown.sort(key=lambda item: item[:2])
        front, best = [], math.inf
        for item in grown:
            if item[1] < best and item[0] <= limit:
                front.append(item)
                best = item[1]
    return front[-1][2] if front else None
