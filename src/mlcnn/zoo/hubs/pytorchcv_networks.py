"""Networks of the package pytorchcv: ``pytorchcv:resnet18``."""

from dataclasses import dataclass
from typing import Any

from mlcnn.errors import InputError, did_you_mean
from mlcnn.graph.quiet import quiet
from mlcnn.zoo.hubs.source import Images, Made, Pickled, Unreachable, Wanted, imported, making

__all__ = ["PYTORCHCV"]

_PRETRAINED = "pretrained"
_EXTRA = "pip install 'pytorchcv<0.0.68'"


@dataclass(frozen=True, slots=True)
class _Pytorchcv:
    summary: str = "a network of pytorchcv with its weights, as pytorchcv:resnet18"
    needs: str = "pytorchcv; weights from GitHub or ~/.torch/models"

    def images(self, wanted: Wanted) -> Images:
        """See ``NetworkSource``; the network must be made to know."""
        keywords = {**wanted.call.keywords, _PRETRAINED: False}
        return _images(_make(wanted, keywords), keywords)

    def make(self, wanted: Wanted) -> Made:
        """See ``NetworkSource``; ``pretrained=False`` asks for random weights."""
        is_trained = wanted.weights is None and wanted.call.keywords.get(_PRETRAINED, True)
        keywords = {**wanted.call.keywords, _PRETRAINED: is_trained}
        random = f"pytorchcv:{wanted.call.name}(pretrained=False)"
        try:
            module = _make(wanted, keywords)
        except Unreachable as error:
            raise InputError(
                f"{wanted.text}: its weights cannot be fetched ({error}); unpack them into "
                f"~/.torch/models, or give a file by --weights, or take random ones: {random}"
            ) from error
        except Pickled as error:
            raise InputError(
                f"{wanted.text}: its weights are a pickle that holds more than tensors, so they "
                f"are refused; take random ones: {random}"
            ) from error
        return Made(module, _images(module, keywords))


def _make(wanted: Wanted, keywords: dict[str, object]) -> Any:
    imported("pytorchcv", wanted.text, _EXTRA)
    provider: Any = imported("pytorchcv.model_provider", wanted.text, _EXTRA)
    known = tuple(getattr(provider, "_models", ()))
    if known and wanted.call.name not in known:
        raise InputError(
            f"{wanted.text}: pytorchcv has no network {wanted.call.name!r}"
            f"{did_you_mean(wanted.call.name, known, ', ')}"
        )
    with making(wanted), quiet("pytorchcv"):  # it tells of every attempt to download
        return provider.get_model(wanted.call.name, **keywords)


def _images(module: Any, keywords: dict[str, object]) -> Images:
    size, channels = getattr(module, "in_size", None), keywords.get("in_channels", 3)
    if size is None or not isinstance(channels, int):
        return Images()
    return Images((channels, *size))


PYTORCHCV = _Pytorchcv()
