"""Machines by name, or from a user's YAML file."""

import importlib.resources
from functools import lru_cache
from pathlib import Path
from typing import TypeVar

from mlcnn.accelerators.border import is_file, read_description, unknown
from mlcnn.accelerators.machine import Machine, precision_of
from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.registry import make_machine
from mlcnn.errors import InputError

__all__ = [
    "accelerator_names",
    "accelerator_text",
    "equal_precision",
    "load_accelerator",
    "load_machine_of",
]

_WHAT = "accelerator"
# Packages by name, as types of machines are: those above this one have machines, too.
_LIBRARIES = (("mlcnn.accelerators", "library"), ("mlcnn.codesign", "templates"))
_Machine = TypeVar("_Machine")


@lru_cache
def _files() -> dict[str, Path]:
    """The file of every machine that comes with the package, by its name."""
    folders = (Path(str(importlib.resources.files(package) / name)) for package, name in _LIBRARIES)
    files = [path for folder in folders for path in folder.glob("*.yaml")]
    return {path.stem: path for path in sorted(files, key=lambda path: path.stem)}


@lru_cache
def accelerator_names() -> tuple[str, ...]:
    """The machines that come with the package."""
    return tuple(_files())


def load_accelerator(name: str | Path) -> Machine:
    """A machine by name, or from a ``.yaml`` file of the user's.

    Raises:
        InputError: the name is not known or the file is wrong.
    """
    if is_file(name):
        return make_machine(read_description(Path(name), _WHAT))
    if name not in accelerator_names():
        raise unknown(_WHAT, name, accelerator_names())
    return _built_in(str(name))


def load_machine_of(kind: type[_Machine], name: str | Path, needed: str) -> _Machine:
    """A machine of one class; see ``load_accelerator``.

    Args:
        kind: the class.
        name: of the machine, or the path of its file.
        needed: what is needed and how to say so, for the message on another.

    Raises:
        InputError: it is another type of machine.
    """
    machine = load_accelerator(name)
    if not isinstance(machine, kind):
        raise InputError(
            f"accelerator {machine.name} is a machine of the class {type(machine).__name__}; this "
            f"needs {needed}"
        )
    return machine


def accelerator_text(name: str) -> str:
    """The file of an accelerator that comes with the package, to copy and edit.

    Raises:
        InputError: the name is not known.
    """
    return _files()[load_accelerator(name).name].read_text(encoding="utf-8")


@lru_cache
def _built_in(name: str) -> Machine:
    return make_machine(read_description(_files()[name], _WHAT))


def equal_precision(machine: Machine, precision: Precision) -> Machine:
    """The built-in machine of another precision that is most like ``machine``.

    Args:
        machine: a machine.
        precision: of the machine wanted.

    Returns:
        The one of the same name but for the precision, else the dense one: all precisions have it.

    Example:
        >>> from mlcnn.accelerators import Precision, load_accelerator
        >>> equal_precision(load_accelerator("dcnn-fp32"), Precision.INT8).name
        'dcnn-int8'
    """
    own = precision_of(machine)
    family = machine.name if own is None else machine.name.removesuffix(f"-{own.value}")
    name = f"{family}-{precision.value}"
    return load_accelerator(name if name in accelerator_names() else f"dcnn-{precision.value}")
