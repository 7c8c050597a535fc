"""Architectures by name, or from a user's YAML file: the machines of the type ``loop-nest``."""

import importlib.resources
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mlcnn.accelerators.border import Description, Document, is_file, read_description, unknown
from mlcnn.codesign.architecture import (
    Architecture,
    AreaLaw,
    EnergyLaw,
    FanOut,
    Level,
    Operand,
)
from mlcnn.codesign.sram import load_sram_table, sram_tables
from mlcnn.codesign.timeloop import is_timeloop, load_timeloop
from mlcnn.errors import InputError, did_you_mean

__all__ = [
    "TYPE",
    "architecture_names",
    "load_architecture",
    "read_architecture",
    "read_design",
]

TYPE = "loop-nest"
"""The type of these files among those of machines."""

_WHAT = "architecture"
_Operand = Literal["weight", "input", "output"]


class _Energy(Document):
    pj: NonNegativeFloat
    pj_per_kb: NonNegativeFloat = 0.0

    def to_domain(self) -> EnergyLaw:
        return EnergyLaw(self.pj, self.pj_per_kb)


class _FanOut(Document):
    size: PositiveInt
    dims: list[str] | None = None


class _Level(Document):
    keeps: list[_Operand]
    word_bits: PositiveInt
    energy: _Energy
    write_energy: _Energy | None = None
    capacity: PositiveInt | dict[_Operand, PositiveInt] | None = None
    block_words: PositiveInt = 1
    read_bandwidth: PositiveFloat | None = None
    write_bandwidth: PositiveFloat | None = None
    shared_bandwidth: PositiveFloat | None = None
    fan_out: _FanOut | None = None

    def to_domain(self, name: str) -> Level:
        capacity = self.capacity
        if isinstance(capacity, dict):
            capacity = {Operand(operand): words for operand, words in capacity.items()}
        below = self.fan_out
        return Level(
            name=name,
            keeps=tuple(Operand(operand) for operand in self.keeps),
            word_bits=self.word_bits,
            capacity=capacity,
            energy=self.energy.to_domain(),
            write_energy=None if self.write_energy is None else self.write_energy.to_domain(),
            block_words=self.block_words,
            read_bandwidth=self.read_bandwidth,
            write_bandwidth=self.write_bandwidth,
            shared_bandwidth=self.shared_bandwidth,
            fan_out=FanOut(1) if below is None else FanOut(below.size, _dims(below)),
        )


def _dims(below: _FanOut) -> tuple[str, ...] | None:
    return None if below.dims is None else tuple(below.dims)


class _Design(Document):
    template: str = Field(min_length=1)
    values: dict[str, PositiveFloat] = Field(min_length=1)


class _File(Document):
    name: str = Field(min_length=1)
    type: Literal["loop-nest"] = TYPE
    source: str = ""
    clock_mhz: PositiveFloat = 1000.0
    mac_energy_pj: NonNegativeFloat
    area_um2: PositiveFloat | str | None = None
    mapping_budget_s: PositiveFloat | None = None  # of the machine that maps, see ``machine``
    mapping_pj_per_cycle: PositiveFloat | None = None  # likewise
    design: _Design | None = None  # of which template it is, see ``read_design``
    levels: dict[str, _Level] = Field(min_length=1)

    def to_domain(self, description: Description) -> Architecture:
        levels = tuple(level.to_domain(name) for name, level in self.levels.items())
        return Architecture(
            self.name, levels, self.mac_energy_pj, self.source, self.clock_mhz,
            self._area(description),
        )  # fmt: skip

    def _area(self, description: Description) -> float | AreaLaw | None:
        area = self.area_um2
        if not isinstance(area, str):
            return area
        where = f"{description.where}:{description.line(('area_um2',))}"
        if area not in sram_tables():
            hint = did_you_mean(area, sram_tables())
            raise InputError(
                f"{where}: area_um2 is {area!r}, and there is no law of this name{hint}; give a "
                f"number, or one of {', '.join(sram_tables())}"
            )
        law = load_sram_table(area).area
        names = [name for name, _ in law.byte_um2]
        if missing := [name for name in names if name not in self.levels]:
            raise InputError(
                f"{where}: the law of area {area} is of machines with the levels "
                f"{', '.join(names)}, and there is no {', '.join(missing)}; give a number, or "
                "leave the key away"
            )
        return law


def _folder() -> Path:
    return Path(str(importlib.resources.files("mlcnn.codesign") / "templates"))


@lru_cache
def architecture_names() -> tuple[str, ...]:
    """The architectures that come with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def load_architecture(name: str | Path) -> Architecture:
    """An architecture by name, or from a ``.yaml`` file of the user's.

    A file with the key ``architecture`` is one of Timeloop's; it needs its energies (``ERT``) in
    it, too: several files are for ``load_timeloop``.

    Raises:
        InputError: the name is not known or the file is wrong.
        UnsupportedError: a file of Timeloop's has parts that are not scored.

    Example:
        >>> [level.name for level in load_architecture("gemmini").levels]
        ['dram', 'scratchpad', 'accumulator', 'register']
    """
    if is_file(name) and is_timeloop(name):
        return load_timeloop(name)[0]
    if is_file(name):
        return read_architecture(read_description(Path(name), _WHAT, tuple(_File.model_fields)))
    if name not in architecture_names():
        raise unknown(_WHAT, name, architecture_names())
    return _built_in(str(name))


@lru_cache
def _built_in(name: str) -> Architecture:
    return read_architecture(read_description(_folder() / f"{name}.yaml", _WHAT))


def read_architecture(description: Description) -> Architecture:
    """The architecture that a file describes.

    Args:
        description: the file, with its ``type`` or without.

    Raises:
        InputError: the file is wrong.
    """
    return description.read(_File).to_domain(description)


def read_design(path: Path) -> tuple[str, dict[str, float]] | None:
    """The template that a file's architecture is of, and its values; None where it says nothing.

    Args:
        path: of the file.

    Raises:
        InputError: the file is wrong.
    """
    found = read_description(path, _WHAT, tuple(_File.model_fields)).read(_File).design
    return None if found is None else (found.template, dict(found.values))
