"""Accelerators by name, or from a user's YAML file."""

import difflib
import importlib.resources
from functools import lru_cache
from pathlib import Path
from typing import Literal

from pydantic import Field, NonNegativeInt, PositiveFloat, PositiveInt

from mlcnn.accelerators.border import Document, read_yaml
from mlcnn.accelerators.description import Accelerator, Kind, Precision
from mlcnn.errors import InputError

__all__ = ["accelerator_names", "accelerator_text", "equal_precision", "load_accelerator"]


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


class _File(Document):
    name: str = Field(min_length=1)
    kind: Literal["mlcnn", "dense", "winograd"]
    precision: Literal["fp32", "fp16", "int8"]
    clock_mhz: PositiveFloat
    array: _Array
    input_unit: _InputUnit
    output_unit: _OutputUnit
    buffer: _Buffer
    dram: _Dram

    def to_domain(self) -> Accelerator:
        return Accelerator(
            name=self.name,
            kind=Kind(self.kind),
            precision=Precision(self.precision),
            slices=self.array.slices,
            multipliers=self.array.multipliers,
            input_lanes=self.input_unit.lanes,
            input_adders=self.input_unit.adders,
            input_scalers=self.input_unit.scalers,
            output_lanes=self.output_unit.lanes,
            pooling_adders=self.output_unit.pooling_adders,
            winograd_tile=self.input_unit.winograd_tile,
            buffer_bytes=self.buffer.bytes_,
            buffer_banks=self.buffer.banks,
            buffer_width_bits=self.buffer.width_bits,
            row_buffer_bytes=self.input_unit.row_buffer_bytes,
            accumulator_entries=self.array.accumulator_entries,
            input_windows=self.buffer.input_windows,
            weight_words=self.buffer.weight_words,
            dram_bytes_per_cycle=float(self.dram.bytes_per_cycle),
            clock_mhz=float(self.clock_mhz),
            multiplier_latency=self.array.multiplier_latency,
            tree_latency=self.array.tree_latency,
            accumulator_latency=self.array.accumulator_latency,
            wide_bits=self.input_unit.wide_bits,
        )


def _folder() -> Path:
    return Path(str(importlib.resources.files("mlcnn.accelerators") / "library"))


@lru_cache
def accelerator_names() -> tuple[str, ...]:
    """The accelerators that come with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def load_accelerator(name: str | Path) -> Accelerator:
    """An accelerator by name, or from a ``.yaml`` file of the user's.

    Raises:
        InputError: the name is not known or the file is wrong.
    """
    if str(name).endswith((".yaml", ".yml")):
        path = Path(name)
        machine = read_yaml(path, _File, "accelerator")
        try:
            return machine.to_domain()
        except InputError as error:
            raise InputError(f"{path}: {error}") from error
    if name not in accelerator_names():
        near = difflib.get_close_matches(str(name), accelerator_names(), n=1, cutoff=0.4)
        hint = f", did you mean {near[0]!r}?" if near else "."
        raise InputError(
            f"unknown accelerator {str(name)!r}{hint} Known: {', '.join(accelerator_names())}; or "
            "give the path of a .yaml file"
        )
    return _built_in(str(name))


def accelerator_text(name: str) -> str:
    """The file of an accelerator that comes with the package, to copy and edit.

    Raises:
        InputError: the name is not known.
    """
    return (_folder() / f"{load_accelerator(name).name}.yaml").read_text(encoding="utf-8")


@lru_cache
def equal_precision(machine: Accelerator, precision: Precision) -> Accelerator:
    """The built-in machine of another precision that is most like ``machine``.

    Args:
        machine: a machine.
        precision: of the machine wanted.

    Returns:
        The one of the same name but for the precision, else the dense one: all precisions have it.

    Example:
        >>> from mlcnn.accelerators import Precision, load_accelerator
        >>> equal_precision(load_accelerator("dcnn-fp32"), Precision.INT8).name
        'dcnn-int8'
    """
    family = machine.name.removesuffix(f"-{machine.precision.value}")
    name = f"{family}-{precision.value}"
    return load_accelerator(name if name in accelerator_names() else f"dcnn-{precision.value}")


def _built_in(name: str) -> Accelerator:
    return read_yaml(_folder() / f"{name}.yaml", _File, "accelerator").to_domain()
