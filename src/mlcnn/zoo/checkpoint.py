"""Weights from a file of arrays, by parameter name; no file runs code."""

import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

import torch
from numpy.lib import format as npy
from torch import Tensor, nn

from mlcnn.errors import InputError
from mlcnn.zoo.state_files import PICKLES, SAFETENSORS, read_pickle, read_safetensors

__all__ = ["load_weights"]

_FILE, _MEMBER = ".npz", ".npy"
_COUNTER = "num_batches_tracked"  # inference does not read it: a file may have it or not
_LISTED = 4
_UNREADABLE = (OSError, ValueError, EOFError, RuntimeError, zipfile.BadZipFile, zlib.error)

_State = Mapping[str, Tensor]


def load_weights(module: nn.Module, path: Path) -> None:
    """Copy the arrays of a file into ``module``; nothing is changed if one does not fit.

    Args:
        module: the network; arrays of other float types than its own are cast.
        path: arrays by PyTorch's parameter and buffer names, running statistics too: an ``.npz``
            or ``.safetensors`` file, or a state dict that ``torch.save`` wrote (``.pth``, ``.pt``,
            ``.bin``, ...), of which nothing but tensors is read.

    Raises:
        InputError: if the file cannot be read, is not of this kind, or its names or shapes differ
            from the module's.
    """
    state = module.state_dict()
    with torch.no_grad():
        for name, value in _read(path, state).items():
            state[name].copy_(value)


def _read(path: Path, state: _State) -> _State:
    match path.suffix:
        case ".npz":
            return _read_npz(path, state)
        case suffix if suffix == SAFETENSORS:
            return _fitted(path, read_safetensors(path), state)
        case suffix if suffix in PICKLES:
            return _fitted(path, read_pickle(path), state)
        case _:
            raise InputError(
                f"{path}: weights are read from {_FILE}, {SAFETENSORS} and, tensors only, "
                f"{', '.join(sorted(PICKLES))} files"
            )


def _fitted(path: Path, given: _State, state: _State) -> _State:
    _check_names(path, set(given), state)
    required = [name for name in given if _required(name) and name in state]
    shapes = {name: (tuple(given[name].shape), _kind(given[name])) for name in required}
    _check(path, shapes, state)
    return {name: given[name] for name in required}


def _read_npz(path: Path, state: _State) -> _State:
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name.removesuffix(_MEMBER) for name in archive.namelist()]
            _check_names(path, set(names), state)
            required = [name for name in names if _required(name)]
            # Shapes and types before anything is unpacked, however large a header says it is.
            _check(path, {name: _read_header(archive, name) for name in required}, state)
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
    unexpected = sorted(name for name in given - state.keys() if _required(name))
    problems = [
        f"{label} {_some(listed)}"
        for label, listed in (("missing", missing), ("unexpected", unexpected))
        if listed
    ]
    if problems:
        msg = f"{path}: not the weights of this network: {'; '.join(problems)}"
        raise InputError(msg)


def _kind(value: Tensor) -> str:
    return str(value.dtype).removeprefix("torch.")


def _check(path: Path, given: Mapping[str, tuple[tuple[int, ...], str]], state: _State) -> None:
    """Compare shapes and types: floats where the module has floats, its own type elsewhere."""
    problems: list[str] = []
    for name, (shape, kind) in given.items():
        required = tuple(state[name].shape)
        if shape != required:
            problems.append(f"{name} has shape {shape}, required is {required}")
        elif state[name].dtype.is_floating_point and "float" not in kind:
            problems.append(f"{name} holds {kind}, required are floats")
        elif not state[name].dtype.is_floating_point and kind != _kind(state[name]):
            problems.append(f"{name} holds {kind}, required are {_kind(state[name])}")
    if problems:
        msg = f"{path}: {_some(problems, separator='; ')}"
        raise InputError(msg)


def _read_header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], str]:
    with archive.open(name + _MEMBER) as file:
        version = npy.read_magic(file)
        read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
        shape, _, dtype = read(file)
    return shape, dtype.name


def _read_array(archive: zipfile.ZipFile, name: str) -> Tensor:
    with archive.open(name + _MEMBER) as file:
        array = npy.read_array(file, allow_pickle=False)
    return torch.from_numpy(array.astype(array.dtype.newbyteorder("=")))


def _some(listed: list[str], separator: str = ", ") -> str:
    rest = len(listed) - _LISTED
    tail = f" and {rest} more" if rest > 0 else ""
    return separator.join(listed[:_LISTED]) + tail
