"""Networks of the Hugging Face hub: ``hf:ORG/NAME@REVISION:path/in/repository.onnx``."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import onnx
from google.protobuf.message import DecodeError
from onnx.external_data_helper import uses_external_data

from mlcnn.errors import InputError
from mlcnn.zoo.checkpoint import load_weights
from mlcnn.zoo.hubs.hub_cache import Repository, cache_folder, open_repository
from mlcnn.zoo.hubs.source import Images, Made, Wanted
from mlcnn.zoo.hubs.timm_networks import images_of, import_timm, random_module
from mlcnn.zoo.state_files import PICKLES, SAFETENSORS, conversion

__all__ = ["HUGGING_FACE"]

_NAME = re.compile(r"(?P<name>[^@:]+)(@(?P<revision>[^:]+))?(:(?P<path>.+))?")
_ONNX, _CONFIG = ".onnx", "config.json"
_USUAL = ("model.onnx", "onnx/model.onnx")
_SHOWN = 6


@dataclass(frozen=True, slots=True)
class _File:
    """A file of a repository that a network is made of."""

    repository: Repository
    path: str

    @property
    def is_onnx(self) -> bool:
        return self.path.endswith(_ONNX)


@dataclass(frozen=True, slots=True)
class _HuggingFace:
    summary: str = "an .onnx file, or timm's weights, of a repository, as hf:ORG/NAME@v1:net.onnx"
    needs: str = "huggingface_hub; for .safetensors also timm, torchvision; the hub or its cache"

    def images(self, wanted: Wanted) -> Images:
        """See ``NetworkSource``; an ONNX file does not say."""
        file = _chosen(wanted)
        if file.is_onnx:
            return Images()
        return _Config.read(file).images(wanted)

    def make(self, wanted: Wanted) -> Made:
        """See ``NetworkSource``."""
        file = _chosen(wanted)
        if file.is_onnx:
            return _from_onnx(wanted, file)
        config = _Config.read(file)
        module = random_module(
            import_timm(wanted.text),
            wanted,
            config.architecture,
            {**config.keywords, **wanted.call.keywords},
        )
        if wanted.weights is None:
            load_weights(module, file.repository.fetch(file.path))
        return Made(module, config.images(wanted))


def _from_onnx(wanted: Wanted, file: _File) -> Made:
    if wanted.weights is not None:
        raise InputError(
            f"--weights {wanted.weights}: {file.path} of {wanted.text} has its own weights; leave "
            "the option away"
        )
    if wanted.call.keywords:
        raise InputError(f"{wanted.text}: {file.path} is a file and takes no arguments")
    path = file.repository.fetch(file.path)
    file.repository.fetch_beside(file.path, _data_files(path))
    return Made(path, links=cache_folder())


def _data_files(path: Path) -> set[str]:
    """Where the weights outside an ONNX file lie; a file that is none is refused later."""
    try:
        proto = onnx.load_model(path, load_external_data=False)
    except (OSError, DecodeError, ValueError):
        return set()
    outside = (tensor for tensor in proto.graph.initializer if uses_external_data(tensor))
    entries = (entry for tensor in outside for entry in tensor.external_data)
    return {entry.value for entry in entries if entry.key == "location"}


def _chosen(wanted: Wanted) -> _File:
    """The file that a network is made of.

    Raises:
        InputError: it cannot be read, there is none, or it is not clear which.
    """
    text, match = wanted.text, _NAME.fullmatch(wanted.call.name)
    if match is None:
        raise InputError(f"{text}: hf:ORG/NAME, perhaps with @REVISION and :PATH, is required")
    repository = open_repository(text, match["name"], match["revision"])
    path = match["path"] or _usual(repository)
    repository.require_file(path)
    if Path(path).suffix in PICKLES:
        raise _pickled(repository, path)
    if not path.endswith((_ONNX, SAFETENSORS)):
        raise InputError(f"{text}: {path} is no file that is read: {_ONNX} or {SAFETENSORS}")
    return _File(repository, path)


def _usual(repository: Repository) -> str:
    files = repository.files
    networks = [file for file in files if file.endswith(_ONNX)]
    weights = [file for file in files if file.endswith(SAFETENSORS)]
    usual = [*(file for file in _USUAL if file in networks), *(networks or weights)]
    if len(networks or weights) > 1 and usual[0] not in {*_USUAL, "model.safetensors"}:
        raise InputError(
            f"{repository.text}: {repository.name} has several networks: {_some(usual)}; name one "
            f"of them, as hf:{repository.name}:{usual[0]}"
        )
    if usual:
        return usual[0]
    pickles = [file for file in files if Path(file).suffix in PICKLES]
    if pickles:
        raise _pickled(repository, pickles[0])
    raise InputError(
        f"{repository.text}: {repository.name} has no {_ONNX} or {SAFETENSORS} file, only "
        f"{_some(files) or 'none'}"
    )


def _some(files: tuple[str, ...] | list[str]) -> str:
    more = f" and {len(files) - _SHOWN} more" if len(files) > _SHOWN else ""
    return ", ".join(files[:_SHOWN]) + more


def _pickled(repository: Repository, path: str) -> InputError:
    return InputError(
        f"{repository.text}: {path} of {repository.name} is a pickle, which can run code when it "
        f"is opened, so it is refused; fetch it by `hf download {repository.name} {path}` and "
        f"{conversion(Path(path).name, only_tensors=True)}"
    )


@dataclass(frozen=True, slots=True)
class _Config:
    """What a repository of timm says in ``config.json``."""

    architecture: str
    weights: Mapping[str, Any]
    keywords: Mapping[str, Any]

    @classmethod
    def read(cls, file: _File) -> "_Config":
        """Read it.

        Raises:
            InputError: there is none, or it is of another library.
        """
        text, found = file.repository.text, _json(file)
        architecture = found.get("architecture")
        if not isinstance(architecture, str) or not import_timm(text).is_model(architecture):
            kind = architecture or found.get("model_type") or "none"
            raise InputError(
                f"{text}: {file.path} holds weights alone, and {_CONFIG} names no network of timm "
                f"({kind}); give what builds it, and them: package.module:callable --weights "
                f"{Path(file.path).name}, which `hf download {file.repository.name} {file.path}` "
                "fetches"
            )
        weights = cast("Mapping[str, Any]", found.get("pretrained_cfg", found))
        keywords = {"pretrained_cfg": dict(weights), **found.get("model_args", {})}
        if "num_classes" in found:
            keywords.setdefault("num_classes", found["num_classes"])
        return cls(architecture, weights, keywords)

    def images(self, wanted: Wanted) -> Images:
        keywords = {**self.keywords, **wanted.call.keywords}
        return images_of(import_timm(wanted.text), self.weights, keywords)


def _json(file: _File) -> dict[str, Any]:
    if _CONFIG not in file.repository.files:
        return {}
    path = file.repository.fetch(_CONFIG)
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(f"{file.repository.text}: {_CONFIG} is no JSON ({error})") from error
    return cast("dict[str, Any]", found) if isinstance(found, dict) else {}


HUGGING_FACE = _HuggingFace()
