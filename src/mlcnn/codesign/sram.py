"""Laws of memories and area from tables of the package."""

import importlib.resources
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import Field, NonNegativeFloat

from mlcnn.accelerators.border import Document, read_yaml
from mlcnn.codesign.architecture import AreaLaw, EnergyLaw

__all__ = ["SramTable", "load_sram_table", "sram_tables"]

_UM2_PER_MM2 = 1e6


class _Sram(Document):
    pj: NonNegativeFloat
    pj_per_kb: NonNegativeFloat


class _Area(Document):
    per_unit: NonNegativeFloat
    per_accumulator_byte: NonNegativeFloat
    per_scratchpad_byte: NonNegativeFloat


class _Table(Document):
    name: str = Field(min_length=1)
    source: str = Field(min_length=1)
    sram: _Sram
    area_mm2: _Area


@dataclass(frozen=True, slots=True)
class SramTable:
    """Laws of memories and area.

    Attributes:
        name: of the table.
        byte: energy of a byte.
        area: of a machine with an accumulator and a scratchpad; a unit has its register (validity:
            see ``source``).
        source: where the numbers come from.
    """

    name: str
    byte: EnergyLaw
    area: AreaLaw
    source: str


def _folder() -> Path:
    return Path(str(importlib.resources.files("mlcnn.codesign") / "tables"))


@lru_cache
def sram_tables() -> tuple[str, ...]:
    """Names of the tables that come with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


@lru_cache
def load_sram_table(name: str = "gemmini-40nm") -> SramTable:
    """A table of the package.

    Args:
        name: one of ``sram_tables``.
    """
    table = read_yaml(_folder() / f"{name}.yaml", _Table, "table")
    area = table.area_mm2
    law = AreaLaw(
        table.name,
        area.per_unit * _UM2_PER_MM2,
        (
            ("accumulator", area.per_accumulator_byte * _UM2_PER_MM2),
            ("scratchpad", area.per_scratchpad_byte * _UM2_PER_MM2),
        ),
    )
    byte = EnergyLaw(table.sram.pj, table.sram.pj_per_kb)
    return SramTable(table.name, byte, law, table.source)
