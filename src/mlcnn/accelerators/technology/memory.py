"""On-chip memories from a table of CACTI results, interpolated inside its range."""

import csv
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from mlcnn.errors import InputError

__all__ = ["Macro", "MemoryTable", "Register", "read_table"]


@dataclass(frozen=True, slots=True)
class Macro:
    """One memory bank.

    Attributes:
        size_bytes: size.
        width_bits: port width.
        read_pj: of one access of the whole width.
        write_pj: of one access of the whole width.
        leakage_mw: static power.
        area_um2: area.
    """

    size_bytes: float
    width_bits: int
    read_pj: float
    write_pj: float
    leakage_mw: float
    area_um2: float


@dataclass(frozen=True, slots=True)
class Register:
    """Flip-flops.

    Attributes:
        energy_pj_per_bit: of one bit written or read.
        area_um2_per_bit: area.
        source: where the numbers are from.
    """

    energy_pj_per_bit: float
    area_um2_per_bit: float
    source: str


@dataclass(frozen=True, slots=True)
class MemoryTable:
    """Single-bank memories by port width and size.

    Attributes:
        name: what results call it.
        rows: macros by port width, ascending in size.
        source: where the numbers are from.
    """

    name: str
    rows: Mapping[int, tuple[Macro, ...]]
    source: str

    @property
    def smallest(self) -> float:
        """Bytes of the smallest memory of the table."""
        return min(row[0].size_bytes for row in self.rows.values())

    @property
    def leakage_mw_per_um2(self) -> float:
        """Static power of a memory's area, at the table's middle sizes (8 kB, 64 bits)."""
        macro = self.macro(8192, 64 if 64 in self.rows else next(iter(self.rows)))
        return macro.leakage_mw / macro.area_um2

    def macro(self, size_bytes: float, width_bits: int) -> Macro:
        """The memory of that size and width, straight lines in log-log between rows.

        Raises:
            InputError: the size or the width is outside the table.
        """
        rows = self.rows.get(width_bits)
        if rows is None:
            raise InputError(
                f"memory table {self.name} has no port of {width_bits} bits, only "
                f"{', '.join(map(str, sorted(self.rows)))}: choose one of these widths"
            )
        low, high = rows[0].size_bytes, rows[-1].size_bytes
        if not low <= size_bytes <= high:
            raise InputError(
                f"memory table {self.name} covers banks of {low:.0f} to {high:.0f} bytes at "
                f"{width_bits} bits and was asked for {size_bytes:.0f}: change the number of banks "
                "or the size, or give a table that covers it"
            )
        if low == high:
            return rows[0]
        below, above = next((a, b) for a, b in pairwise(rows) if size_bytes <= b.size_bytes)
        share = math.log(size_bytes / below.size_bytes) / math.log(
            above.size_bytes / below.size_bytes
        )

        def between(name: str) -> float:
            first, second = getattr(below, name), getattr(above, name)
            return first * (second / first) ** share

        names = ("read_pj", "write_pj", "leakage_mw", "area_um2")
        return Macro(size_bytes, width_bits, *(between(name) for name in names))

    def small(self, size_bytes: float, width_bits: int, register: Register) -> Macro:
        """As ``macro``; below the table's range a memory of flip-flops."""
        if size_bytes >= self.smallest:
            return self.macro(size_bytes, width_bits)
        access = register.energy_pj_per_bit * width_bits
        area = register.area_um2_per_bit * size_bytes * 8
        leakage = self.leakage_mw_per_um2 * area
        return Macro(size_bytes, width_bits, access, access, leakage, area)


def read_table(path: Path, cell: str, name: str, source: str) -> MemoryTable:
    """Read the single-bank rows of one device type from a CSV in the columns of CACTI's table.

    Raises:
        InputError: the file cannot be read or has no such rows.
    """
    try:
        with path.open(newline="", encoding="utf-8") as file:
            rows = [row for row in csv.DictReader(file) if row["cell"] == cell]
        macros = [_macro(row) for row in rows if int(row["banks"]) == 1]
    except (OSError, KeyError, ValueError) as error:
        raise InputError(
            f"memory table {path}: cannot be read ({error}); it needs the columns cell, "
            "size_bytes, banks, width_bits, read_pj, write_pj, leakage_mw_per_bank, area_mm2"
        ) from error
    if not macros:
        raise InputError(f"memory table {path}: no rows of one bank for the cell {cell!r}")
    return MemoryTable(name, _by_width(macros), source)


def _macro(row: Mapping[str, str]) -> Macro:
    return Macro(
        float(row["size_bytes"]),
        int(row["width_bits"]),
        float(row["read_pj"]),
        float(row["write_pj"]),
        float(row["leakage_mw_per_bank"]),
        float(row["area_mm2"]) * 1e6,
    )


def _by_width(macros: Iterable[Macro]) -> dict[int, tuple[Macro, ...]]:
    grouped: dict[int, list[Macro]] = {}
    for macro in macros:
        grouped.setdefault(macro.width_bits, []).append(macro)
    return {w: tuple(sorted(group, key=lambda m: m.size_bytes)) for w, group in grouped.items()}
