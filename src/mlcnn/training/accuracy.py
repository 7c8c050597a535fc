"""Accuracy of anything that turns images into logits, and how sure it is."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlcnn.errors import InputError
from mlcnn.training.hardware import Hardware
from mlcnn.training.images import ImageSet, Normal

__all__ = ["accuracy", "check_labels", "logits", "placed_batches", "right_images"]


def check_labels(labels: NDArray[np.int64], classes: int, where: str) -> None:
    """Refuse labels outside a network's classes.

    Args:
        labels: shape (images,).
        classes: the number of logits.
        where: what the message begins with.

    Raises:
        InputError: a label below 0, or not below ``classes``.
    """
    wrong = np.unique(labels[(labels < 0) | (labels >= classes)])
    if wrong.size:
        shown = ", ".join(map(str, wrong[:3])) + (", ..." if wrong.size > 3 else "")
        raise InputError(
            f"{where}: the network tells {classes} classes apart, so labels must lie in "
            f"0..{classes - 1}, found {shown}; give the images that belong to its classes, with "
            "labels that count from 0"
        )


def accuracy(
    predict: Callable[[NDArray[np.float32]], NDArray[Any]],
    images: NDArray[np.float32],
    labels: NDArray[np.int64],
    *,
    batch_size: int = 250,
) -> float:
    """Fraction of ``images`` that ``predict`` classifies as ``labels`` say.

    Args:
        predict: takes (batch, channels, height, width), returns logits (batch, classes).
        images: normalised, shape (images, channels, height, width).
        labels: shape (images,).
        batch_size: images per call of ``predict``; the last call may have fewer.

    Raises:
        InputError: for no images, logits of a wrong shape, or labels without a logit.
    """
    if not len(images) or len(images) != len(labels):
        msg = f"accuracy needs as many labels as images, at least one, got {len(images)} images"
        raise InputError(f"{msg} and {len(labels)} labels")
    correct = 0
    for start in range(0, len(images), batch_size):
        batch, expected = images[start : start + batch_size], labels[start : start + batch_size]
        logits = np.asarray(predict(batch))
        if logits.ndim != 2 or len(logits) != len(batch):
            msg = (
                f"logits must have shape ({len(batch)}, classes), got {logits.shape}: "
                "is this network a classifier?"
            )
            raise InputError(msg)
        check_labels(expected, logits.shape[1], "labels")
        correct += int((logits.argmax(1) == expected).sum())
    return correct / len(images)


def logits(
    module: nn.Module,
    images: ImageSet,
    normal: Normal,
    hardware: Hardware | None = None,
    *,
    batch_size: int = 250,
) -> Tensor:
    """What a module says of images, in eval mode and without gradients.

    Args:
        module: takes images, returns logits (batch, classes); it is put into eval mode, and must be
            on the device already.
        images: the images.
        normal: what the network takes for an image.
        hardware: where; on the processor in float32 by default.
        batch_size: images per call.

    Returns:
        float32, on the processor, shape (images, classes).
    """
    hardware = hardware or Hardware()
    module.eval()
    with torch.no_grad(), hardware.autocast():
        batches = placed_batches(images, normal, hardware, batch_size=batch_size)
        return torch.cat([module(inputs).float().cpu() for inputs in batches])


def placed_batches(
    images: ImageSet, normal: Normal, hardware: Hardware, *, batch_size: int = 250
) -> Iterator[Tensor]:
    """The images in order, normalised, on the device."""
    for start in range(0, len(images), batch_size):
        pixels = torch.from_numpy(normal.apply(images.images[start : start + batch_size]))
        yield pixels.to(hardware.device).contiguous(memory_format=hardware.memory_format)


def right_images(
    module: nn.Module, images: ImageSet, normal: Normal, hardware: Hardware | None = None
) -> NDArray[np.bool_]:
    """Which images a module classifies correctly, shape (images,); see ``logits``."""
    return logits(module, images, normal, hardware).argmax(1).numpy() == images.labels
