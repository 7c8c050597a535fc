"""The training loop: one process, resumable, the same result for the same seed."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from math import ceil, isfinite
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor, nn

from mlcnn.errors import InputError
from mlcnn.training.checkpoint import load_checkpoint, save_checkpoint
from mlcnn.training.images import ImageSet
from mlcnn.training.recipe import Recipe

__all__ = ["Epoch", "train"]

# Epoch e of seed s draws from seed s * _STRIDE + e, so that a resumed run draws what an
# uninterrupted one does.
_STRIDE = 1_000_003


@dataclass(frozen=True, slots=True)
class Epoch:
    """What one epoch came to.

    Attributes:
        number: from 1.
        loss: mean training loss over the epoch.
        accuracy: fraction of the (augmented) training images classified correctly.
    """

    number: int
    loss: float
    accuracy: float


def train(
    module: nn.Module,
    images: ImageSet,
    recipe: Recipe,
    *,
    seed: int = 0,
    progress: Callable[[Epoch], None] | None = None,
    checkpoint: Path | None = None,
    stop_after: int | None = None,
) -> tuple[Epoch, ...]:
    """Train ``module`` in place, on the device and in the type of its parameters.

    Interrupting (Ctrl-C) loses at most the current epoch: call again with the same arguments to
    go on from ``checkpoint``.

    Args:
        module: takes images (batch, channels, height, width), returns logits (batch, classes).
        images: the training images.
        recipe: how.
        seed: of the shuffling, the augmentation and dropout.
        progress: called after every epoch.
        checkpoint: ``.npz`` file to write after every epoch and to go on from if it exists.
        stop_after: stop after so many epochs in all, as if interrupted.

    Returns:
        The epochs run by this call.

    Raises:
        InputError: for no images, a checkpoint of another run, or a loss that is not finite.
    """
    if not len(images):
        msg = f"data set {images.name} has no images to train on"
        raise InputError(msg)
    optimizer = torch.optim.SGD(
        [p for p in module.parameters() if p.requires_grad],
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=recipe.nesterov,
        weight_decay=recipe.weight_decay,
    )
    done = 0
    if checkpoint is not None and checkpoint.exists():
        done = load_checkpoint(checkpoint, module, optimizer, recipe=recipe, seed=seed)
    source = _Batches(images, recipe, next(module.parameters()))
    history: list[Epoch] = []
    for number in range(done, min(recipe.epochs, stop_after or recipe.epochs)):
        module.train()
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed * _STRIDE + number)
            epoch = _run_epoch(module, optimizer, source, recipe, number)
        history.append(epoch)
        if checkpoint is not None:
            save_checkpoint(
                checkpoint, module, optimizer, recipe=recipe, seed=seed, epochs=number + 1
            )
        if progress is not None:
            progress(epoch)
    module.eval()
    return tuple(history)


def _run_epoch(
    module: nn.Module,
    optimizer: torch.optim.SGD,
    batches: "_Batches",
    recipe: Recipe,
    number: int,
) -> Epoch:
    total_loss, correct, seen = 0.0, 0, 0
    for step, (inputs, labels) in enumerate(batches):
        for group in optimizer.param_groups:
            group["lr"] = recipe.learning_rate_at(number + step / len(batches))
        optimizer.zero_grad(set_to_none=True)
        logits = module(inputs)
        loss = F.cross_entropy(logits, labels, label_smoothing=recipe.label_smoothing)
        value = loss.item()
        if not isfinite(value):
            msg = (
                f"training diverged in epoch {number + 1} (loss {value}); "
                f"lower the learning rate of {recipe.learning_rate}"
            )
            raise InputError(msg)
        loss.backward()
        optimizer.step()
        total_loss += value * len(labels)
        correct += int((logits.argmax(1) == labels).sum())
        seen += len(labels)
    return Epoch(number + 1, total_loss / seen, correct / seen)


class _Batches:
    """Shuffled, augmented, normalised batches, drawn anew from torch's generator each time.

    All is drawn on the processor, so that a seed means the same batches on every device.
    """

    def __init__(self, images: ImageSet, recipe: Recipe, like: Tensor) -> None:
        pad = recipe.crop
        self._height, self._width = images.images.shape[2:]
        device = like.device
        self._padded = F.pad(torch.from_numpy(images.images).to(device), (pad, pad, pad, pad))
        self._labels = torch.from_numpy(images.labels).to(device)
        self._recipe = recipe
        self._like = like
        columns = (1, -1, 1, 1)
        self._mean = 255 * like.new_tensor(recipe.mean).reshape(columns)
        self._scale = 1 / (255 * like.new_tensor(recipe.std).reshape(columns))

    def __len__(self) -> int:
        return ceil(len(self._labels) / self._recipe.batch_size)

    def __iter__(self) -> Iterator[tuple[Tensor, Tensor]]:
        order = torch.randperm(len(self._labels))
        for picked in order.split(self._recipe.batch_size):
            pixels = self._augmented(picked).to(self._like)
            # Padding is black before normalisation, as a camera's border would be.
            yield (pixels - self._mean) * self._scale, self._labels[self._placed(picked)]

    def _augmented(self, picked: Tensor) -> Tensor:
        crops = self._padded.unfold(2, self._height, 1).unfold(3, self._width, 1)
        offsets = self._placed(torch.randint(2 * self._recipe.crop + 1, (2, len(picked))))
        pixels = crops[self._placed(picked), :, offsets[0], offsets[1]]
        if self._recipe.flip:
            mirrored = self._placed(torch.rand(len(picked)) < 0.5)
            pixels = torch.where(mirrored[:, None, None, None], pixels.flip(3), pixels)
        return pixels

    def _placed(self, drawn: Tensor) -> Tensor:
        return drawn.to(self._like.device)
