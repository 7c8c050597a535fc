"""The images that the package carries: the first 500 of CIFAR-10's test set."""

import importlib.resources
from pathlib import Path

import numpy as np

from mlcnn.errors import InputError
from mlcnn.training.checkpoint import write_arrays
from mlcnn.training.images import ImageSet

__all__ = ["load_sample", "save_sample"]

_FILE = "cifar10-sample.npz"
_SIZE = 500


def load_sample(name: str = "cifar10") -> ImageSet:
    """The first 500 test images of CIFAR-10 [Krizhevsky 2009], from inside the package.

    They are enough to see that a network works, not to measure it: the standard error of an
    accuracy over 500 images is about 2 per cent.

    Raises:
        InputError: for another name than ``cifar10``.
    """
    if name != "cifar10":
        msg = f"no sample of {name!r} is embedded, only one of 'cifar10'; load_dataset reads others"
        raise InputError(msg)
    source = importlib.resources.files("mlcnn.zoo") / "weights" / _FILE
    with source.open("rb") as file, np.load(file, allow_pickle=False) as arrays:
        images, labels = arrays["images"], arrays["labels"].astype(np.int64)
    return ImageSet(f"cifar10 test, first {len(labels)}", images, labels, 10)


def save_sample(test_images: ImageSet, folder: Path) -> Path:
    """Write the first 500 of ``test_images`` to the file that ``load_sample`` reads."""
    path = folder / _FILE
    chosen = test_images.first(_SIZE)
    write_arrays(path, {"images": chosen.images, "labels": chosen.labels.astype(np.uint8)})
    return path
