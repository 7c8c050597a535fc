"""Sub-arrays of memory cells, from tables of what one row of them takes."""

import csv
import importlib.resources
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from math import hypot, log2
from pathlib import Path
from typing import Any

from pydantic import NonNegativeFloat, PositiveFloat

from mlcnn.accelerators.border import Description, Document, is_file, read_description, unknown
from mlcnn.errors import InputError

__all__ = ["CellTable", "SubArray", "cell_names", "load_cells"]

_WHAT = "memory cell"
_COLUMNS = ("read_ns", "write_ns", "read_pj", "write_pj", "leak_uw", "area_um2")
_OPTIONAL = "bitline_pj"
_NONE = "none"  # of a size that NVSim found no design for


@dataclass(frozen=True, slots=True)
class SubArray:
    """A sub-array of memory cells with a sense amplifier for each column.

    Attributes:
        rows: word lines.
        columns: bit lines.
        read_ns: of one row, or of two that are sensed together.
        write_ns: of one row.
        both_pj: energy of two rows sensed together, all columns.
        write_pj: energy of one bit written.
        leak_uw: static power.
        area_um2: area with its periphery.
    """

    rows: int
    columns: int
    read_ns: float
    write_ns: float
    both_pj: float
    write_pj: float
    leak_uw: float
    area_um2: float


@dataclass(frozen=True, slots=True)
class CellTable:
    """Sub-arrays of one kind of cell.

    Attributes:
        name: what results call it.
        sizes: sub-arrays by (rows, columns).
        source: where the numbers are from.
    """

    name: str
    sizes: Mapping[tuple[int, int], SubArray]
    source: str

    def sub_array(self, rows: int, columns: int) -> SubArray:
        """The sub-array of a size.

        Raises:
            InputError: the table has none of this size.
        """
        found = self.sizes.get((rows, columns))
        if found is not None:
            return found
        near = min(
            self.sizes, key=lambda size: hypot(log2(size[0] / rows), log2(size[1] / columns))
        )
        ends = [f"{min(part)} to {max(part)}" for part in zip(*self.sizes, strict=True)]
        raise InputError(
            f"{self.name} has no sub-array of {rows} rows and {columns} columns: its "
            f"{len(self.sizes)} sizes have {ends[0]} rows and {ends[1]} columns, the nearest "
            f"{near[0]} and {near[1]}: take that, or give a table that has the size"
        )


class _Both(Document):
    read: PositiveFloat
    bitline: NonNegativeFloat


class _Device(Document):
    on_ohm: PositiveFloat
    off_ohm: PositiveFloat
    write_pulse_ns: PositiveFloat
    write_pj: PositiveFloat


class _CellFile(Document):
    name: str
    table: str
    cell: str
    roadmap: str
    both_rows: _Both
    device: _Device | None = None
    source: str


def _folder() -> Path:
    return Path(str(importlib.resources.files("mlcnn.accelerators.in_memory") / "cells"))


@lru_cache
def cell_names() -> tuple[str, ...]:
    """The cells that come with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def load_cells(name: str, beside: Path = Path()) -> CellTable:
    """A table by name, or from a ``.yaml`` file of the user's.

    Args:
        name: of the cell, or the path of a file.
        beside: the folder that a relative path starts from.

    Raises:
        InputError: the name is not known, or the file or its table is wrong.
    """
    if is_file(name):
        return _read(read_description(beside / name, _WHAT))
    if name not in cell_names():
        raise unknown(_WHAT, name, cell_names())
    return _built_in(name)


@lru_cache
def _built_in(name: str) -> CellTable:
    return _read(read_description(_folder() / f"{name}.yaml", _WHAT))


def _read(description: Description) -> CellTable:
    file = description.read(_CellFile)
    _check(description, file.device)
    path = description.path.parent / file.table
    sizes = dict[tuple[int, int], SubArray]()
    try:
        with path.open(newline="", encoding="utf-8") as opened:
            for line, row in enumerate(csv.DictReader(opened), 2):
                wanted = (row["cell"], row["roadmap"]) == (file.cell, file.roadmap)
                if wanted and _NONE not in row.values():
                    found = _sub_array(f"table {path}:{line}", row, file.both_rows)
                    sizes[found.rows, found.columns] = found
    except (OSError, UnicodeDecodeError, KeyError) as error:
        raise InputError(
            f"table {path}: cannot be read ({error}); it needs the columns cell, roadmap, rows, "
            f"columns, {', '.join(_COLUMNS)}"
        ) from error
    if not sizes:
        raise InputError(
            f"{description.where}:{description.line(('cell',))}: {path} has no line of the cell "
            f"{file.cell!r} and the roadmap {file.roadmap!r}"
        )
    if file.device is not None:
        _check_writes(description, file.device, sizes)
    return CellTable(file.name, sizes, file.source)


def _check(description: Description, device: _Device | None) -> None:
    """Two cells side by side must tell two ones from one, and one from none."""
    if device is not None and device.off_ohm <= device.on_ohm:
        line = description.line(("device", "off_ohm"))
        raise InputError(
            f"{description.where}:{line}: off_ohm is {device.off_ohm:g} and must be more than "
            f"on_ohm, {device.on_ohm:g}: nothing could be sensed"
        )


def _check_writes(
    description: Description, device: _Device, sizes: Mapping[tuple[int, int], SubArray]
) -> None:
    """A table of another device than the file says."""
    for one in sizes.values():
        for key, part, whole in (
            ("write_pulse_ns", device.write_pulse_ns, one.write_ns),
            ("write_pj", device.write_pj, one.write_pj),
        ):
            if part > whole * (1 + 1e-3):
                line = description.line(("device", key))
                raise InputError(
                    f"{description.where}:{line}: {key} is {part:g} and a write of the table, with "
                    f"its periphery, takes {whole:g} at {one.rows} rows and {one.columns} columns: "
                    "give the table that was computed for this device"
                )


def _sub_array(where: str, row: Mapping[str, str], both: _Both) -> SubArray:
    size = [int(_positive(where, row, key)) for key in ("rows", "columns")]
    read_ns, write_ns, read, write, leak, area = (_positive(where, row, key) for key in _COLUMNS)
    bitline = _positive(where, row, _OPTIONAL) if both.bitline else 0.0
    energy = both.read * read + both.bitline * bitline
    return SubArray(
        size[0], size[1], read_ns, write_ns, energy, write / size[1], leak, area
    )  # fmt: skip


def _positive(where: str, row: Mapping[str, Any], key: str) -> float:
    try:
        value = float(row[key])
    except (KeyError, TypeError, ValueError):
        value = 0.0
    if not value > 0:
        raise InputError(f"{where}: {key} is {row.get(key)!r} and must be a positive number")
    return value
