"""Networks of the package torchvision: ``torchvision:vgg16``."""

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

from mlcnn.errors import InputError, did_you_mean
from mlcnn.zoo.hubs.source import Images, Made, Pickled, Unreachable, Wanted, imported, making
from mlcnn.zoo.registry import Normalisation

__all__ = ["TORCHVISION", "import_torchvision"]

_WEIGHTS, _TRANSFORM = "weights", "transform_input"
# Of these, the trained networks take images in another normalisation and convert them.
_CONVERTING = frozenset({"googlenet", "inception_v3"})
# Operators of detection, which torchvision's Python part describes to torch when it is imported.
_DESCRIBED = ("nms", "qnms")
_SIGNATURE = "(Tensor dets, Tensor scores, float iou_threshold) -> Tensor"
_declared: list[torch.library.Library] = []  # a library that goes away takes its operators along


def import_torchvision(text: str) -> ModuleType:
    """The package torchvision, also in a build for another torch, as that for CUDA on a CPU.

    The compiled part of such a build cannot be loaded, and without it the import fails, though
    networks that classify use none of it: the two operators that the import asks for are declared.

    Raises:
        InputError: it is missing or broken.
    """
    try:
        return imported("torchvision", text)
    except InputError as error:
        if "operator torchvision::" not in str(error):
            raise
    if not _declared:
        library = torch.library.Library("torchvision", "FRAGMENT")
        _declared.append(library)
        for name in _DESCRIBED:
            library.define(name + _SIGNATURE)
    for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
        del sys.modules[name]  # what the failed import left
    return imported("torchvision", text)


@dataclass(frozen=True, slots=True)
class _Torchvision:
    summary: str = "a network of torchvision with its usual weights, as torchvision:vgg16"
    needs: str = "torchvision; weights from download.pytorch.org or torch's cache"

    def images(self, wanted: Wanted) -> Images:
        """See ``NetworkSource``."""
        models = _models(wanted)
        given = _weights(models, wanted)
        # Without weights, the network still takes what the usual ones take.
        return _images(given or _usual(models, wanted.call.name))

    def make(self, wanted: Wanted) -> Made:
        """See ``NetworkSource``; ``weights=None`` asks for random ones."""
        models, name = _models(wanted), wanted.call.name
        keywords = dict(wanted.call.keywords)
        member = _weights(models, wanted)
        if member is None and wanted.weights is None and _WEIGHTS not in keywords:
            raise InputError(
                f"{wanted.text}: torchvision has no trained weights of it; give yours by --weights "
                f"FILE, or take random ones: torchvision:{name}(weights=None)"
            )
        keywords.pop(_WEIGHTS, None)
        if wanted.weights is not None:
            member = None
            if name in _CONVERTING:
                keywords.setdefault(_TRANSFORM, True)
        try:
            with making(wanted):
                module = models.get_model(name, weights=member, **keywords)
        except (Unreachable, Pickled) as error:
            raise InputError(_told(wanted, member, error)) from error
        return Made(module, self.images(wanted))


def _models(wanted: Wanted) -> Any:
    """What makes the networks, if the one that is wanted is there."""
    torchvision = import_torchvision(wanted.text)
    name, known = wanted.call.name, torchvision.models.list_models()
    if name not in known:
        raise InputError(
            f"{wanted.text}: torchvision {torchvision.__version__} has no network {name!r}"
            f"{did_you_mean(name, known, ', ', '.')} torchvision.models.list_models() has all"
        )
    return torchvision.models


def _usual(models: Any, name: str) -> Any:
    return getattr(models.get_model_weights(name), "DEFAULT", None)


def _weights(models: Any, wanted: Wanted) -> Any:
    """The weights that are asked for, the usual ones by default; None for none."""
    keywords: Mapping[str, object] = wanted.call.keywords
    if _WEIGHTS not in keywords:
        return _usual(models, wanted.call.name)
    asked = keywords[_WEIGHTS]
    known = {member.name: member for member in models.get_model_weights(wanted.call.name)}
    known["DEFAULT"] = _usual(models, wanted.call.name)
    if asked is not None and asked not in known:
        raise InputError(
            f"{wanted.text}: there are no weights {asked!r} of it; there are {', '.join(known)}, "
            "and None for random ones"
        )
    return None if asked is None else known[str(asked)]


def _images(member: Any) -> Images:
    preset = None if member is None else member.transforms()
    crop: list[int] = getattr(preset, "crop_size", [])
    if preset is None or len(crop) != 1:  # what finds boxes or takes films has no usual size
        return Images()
    shape = (3, crop[0], crop[0])
    normalisation = Normalisation(tuple(preset.mean), tuple(preset.std))
    about = f"resized to {preset.resize_size[0]} ({preset.interpolation.value}), center crop"
    return Images(shape, normalisation, about)


def _told(wanted: Wanted, member: Any, error: Exception) -> str:
    name = wanted.call.name
    random = f"torchvision:{name}(weights=None)"
    if isinstance(error, Pickled):
        return (
            f"{wanted.text}: its weights are a pickle that holds more than tensors, so they are "
            f"refused; take random ones: {random}"
        )
    folder = Path(torch.hub.get_dir(), "checkpoints")
    return (
        f"{wanted.text}: its weights cannot be fetched ({error}); download {member.url} and put it "
        f"into {folder}, or give the file by --weights, or take random ones: {random}"
    )


TORCHVISION = _Torchvision()
