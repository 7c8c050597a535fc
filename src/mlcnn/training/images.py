"""Image data sets in their standard public formats: CIFAR binary and MNIST idx.

The files are those that the data sets' authors publish, unpacked, each optionally compressed with
gzip (``.gz`` behind its name). Nothing is downloaded.
"""

import gzip
import zlib
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InputError

__all__ = ["DATASETS", "ImageSet", "load_dataset"]

Split = Literal["train", "test"]


@dataclass(frozen=True, slots=True, eq=False)
class ImageSet:
    """Labelled images.

    Attributes:
        name: where they are from, for messages and reports.
        images: uint8, shape (images, channels, height, width).
        labels: int64, shape (images,), each below ``classes``.
        classes: number of classes.
    """

    name: str
    images: NDArray[np.uint8]
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
        last = ImageSet(
            f"{self.name}, last {held_out}", self.images[kept:], self.labels[kept:], self.classes
        )
        return self.first(kept), last

    def normalised(self, mean: tuple[float, ...], std: tuple[float, ...]) -> NDArray[np.float32]:
        """``(images / 255 - mean) / std`` per channel, shape as ``images``."""
        channels = self.images.shape[1]
        if len(mean) != channels or len(std) != channels:
            msg = f"data set {self.name} has {channels} channels, got mean {mean} and std {std}"
            raise InputError(msg)
        scale = 1 / (255 * np.asarray(std, np.float64))
        shift = np.asarray(mean, np.float64) / np.asarray(std, np.float64)
        columns = (None, slice(None), None, None)
        result = self.images * scale.astype(np.float32)[columns]
        result -= shift.astype(np.float32)[columns]
        return result


@dataclass(frozen=True, slots=True)
class _Cifar:
    """Layout of a CIFAR data set in its binary version [Krizhevsky 2009].

    A record is ``label_bytes`` labels, of which number ``label`` is used, then 3,072 bytes: the
    red, green and blue plane of a 32x32 image, row by row.
    """

    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    records: dict[str, int]
    label_bytes: int
    label: int
    classes: int


_PIXELS = 3 * 32 * 32
_CIFAR100 = {"train": ("train.bin",), "test": ("test.bin",)}
_CIFAR = {
    "cifar10": _Cifar(
        folder="cifar-10-batches-bin",
        train=tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
        test=("test_batch.bin",),
        records={"train": 10_000, "test": 10_000},
        label_bytes=1,
        label=0,
        classes=10,
    ),
    "cifar100": _Cifar(
        "cifar-100-binary",
        **_CIFAR100,
        records={"train": 50_000, "test": 10_000},
        label_bytes=2,
        label=1,
        classes=100,
    ),
    "cifar100-coarse": _Cifar(
        "cifar-100-binary",
        **_CIFAR100,
        records={"train": 50_000, "test": 10_000},
        label_bytes=2,
        label=0,
        classes=20,
    ),
}

DATASETS: tuple[str, ...] = (*_CIFAR, "mnist")
"""Names that ``load_dataset`` takes."""


def load_dataset(name: str, directory: Path, split: Split) -> ImageSet:
    """Load a data set from its standard files.

    Args:
        name: one of ``DATASETS``; ``cifar100-coarse`` has CIFAR-100's 20 coarse labels.
        directory: the folder that holds the files, or the folder above it
            (``cifar-10-batches-bin``, ``cifar-100-binary``).
        split: ``train`` or ``test``.

    Returns:
        All images of the split, in the order of the files.

    Raises:
        InputError: for an unknown name or split, or a file that is missing, truncated or
            otherwise not what the format requires.
    """
    if split not in ("train", "test"):
        msg = f"split {split!r} does not exist; use 'train' or 'test'"
        raise InputError(msg)
    if not directory.is_dir():
        msg = f"{directory}: no such folder; give the folder with the files of {name}"
        raise InputError(msg)
    if name == "mnist":
        return _load_mnist(directory, split)
    layout = _CIFAR.get(name)
    if layout is None:
        msg = f"data set {name!r} is not known; use one of {', '.join(DATASETS)}"
        raise InputError(msg)
    return _load_cifar(name, layout, directory, split)


def _load_cifar(name: str, layout: _Cifar, directory: Path, split: Split) -> ImageSet:
    inner = directory / layout.folder
    folder = inner if inner.is_dir() else directory
    files = layout.train if split == "train" else layout.test
    width = layout.label_bytes + _PIXELS
    expected = layout.records[split] * width
    parts: list[NDArray[np.uint8]] = []
    for file in files:
        content = _read(folder / file, name)
        if len(content) != expected:
            msg = (
                f"{folder / file}: has {len(content):,} bytes, {name} has {expected:,} "
                f"({layout.records[split]:,} records of {width}); the file is truncated or another"
            )
            raise InputError(msg)
        parts.append(np.frombuffer(content, np.uint8).reshape(-1, width))
    records = np.concatenate(parts)
    images = records[:, layout.label_bytes :].reshape(-1, 3, 32, 32)
    labels = records[:, layout.label].astype(np.int64)
    return ImageSet(f"{name} {split}", np.ascontiguousarray(images), labels, layout.classes)


def _load_mnist(directory: Path, split: Split) -> ImageSet:
    prefix = "train" if split == "train" else "t10k"
    images = _read_idx(directory / f"{prefix}-images-idx3-ubyte", dimensions=3)
    labels = _read_idx(directory / f"{prefix}-labels-idx1-ubyte", dimensions=1)
    return ImageSet(f"mnist {split}", images[:, None], labels.astype(np.int64), 10)


def _read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """An idx file of unsigned bytes: magic number, sizes (big-endian), values."""
    content = _read(path, "mnist")
    header = 4 * (1 + dimensions)
    magic = 0x0800 + dimensions
    found = int.from_bytes(content[:4], "big")
    if len(content) < header or found != magic:
        msg = f"{path}: starts with 0x{found:08x}, an idx file of this kind with 0x{magic:08x}"
        raise InputError(msg)
    shape = tuple(int(size) for size in np.frombuffer(content, ">u4", dimensions, offset=4))
    values = np.frombuffer(content, np.uint8, offset=header)
    if len(values) != np.prod(shape, dtype=np.int64):
        msg = (
            f"{path}: its header announces {' x '.join(map(str, shape))} bytes, "
            f"it has {len(values):,}; the file is truncated or damaged"
        )
        raise InputError(msg)
    return values.reshape(shape)


def _read(path: Path, name: str) -> bytes:
    compressed = path.with_name(path.name + ".gz")
    try:
        if path.is_file():
            return path.read_bytes()
        if compressed.is_file():
            return gzip.decompress(compressed.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        msg = f"{path}: cannot be read: {error}"
        raise InputError(msg) from error
    msg = f"{path}: no such file (nor {compressed.name}); {name} in its standard format has it"
    raise InputError(msg)
