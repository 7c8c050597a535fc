"""Templates of arrays: the accelerators of ``mlcnn.accelerators.array`` with sizes left open.

A file names an accelerator for each precision, which is a parameter then; all that no expression
sets is as the accelerator of that precision has it.
"""

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat

from mlcnn.accelerators import DEFAULT_TECHNOLOGY, Narrow, Technology, load_technology
from mlcnn.accelerators.array import Array, array_document, load_array, read_array_design
from mlcnn.accelerators.border import Description, Document
from mlcnn.codesign.exploration.parameter import (
    Parameter,
    Range,
    Values,
    ranges_of,
    value_text,
)
from mlcnn.codesign.exploration.template import Template, whole
from mlcnn.errors import InputError, did_you_mean

__all__ = ["PRECISION", "ArrayTemplate", "ArrayTemplateFile"]

PRECISION = "precision"
"""The parameter that says from which accelerator a design starts."""

_Expression = str | float


class _Sizes(Document):
    slices: _Expression | None = None
    multipliers: _Expression | None = None
    most_ways: _Expression | None = None
    accumulator_entries: _Expression | None = None
    input_adders: _Expression | None = None
    input_scalers: _Expression | None = None
    input_bytes: _Expression | None = None
    input_banks: _Expression | None = None
    weight_bytes: _Expression | None = None
    row_buffer_bytes: _Expression | None = None
    beat_bytes: _Expression | None = None
    dram_bytes_per_cycle: _Expression | None = None
    dram_latency: _Expression | None = None
    write_latency: _Expression | None = None


class ArrayTemplateFile(Document):
    """What the file holds."""

    accelerators: dict[str, str] = Field(min_length=1)
    spaces: dict[str, dict[str, Range]] = Field(min_length=1)
    default: dict[str, PositiveFloat | str]
    sizes: _Sizes


@dataclass(frozen=True, slots=True)
class ArrayTemplate(Template):
    """An array with sizes left open.

    Attributes:
        bases: the accelerator that a design starts from, by its precision.
        sizes: an expression for each field that changes.
        technology: tables of energy and area.
    """

    bases: Mapping[str, Array]
    sizes: Mapping[str, str]
    technology: Technology

    @classmethod
    def of(cls, description: Description) -> "ArrayTemplate":
        """The template of a file.

        Raises:
            InputError: the file is wrong.
        """
        file = description.read(ArrayTemplateFile)
        bases = {name: load_array(one) for name, one in file.accelerators.items()}
        _check_bases(description, bases)
        default = dict(file.default)
        given = default.pop(PRECISION, next(iter(bases)))
        if given not in bases:
            line = description.line(("default", PRECISION))
            raise InputError(
                f"{description.where}:{line}: {PRECISION} is {given!r}"
                f"{did_you_mean(str(given), bases)}; the file has accelerators for "
                f"{', '.join(bases)}"
            )
        precision = Parameter.choice(PRECISION, tuple(bases))
        spaces = {
            name: (precision, *parameters)
            for name, parameters in ranges_of(description, file.spaces, default).items()
        }
        sizes = {name: str(one) for name, one in file.sizes.model_dump(exclude_none=True).items()}
        content = repr((bases, sorted(sizes.items()), DEFAULT_TECHNOLOGY))
        template = cls(
            description.path.stem, spaces, {PRECISION: given, **default},
            hashlib.sha256(content.encode()).hexdigest()[:16], bases, sizes,
            load_technology(DEFAULT_TECHNOLOGY),
        )  # fmt: skip
        template.make(template.default)  # so that a wrong expression is told at once
        return template

    @property
    def clock_mhz(self) -> float:
        """See ``Template``."""
        return next(iter(self.bases.values())).clock_mhz

    @property
    def no_area(self) -> str:
        """See ``Template``: the tables have all of it."""
        return ""

    def make(self, values: Values) -> Array:
        """See ``Template``."""
        given = values[PRECISION]
        if given not in self.bases:
            hint = did_you_mean(str(given), self.bases)
            raise InputError(
                f"template {self.name}: {PRECISION} is {given!r}{hint}; known: "
                f"{', '.join(self.bases)}"
            )
        changes = {
            field: whole(self.name, field, text, values) for field, text in self.sizes.items()
        }
        name = "-".join([self.name, *(value_text(value) for value in values.values())])
        return replace(self.bases[str(given)], name=name, **changes)

    def area_um2(self, machine: Array) -> float | None:
        """See ``Template``."""
        return machine.area(self.technology)

    def read(self, path: Path) -> tuple[tuple[str, Values] | None, Array]:
        """See ``Template``."""
        return read_array_design(path), load_array(path)

    def document(self, machine: Array) -> dict[str, Any]:
        """See ``Template``."""
        return array_document(machine)


def _check_bases(description: Description, bases: Mapping[str, Array]) -> None:
    """Look at what accelerators of one template have to have in common.

    Raises:
        InputError: they have not.
    """
    first = next(iter(bases.values()))
    for name, machine in bases.items():
        where = f"{description.where}:{description.line(('accelerators', name))}"
        if machine.precision != name:
            raise InputError(
                f"{where}: accelerator {machine.name} has the precision {machine.precision}, not "
                f"{name}: name each by its own"
            )
        if machine.narrow is not Narrow.NONE:
            raise InputError(
                f"{where}: accelerator {machine.name} has narrow: {machine.narrow}, and designs "
                "are bounded without it; give one with narrow: none"
            )
        if (machine.kind, machine.clock_mhz) != (first.kind, first.clock_mhz):
            raise InputError(
                f"{where}: accelerator {machine.name} is {machine.kind} at {machine.clock_mhz:g} "
                f"MHz and {first.name} is {first.kind} at {first.clock_mhz:g} MHz: all of one "
                "template must have the same kind and clock"
            )
