"""Engines of memory sub-arrays from their YAML files."""

from pathlib import Path

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from mlcnn.accelerators.border import Description, Document
from mlcnn.accelerators.in_memory.cells import load_cells
from mlcnn.accelerators.in_memory.machine import InMemoryEngine
from mlcnn.accelerators.loading import load_machine_of
from mlcnn.accelerators.machine import Machine
from mlcnn.errors import InputError

__all__ = ["InMemoryFile", "load_engine"]


class _SubArrays(Document):
    cell: str
    rows: PositiveInt
    columns: PositiveInt
    number: PositiveInt
    segments: PositiveInt
    counter_latency: PositiveInt
    compares: bool = False


class _InputUnit(Document):
    adders: NonNegativeInt = 0


class _OutputUnit(Document):
    lanes: PositiveInt
    latency: PositiveInt


class _Buffer(Document):
    buffer_bytes: PositiveInt = Field(alias="bytes")
    buffer_banks: PositiveInt = Field(alias="banks")
    buffer_width_bits: PositiveInt = Field(alias="width_bits")
    bus_bits: PositiveInt


class _Dram(Document):
    bytes_per_cycle: PositiveFloat


class InMemoryFile(Document):
    """What the file holds; the type ``in-memory`` of the machines."""

    name: str = Field(min_length=1)
    clock_mhz: PositiveFloat
    sub_arrays: _SubArrays
    input_unit: _InputUnit
    output_unit: _OutputUnit
    buffer: _Buffer
    dram: _Dram

    @classmethod
    def from_description(cls, description: Description) -> Machine:
        """The engine that a file describes.

        Raises:
            InputError: the file is wrong, or its table has no such sub-array.
        """
        return description.read(cls)._made(description)

    def _made(self, description: Description) -> InMemoryEngine:
        given = self.sub_arrays
        line = description.line(("sub_arrays", "rows"))
        cells = load_cells(given.cell, description.path.parent)
        try:
            found = cells.sub_array(given.rows, given.columns)
            return InMemoryEngine(
                name=self.name,
                cell=cells.name,
                clock_mhz=self.clock_mhz,
                sub_array=found,
                arrays=given.number,
                segments=given.segments,
                counter_latency=given.counter_latency,
                compares=given.compares,
                input_adders=self.input_unit.adders,
                output_lanes=self.output_unit.lanes,
                output_latency=self.output_unit.latency,
                dram_bytes_per_cycle=self.dram.bytes_per_cycle,
                **self.buffer.model_dump(),
            )
        except InputError as error:
            raise InputError(f"{description.where}:{line}: {error}") from error


def load_engine(name: str | Path) -> InMemoryEngine:
    """An engine by name, or from a ``.yaml`` file; see ``mlcnn.accelerators.load_accelerator``.

    Raises:
        InputError: it is another type of machine.
    """
    return load_machine_of(InMemoryEngine, name, "one of the type in-memory")
