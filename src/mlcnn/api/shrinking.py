"""Networks trained down to a share of what they were, each judged on the validation images."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import onnx_ir as ir
import torch

from mlcnn import graph, nn, training
from mlcnn.api.optimizing import Progress, rewrite
from mlcnn.api.recovery import Teaching
from mlcnn.api.training import EpochTeller, TrainOptions
from mlcnn.frontier import Budget, Compression, Settings, bisect, smallest
from mlcnn.training import Data, History, Normal, Teacher
from mlcnn.training.intervals import Accuracy, Difference, Right, paired, points
from mlcnn.training.pruning import Cut, Schedule

__all__ = ["Sensitivity", "Shrinking", "Shrunk"]

_IMAGES = 500
_LAST_CUT = 0.6


@dataclass(frozen=True, slots=True)
class Shrunk:
    """A network, trained down to a share.

    Attributes:
        method: the name of what made it smaller.
        left: what is left.
        model: the network, batch norms whole, what is zero taken out.
        module: the trained module.
        history: its epochs.
        accuracy: on the validation images.
        change: less that of the original, on the same images.
    """

    method: str
    left: float
    model: ir.Model
    module: torch.nn.Module
    history: History
    accuracy: Accuracy
    change: Difference

    @property
    def setting(self) -> dict[str, float | str]:
        """What the point on the curve says of it."""
        return {"share": self.left}


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """What a layer or group of channels matters.

    Attributes:
        method: the name of what makes it smaller.
        layer: its name.
        saved: share of the network's parameters or multiplications that goes with half of it.
        change: accuracy with half of it gone less the original's, untrained, statistics
            re-estimated; on some validation images.
    """

    method: str
    layer: str
    saved: float
    change: Difference

    @property
    def told(self) -> str:
        """In words."""
        return (
            f"{self.method}: half of {self.layer} saves {self.saved:.1%}, "
            f"{points(self.change)} alone, untrained"
        )


@dataclass(frozen=True, slots=True)
class Shrinking:
    """How a network is made smaller, with the original as the teacher.

    Attributes:
        model: the network that is made smaller.
        settings: what a share is of, and what methods leave open.
        data: what to train, to re-estimate and to choose on.
        normal: what the network takes for an image.
        options: how to train.
        teaching: how much the original teaches.
        tell: told how the work goes on.
        say: told what the user should know, and each epoch's result.
        original: the teacher, and what accuracy is compared with; the network itself for None.
    """

    model: ir.Model
    settings: Settings
    data: Data
    normal: Normal
    options: TrainOptions
    teaching: Teaching
    tell: Progress
    say: Callable[[str], None]
    original: ir.Model | None = None
    _known: dict[str, Right] = field(default_factory=dict[str, Right], init=False, repr=False)

    @property
    def _taught_by(self) -> ir.Model:
        return self.model if self.original is None else self.original

    @property
    def before(self) -> Right:
        """Which validation images the original classifies correctly."""
        if "before" not in self._known:
            self._known["before"] = self.right(nn.to_module(self._taught_by))
        return self._known["before"]

    def right(self, module: torch.nn.Module, *, test: bool = False) -> Right:
        """Which validation or test images a module classifies correctly, in float32."""
        hardware = replace(self.options.hardware, precision=training.Precision.FP32)
        hardware.place(module)
        images = self.data.test if test else self.data.validation
        return training.right_images(module, images, self.normal, hardware)

    def to(self, method: Compression, share: float, folder: Path | None) -> Shrunk:
        """Train a network down to a share.

        Args:
            method: what makes it smaller.
            share: of the settings' quantity, in all convolutions and dense layers.
            folder: where the checkpoint goes, and what a repeated call goes on from.

        Raises:
            InputError: the method cannot go so far, or training diverges.
        """
        started = method.start(self.model, self.settings, share)
        prepared, cut = started.model, started.cut
        module = nn.to_module(prepared)
        decided = f": {started.told}" if started.told else ""
        self.say(f"{method.name}: down to {share:.1%} of the {self.settings.quantity}{decided}")
        recipe, hardware = self.options.recipe, self.options.hardware
        hardware.place(module)
        schedule = Schedule(share, 0.0, _LAST_CUT * recipe.epochs)
        teacher = Teacher(
            nn.to_module(self._taught_by), self.teaching.weight, self.teaching.temperature
        )
        pruning, *others = method.hooks(cut, schedule, self.settings)
        limit = self.options.limit
        history = training.train(
            module,
            (self.data if limit is None else self.data.first(limit)).training,
            recipe,
            normal=self.normal,
            validation=self.data.validation,
            seed=self.options.seed,
            # A penalty is on the whole loss, behind what the teacher makes of it.
            hooks=(pruning, teacher, *others, *self.settings.hooks(prepared)),
            hardware=hardware,
            checkpoint=None if folder is None else folder / f"{method.name}-{share:.4f}.npz",
            every_s=self.options.every_s,
            progress=EpochTeller(self.say, recipe.epochs),
            tell=lambda done, total: self.tell(f"train {method.name} {share:.1%}", done, total),
        )
        left = cut.left(module)
        accuracy, change = self._judged(method.name, module)
        self.say(
            f"{method.name}: {left:.1%} of the {self.settings.quantity} left, "
            f"{100 * accuracy.top1:.2f} % of the validation images, {100 * change.top1:+.2f} points"
        )
        model = graph.without_dropout(nn.write_weights(module.cpu(), prepared))
        if after := method.after(self.settings):
            model = rewrite(model, after, progress=self.tell).model
        return Shrunk(method.name, left, model, module, history, accuracy, change)

    def _judged(self, name: str, module: torch.nn.Module) -> tuple[Accuracy, Difference]:
        """Accuracy on the validation images, and less the original's."""
        right = self.right(module)
        accuracy = Accuracy(name, self.data.validation.name, len(right), float(right.mean()))
        return accuracy, paired(self.before, right)

    def within(
        self, method: Compression, budget: Budget, attempts: int, folder: Path | None
    ) -> tuple[Shrunk, ...]:
        """Networks that close in on the smallest share within a budget; see ``bisect``.

        The first share is where the untrained network has lost half of its accuracy.

        Raises:
            InputError: the method finds nothing to cut here.
        """
        least = method.start(self.model, self.settings, 0.0).cut.least
        whole = method.start(self.model, self.settings, 1.0)
        cut, most = whole.cut, whole.cut.left(nn.to_module(whole.model))
        compressed = "" if most > 1 - 1e-9 else f"; {most:.1%} are there before the first cut"
        self.say(
            f"{method.name}: {cut.told}; at least {least:.1%} of the "
            f"{self.settings.quantity} stay{compressed}"
        )
        self.tell(f"find where {method.name} begins", 0, 0)
        start = smallest(lambda share: self._stands(method, share), least=least)
        found: list[Shrunk] = []

        def attempt(share: float) -> Difference:
            found.append(self.to(method, share, folder))
            return found[-1].change

        bisect(
            attempt, budget, start=start, least=least, most=max(most, least),
            attempts=attempts,
        )  # fmt: skip
        return tuple(found)

    def sensitivities(self, method: Compression) -> tuple[Sensitivity, ...]:
        """What each layer or group matters, the one that matters least first."""
        started = method.start(self.model, self.settings, 0.5)
        parts, found = started.cut.parts(), list[Sensitivity]()
        before = self.before[:_IMAGES]
        for done, part in enumerate(parts):
            self.tell(f"judge each layer, {method.name}", done, len(parts))
            right = self._untrained(started.model, part.cut, part.share)
            change = paired(before, right)
            found.append(Sensitivity(method.name, part.name, 1 - part.share, change))
        return tuple(sorted(found, key=lambda item: -item.change.top1))

    def _stands(self, method: Compression, share: float) -> bool:
        """Whether half of the accuracy is there without training."""
        started = method.start(self.model, self.settings, share)
        right = self._untrained(started.model, started.cut, share)
        return float(right.mean()) >= float(self.before[: len(right)].mean()) / 2

    def _untrained(self, prepared: ir.Model, cut: Cut, share: float) -> Right:
        """Which validation images, of some, are right without training, statistics re-estimated."""
        module, hardware = nn.to_module(prepared), self.options.hardware
        with torch.no_grad():
            cut.cut(module, share)
        hardware.place(module)
        calibration = self.data.calibration.first(_IMAGES)
        training.reestimate(module, calibration, self.normal, hardware)
        images = self.data.validation.first(_IMAGES)
        return training.right_images(module, images, self.normal, hardware)
