"""Accuracy before and after, where there are labelled images."""

from collections.abc import Mapping
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

from mlcnn import engines, training
from mlcnn.api.benchmarking import fixed_batch
from mlcnn.api.loading import Source, by_x, images_taken, zoo_entry
from mlcnn.api.optimizing import Progress, silent
from mlcnn.errors import InputError
from mlcnn.training import Data, ImageSet, Normal
from mlcnn.training.intervals import Accuracy

__all__ = ["ImageOptions", "Labelled", "accuracies", "labelled_images"]


@dataclass(frozen=True, slots=True)
class ImageOptions:
    """How the images are read and go to the network.

    Attributes:
        resize: height and width that image files are brought to.
        mean: of each channel, of images in 0..1; nothing for the network's own.
        std: likewise.
        scale: factor of the images of the file.
    """

    resize: tuple[int, int] | None = None
    mean: tuple[float, ...] = ()
    std: tuple[float, ...] = ()
    scale: float | None = None

    def normal(self, images: ImageSet, source: Source) -> tuple[Normal, str | None]:
        """What the network takes for an image, and what the reader must know of it."""
        known = zoo_entry(source) or images_taken(source)
        return training.normal_for(images, known, mean=self.mean, std=self.std, scale=self.scale)

    def open(
        self, data: "Data | str | PathLike[str]", source: Source
    ) -> tuple[Data, Normal, str | None]:
        """The data, what the network takes for an image, and what the reader must know of it."""
        opened = data if isinstance(data, Data) else training.open_data(data, resize=self.resize)
        return opened, *self.normal(opened.training, source)


@dataclass(frozen=True, slots=True)
class Labelled:
    """Images as a network takes them, and their classes.

    Attributes:
        name: of the data set.
        images: shape (images, channels, height, width), normalised.
        labels: shape (images,).
        told: what the reader must know about the images.
    """

    name: str
    images: NDArray[np.float32]
    labels: NDArray[np.int64]
    told: tuple[str, ...] = ()


def labelled_images(
    source: Source, data: Path | None, model: ir.Model, options: ImageOptions
) -> Labelled | None:
    """The images to measure accuracy on; None if there are none.

    Args:
        source: what the network is loaded from.
        data: see ``training.read_images``; its test images count, or all if it has no such part.
            None: the package's own sample, for a zoo network that carries weights trained on it.
        model: the network.
        options: how the images go to it.

    Raises:
        InputError: the data cannot be read or do not go with the network.
    """
    entry = zoo_entry(source)
    if data is not None:
        images = training.read_images(data, resize=options.resize).to_measure
    elif entry is not None and entry.weights is not None:
        images = training.load_sample("cifar10")
    else:
        return None
    if entry is not None and entry.input_shape != images.images.shape[1:]:
        raise InputError(
            f"--data: the images of {images.name} are {by_x(images.images.shape[1:])}, "
            f"{entry.name} takes {by_x(entry.input_shape)}"
        )
    shape, taken = model.graph.outputs[0].shape, model.graph.inputs[0].dtype
    classes = shape[1] if shape is not None and shape.rank() == 2 else None
    if isinstance(classes, int):  # what shapes do not tell is checked when it runs
        training.check_labels(images.labels, classes, f"--data {images.name}")
    normal, note = options.normal(images, source)
    if taken is not None and not taken.is_floating_point():
        normal, note = training.Normal(scale=1.0), None  # it scales them by itself
    told = () if note is None else (note,)
    return Labelled(images.name, normal.apply(images.images), images.labels, told)


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
