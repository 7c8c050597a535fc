"""Weights from a file of arrays, by parameter name."""

import zipfile
import zlib
from pathlib import Path

import numpy as np
import torch
from numpy.lib import format as npy
from torch import Tensor, nn

from mlcnn.errors import InputError

__all__ = ["load_weights"]

_FILE, _MEMBER = ".npz", ".npy"
_COUNTER = "num_batches_tracked"  # inference does not read it: a file may have it or not
_LISTED = 4
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)

_State = dict[str, Tensor]


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy the arrays of an ``.npz`` file into ``module``; nothing is changed if one does not fit.

    Args:
        module: the network, of float32; arrays of other float types are cast.
        path: arrays by PyTorch's parameter and buffer names, running statistics too.

    Raises:
        InputError: if the file cannot be read, is not of this kind, or its names or shapes differ
            from the module's.
    """
    state = module.state_dict()
    for name, array in _read(path, state).items():
        state[name].copy_(torch.from_numpy(array.astype(np.float32)))


def _read(path: Path, state: _State) -> dict[str, np.ndarray]:
    if path.suffix != _FILE:
        msg = (
            f"{path}: weights are read from {_FILE} files (arrays by parameter name) only; pickled "
            "checkpoints can run code. Convert: numpy.savez(file, **{k: v.numpy() for k, v in "
            "torch.load(path, weights_only=True).items()})"
        )
        raise InputError(msg)
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(_MEMBER) for name in archive.namelist()]
            _check_names(path, set(names), state)
            required = [name for name in names if _required(name)]
            _check_headers(path, archive, required, state)
            return {name: _read_array(archive, name) for name in required}
    except FileNotFoundError:
        msg = f"{path}: no such file"
        raise InputError(msg) from None
    except _UNREADABLE as error:
        msg = f"{path}: not a readable {_FILE} file of plain arrays ({error})"
        raise InputError(msg) from error


def _required(name: str) -> bool:
    return not name.endswith(_COUNTER)


def _check_names(path: Path, given: set[str], state: _State) -> None:
    missing = [name for name in state if _required(name) and name not in given]
    unexpected = sorted(given - state.keys())
    problems = [
        f"{label} {_some(listed)}"
        for label, listed in (("missing", missing), ("unexpected", unexpected))
        if listed
    ]
    if problems:
        msg = f"{path}: not the weights of this network: {'; '.join(problems)}"
        raise InputError(msg)


def _check_headers(path: Path, archive: zipfile.ZipFile, names: list[str], state: _State) -> None:
    """Compare shapes and types before anything is unpacked, however large a header says it is."""
    problems: list[str] = []
    for name in names:
        shape, dtype = _read_header(archive, name)
        required = tuple(state[name].shape)
        if shape != required:
            problems.append(f"{name} has shape {shape}, required is {required}")
        elif dtype.kind != "f":
            problems.append(f"{name} holds {dtype}, required are floats")
    if problems:
        msg = f"{path}: {_some(problems, separator='; ')}"
        raise InputError(msg)


def _read_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype]:
    with archive.open(name + _MEMBER) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype


def _read_array(archive: zipfile.ZipFile, name: str) -> np.ndarray:
    with archive.open(name + _MEMBER) as file:
        return npy.read_array(file, allow_pickle=False)


def _some(listed: list[str], separator: str = ", ") -> str:
    rest = len(listed) - _LISTED
    tail = f" and {rest} more" if rest > 0 else ""
    return separator.join(listed[:_LISTED]) + tail
