"""Architectures by name, or from a user's YAML file."""

import importlib.resources
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, PositiveInt

from mlcnn.accelerators.border import Document, is_file, read_yaml, unknown
from mlcnn.codesign.architecture import Architecture, EnergyLaw, FanOut, Level, Operand
from mlcnn.codesign.timeloop import is_timeloop, load_timeloop

__all__ = ["architecture_names", "load_architecture"]

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


class _File(Document):
    name: str = Field(min_length=1)
    source: str = ""
    mac_energy_pj: NonNegativeFloat
    levels: dict[str, _Level] = Field(min_length=1)

    def to_domain(self) -> Architecture:
        levels = tuple(level.to_domain(name) for name, level in self.levels.items())
        return Architecture(self.name, levels, self.mac_energy_pj, self.source)


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
        return read_yaml(Path(name), _File, _WHAT).to_domain()
    if name not in architecture_names():
        raise unknown(_WHAT, name, architecture_names())
    return _built_in(str(name))


@lru_cache
def _built_in(name: str) -> Architecture:
    return read_yaml(_folder() / f"{name}.yaml", _File, _WHAT).to_domain()
