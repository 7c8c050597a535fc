"""Checkpoints and weights as plain ``.npz`` files: arrays and text, never pickled objects."""

import json
import os
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from mlcnn.errors import InputError

__all__ = ["Checkpoint", "load_checkpoint", "save_checkpoint", "save_weights", "write_arrays"]

Array = NDArray[Any]
_State = dict[str, Tensor]

_RUN = "run"
_VERSION = 2


@dataclass(slots=True)
class Checkpoint:
    """All that a run leaves behind between two steps.

    Attributes:
        run: what the run is: recipe, seed, data, hooks. Another run's checkpoint is refused.
        model: parameters and buffers by name.
        optimizer: its tensors by ``<index of the parameter>/<name>``.
        average: the moving average of the weights, if there is one.
        best: the weights of the best epoch, if there was validation.
        epoch: finished epochs.
        step: finished steps of the epoch after them.
        sums: of the loss, of the correct answers and of the images over these steps.
        history: a record for each finished epoch.
    """

    run: dict[str, Any]
    model: _State
    optimizer: _State
    average: _State = field(default_factory=dict[str, Tensor])
    best: _State = field(default_factory=dict[str, Tensor])
    epoch: int = 0
    step: int = 0
    sums: tuple[float, ...] = (0.0, 0.0, 0.0)
    history: tuple[dict[str, Any], ...] = ()


_STATES = ("model", "optimizer", "average", "best")
_NUMBERS = ("epoch", "step", "sums", "history")


def save_weights(module: nn.Module, path: Path) -> None:
    """Write the parameters and buffers of ``module`` by name; ``zoo.load_weights`` reads them."""
    write_arrays(path, {name: t.detach().cpu().numpy() for name, t in module.state_dict().items()})


def save_checkpoint(path: Path, checkpoint: Checkpoint) -> bool:
    """Write a checkpoint, all at once or not at all, whatever happens meanwhile.

    Returns:
        Whether it was written: weights that are not finite never replace those that are.
    """
    if not all(bool(t.isfinite().all()) for t in checkpoint.model.values()):
        return False
    arrays = {
        f"{state}/{name}": tensor.detach().cpu().numpy()
        for state in _STATES
        for name, tensor in getattr(checkpoint, state).items()
    }
    numbers = {name: getattr(checkpoint, name) for name in _NUMBERS}
    text = json.dumps({"version": _VERSION, "run": checkpoint.run, **numbers})
    # Weights hardly compress, and an hour of training has many checkpoints.
    write_arrays(path, {**arrays, _RUN: np.array(text)}, compress=False)
    return True


def load_checkpoint(path: Path, run: Mapping[str, Any]) -> Checkpoint:
    """Read a checkpoint of a run.

    Args:
        path: the file.
        run: what the run is.

    Raises:
        InputError: for a file that is not a checkpoint, or is one of another run or version: the
            message says what differs.
    """
    arrays = _read(path)
    if _RUN not in arrays:
        raise InputError(f"{path}: not a checkpoint; remove it or name another file")
    record: dict[str, Any] = json.loads(str(arrays.pop(_RUN)))
    if record.get("version") != _VERSION:
        raise InputError(
            f"{path}: is a checkpoint of version {record.get('version', 1)}, this is version "
            f"{_VERSION}; finish the run with the mlcnn that began it, or remove the file"
        )
    expected = json.loads(json.dumps(run))
    differing = _differences(record["run"], expected)
    if differing:
        raise InputError(
            f"{path}: is a checkpoint of another run ({'; '.join(differing)}); remove it or name "
            "another file"
        )
    states: dict[str, _State] = {state: {} for state in _STATES}
    for key, array in arrays.items():
        state, _, name = key.partition("/")
        states[state][name] = torch.from_numpy(array)
    numbers = {name: record[name] for name in _NUMBERS}
    return Checkpoint(record["run"], **states, **numbers)


def _differences(there: Any, here: Any, name: str = "") -> list[str]:
    """What differs, as text: the names of the entries, what is there and what is asked for."""
    if isinstance(there, dict) and isinstance(here, dict):
        keys = dict.fromkeys([*there, *here])
        return [
            row
            for key in keys
            for row in _differences(there.get(key), here.get(key), f"{name} {key}".strip())
        ]
    return [] if there == here else [f"{name} is {there} there and {here} here"]


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


def write_arrays(path: Path, arrays: Mapping[str, Array], *, compress: bool = True) -> None:
    """Write an ``.npz`` file beside ``path``, then rename it: an interruption leaves the old one.

    The content is on the disk before the name points to it, so that a crash of the machine does no
    harm either.

    Raises:
        InputError: if the folder does not exist.
    """
    if not path.parent.is_dir():
        msg = f"{path.parent}: no such folder"
        raise InputError(msg)
    # One name for all: what a killed process left is overwritten by the next one.
    temporary = path.with_name(f".{path.name}.partial")
    write = np.savez_compressed if compress else np.savez
    try:
        with temporary.open("wb") as file:
            write(file, allow_pickle=False, **arrays)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise
    _sync_folder(path.parent)


def _sync_folder(folder: Path) -> None:
    """Make a renaming last; where folders cannot be opened (Windows), the system sees to it."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
