"""Accuracy before and after, where there are labelled images."""

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import engines, training
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.loading import Source, by_x, zoo_entry
from mlcnn.api.optimizing import Progress, silent
from mlcnn.errors import InputError
from mlcnn.report import Accuracy

__all__ = ["Labelled", "accuracies", "check_labelled", "labelled_images"]

_ARRAYS = ("images", "labels")
# The folder of a data set in its standard format, by a file that it must hold.
_MARKS = {
    "cifar10": ("test_batch.bin", "cifar-10-batches-bin/test_batch.bin"),
    "cifar100": ("fine_label_names.txt", "cifar-100-binary/test.bin"),
    "mnist": ("t10k-labels-idx1-ubyte", "t10k-labels-idx1-ubyte.gz"),
}


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images as a network takes them, and their classes.

    Attributes:
        name: of the data set.
        images: shape (images, channels, height, width), normalised.
        labels: shape (images,).
        integers: the type of the images in their file, if they are integers and were not
            normalised; None otherwise.
    """

    name: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    integers: str | None = None


def labelled_images(source: Source, data: Path | None) -> Labelled | None:
    """The images to measure accuracy on; None if there are none.

    Args:
        source: what the network is loaded from.
        data: a folder with a data set in its standard format (its test images are normalised as
            the zoo network ``source`` expects), or an ``.npz`` file with ``images`` as the network
            takes them and ``labels``. None: the package's own sample, for a zoo network that
            carries weights trained on it.

    Raises:
        InputError: the data cannot be read or do not go with the network.
    """
    entry = zoo_entry(source)
    if data is None:
        if entry is None or entry.weights is None:
            return None
        images = training.load_sample("cifar10")
    elif data.suffix == ".npz" or data.is_file():
        return _from_arrays(data)
    elif entry is None:
        raise InputError(
            f"--data {data}: how your network wants its images is not known; give an .npz file "
            "with images as it takes them, and labels"
        )
    else:
        images = training.load_dataset(_recognise(data), data, "test")
    if entry.classes != images.classes or entry.input_shape != images.images.shape[1:]:
        shape = by_x(images.images.shape[1:])
        raise InputError(
            f"--data: {images.name} has {images.classes} classes of {shape} images, {entry.name} "
            f"takes {by_x(entry.input_shape)} and tells {entry.classes} apart"
        )
    normal = entry.normalisation
    return Labelled(images.name, images.normalised(normal.mean, normal.std), images.labels)


def _recognise(folder: Path) -> str:
    for name, marks in _MARKS.items():
        if any((folder / mark).is_file() for mark in marks):
            return name
    if not folder.is_dir():
        raise InputError(f"--data {folder}: no such folder")
    raise InputError(
        f"--data {folder}: no data set in its standard format is here; known are "
        f"{', '.join(_MARKS)}, as their authors publish them, unpacked"
    )


def _from_arrays(path: Path) -> Labelled:
    try:
        with np.load(path, allow_pickle=False) as file:
            missing = [name for name in _ARRAYS if name not in file.files]
            if missing:
                raise InputError(f"--data {path}: has no array {missing[0]!r}")
            images, labels = (file[name] for name in _ARRAYS)
    except FileNotFoundError:
        raise InputError(f"--data {path}: no such file") from None
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        raise InputError(f"--data {path}: not an .npz file of plain arrays ({error})") from error
    if labels.ndim != 1 or len(images) != len(labels) or labels.dtype.kind not in "iu":
        raise InputError(
            f"--data {path}: labels must be one integer for each of {len(images)} images, got "
            f"{labels.dtype} of shape {labels.shape}"
        )
    integers = str(images.dtype) if images.dtype.kind in "iu" else None
    return Labelled(path.name, images.astype(np.float32), labels.astype(np.int64), integers)


def check_labelled(labelled: Labelled, model: ir.Model) -> tuple[str, ...]:
    """Refuse labels that the network has no class for, before the work begins.

    Args:
        labelled: the images.
        model: the network; what its shapes do not tell is checked when it runs.

    Returns:
        What the reader must know about the images.

    Raises:
        InputError: a label outside the network's classes.
    """
    shape = model.graph.outputs[0].shape
    classes = shape[1] if shape is not None and shape.rank() == 2 else None
    if isinstance(classes, int):
        training.check_labels(labelled.labels, classes, f"--data {labelled.name}")
    taken = model.graph.inputs[0].dtype
    if labelled.integers is None or taken is None or not taken.is_floating_point():
        return ()
    low, high = labelled.images.min(initial=0), labelled.images.max(initial=0)
    told = (
        f"--data {labelled.name}: the images are {labelled.integers} from {low:.0f} to {high:.0f} "
        "and go to the network as they are, unscaled; if it was trained on scaled or normalised "
        "images, store them so, as floating-point numbers"
    )
    return (told,)


def accuracies(
    models: Mapping[str, ir.Model],
    labelled: Labelled,
    *,
    threads: int = 1,
    progress: Progress | None = None,
) -> tuple[Accuracy, ...]:
    """Top-1 accuracy of each model in ONNX Runtime.

    Args:
        models: networks by name of the variant, with one input and logits as first output.
        labelled: the images.
        threads: of ONNX Runtime.
        progress: told how the work goes on.

    Raises:
        InputError: a network that is not a classifier of such images.
    """
    tell = progress or silent
    rows: list[Accuracy] = []
    for done, (variant, model) in enumerate(models.items()):
        tell("accuracy", done, len(models))
        rows.append(_accuracy(variant, model, labelled, threads))
    return tuple(rows)


def _accuracy(variant: str, model: ir.Model, labelled: Labelled, threads: int) -> Accuracy:
    (name, *others) = [value.name or "" for value in model.graph.inputs]
    if others:
        raise InputError(
            f"--data: the network has the inputs {', '.join([name, *others])}; accuracy is "
            "measured on networks of one input"
        )
    session = engines.get("onnxruntime").prepare(model, threads=threads)
    output = model.graph.outputs[0].name or ""
    fixed = fixed_batch(model)
    count = len(labelled.labels) // (fixed or 1) * (fixed or 1)
    top1 = training.accuracy(
        lambda images: session.run({name: images})[output],
        labelled.images[:count],
        labelled.labels[:count],
        batch_size=fixed or 100,
    )
    return Accuracy(variant, labelled.name, count, top1)
