"""State dicts from ``.safetensors`` files and from those of ``torch.save``: tensors, never code."""

import importlib
import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor

from mlcnn.errors import InputError
from mlcnn.graph.wording import quote

__all__ = ["PICKLES", "SAFETENSORS", "conversion", "read_pickle", "read_safetensors"]

SAFETENSORS = ".safetensors"
PICKLES = frozenset({".pt", ".pth", ".bin", ".ckpt", ".tar"})
"""Files that ``torch.save`` writes; pickles all of them."""

_WRAPPERS = ("state_dict", "model_state_dict", "model", "net")  # names that training scripts use
_PARALLEL = "module."  # what DataParallel puts in front of every name


def read_safetensors(path: Path) -> Mapping[str, Tensor]:
    """All tensors of a file, by name.

    Raises:
        InputError: it cannot be read, or the package ``safetensors`` is missing.
    """
    try:
        reader: Any = importlib.import_module("safetensors.torch")
    except ImportError as error:
        raise InputError(
            f"{path}: its kind needs the package safetensors ({quote(error)}): "
            "pip install 'mlcnn[hf]'"
        ) from error
    _require_file(path)
    try:
        return reader.load_file(path)
    except Exception as error:  # of the package's own types
        raise InputError(
            f"{path}: not a readable {SAFETENSORS} file ({quote(error)}); copy or download it again"
        ) from error


def read_pickle(path: Path) -> Mapping[str, Tensor]:
    """All tensors of a state dict that ``torch.save`` wrote, by name; it is unpickled without code.

    A state dict may be an entry of the file's dict, as training scripts write it, and names may
    begin with ``module.``, as DataParallel has it.

    Raises:
        InputError: it cannot be read, needs code to be read, or is no state dict.
    """
    _require_file(path)
    try:
        found: object = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise InputError(
            f"{path}: holds more than tensors, which only code can read, so it is refused; "
            f"{conversion(path)}"
        ) from error
    except Exception as error:  # of whatever the content makes the reader stumble over
        raise InputError(f"{path}: not a readable file of torch.save ({quote(error)})") from error
    state = _unwrapped(found)
    if state is None:
        raise InputError(
            f"{path}: a {type(found).__name__}, not a dict of tensors by parameter name; "
            f"{conversion(path)}"
        )
    return state


def conversion(path: Path | str, *, only_tensors: bool = False) -> str:
    """How a pickle becomes weights that can be given: the end of a message.

    Args:
        path: the file.
        only_tensors: whether it may be opened without trust: it should hold nothing else.
    """
    file = Path(path).stem + SAFETENSORS
    trust = "" if only_tensors else "if you trust it, "
    return (
        f"{trust}convert it in Python: import torch, safetensors.torch; state = torch.load("
        f"{str(path)!r}, weights_only={only_tensors}); state = state.state_dict() if "
        "hasattr(state, 'state_dict') else state.get('state_dict', state); "
        "safetensors.torch.save_file({k: v.contiguous().clone() for k, v in state.items()}, "
        f"{file!r}); then give --weights {file} beside the name of the network"
    )


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise InputError(f"{path}: {'a folder' if path.is_dir() else 'no such file'}")


def _unwrapped(found: object) -> Mapping[str, Tensor] | None:
    if not isinstance(found, Mapping):
        return None
    items = cast("Mapping[object, object]", found)
    inner = next((items[name] for name in _WRAPPERS if isinstance(items.get(name), Mapping)), None)
    if inner is not None:
        return _unwrapped(inner)
    named = {str(name): value for name, value in items.items() if isinstance(value, Tensor)}
    if not named or len(named) < len(items):
        return None
    if all(name.startswith(_PARALLEL) for name in named):
        return {name.removeprefix(_PARALLEL): value for name, value in named.items()}
    return named
