"""The YAML file of an array."""

from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from mlcnn.accelerators.array.dense import DenseArray
from mlcnn.accelerators.array.machine import Array
from mlcnn.accelerators.array.mlcnn import MlcnnArray
from mlcnn.accelerators.array.winograd import WinogradArray
from mlcnn.accelerators.border import Description, Document
from mlcnn.accelerators.precision import Precision
from mlcnn.errors import InputError

__all__ = ["ArrayFile"]


class _Array(Document):
    slices: PositiveInt
    multipliers: PositiveInt
    accumulator_entries: PositiveInt
    multiplier_latency: PositiveInt
    tree_latency: PositiveInt
    accumulator_latency: PositiveInt


class _InputUnit(Document):
    lanes: PositiveInt
    adders: NonNegativeInt = 0
    scalers: NonNegativeInt = 0
    row_buffer_bytes: NonNegativeInt = 0
    wide_bits: PositiveInt = 8
    winograd_tile: Literal[0, 2, 4] = 0


class _OutputUnit(Document):
    lanes: PositiveInt
    pooling_adders: NonNegativeInt = 0


class _Buffer(Document):
    bytes_: PositiveInt = Field(alias="bytes")
    banks: PositiveInt
    width_bits: PositiveInt
    input_windows: PositiveInt
    weight_words: PositiveInt


class _Dram(Document):
    bytes_per_cycle: PositiveFloat


class ArrayFile(Document):
    """What the file holds; the type ``array`` of the machines."""

    name: str = Field(min_length=1)
    kind: Literal["mlcnn", "dense", "winograd"]
    precision: Literal["fp32", "fp16", "int8"]
    clock_mhz: PositiveFloat
    array: _Array
    input_unit: _InputUnit
    output_unit: _OutputUnit
    buffer: _Buffer
    dram: _Dram

    @classmethod
    def from_description(cls, description: Description) -> Array:
        """The array that a file describes.

        Raises:
            InputError: the file is wrong.
        """
        file = description.read(cls)
        try:
            return file.to_domain()
        except InputError as error:
            raise InputError(f"{description.path}: {error}") from error

    def to_domain(self) -> Array:
        """The array.

        Raises:
            InputError: two of its numbers do not fit each other.
        """
        numbers, tile = self._numbers(), self.input_unit.winograd_tile
        if self.kind == WinogradArray.kind:
            return WinogradArray(**numbers, winograd_tile=tile)
        if tile:
            raise InputError(
                f"accelerator {self.name}: winograd_tile is {tile} and kind {self.kind} takes 0"
            )
        return MlcnnArray(**numbers) if self.kind == MlcnnArray.kind else DenseArray(**numbers)

    def _numbers(self) -> dict[str, Any]:
        """The fields that arrays of all kinds have."""
        return {
            "name": self.name,
            "precision": Precision(self.precision),
            "slices": self.array.slices,
            "multipliers": self.array.multipliers,
            "input_lanes": self.input_unit.lanes,
            "input_adders": self.input_unit.adders,
            "input_scalers": self.input_unit.scalers,
            "output_lanes": self.output_unit.lanes,
            "pooling_adders": self.output_unit.pooling_adders,
            "buffer_bytes": self.buffer.bytes_,
            "buffer_banks": self.buffer.banks,
            "buffer_width_bits": self.buffer.width_bits,
            "row_buffer_bytes": self.input_unit.row_buffer_bytes,
            "accumulator_entries": self.array.accumulator_entries,
            "input_windows": self.buffer.input_windows,
            "weight_words": self.buffer.weight_words,
            "dram_bytes_per_cycle": float(self.dram.bytes_per_cycle),
            "clock_mhz": float(self.clock_mhz),
            "multiplier_latency": self.array.multiplier_latency,
            "tree_latency": self.array.tree_latency,
            "accumulator_latency": self.array.accumulator_latency,
            "wide_bits": self.input_unit.wide_bits,
        }
