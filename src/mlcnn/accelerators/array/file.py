"""Arrays from their YAML files."""

from abc import ABC, abstractmethod
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from mlcnn.accelerators.array.machine import Array, DenseArray
from mlcnn.accelerators.array.mlcnn import MlcnnArray
from mlcnn.accelerators.array.winograd import WinogradArray
from mlcnn.accelerators.border import Description, Document, read_description
from mlcnn.accelerators.loading import load_machine_of
from mlcnn.accelerators.machine import Machine
from mlcnn.accelerators.narrow import Narrow
from mlcnn.accelerators.precision import Precision
from mlcnn.errors import InputError

__all__ = ["ArrayFile", "ArrayParts", "array_document", "load_array", "read_array_design"]


class _Array(Document):
    slices: PositiveInt
    multipliers: PositiveInt
    most_ways: PositiveInt = Field(alias="ways")
    accumulator_entries: PositiveInt
    multiplier_latency: PositiveInt
    tree_latency: PositiveInt
    accumulator_latency: PositiveInt


# Names are those of the array's fields; files have the shorter ones.
class _InputUnit(Document):
    input_adders: NonNegativeInt = Field(0, alias="adders")
    input_scalers: NonNegativeInt = Field(0, alias="scalers")
    row_buffer_bytes: NonNegativeInt = 0
    wide_bits: PositiveInt = 8
    input_stages: PositiveInt = Field(alias="stages")
    winograd_tile: Literal[0, 2, 4] = 0


class _OutputUnit(Document):
    output_stages: PositiveInt = Field(alias="stages")


class _InputBuffer(Document):
    input_bytes: PositiveInt = Field(alias="bytes")
    input_banks: PositiveInt = Field(alias="banks")
    input_width_bits: PositiveInt = Field(alias="width_bits")


class _WeightBuffer(Document):
    weight_bytes: PositiveInt = Field(alias="bytes")


class _Dram(Document):
    dram_bytes_per_cycle: PositiveFloat = Field(alias="bytes_per_cycle")
    beat_bytes: PositiveInt = 64
    dram_latency: NonNegativeInt = Field(alias="latency_cycles")
    write_latency: NonNegativeInt = Field(alias="write_latency_cycles")


class _Design(Document):
    template: str = Field(min_length=1)
    values: dict[str, PositiveFloat | str] = Field(min_length=1)


_WHAT = "accelerator"
_PARTS: dict[str, type[Document]] = {
    "array": _Array,
    "input_unit": _InputUnit,
    "output_unit": _OutputUnit,
    "input_buffer": _InputBuffer,
    "weight_buffer": _WeightBuffer,
    "dram": _Dram,
}


# What files had before inputs and weights had a memory of their own, and what says it now.
_OLD = {
    ("buffer",): "input_buffer (bytes, banks, width_bits) and weight_buffer (bytes)",
    ("input_unit", "lanes"): "dram beat_bytes: a beat has as many lanes as words",
    ("output_unit", "lanes"): "dram beat_bytes: a beat has as many lanes as words",
    ("output_unit", "pooling_adders"): "nothing: a pool accumulates in the array",
}


def _refuse_old(description: Description) -> None:
    """Look for keys that have been replaced.

    Raises:
        InputError: the file has some of them.
    """
    found = [place for place in _OLD if place in description.lines]
    if not found:
        return
    said = "; ".join(f"{' '.join(place)} is now {_OLD[place]}" for place in found)
    raise InputError(
        f"{description.where}:{description.line(found[0])}: a file of an array as it was before: "
        f"{said}; array ways, input_unit stages, output_unit stages, dram latency_cycles and "
        "write_latency_cycles are new; a slice takes multipliers channels at one tap: copy a file "
        "of the library, such as mlcnn-fp32.yaml"
    )


class ArrayParts(Document, ABC):
    """What the file of a machine with an array of slices holds, whatever else the machine has."""

    name: str = Field(min_length=1)
    precision: Literal["fp32", "fp16", "int16", "int12", "int8"]
    clock_mhz: PositiveFloat
    array: _Array
    input_unit: _InputUnit
    output_unit: _OutputUnit
    input_buffer: _InputBuffer
    weight_buffer: _WeightBuffer
    dram: _Dram

    @classmethod
    def from_description(cls, description: Description) -> Machine:
        """The machine that a file describes.

        Raises:
            InputError: the file is wrong.
        """
        _refuse_old(description)
        file = description.read(cls)
        try:
            return file.to_domain()
        except InputError as error:
            raise InputError(f"{description.path}: {error}") from error

    @abstractmethod
    def to_domain(self) -> Machine:
        """The machine.

        Raises:
            InputError: two of its numbers do not fit each other.
        """

    def make(self, kind: str) -> Array:
        """The array.

        Args:
            kind: ``dense``, ``mlcnn`` or ``winograd``.

        Raises:
            InputError: two of its numbers do not fit each other.
        """
        numbers: dict[str, Any] = {
            "name": self.name,
            "precision": Precision(self.precision),
            "clock_mhz": self.clock_mhz,
        }
        for part in _PARTS:
            numbers |= getattr(self, part).model_dump()
        if kind == WinogradArray.kind:
            return WinogradArray(**numbers)
        if tile := numbers.pop("winograd_tile"):
            raise InputError(
                f"accelerator {self.name}: winograd_tile is {tile} and kind {kind} takes 0"
            )
        return MlcnnArray(**numbers) if kind == MlcnnArray.kind else DenseArray(**numbers)


class ArrayFile(ArrayParts):
    """What the file holds; the type ``array`` of the machines."""

    kind: Literal["mlcnn", "dense", "winograd"]
    narrow: Literal["none", "packed", "scaled"] = "none"
    mapping_pj_per_cycle: PositiveFloat | None = None
    design: _Design | None = None  # of which template it is, see ``read_array_design``

    def to_domain(self) -> Array:
        """The array; see ``make``."""
        return replace(
            self.make(self.kind),
            narrow=Narrow(self.narrow),
            mapping_pj_per_cycle=self.mapping_pj_per_cycle,
        )


def array_document(array: Array) -> dict[str, Any]:
    """The keys and values of the file of an array."""
    parts = {
        name: {
            field.alias or key: value
            for key, field in part.model_fields.items()
            if (value := getattr(array, key, None)) is not None
        }
        for name, part in _PARTS.items()
    }
    document = {
        "name": array.name,
        "kind": array.kind,
        "precision": array.precision.value,
        "narrow": None if array.narrow is Narrow.NONE else array.narrow.value,
        "mapping_pj_per_cycle": array.mapping_pj_per_cycle,
        "clock_mhz": array.clock_mhz,
        **parts,
    }
    return {key: value for key, value in document.items() if value is not None}


def read_array_design(path: Path) -> tuple[str, dict[str, float | str]] | None:
    """The template that a file's array is of, and its values; None where it says nothing.

    Raises:
        InputError: the file is wrong.
    """
    found = read_description(path, _WHAT, tuple(ArrayFile.model_fields)).read(ArrayFile).design
    return None if found is None else (found.template, dict(found.values))


def load_array(name: str | Path) -> Array:
    """An array by name, or from a ``.yaml`` file; see ``mlcnn.accelerators.load_accelerator``.

    Raises:
        InputError: it is another type of machine.
    """
    needed = "an array: give a file without a type, or one of the type array"
    return load_machine_of(Array, name, needed)
