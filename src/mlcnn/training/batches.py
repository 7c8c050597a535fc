"""Shuffled, augmented, normalised batches, decided by the seed, the epoch and the step alone."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812 - torch's own name for it
from torch import Tensor

from mlcnn.training.hardware import ONE_PROCESS, Hardware, Processes
from mlcnn.training.images import ImageSet, Normal
from mlcnn.training.recipe import Recipe

__all__ = ["Batch", "Batches"]


@dataclass(frozen=True, slots=True)
class Batch:
    """What one step trains on.

    Attributes:
        inputs: normalised, shape (images, channels, height, width).
        labels: shape (images,).
        indices: which of the images these are.
        others: the labels of the images that are mixed in; ``labels`` where none are.
        kept: the share of ``labels``; 1 where nothing is mixed.
        size: images of the batch in all processes.
    """

    inputs: Tensor
    labels: Tensor
    indices: Tensor
    others: Tensor
    kept: float
    size: int


class Batches:
    """The batches of an epoch.

    All is drawn on the processor, so that a seed means the same batches on every device. Whatever
    was drawn before a step can be drawn again, so a resumed run needs no state of a generator.

    Args:
        images: bytes or normalised images.
        recipe: batch size and augmentation.
        normal: what the network takes.
        hardware: where the batches go.
        processes: which share each batch.
    """

    def __init__(
        self,
        images: ImageSet,
        recipe: Recipe,
        normal: Normal,
        hardware: Hardware,
        processes: Processes = ONE_PROCESS,
    ) -> None:
        pad, device = recipe.crop, hardware.device
        self._height, self._width = images.images.shape[2:]
        self._padded = F.pad(torch.from_numpy(images.images).to(device), (pad, pad, pad, pad))
        self._labels = torch.from_numpy(images.labels).to(device)
        self._recipe, self._hardware, self._processes = recipe, hardware, processes
        columns = (1, -1, 1, 1)
        scale, shift = (
            torch.from_numpy(f).float().to(device).reshape(columns)
            for f in normal.factors(images.images.shape[1])
        )
        self._scale, self._mean = scale, shift / scale

    def __len__(self) -> int:
        """Steps of an epoch; a rest with fewer images than processes is left out."""
        whole, rest = divmod(len(self._labels), self._recipe.batch_size)
        return whole + (rest >= self._processes.size)

    def epoch(self, seed: int, first: int = 0) -> Iterator[Batch]:
        """The batches of one epoch.

        Args:
            seed: of the epoch.
            first: the step to begin with; those before are drawn, but not made.
        """
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(len(self._labels), generator=generator)
        for step, picked in enumerate(order.split(self._recipe.batch_size)[: len(self)]):
            offsets, mirrored = self._draw(len(picked), generator)
            if step >= first:
                yield self._batch(picked, offsets, mirrored, (seed, step))

    def _draw(self, count: int, generator: torch.Generator) -> tuple[Tensor, Tensor | None]:
        offsets = torch.randint(2 * self._recipe.crop + 1, (2, count), generator=generator)
        flip = self._recipe.flip
        return offsets, torch.rand(count, generator=generator) < 0.5 if flip else None

    def _batch(
        self, picked: Tensor, offsets: Tensor, mirrored: Tensor | None, seed: tuple[int, int]
    ) -> Batch:
        part = self._processes.part
        pixels = self._pixels(picked, offsets, mirrored)
        labels = self._labels[self._placed(picked)]
        others, kept = labels, 1.0
        if self._recipe.mixup:
            # The order is random, so the batch backwards is as good as any other order.
            kept = float(np.random.default_rng(seed).beta(self._recipe.mixup, self._recipe.mixup))
            pixels = kept * pixels + (1 - kept) * pixels.flip(0)
            others = labels.flip(0)
        # Padding is black before normalisation, as a camera's border would be.
        inputs = (part(pixels) - self._mean) * self._scale
        inputs = inputs.contiguous(memory_format=self._hardware.memory_format)
        indices = part(self._placed(picked))
        return Batch(inputs, part(labels), indices, part(others), kept, len(picked))

    def _pixels(self, picked: Tensor, offsets: Tensor, mirrored: Tensor | None) -> Tensor:
        crops = self._padded.unfold(2, self._height, 1).unfold(3, self._width, 1)
        placed = self._placed(offsets)
        pixels = crops[self._placed(picked), :, placed[0], placed[1]]
        if mirrored is not None:
            pixels = torch.where(
                self._placed(mirrored)[:, None, None, None], pixels.flip(3), pixels
            )
        return pixels.float()

    def _placed(self, drawn: Tensor) -> Tensor:
        return drawn.to(self._hardware.device)
