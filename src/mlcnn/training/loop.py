"""The training loop: resumable between any two steps, the same result for the same seed."""

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from math import isfinite
from pathlib import Path
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mlcnn.errors import InputError
from mlcnn.training.accuracy import right_images
from mlcnn.training.batches import Batch, Batches
from mlcnn.training.checkpoint import Checkpoint, load_checkpoint, save_checkpoint
from mlcnn.training.hardware import ONE_PROCESS, Hardware, Processes
from mlcnn.training.hooks import Hook, Step
from mlcnn.training.images import ImageSet, Normal
from mlcnn.training.optimizing import make_optimizer, optimizer_tensors, restore_optimizer
from mlcnn.training.recipe import Recipe

__all__ = ["Epoch", "History", "train"]

# Epoch e of seed s draws from seed s * _STRIDE + e, so that a resumed run draws what an
# uninterrupted one does; dropout draws from one of its own for each step and process.
_STRIDE = 1_000_003
_DROPOUT_STRIDE = 100_003
_SEEDS = 2**63


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: from 1.
        loss: mean training loss over the epoch.
        accuracy: fraction of the (augmented) training images classified correctly.
        validation: fraction of the validation images, if there are some.
        learning_rate: at its end.
        seconds: that it took, from the last resumption on.
    """

    number: int
    loss: float
    accuracy: float
    validation: float | None
    learning_rate: float
    seconds: float


History = tuple[Epoch, ...]


def train(
    module: nn.Module,
    images: ImageSet,
    recipe: Recipe,
    *,
    normal: Normal,
    validation: ImageSet | None = None,
    seed: int = 0,
    hooks: Sequence[Hook] = (),
    hardware: Hardware | None = None,
    processes: Processes = ONE_PROCESS,
    checkpoint: Path | None = None,
    every_s: float = 60.0,
    progress: Callable[[History], None] | None = None,
    tell: Callable[[int, int], None] | None = None,
    stop_after: int | None = None,
) -> History:
    """Train ``module`` in place.

    Killing the process at any moment loses at most the steps since the last checkpoint: call again
    with the same arguments to go on from there; the result is the same to the last bit.

    Args:
        module: takes images (batch, channels, height, width), returns logits (batch, classes).
        images: the training images.
        recipe: how.
        normal: what the network takes for an image.
        validation: what the best epoch is chosen on: its weights are the result. Without them the
            result is the last epoch's. Epochs whose weights a hook does not take for a result are
            not chosen.
        seed: of the shuffling, the augmentation and dropout.
        hooks: what takes part, in order.
        hardware: where; on the processor in float32 by default.
        processes: which share each batch; batch norm normalises over each one's images.
        checkpoint: ``.npz`` file to write and to go on from if it exists.
        every_s: seconds between checkpoints; every epoch ends with one.
        progress: called after every epoch with all epochs so far.
        tell: called after every step with the steps done, and all.
        stop_after: stop after so many epochs in all, as if interrupted.

    Returns:
        All epochs, those before a resumption too.

    Raises:
        InputError: for no images, a checkpoint of another run, or a loss that is not finite: the
            last checkpoint is kept.
    """
    if not len(images):
        msg = f"data set {images.name} has no images to train on"
        raise InputError(msg)
    hardware = hardware or Hardware()
    hardware.place(module)
    for hook in hooks:
        hook.start(module, len(images), hardware)
    run = _Run(
        module, Batches(images, recipe, normal, hardware, processes), recipe, hooks, hardware,
        processes, normal, validation, seed, checkpoint, every_s, tell or _silent,
    )  # fmt: skip
    # What decides the result: a checkpoint of anything else is refused.
    run.begin(
        {
            "seed": seed,
            "recipe": asdict(recipe),
            "images": {"name": images.name, "count": len(images)},
            "validation": 0 if validation is None else len(validation),
            "precision": str(hardware.precision),
            "hooks": [hook.told for hook in hooks],
        }
    )
    with torch.random.fork_rng(devices=[]):
        while run.state.epoch < min(recipe.epochs, stop_after or recipe.epochs):
            run.epoch()
            if progress is not None:
                progress(run.history)
    run.end()
    return run.history


def _silent(done: int, total: int) -> None:
    del done, total


@dataclass(slots=True)
class _Run:
    """One call of ``train``."""

    module: nn.Module
    batches: Batches
    recipe: Recipe
    hooks: Sequence[Hook]
    hardware: Hardware
    processes: Processes
    normal: Normal
    validation: ImageSet | None
    seed: int
    path: Path | None
    every_s: float
    tell: Callable[[int, int], None]
    state: Checkpoint = field(init=False)
    optimizer: torch.optim.Optimizer = field(init=False)
    _saved: float = field(default=0.0, init=False)

    @property
    def history(self) -> History:
        """The finished epochs."""
        return tuple(Epoch(**row) for row in self.state.history)

    def begin(self, identity: dict[str, Any]) -> None:
        """Start, or go on from the checkpoint."""
        self.optimizer = make_optimizer(self.module, self.recipe, self.hooks)
        self.state = Checkpoint(identity, self.module.state_dict(), {})
        if self.recipe.ema:
            self.state.average = _copied(self.module)
        if self.path is not None and self.path.exists():
            self.state = load_checkpoint(self.path, identity)
            _load(self.module, self.state.model, self.path)
            self.state.model = self.module.state_dict()
            restore_optimizer(self.optimizer, self.state.optimizer)
            for state in (self.state.average, self.state.best):
                state.update({k: v.to(self.hardware.device) for k, v in state.items()})
        self._saved = time.monotonic()

    def end(self) -> None:
        """Leave the best weights in the module, or the averaged ones, or the last."""
        final = self.state.best or self.state.average
        if final:
            self.module.load_state_dict(final)
        self.module.eval()

    def epoch(self) -> None:
        """The rest of the epoch that is under way, its validation, and a checkpoint."""
        started, number, state = time.monotonic(), self.state.epoch, self.state
        seed = self.seed * _STRIDE + number
        model = self.processes.wrap(self.module.train())
        for batch in self.batches.epoch(seed, first=state.step):
            self._step(model, batch)
            state.step += 1
            done = number * len(self.batches) + state.step
            self.tell(done, self.recipe.epochs * len(self.batches))
            due = time.monotonic() - self._saved >= self.every_s
            if due and state.step < len(self.batches):
                self._save()
        loss, correct, seen = state.sums
        validation = self._validate()
        rate = self.recipe.learning_rate_at(number + 1)
        seconds = time.monotonic() - started
        row = Epoch(number + 1, loss / seen, correct / seen, validation, rate, seconds)
        state.history += (asdict(row),)
        state.epoch, state.step, state.sums = number + 1, 0, (0.0, 0.0, 0.0)
        self._save()

    def _step(self, model: nn.Module, batch: Batch) -> None:
        state, position = self.state, self.state.epoch + self.state.step / len(self.batches)
        for group in self.optimizer.param_groups:
            group["lr"] = self.recipe.learning_rate_at(position) * group["rate"]
        torch.manual_seed(self._dropout_seed())
        self.optimizer.zero_grad(set_to_none=True)
        share = self.processes.size / batch.size
        with self.hardware.autocast():
            logits = model(batch.inputs).float()
            loss = self._loss(logits, batch) * share
            seen = Step(
                self.module, batch.inputs, batch.indices, logits, self.recipe.augments, share,
                position, 1 / len(self.batches),
            )  # fmt: skip
            for hook in self.hooks:
                loss = hook.loss(seen, loss)
        correct = int((logits.argmax(1) == batch.labels).sum())
        value, right = self.processes.sum(loss.item(), correct)
        value /= self.processes.size
        if not isfinite(value):
            raise self._diverged(value)
        loss.backward()
        for hook in self.hooks:
            hook.gradients(self.module)
        self.optimizer.step()
        for hook in self.hooks:
            hook.stepped(self.module)
        self._average()
        sums = (value * batch.size, right, batch.size)
        state.sums = tuple(a + b for a, b in zip(state.sums, sums, strict=True))

    def _dropout_seed(self) -> int:
        steps = (self.seed * _STRIDE + self.state.epoch) * _DROPOUT_STRIDE + self.state.step
        return (steps * self.processes.size + self.processes.rank) % _SEEDS

    def _loss(self, logits: Tensor, batch: Batch) -> Tensor:
        """The sum over this process's images."""
        smoothing = self.recipe.label_smoothing
        loss = F.cross_entropy(logits, batch.labels, reduction="sum", label_smoothing=smoothing)
        if batch.kept == 1:
            return loss
        mixed = F.cross_entropy(logits, batch.others, reduction="sum", label_smoothing=smoothing)
        return batch.kept * loss + (1 - batch.kept) * mixed

    def _diverged(self, value: float) -> InputError:
        rate = max(group["lr"] for group in self.optimizer.param_groups)
        kept = "" if self.path is None or not self.path.exists() else f"; {self.path} is kept"
        return InputError(
            f"training diverged in epoch {self.state.epoch + 1}, step {self.state.step + 1} (loss "
            f"{value}, learning rate {rate:g}); lower the learning rate of "
            f"{self.recipe.learning_rate}{kept}"
        )

    def _average(self) -> None:
        if not self.recipe.ema:
            return
        for name, now in self.module.state_dict().items():
            old = self.state.average[name]
            if old.is_floating_point():
                old.lerp_(now, 1 - self.recipe.ema)
            else:
                old.copy_(now)

    def _validate(self) -> float | None:
        """The fraction of validation images classified correctly; keeps the best weights."""
        if self.validation is None:
            return None
        last = _copied(self.module) if self.state.average else {}
        if self.state.average:
            self.module.load_state_dict(self.state.average)
        right = right_images(self.module, self.validation, self.normal, self.hardware)
        accuracy = float(right.mean())
        known = [row["validation"] for row in self.state.history if self._may_end(row["number"])]
        may_end = self._may_end(len(self.state.history) + 1)
        if may_end and (not known or accuracy > max(known)):
            self.state.best = _copied(self.module)
        if last:
            self.module.load_state_dict(last)
        return accuracy

    def _may_end(self, epochs: int) -> bool:
        return all(hook.may_end(epochs) for hook in self.hooks)

    def _save(self) -> None:
        self._saved = time.monotonic()
        if self.path is None or self.processes.rank:
            return
        self.state.optimizer = optimizer_tensors(self.optimizer)
        save_checkpoint(self.path, self.state)


def _copied(module: nn.Module) -> dict[str, Tensor]:
    return {name: tensor.detach().clone() for name, tensor in module.state_dict().items()}


def _load(module: nn.Module, state: dict[str, Tensor], path: Path) -> None:
    current = module.state_dict()
    missing = [name for name in current if name not in state]
    unknown = [name for name in state if name not in current]
    if missing or unknown:
        first = (
            f"lacks {missing[0]!r}" if missing else f"has {unknown[0]!r}, which the network lacks"
        )
        raise InputError(f"{path}: {first}; these are the weights of another network")
    for name, tensor in current.items():
        if tensor.shape != state[name].shape:
            raise InputError(
                f"{path}: {name!r} has shape {tuple(state[name].shape)}, the network's has "
                f"{tuple(tensor.shape)}"
            )
    module.load_state_dict(state)
