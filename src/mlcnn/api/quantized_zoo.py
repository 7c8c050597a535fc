"""A network of the zoo in codes of 8 bits, and images to run it on."""

import hashlib
import importlib.resources
from collections.abc import Sequence
from dataclasses import dataclass
from os import PathLike
from pathlib import Path

import numpy as np
import onnx_ir as ir
from numpy.typing import NDArray

import mlcnn
from mlcnn import graph
from mlcnn.api.accuracy import ImageOptions, Labelled, labelled_images
from mlcnn.api.evaluation import Fused
from mlcnn.api.loading import Source, load, model_name
from mlcnn.api.optimizing import default_passes, rewrite, tuned_weights
from mlcnn.api.options import NO_REWRITE
from mlcnn.engines.compiled import cache_folder
from mlcnn.errors import InputError
from mlcnn.training import load_sample
from mlcnn.training.quantisation import LEAST_IMAGES, Means, Setting, calibrate

__all__ = ["CodedNetwork", "images_to_run", "quantised_zoo"]

_CALIBRATION = 256
_SETTING = Setting(observer="mse", bias_correction=False, sensitivity=False, means=Means.EXACT)
# What a quantised network hangs on; another of these, another network in the cache.
_SOURCES = ("api", "graph", "ops", "passes", "training/quantisation", "zoo")


@dataclass(frozen=True, slots=True, eq=False)
class CodedNetwork:
    """A quantised network and images.

    Attributes:
        floats: the network before it was quantised; the quantised one where that is all there is.
        model: the quantised one.
        labelled: images to run, the first of them.
        others: images that do not run.
        notes: what the reader must know.
    """

    floats: ir.Model
    model: ir.Model
    labelled: Labelled
    others: NDArray[np.float32]
    notes: tuple[str, ...]


def images_to_run(
    source: Source,
    data: "str | PathLike[str] | None",
    model: ir.Model,
    options: ImageOptions,
    wanted: int,
) -> Labelled:
    """Labelled images for a network, more than will run: ranges are found on the others.

    Args:
        source: what the network is loaded from.
        data: see ``labelled_images``.
        model: the network.
        options: how the images go to it.
        wanted: how many will run.

    Raises:
        InputError: there are none, or too few.
    """
    found = labelled_images(source, None if data is None else Path(data), model, options)
    if found is None:
        raise InputError(
            f"{model_name(source)}: no images to run; give labelled images with --data"
        )
    most = len(found.labels) - LEAST_IMAGES
    if wanted > most:
        raise InputError(
            f"--images {wanted}: {found.name} has {len(found.labels)} images, and {LEAST_IMAGES} "
            f"beside those that run are needed to find ranges: {max(most, 0)} can run at most"
        )
    return found


def quantised_zoo(
    source: Source,
    data: "str | PathLike[str] | None",
    options: ImageOptions,
    wanted: int,
    *,
    weights: "str | PathLike[str] | None" = None,
    input_shape: Sequence[int] | None = None,
) -> CodedNetwork:
    """A network of the zoo, fused and quantised on images that will not run.

    With the images of the package it is kept in the user's cache.

    Args:
        source: its name.
        data: see ``images_to_run``.
        options: how the images go to the network.
        wanted: how many images will run.
        weights: see ``load``.
        input_shape: see ``load``.

    Raises:
        InputError: see ``load`` and ``images_to_run``.
    """
    given, kept = weights or tuned_weights(source, NO_REWRITE), None
    if data is None:
        start = _start(wanted, len(load_sample()))
        kept = _kept((source, options, start, input_shape), given)
    if kept is not None and kept[0].exists():
        floats = load(kept[0])
    else:
        floats = _fused(source, load(source, weights=given, input_shape=input_shape))
    labelled = images_to_run(source, data, floats, options, wanted)
    others = labelled.images[_start(wanted, len(labelled.labels)) :]
    if kept is not None and kept[1].exists():
        model = load(kept[1])
    else:
        model = calibrate(floats, others, others, _SETTING).model
        for path, made in zip(kept or (), (floats, model), strict=False):
            graph.save(made, path)
    note = (
        f"{model_name(source)} is quantised for this, fused where it can be, on {len(others)} "
        f"other images of {labelled.name}; for one of your own: mlcnn quantize --fuse --means exact"
    )
    return CodedNetwork(floats, model, labelled, others, (*labelled.told, note))


def _start(wanted: int, images: int) -> int:
    """The first image of those that ranges are found on: the last ones, as long as they suffice."""
    return max(wanted, images - _CALIBRATION)


def _fused(source: Source, model: ir.Model) -> ir.Model:
    rewritten = rewrite(model, default_passes(source), NO_REWRITE, check=False, chooser=Fused())
    return graph.inline(rewritten.model)


def _kept(asked: tuple[object, ...], weights: "str | PathLike[str] | None") -> tuple[Path, Path]:
    """Where it is kept, in floats and quantised."""
    package = Path(str(importlib.resources.files(mlcnn)))
    key = hashlib.sha256(repr((mlcnn.__version__, *asked)).encode())
    for folder in _SOURCES:
        for path in sorted((package / folder).rglob("*.py")):
            key.update(path.read_bytes())
    if weights is not None and Path(weights).is_file():
        key.update(Path(weights).read_bytes())
    stem = f"{asked[0]}-{key.hexdigest()[:16]}"
    return cache_folder() / f"{stem}-float.onnx", cache_folder() / f"{stem}-int8.onnx"
