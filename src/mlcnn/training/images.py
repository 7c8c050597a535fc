"""Labelled images as arrays, and how a network wants them."""

import hashlib
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError

__all__ = ["ImageSet", "Normal"]

_BYTE = 255


@dataclass(frozen=True, slots=True)
class Normal:
    """What a network takes for an image x of the file: (x * scale - mean) / std, per channel.

    Attributes:
        mean: one for each channel, or one for all.
        std: likewise; positive.
        scale: 1/255 brings bytes to 0..1; 1 leaves them as they are.
    """

    mean: tuple[float, ...] = (0.0,)
    std: tuple[float, ...] = (1.0,)
    scale: float = 1 / _BYTE

    def __post_init__(self) -> None:
        if not self.mean or not self.std or min(self.std) <= 0 or self.scale <= 0:
            raise InputError(
                f"normalisation needs means, and deviations and a scale above 0, got {self}"
            )

    @property
    def told(self) -> str:
        """What is done to an image x, in words."""
        scaled = "x" if self.scale == 1 else f"x / {1 / self.scale:g}"
        if set(self.mean) == {0.0} and set(self.std) == {1.0}:
            return scaled
        return f"({scaled} - {_numbers(self.mean)}) / {_numbers(self.std)}"

    def factors(self, channels: int) -> "tuple[NDArray[np.float64], NDArray[np.float64]]":
        """``a`` and ``b`` of ``a * x - b``, one for each channel.

        Raises:
            InputError: another number of channels.
        """
        for name, values in (("mean", self.mean), ("std", self.std)):
            if len(values) not in {1, channels}:
                raise InputError(
                    f"{name} {_numbers(values)}: the images have {channels} channels; give one "
                    "number for each, or one for all"
                )
        mean, std = (np.broadcast_to(v, channels).astype(np.float64) for v in (self.mean, self.std))
        return self.scale / std, mean / std

    def apply(self, images: NDArray[Any]) -> NDArray[np.float32]:
        """Images as the network takes them, shape (images, channels, height, width)."""
        columns = (None, slice(None), None, None)
        scale, shift = self.factors(images.shape[1])
        result = images * scale.astype(np.float32)[columns]
        result -= shift.astype(np.float32)[columns]
        return result.astype(np.float32, copy=False)


def _numbers(values: tuple[float, ...]) -> str:
    text = ", ".join(f"{value:g}" for value in values)
    return text if len(values) == 1 else f"({text})"


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Labelled images.

    Attributes:
        name: where they are from, for messages and reports.
        images: bytes, or float32 for images that are normalised already; shape (images, channels,
            height, width).
        labels: int64, shape (images,), each below ``classes``.
        classes: number of classes.
    """

    name: str
    images: "NDArray[np.uint8] | NDArray[np.float32]"
    labels: NDArray[np.int64]
    classes: int

    def __post_init__(self) -> None:
        if self.images.ndim != 4 or len(self.images) != len(self.labels):
            msg = (
                f"data set {self.name}: images must have shape (images, channels, height, width) "
                f"and one label each, got {self.images.shape} and {self.labels.shape}"
            )
            raise InputError(msg)
        if len(self.labels) and not 0 <= self.labels.min() <= self.labels.max() < self.classes:
            msg = (
                f"data set {self.name}: labels must lie in 0..{self.classes - 1}, "
                f"found {self.labels.min()}..{self.labels.max()}"
            )
            raise InputError(msg)

    def __len__(self) -> int:
        return len(self.labels)

    def first(self, count: int) -> "ImageSet":
        """The first ``count`` images."""
        return ImageSet(self.name, self.images[:count], self.labels[:count], self.classes)

    def chosen(self, which: NDArray[Any], name: str) -> "ImageSet":
        """The images that ``which`` picks (a mask, or indices), under another name."""
        return ImageSet(name, self.images[which], self.labels[which], self.classes)

    def split(self, held_out: int) -> "tuple[ImageSet, ImageSet]":
        """All but the last ``held_out`` images, and those.

        Raises:
            InputError: unless both parts have images.
        """
        kept = len(self) - held_out
        if held_out < 1 or kept < 1:
            msg = (
                f"data set {self.name}: {held_out} of its {len(self)} images cannot be held out; "
                "both parts need at least one"
            )
            raise InputError(msg)
        name = f"{self.name}, last {held_out}"
        return self.first(kept), self.chosen(np.arange(kept, len(self)), name)

    def normalised(self, mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
        """``(images / 255 - mean) / std`` per channel, shape as ``images``."""
        return Normal(mean, std).apply(self.images)

    def fractions(self) -> NDArray[np.float64]:
        """A number in 0..1 for each image, a hash of its content: shape (images,).

        Equal images have equal numbers, on every machine and in every order, so that a split by it
        never has an image on both sides.
        """
        digests = b"".join(
            hashlib.blake2b(image.tobytes(), digest_size=8).digest() for image in self.images
        )
        return np.frombuffer(digests, ">u8").astype(np.float64) / 2.0**64
