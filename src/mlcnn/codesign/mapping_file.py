"""A mapping that the user gives: as its text, or as a YAML file of it or of its levels."""

import re
from collections.abc import Mapping as Table
from pathlib import Path
from typing import Literal

from pydantic import Field

from mlcnn.accelerators.border import Description, Document, is_file, read_description
from mlcnn.codesign.architecture import Architecture, Operand
from mlcnn.codesign.mapping import LevelLoops, Loops, Mapping
from mlcnn.errors import InputError, did_you_mean

__all__ = ["read_mapping"]

_WHAT = "mapping"
_LOOP = re.compile(r"([A-Z])([1-9]\d*)")
_Operand = Literal["weight", "input", "output"]


class _Level(Document):
    keep: list[_Operand] | None = None
    temporal: list[str] = Field(default_factory=list[str])
    spatial: list[str] = Field(default_factory=list[str])


class _File(Document):
    mapping: str | None = None
    levels: dict[str, _Level] = Field(default_factory=dict[str, _Level])


def read_mapping(given: str | Path, architecture: Architecture) -> Mapping:
    """A mapping from its text, or from a ``.yaml`` file.

    A file has one key: ``mapping``, its text; or ``levels``, a table of the levels by name, each
    with ``keep`` (operands; all that the level takes where it is missing), ``temporal`` (loops,
    outermost first, as ``[K4, P56]``) and ``spatial`` (likewise). A level that is missing there
    has no loops.

    Args:
        given: the text, or the path of a file.
        architecture: the machine, by whose levels it is read.

    Raises:
        InputError: the file cannot be read or is no mapping, or its levels are not the machine's.
    """
    if not is_file(given):
        return _parsed(str(given), "--check", architecture)
    description = read_description(Path(given), _WHAT, tuple(_File.model_fields))
    file = description.read(_File)
    if (file.mapping is None) == ("levels" not in description.values):
        raise InputError(
            f"{description.where}: one of the keys mapping and levels is required, and there "
            f"{'is none' if file.mapping is None else 'are both'}"
        )
    if file.mapping is not None:
        where = f"{description.where}:{description.line(('mapping',))}"
        return _parsed(file.mapping, where, architecture)
    return _levels(description, file.levels, architecture)


def _parsed(text: str, where: str, architecture: Architecture) -> Mapping:
    try:
        mapping = Mapping.parse(text)
    except InputError as error:
        raise InputError(f"{where}: {error}") from error
    given = [part.partition("[")[0] for part in text.split(" - ")]
    names = [level.name for level in architecture.levels]
    if len(given) != len(names):
        raise InputError(
            f"{where}: the mapping has {len(given)} levels, and {architecture.name} has "
            f"{len(names)}: {' - '.join(names)}"
        )
    for number, (name, known) in enumerate(zip(given, names, strict=True)):
        if name not in {"", known}:
            raise InputError(
                f"{where}: level {number} of the mapping is {name!r}, and that of "
                f"{architecture.name} is {known!r}; levels stand outermost first: "
                f"{' - '.join(names)}"
            )
    return mapping


def _levels(
    description: Description, given: Table[str, _Level], architecture: Architecture
) -> Mapping:
    names = [level.name for level in architecture.levels]
    for name in given:
        if name not in names:
            line = description.line(("levels", name))
            hint = did_you_mean(name, names)
            raise InputError(
                f"{description.where}:{line}: {architecture.name} has no level {name!r}{hint}; "
                f"levels: {', '.join(names)}"
            )
    result: list[LevelLoops] = []
    for level in architecture.levels:
        one = given.get(level.name, _Level())
        kept = level.keeps if one.keep is None else tuple(Operand(name) for name in one.keep)
        temporal = _loops(description, level.name, "temporal", one.temporal)
        spatial = _loops(description, level.name, "spatial", one.spatial)
        result.append(LevelLoops(temporal, spatial, tuple(o for o in Operand if o in kept)))
    return Mapping(tuple(result))


def _loops(description: Description, level: str, key: str, texts: list[str]) -> Loops:
    loops: list[tuple[str, int]] = []
    for text in texts:
        found = _LOOP.fullmatch(text)
        if found is None:
            line = description.line(("levels", level, key))
            raise InputError(
                f"{description.where}:{line}: loop {text!r} of {level}: a dimension and its factor "
                "are required, as K4"
            )
        loops.append((found[1], int(found[2])))
    return tuple(loops)
