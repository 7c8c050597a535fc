"""Checkpoints and weights as plain ``.npz`` files: arrays and text, never pickled objects."""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from mlcnn.errors import InputError
from mlcnn.training.recipe import Recipe

__all__ = ["load_checkpoint", "save_checkpoint", "save_weights", "write_arrays"]

Array = NDArray[Any]

_MODEL, _MOMENTUM, _RUN = "model/", "momentum/", "run"


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the parameters and buffers of ``module`` by name; ``zoo.load_weights`` reads them."""
    write_arrays(path, {name: t.detach().cpu().numpy() for name, t in module.state_dict().items()})


def save_checkpoint(
    path: Path,
    module: nn.Module,
    optimizer: torch.optim.SGD,
    *,
    recipe: Recipe,
    seed: int,
    epochs: int,
) -> None:
    """Write all that ``epochs`` finished epochs leave behind, all at once or not."""
    arrays = {_MODEL + k: t.detach().cpu().numpy() for k, t in module.state_dict().items()}
    for index, state in optimizer.state_dict()["state"].items():
        buffer = state.get("momentum_buffer")
        if buffer is not None:
            arrays[f"{_MOMENTUM}{index}"] = buffer.cpu().numpy()
    run = {"recipe": asdict(recipe), "seed": seed, "epochs": epochs}
    arrays[_RUN] = np.array(json.dumps(run))
    write_arrays(path, arrays)


def load_checkpoint(
    path: Path, module: nn.Module, optimizer: torch.optim.SGD, *, recipe: Recipe, seed: int
) -> int:
    """Restore ``module`` and ``optimizer``; return the number of finished epochs.

    Raises:
        InputError: for a file that is not a checkpoint, or is one of another run.
    """
    arrays = _read(path)
    if _RUN not in arrays:
        msg = f"{path}: not a checkpoint; remove it or name another file"
        raise InputError(msg)
    run = json.loads(str(arrays[_RUN]))
    expected = json.loads(json.dumps({"recipe": asdict(recipe), "seed": seed}))
    if run["recipe"] != expected["recipe"] or run["seed"] != seed:
        msg = (
            f"{path}: is a checkpoint of another run (seed {run['seed']}, recipe {run['recipe']}); "
            "remove it or name another file"
        )
        raise InputError(msg)
    weights = {k.removeprefix(_MODEL): v for k, v in arrays.items() if k.startswith(_MODEL)}
    _load_into(module, weights, path)
    state = {
        int(key.removeprefix(_MOMENTUM)): {"momentum_buffer": torch.from_numpy(value)}
        for key, value in arrays.items()
        if key.startswith(_MOMENTUM)
    }
    groups = optimizer.state_dict()["param_groups"]
    optimizer.load_state_dict({"state": state, "param_groups": groups})
    return int(run["epochs"])


def _load_into(module: nn.Module, arrays: Mapping[str, Array], path: Path) -> None:
    current = module.state_dict()
    missing = [name for name in current if name not in arrays]
    unknown = [name for name in arrays if name not in current]
    if missing or unknown:
        first = (
            f"lacks {missing[0]!r}" if missing else f"has {unknown[0]!r}, which the network lacks"
        )
        msg = f"{path}: {first}; these are the weights of another network"
        raise InputError(msg)
    for name, tensor in current.items():
        if tuple(tensor.shape) != arrays[name].shape:
            msg = (
                f"{path}: {name!r} has shape {arrays[name].shape}, "
                f"the network's has {tuple(tensor.shape)}"
            )
            raise InputError(msg)
    module.load_state_dict({name: torch.from_numpy(arrays[name]) for name in current})


def _read(path: Path) -> dict[str, Array]:
    if not path.is_file():
        msg = f"{path}: no such file"
        raise InputError(msg)
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, AttributeError, zipfile.BadZipFile) as error:
        msg = f"{path}: not an .npz file of plain arrays: {error}"
        raise InputError(msg) from error


def write_arrays(path: Path, arrays: Mapping[str, Array]) -> None:
    """Write an ``.npz`` file beside ``path``, then rename it: an interruption leaves the old one.

    Raises:
        InputError: if the folder does not exist.
    """
    if not path.parent.is_dir():
        msg = f"{path.parent}: no such folder"
        raise InputError(msg)
    temporary = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with temporary.open("wb") as file:
            np.savez_compressed(file, allow_pickle=False, **arrays)
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
