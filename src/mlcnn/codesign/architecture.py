"""Machines as memory levels, outermost first, and the arithmetic below the last."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from mlcnn.errors import InputError

__all__ = ["ENERGY_KB", "Architecture", "AreaLaw", "EnergyLaw", "FanOut", "Level", "Operand"]

ENERGY_KB = 1024
"""Bytes of the unit that an energy law counts in."""


class Operand(StrEnum):
    """What a convolution reads and writes, in the order of every array of operands."""

    WEIGHT = "weight"
    INPUT = "input"
    OUTPUT = "output"


@dataclass(frozen=True, slots=True)
class EnergyLaw:
    """Energy of a word's access, linear in the size of the memory.

    Attributes:
        pj: of a memory of no size.
        pj_per_kb: more, for each 1024 bytes of one instance.
    """

    pj: float
    pj_per_kb: float = 0.0

    def of(self, size_bytes: float) -> float:
        """Energy in pJ of one word of an instance of ``size_bytes``."""
        return self.pj + self.pj_per_kb * (size_bytes / ENERGY_KB)


@dataclass(frozen=True, slots=True)
class FanOut:
    """Instances of the next level below one instance of a level.

    An array of two axes is two levels, one below the other, the lower of which keeps nothing.

    Attributes:
        size: how many.
        dims: dimensions that may be spread over them; None for any.
    """

    size: int
    dims: tuple[str, ...] | None = None


@dataclass(frozen=True, slots=True)
class Level:
    """A memory level.

    Attributes:
        name: of it.
        keeps: operands that may be kept in it; the others pass by.
        word_bits: bits of a word.
        capacity: words of one instance, shared by all operands or for each; None for no bound.
        energy: of a word that is read, by the bytes of one instance.
        write_energy: of a word that is written; None for the same.
        block_words: words that are accessed together; what is accessed is rounded up to them.
        read_bandwidth: words that an instance is read in a cycle; None for no bound.
        write_bandwidth: words that it is written.
        shared_bandwidth: words of both together.
        fan_out: instances of the next level below each.
    """

    name: str
    keeps: tuple[Operand, ...]
    word_bits: int
    capacity: int | Mapping[Operand, int] | None = None
    energy: EnergyLaw = EnergyLaw(0.0)
    write_energy: EnergyLaw | None = None
    block_words: int = 1
    read_bandwidth: float | None = None
    write_bandwidth: float | None = None
    shared_bandwidth: float | None = None
    fan_out: FanOut = FanOut(1)

    def __post_init__(self) -> None:
        if min(self.word_bits, self.block_words, self.fan_out.size) < 1:
            raise InputError(
                f"level {self.name}: word_bits, block_words and the fan-out must be positive, got "
                f"{self.word_bits}, {self.block_words} and {self.fan_out.size}"
            )
        bounds = (self.read_bandwidth, self.write_bandwidth, self.shared_bandwidth)
        if any(bound is not None and bound <= 0 for bound in bounds):
            raise InputError(f"level {self.name}: bandwidths must be positive, got {bounds}")

    @property
    def words(self) -> int:
        """Words of one instance, over all operands; 0 where there is no bound."""
        if isinstance(self.capacity, Mapping):
            return sum(self.capacity.values())
        return self.capacity or 0

    @property
    def size_bytes(self) -> float:
        """Bytes of one instance; 0 where there is no bound."""
        return self.words * self.word_bits / 8

    @property
    def read_pj(self) -> float:
        """Energy of one word that is read."""
        return self.energy.of(self.size_bytes)

    @property
    def write_pj(self) -> float:
        """Energy of one word that is written."""
        return (self.write_energy or self.energy).of(self.size_bytes)


@dataclass(frozen=True, slots=True)
class AreaLaw:
    """Area of a machine, linear in its units and in the bytes of its memories.

    Attributes:
        name: of the table that it is from.
        unit_um2: of an arithmetic unit.
        byte_um2: of a byte of each level, by the level's name; of levels that are not named here
            the area is not known to be anything, so it is left out: DRAM, or registers that are
            part of the units.
    """

    name: str
    unit_um2: float
    byte_um2: tuple[tuple[str, float], ...]


@dataclass(frozen=True, slots=True)
class Architecture:
    """Levels of memory, and the arithmetic units below the innermost.

    The outermost level keeps all operands. An arithmetic unit holds nothing: each of its
    multiply-accumulates reads its weight and its input and updates its output, in the innermost
    level that keeps them; what several units need in the same cycle is read once.

    Attributes:
        name: of the machine.
        levels: outermost first.
        mac_energy_pj: of one multiply-accumulate.
        source: where its numbers come from.
        clock_mhz: of its cycles.
        area: its area in square micrometres, or a law of it; None where it is not known.
    """

    name: str
    levels: tuple[Level, ...]
    mac_energy_pj: float
    source: str = ""
    clock_mhz: float = 1000.0
    area: float | AreaLaw | None = None

    def __post_init__(self) -> None:
        if not self.levels:
            raise InputError(f"architecture {self.name}: it has no levels")
        names = [level.name for level in self.levels]
        if len(set(names)) < len(names):
            raise InputError(f"architecture {self.name}: two levels have one name: {names}")
        missing = [operand for operand in Operand if operand not in self.levels[0].keeps]
        if missing:
            raise InputError(
                f"architecture {self.name}: its outermost level {self.levels[0].name} must keep "
                f"every operand; {', '.join(missing)} is missing"
            )

    def instances(self, index: int) -> int:
        """Instances of a level; of the arithmetic units for the number of levels."""
        return math.prod(level.fan_out.size for level in self.levels[:index])

    @property
    def area_um2(self) -> float | None:
        """Area; None where it is not known."""
        if not isinstance(self.area, AreaLaw):
            return self.area
        sizes = {
            level.name: self.instances(number) * level.size_bytes
            for number, level in enumerate(self.levels)
        }
        memories = math.fsum(sizes[name] * each for name, each in self.area.byte_um2)
        return self.area.unit_um2 * self.instances(len(self.levels)) + memories

    def with_levels(self, changes: Mapping[str, Mapping[str, object]]) -> "Architecture":
        """The same with other fields of some levels.

        Args:
            changes: by the level's name, values by the field's name.
        """
        levels = tuple(replace(level, **dict(changes.get(level.name, {}))) for level in self.levels)
        return replace(self, levels=levels)
