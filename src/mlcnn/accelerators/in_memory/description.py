"""The numbers of an engine of memory sub-arrays."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from mlcnn.accelerators.in_memory.cells import SubArray
from mlcnn.accelerators.in_memory.mapping import Engines
from mlcnn.accelerators.technology import Technology
from mlcnn.accelerators.technology.memory import Macro
from mlcnn.errors import InputError

__all__ = ["EngineDescription", "engines_of"]


@dataclass(frozen=True, slots=True)
class EngineDescription:
    """Sub-arrays, a buffer in front of them and a unit behind.

    Attributes:
        name: what results call it.
        cell: name of the table of its cells.
        clock_mhz: clock of all of it.
        sub_array: rows, columns, and what a row takes.
        arrays: sub-arrays.
        segments: counters of a sub-array, each of a part of its columns.
        counter_latency: cycles from sensed rows to an accumulated sum.
        bus_bits: a cycle from the buffer to the sub-arrays; one row can go to many of them.
        input_adders: of box sums, in front of the buffer.
        output_lanes: sums a cycle that are merged, biased and rounded.
        output_latency: cycles of that.
        buffer_bytes: for inputs and weights.
        buffer_banks: of the buffer.
        buffer_width_bits: of a bank's port.
        dram_bytes_per_cycle: loads and stores together.
        compares: whether latches of the columns compare rows bit by bit.
    """

    name: str
    cell: str
    clock_mhz: float
    sub_array: SubArray
    arrays: int
    segments: int
    counter_latency: int
    bus_bits: int
    input_adders: int
    output_lanes: int
    output_latency: int
    buffer_bytes: int
    buffer_banks: int
    buffer_width_bits: int
    dram_bytes_per_cycle: float
    compares: bool = False

    def __post_init__(self) -> None:
        width = self.buffer_banks * self.buffer_width_bits
        if self.bus_bits > width:
            raise InputError(
                f"accelerator {self.name}: bus bits is {self.bus_bits} and the banks of the buffer "
                f"deliver {width} a cycle: narrow the bus, or give more banks or wider ones"
            )

    @property
    def buffer_bits(self) -> int:
        """For inputs and weights."""
        return self.buffer_bytes * 8

    @property
    def rows(self) -> int:
        """Of a sub-array."""
        return self.sub_array.rows

    @property
    def columns(self) -> int:
        """Of a sub-array."""
        return self.sub_array.columns

    @property
    def sense_cycles(self) -> int:
        """Of two rows that are sensed together."""
        return math.ceil(self.sub_array.read_ns * self.clock_mhz / 1e3)

    @property
    def write_cycles(self) -> int:
        """Of a row."""
        return math.ceil(self.sub_array.write_ns * self.clock_mhz / 1e3)

    @property
    def latency(self) -> int:
        """Cycles from the last rows to the last output."""
        return self.counter_latency + self.output_latency

    def bank(self, technology: Technology) -> Macro:
        """A bank of the buffer.

        Raises:
            InputError: it is outside the table.
        """
        size = self.buffer_bytes / self.buffer_banks
        return technology.memory.small(size, self.buffer_width_bits, technology.register)


def engines_of(machines: Sequence[EngineDescription]) -> Engines:
    """The numbers of several machines that set cycles."""
    rows = [
        (
            one.arrays, one.rows, one.columns, one.segments, one.sense_cycles, one.write_cycles,
            one.bus_bits, one.output_lanes, one.buffer_bits, one.dram_bytes_per_cycle * 8,
            one.latency,
        )
        for one in machines
    ]  # fmt: skip
    return Engines(*(np.array(column, float)[:, None] for column in zip(*rows, strict=True)))
