"""Networks of the package timm: ``timm:resnet50.a1_in1k``."""

from collections.abc import Mapping
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from torch import nn

from mlcnn.errors import InputError, did_you_mean
from mlcnn.zoo.hubs.hub_cache import open_repository
from mlcnn.zoo.hubs.source import Images, Made, Pickled, Unreachable, Wanted, imported, making
from mlcnn.zoo.hubs.torchvision_networks import import_torchvision
from mlcnn.zoo.registry import Normalisation

__all__ = ["TIMM", "images_of", "import_timm", "random_module"]

_PRETRAINED = "pretrained"
_WEIGHTS = ("model.safetensors", "open_clip_model.safetensors")


def import_timm(text: str) -> ModuleType:
    """The package timm, which imports torchvision.

    Raises:
        InputError: one of them is missing or broken.
    """
    import_torchvision(text)
    return imported("timm", text)


def images_of(
    timm: ModuleType, config: Mapping[str, Any], keywords: Mapping[str, object]
) -> Images:
    """What a network takes.

    Args:
        timm: the package.
        config: what timm says of its weights.
        keywords: what it is made with: channels and sizes may differ from the usual ones.
    """
    sizes = {key: keywords[key] for key in ("in_chans", "img_size") if key in keywords}
    found = timm.data.resolve_data_config(args=sizes, pretrained_cfg=dict(config))
    shape = tuple(map(int, found["input_size"]))
    channels = sizes.get("in_chans")
    if isinstance(channels, int):
        shape = (channels, *shape[1:])
    normalisation = Normalisation(tuple(found["mean"]), tuple(found["std"]))
    edge = round(shape[-1] / found["crop_pct"])
    about = f"resized to {edge} ({found['interpolation']}), {found['crop_mode']} crop"
    return Images(shape, normalisation, about)


def random_module(
    timm: ModuleType, wanted: Wanted, name: str, keywords: Mapping[str, object]
) -> nn.Module:
    """A network of timm with random weights."""
    with making(wanted):
        return timm.create_model(name, pretrained=False, **keywords)


@dataclass(frozen=True, slots=True)
class _Timm:
    summary: str = (
        "a network of timm, as timm:resnet50.a1_in1k; timm:resnet50 has its usual weights"
    )
    needs: str = "timm, torchvision; weights from the Hugging Face hub or its cache"

    def images(self, wanted: Wanted) -> Images:
        """See ``NetworkSource``."""
        timm = import_timm(wanted.text)
        return images_of(timm, _config(timm, wanted).to_dict(), wanted.call.keywords)

    def make(self, wanted: Wanted) -> Made:
        """See ``NetworkSource``; ``pretrained=False`` asks for random weights."""
        timm = import_timm(wanted.text)
        config, name = _config(timm, wanted), wanted.call.name
        keywords = dict(wanted.call.keywords)
        is_trained = bool(keywords.pop(_PRETRAINED, True)) and wanted.weights is None
        images = images_of(timm, config.to_dict(), keywords)
        if not is_trained:
            return Made(random_module(timm, wanted, name, keywords), images)
        if not config.has_weights:
            raise InputError(
                f"{wanted.text}: timm has no trained weights of it; give yours by --weights FILE, "
                f"or take random ones: {_untrained(name)}"
            )
        return Made(_trained_module(timm, wanted, config, keywords), images)


def _trained_module(
    timm: ModuleType, wanted: Wanted, config: Any, keywords: Mapping[str, object]
) -> nn.Module:
    """A network with timm's weights, fetched here where they are the usual file of the hub."""
    random = _untrained(wanted.call.name)
    try:
        overlay = _file(wanted, config)
    except InputError as error:
        told = f"{error}, or give them by --weights, or take random ones: {random}"
        raise InputError(told) from error
    try:
        with making(wanted):
            return timm.create_model(
                wanted.call.name, pretrained=True, pretrained_cfg_overlay=overlay, **keywords
            )
    except Unreachable as error:
        raise InputError(
            f"{wanted.text}: its weights cannot be fetched from {config.url or config.hf_hub_id} "
            f"({error}); give the file by --weights, or take random ones: {random}"
        ) from error
    except Pickled as error:
        raise InputError(
            f"{wanted.text}: its weights are a pickle that holds more than tensors, so they are "
            f"refused; others: {', '.join(_trained(timm, wanted.call.name)) or 'none'}"
        ) from error


def _file(wanted: Wanted, config: Any) -> dict[str, object] | None:
    """The file of the weights, for timm; None where timm fetches them in its own way.

    Raises:
        InputError: the hub cannot be reached, and its cache does not have them.
    """
    if not config.hf_hub_id or config.custom_load:
        return None
    repository = open_repository(wanted.text, config.hf_hub_id)
    names = (config.hf_hub_filename, *_WEIGHTS)
    found = next((n for n in names if n in repository.files and n.endswith(".safetensors")), None)
    return None if found is None else {"file": str(repository.fetch(found))}


def _untrained(name: str) -> str:
    return f"timm:{name.partition('.')[0]}(pretrained=False)"


def _trained(timm: ModuleType, name: str) -> list[str]:
    return timm.list_pretrained(f"{name.partition('.')[0]}.*")


def _config(timm: ModuleType, wanted: Wanted) -> Any:
    """What timm says of a network's weights.

    Raises:
        InputError: it has no such network, or no such weights of it.
    """
    name, architecture = wanted.call.name, wanted.call.name.partition(".")[0]
    if not timm.is_model(architecture):
        known = timm.list_models()
        raise InputError(
            f"{wanted.text}: timm {timm.__version__} has no network {architecture!r}"
            f"{did_you_mean(architecture, known, ', ', '.')} timm.list_models() has all"
        )
    try:
        return timm.models.get_pretrained_cfg(name) or timm.models.PretrainedCfg()
    except RuntimeError:
        raise InputError(
            f"{wanted.text}: timm {timm.__version__} has no such weights of {architecture}; it has "
            f"{', '.join(_trained(timm, name)) or 'none'}"
        ) from None


TIMM = _Timm()
