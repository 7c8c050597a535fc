"""Types of machines by name: those that come with the package, and those of other packages."""

import logging
from collections.abc import Iterable, Sequence
from importlib.metadata import EntryPoint, entry_points

from mlcnn.accelerators.border import Description
from mlcnn.accelerators.machine import Machine, MachineType
from mlcnn.errors import InputError, MlcnnError, did_you_mean
from mlcnn.graph.wording import quote

__all__ = ["ARRAY", "GROUP", "machine_types", "make_machine"]

GROUP = "mlcnn.machines"
"""The group of the entry points."""
ARRAY = "array"
"""The type of a file that names none."""

_LOGGER = logging.getLogger(__name__)
_TYPE = "type"
_BUILT_IN = {
    name: EntryPoint(name, value, GROUP)
    for name, value in (
        (ARRAY, "mlcnn.accelerators.array:ArrayFile"),
        ("fft", "mlcnn.accelerators.fft:FftFile"),
        ("in-memory", "mlcnn.accelerators.in_memory:InMemoryFile"),
        ("loop-nest", "mlcnn.codesign.machine:LoopNestFile"),
        ("sparse", "mlcnn.accelerators.sparse:SparseFile"),
    )
}
_PARTS = ("name", "clock_mhz", "takes", "cost", "area")


def machine_types() -> dict[str, MachineType]:
    """Every type of machine by the name that ``type`` has in its files.

    One that is broken, no machine, or provided twice is left out with a warning.
    """
    entries = _entries()
    found: dict[str, MachineType] = {}
    for name in sorted({entry.name for entry in entries}):
        try:
            found[name] = _loaded(GROUP, _only(GROUP, name, entries))
        except InputError as error:
            _LOGGER.warning("%s", error)
    return found


def make_machine(description: Description) -> Machine:
    """The machine that a file describes, by its ``type``.

    Args:
        description: the file; without ``type`` it is an array.

    Raises:
        InputError: the file is wrong, no package or more than one provides its type, or what
            provides it is broken or makes no machine.
    """
    where = f"{description.where}:{description.line((_TYPE,))}"
    name = description.values.get(_TYPE, ARRAY)
    if not isinstance(name, str):
        raise InputError(f"{where}: type is {name!r} and must be the name of a type of machine")
    known = [_BUILT_IN[ARRAY]] if _TYPE not in description.values else _entries()
    entry = _only(where, name, known)
    made = _made(entry, _loaded(where, entry), description.without(_TYPE))
    missing = [part for part in _PARTS if not hasattr(made, part)]
    if missing or not isinstance(made, Machine):
        raise InputError(
            f"{where}: {_named(entry)} makes no machine: {type(made).__name__} has no "
            f"{', '.join(missing)}; see mlcnn.accelerators.Machine"
        )
    return made


def _entries() -> list[EntryPoint]:
    """The built-in ones, which need no metadata, and all others; each once."""
    found = {(entry.name, entry.value): entry for entry in entry_points(group=GROUP)}
    built_in = {(entry.name, entry.value): entry for entry in _BUILT_IN.values()}
    return list((found | built_in).values())


def _only(where: str, name: str, known: Iterable[EntryPoint]) -> EntryPoint:
    entries = list(known)
    found = [entry for entry in entries if entry.name == name]
    if len(found) > 1:
        raise InputError(
            f"{where}: {len(found)} packages provide a machine type {name!r}: "
            f"{'; '.join(map(_origin, found))}; uninstall all but one"
        )
    if not found:
        raise InputError(f"{where}: {_unknown(name, [entry.name for entry in entries])}")
    return found[0]


def _unknown(name: str, known: Sequence[str]) -> str:
    hint = did_you_mean(name, known, ", ", ".")
    return (
        f"unknown machine type {name!r}{hint} Known: {', '.join(sorted(set(known)))}; any other "
        f"comes with a package that has an entry point {name!r} of the group {GROUP}: install that"
    )


def _loaded(where: str, entry: EntryPoint) -> MachineType:
    try:
        found = entry.load()
    except Exception as error:
        raise InputError(
            f"{where}: {_named(entry)} cannot be loaded, {quote(error)}; repair or uninstall it"
        ) from error
    if not isinstance(found, MachineType):
        raise InputError(
            f"{where}: {_named(entry)} is no machine: it has no from_description; see "
            "mlcnn.accelerators.MachineType"
        )
    return found


def _made(entry: EntryPoint, found: MachineType, description: Description) -> object:
    try:
        return found.from_description(description)
    except MlcnnError:
        raise
    except Exception as error:
        if entry in _BUILT_IN.values():
            raise
        raise InputError(
            f"{description.where}: {_named(entry)} could not read it, {quote(error)}"
        ) from error


def _named(entry: EntryPoint) -> str:
    return f"machine type {entry.name!r} ({_origin(entry)})"


def _origin(entry: EntryPoint) -> str:
    package = f" of {entry.dist.name} {entry.dist.version}" if entry.dist is not None else ""
    return f"{entry.value}{package}"
