"""Templates of loop nests: memory hierarchies with sizes left open."""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat

from mlcnn.accelerators.border import Description, Document
from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.exploration.parameter import Range, Values, ranges_of
from mlcnn.codesign.exploration.template import Template, whole
from mlcnn.codesign.files import load_architecture, read_design
from mlcnn.codesign.timeloop.expression import evaluate
from mlcnn.codesign.writing import architecture_document
from mlcnn.errors import InputError, did_you_mean

__all__ = ["LoopNestTemplate", "LoopNestTemplateFile"]

_RATES = ("read_bandwidth", "write_bandwidth", "shared_bandwidth")
_FAN_OUT = "fan_out"
_Expression = str | float


class _Level(Document):
    capacity: _Expression | dict[str, _Expression] | None = None
    block_words: _Expression | None = None
    read_bandwidth: _Expression | None = None
    write_bandwidth: _Expression | None = None
    shared_bandwidth: _Expression | None = None
    fan_out: _Expression | None = None


class LoopNestTemplateFile(Document):
    """What the file holds."""

    architecture: str = Field(min_length=1)
    spaces: dict[str, dict[str, Range]] = Field(min_length=1)
    default: dict[str, PositiveFloat]
    levels: dict[str, _Level] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class LoopNestTemplate(Template):
    """A memory hierarchy with sizes left open.

    Attributes:
        architecture: the machine whose levels change.
        levels: for each level that changes, expressions by field.
    """

    architecture: Architecture
    levels: Mapping[str, Mapping[str, Any]]

    @classmethod
    def of(cls, description: Description) -> "LoopNestTemplate":
        """The template of a file.

        Raises:
            InputError: the file is wrong.
        """
        file = description.read(LoopNestTemplateFile)
        architecture = load_architecture(file.architecture)
        _check(description, file, architecture)
        spaces = ranges_of(description, file.spaces, file.default)
        levels = {name: one.model_dump(exclude_none=True) for name, one in file.levels.items()}
        content = json.dumps([repr(architecture), levels], sort_keys=True)
        digest = hashlib.sha256(content.encode()).hexdigest()[:16]
        name = description.path.stem
        template = cls(name, spaces, dict(file.default), digest, architecture, levels)
        template.make(template.default)  # so that a wrong expression is told at once
        return template

    @property
    def clock_mhz(self) -> float:
        """See ``Template``."""
        return self.architecture.clock_mhz

    @property
    def no_area(self) -> str:
        """See ``Template``."""
        if self.architecture.area is not None:
            return ""
        return f"its architecture {self.architecture.name} has no area_um2"

    def area_um2(self, machine: Architecture) -> float | None:
        """See ``Template``."""
        return machine.area_um2

    def read(self, path: Path) -> tuple[tuple[str, Values] | None, Architecture]:
        """See ``Template``."""
        return read_design(path), load_architecture(path)

    def document(self, machine: Architecture) -> dict[str, Any]:
        """See ``Template``."""
        return architecture_document(machine)

    def make(self, values: Values) -> Architecture:
        """See ``Template``."""
        changes: dict[str, dict[str, object]] = {}
        for level in self.architecture.levels:
            if level.name in self.levels:
                fields = self.levels[level.name].items()
                changes[level.name] = {
                    field: self._field(level, field, text, values) for field, text in fields
                }
        return self.architecture.with_levels(changes)

    def _field(self, level: Level, field: str, given: Any, values: Values) -> object:
        if isinstance(given, Mapping):
            return {
                Operand(operand): self._whole(level, field, text, values)
                for operand, text in given.items()
            }
        if field in _RATES:
            return float(evaluate(str(given), _numbers(values)))
        size = self._whole(level, field, given, values)
        return replace(level.fan_out, size=size) if field == _FAN_OUT else size

    def _whole(self, level: Level, field: str, given: Any, values: Values) -> int:
        return whole(self.name, f"{field} of level {level.name}", str(given), values)


def _numbers(values: Values) -> dict[str, float]:
    return {name: value for name, value in values.items() if not isinstance(value, str)}


def _check(
    description: Description, file: LoopNestTemplateFile, architecture: Architecture
) -> None:
    """Look for levels that the architecture has not.

    Raises:
        InputError: there is one.
    """
    names = [level.name for level in architecture.levels]
    for level in file.levels:
        if level not in names:
            raise InputError(
                f"{description.where}:{description.line(('levels', level))}: architecture "
                f"{architecture.name} has no level {level!r}{did_you_mean(level, names)}; its "
                f"levels: {', '.join(names)}"
            )
