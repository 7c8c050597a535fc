"""A size for each layer under a budget: measured sensitivities, and an exact search over them."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import onnx_ir as ir
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it

from mlcnn import nn, training
from mlcnn.api.optimizing import Progress, rewrite
from mlcnn.errors import InputError
from mlcnn.frontier import Target
from mlcnn.passes import Pass, Sized, pipeline
from mlcnn.training import Data, Hardware, Normal
from mlcnn.workload import read

__all__ = ["Budgeter", "Sizing", "cheapest"]

_IMAGES = 500


@dataclass(frozen=True, slots=True)
class Sizing:
    """One size of one layer.

    Attributes:
        layer: its name.
        size: of its blocks, or whatever the pass sizes; 1 for the layer as it is.
        cost: parameters or multiplications of the layer then.
        loss: divergence of the network's answers from the original's with this layer alone
            rewritten (Kullback and Leibler, mean over validation images, in nats).
        chosen: whether it is the layer's size.
    """

    layer: str
    size: int
    cost: int
    loss: float
    chosen: bool = False

    def to_json(self) -> dict[str, object]:
        """As ``--json`` prints it."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Budgeter:
    """Chooses sizes by what each does alone to the answers on validation images.

    Attributes:
        model: the original network.
        passes: the pipeline; one of its passes has a size for each layer.
        data: validation images judge; norms are re-estimated on calibration images.
        normal: what the network takes for an image.
        hardware: where.
        tell: told how the work goes on.
    """

    model: ir.Model
    passes: str
    data: Data
    normal: Normal
    hardware: Hardware
    tell: Progress

    def within(self, budget: Target) -> tuple[str, tuple[Sizing, ...]]:
        """The pipeline with the sizes that lose least within a budget, and every size tried.

        Raises:
            InputError: no pass has sizes, or even the largest do not meet the budget.
        """
        parsed = pipeline.parse(self.passes)
        place = next((i for i, item in enumerate(parsed) if isinstance(item, Sized)), None)
        if place is None:
            raise InputError(f"--budget: no pass of {self.passes} has a size for each layer")
        sized, before = parsed[place], parsed[:place]
        found = self._judged(sized, pipeline.text(before), budget.quantity)
        costs = self._costs(self.model, budget.quantity)
        others = sum(costs.values()) - sum(costs.get(layer, 0) for layer in found)
        limit = math.floor(sum(costs.values()) / budget.times) - others
        chosen = cheapest(list(found.values()), limit)
        if chosen is None:
            least = others + sum(min(s.cost for s in sizings) for sizings in found.values())
            raise InputError(
                f"--budget {budget.quantity}={budget.times:g}x: the largest sizes reach "
                f"{sum(costs.values()) / least:.2f}x; ask for less"
            )
        if not isinstance(sized, Sized):
            raise TypeError("a pass without sizes")
        picked = {s.layer: s.size for s in chosen if s.size > 1}
        passes: list[Pass] = [*before, sized.sized(picked), *parsed[place + 1 :]]
        rows = tuple(
            Sizing(s.layer, s.size, s.cost, s.loss, chosen=s in chosen)
            for sizings in found.values()
            for s in sizings
        )
        return pipeline.text(passes), rows

    def _judged(self, sized: Pass, before: str, quantity: str) -> dict[str, list[Sizing]]:
        model = rewrite(self.model, before, check=False).model if before else self.model
        if not isinstance(sized, Sized):
            raise TypeError("a pass without sizes")
        sizes, costs = sized.sizes(model), self._costs(model, quantity)
        images = self.data.validation.first(_IMAGES)
        answers = self._answers(model, images)
        steps = sum(map(len, sizes.values()))
        found: dict[str, list[Sizing]] = {}
        done = 0
        for layer, listed in sizes.items():
            found[layer] = [Sizing(layer, 1, costs[layer], 0.0)]
            for size in listed:
                self.tell("judge sizes", done, steps)
                done += 1
                text = pipeline.text([sized.sized({layer: size})])
                small = rewrite(model, text, check=False).model
                loss = F.kl_div(
                    F.log_softmax(self._answers(small, images), 1),
                    F.log_softmax(answers, 1),
                    reduction="batchmean",
                    log_target=True,
                )
                cost = self._costs(small, quantity)[layer]
                found[layer].append(Sizing(layer, size, cost, float(loss)))
        return found

    def _answers(self, model: ir.Model, images: training.ImageSet) -> torch.Tensor:
        module = nn.to_module(model)
        self.hardware.place(module)
        if model is not self.model:
            calibration = self.data.calibration.first(_IMAGES)
            training.reestimate(module, calibration, self.normal, self.hardware)
        return training.logits(module, images, self.normal, self.hardware)

    @staticmethod
    def _costs(model: ir.Model, quantity: str) -> dict[str, int]:
        """Of each layer, for one image."""
        lowered = rewrite(model, "choose", check=False)
        if quantity == "parameters":
            return {layer.name: layer.stored.parameters for layer in read(model).layers}
        return {row.name: row.chosen.multiplications for row in lowered.counts().layers}


def cheapest(options: Sequence[Sequence[Sizing]], limit: int) -> tuple[Sizing, ...] | None:
    """One of each, of least loss in all and of at most ``limit`` cost in all: exact.

    Every partial choice that another one beats in both is left out, so that what is left is small.

    Args:
        options: of each layer.
        limit: of the sum of costs.

    Returns:
        None where nothing stays within.
    """
    front: list[tuple[int, float, tuple[Sizing, ...]]] = [(0, 0.0, ())]
    for listed in options:
        grown = [
            (cost + one.cost, loss + one.loss, (*kept, one))
            for cost, loss, kept in front
            for one in listed
        ]
        grown.sort(key=lambda item: (item[0], item[1]))
        front, best = [], math.inf
        for item in grown:
            if item[1] < best and item[0] <= limit:
                front.append(item)
                best = item[1]
    return front[-1][2] if front else None
