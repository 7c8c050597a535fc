"""Gemminis of other sizes, with the constants of a table."""

import importlib.resources
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from pydantic import Field, NonNegativeFloat

from mlcnn.accelerators.border import Document, read_yaml
from mlcnn.codesign.architecture import Architecture, EnergyLaw, FanOut
from mlcnn.codesign.files import load_architecture

__all__ = ["GemminiSize", "SramTable", "gemmini", "load_sram_table", "with_one_law"]

_MEMORIES = ("scratchpad", "accumulator", "register")


@dataclass(frozen=True, slots=True)
class GemminiSize:
    """Sizes of a Gemmini.

    Attributes:
        side: units of the square array along each side.
        accumulator_words: of 32 bits, of each of the ``side`` accumulators.
        scratchpad_bytes: of the scratchpad.
    """

    side: int
    accumulator_words: int
    scratchpad_bytes: int


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
        unit_mm2: area of an arithmetic unit with its register.
        accumulator_mm2: area of a byte of accumulators.
        scratchpad_mm2: area of a byte of scratchpad.
        source: where the numbers come from.
    """

    name: str
    byte: EnergyLaw
    unit_mm2: float
    accumulator_mm2: float
    scratchpad_mm2: float
    source: str

    def area_mm2(self, size: GemminiSize) -> float:
        """Area of a Gemmini; 7 % off on average (validity: see ``source``)."""
        accumulator = 4 * size.accumulator_words * size.side
        return (
            self.unit_mm2 * size.side**2
            + self.accumulator_mm2 * accumulator
            + self.scratchpad_mm2 * size.scratchpad_bytes
        )


@lru_cache
def load_sram_table() -> SramTable:
    """The table ``gemmini-40nm``."""
    folder = Path(str(importlib.resources.files("mlcnn.codesign") / "tables"))
    table = read_yaml(folder / "gemmini-40nm.yaml", _Table, "table")
    area = table.area_mm2
    return SramTable(
        table.name,
        EnergyLaw(table.sram.pj, table.sram.pj_per_kb),
        area.per_unit,
        area.per_accumulator_byte,
        area.per_scratchpad_byte,
        table.source,
    )


def gemmini(size: GemminiSize) -> Architecture:
    """The template ``gemmini`` of another size.

    The scratchpad's word is one byte a column, and its bandwidth two such words a cycle.
    """
    return load_architecture("gemmini").with_levels(
        {
            "scratchpad": {
                "capacity": size.scratchpad_bytes,
                "block_words": size.side,
                "shared_bandwidth": 2 * size.side,
                "fan_out": FanOut(size.side, ("K",)),
            },
            "accumulator": {
                "capacity": size.accumulator_words,
                "fan_out": FanOut(size.side, ("C",)),
            },
        }
    )


def with_one_law(architecture: Architecture, table: SramTable) -> Architecture:
    """A Gemmini whose memories on the chip have one law of energy by the byte."""
    changes: dict[str, dict[str, object]] = {}
    for level in architecture.levels:
        if level.name in _MEMORIES:
            words = level.word_bits / 8
            law = EnergyLaw(table.byte.pj * words, table.byte.pj_per_kb * words)
            changes[level.name] = {"energy": law}
    return architecture.with_levels(changes)
