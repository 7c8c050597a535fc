"""Templates: machines whose sizes follow from a few numbers, and the designs that these span.

A template is a YAML file: an architecture, ranges with steps for some numbers, and the sizes of its
levels as expressions of them.
"""

import hashlib
import importlib.resources
import itertools
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveFloat

from mlcnn.accelerators.border import Description, Document, is_file, read_description, unknown
from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.files import load_architecture
from mlcnn.codesign.timeloop.expression import evaluate
from mlcnn.errors import InputError, did_you_mean

__all__ = ["Design", "Parameter", "Space", "Template", "load_template", "template_names"]

Design = tuple[int, ...]
"""For each parameter of a space the number of its value."""

_WHAT = "template"
_ROUNDING = 1e-9
_MOST_STEPS = 10_000
_RATES = ("read_bandwidth", "write_bandwidth", "shared_bandwidth")
_FAN_OUT = "fan_out"
_Expression = str | float


class _Range(Document):
    first: PositiveFloat = Field(alias="from")
    last: PositiveFloat = Field(alias="to")
    times: PositiveFloat | None = None
    plus: PositiveFloat | None = None

    def values(self, where: str) -> tuple[float, ...]:
        if self.first > self.last:
            raise InputError(
                f"{where}: from {self.first:g} to {self.last:g} is an empty range; from must not "
                "be above to"
            )
        if (self.times is None) == (self.plus is None) or (self.times or 2.0) <= 1.0:
            raise InputError(
                f"{where}: a range needs either times, above 1, or plus: what leads from one value "
                "to the next"
            )
        values = [self.first]
        while len(values) < _MOST_STEPS:
            number = len(values)
            following = (
                self.first * self.times**number
                if self.times is not None
                else self.first + (self.plus or 0.0) * number
            )
            if following > self.last * (1 + _ROUNDING):
                return tuple(values)
            values.append(following)
        raise InputError(f"{where}: it has over {_MOST_STEPS} values; make the step larger")


class _Level(Document):
    capacity: _Expression | dict[str, _Expression] | None = None
    block_words: _Expression | None = None
    read_bandwidth: _Expression | None = None
    write_bandwidth: _Expression | None = None
    shared_bandwidth: _Expression | None = None
    fan_out: _Expression | None = None


class _File(Document):
    architecture: str = Field(min_length=1)
    spaces: dict[str, dict[str, _Range]] = Field(min_length=1)
    default: dict[str, PositiveFloat]
    levels: dict[str, _Level] = Field(min_length=1)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a template leaves open.

    Attributes:
        name: of it.
        values: that it may have, ascending.
    """

    name: str
    values: tuple[float, ...]

    def nearest(self, value: float) -> int:
        """Number of the value that is nearest, by ratio."""
        distances = [abs(math.log(value / one)) for one in self.values]
        return distances.index(min(distances))

    def within(self, text: str) -> "Parameter":
        """The same with some of the values.

        Args:
            text: ``8``, ``8..64`` or ``8,16,64``.

        Raises:
            InputError: it is none of these, or leaves no value.
        """
        given = f"--range {self.name}={text}"
        try:
            if ".." in text:
                low, high = (float(part) for part in text.split(".."))
                if low > high:
                    raise InputError(f"{given}: an empty range; give the lower end first")
                values = tuple(one for one in self.values if low <= one <= high)
            else:
                wanted = [float(part) for part in text.split(",")]
                values = tuple(
                    one for one in self.values if any(math.isclose(one, w) for w in wanted)
                )
                if len(values) < len(set(wanted)):
                    values = ()
        except ValueError:
            raise InputError(
                f"{given}: a number, a range as 8..64, or numbers with commas between are required"
            ) from None
        if not values:
            raise InputError(f"{given}: the template's steps are {self.told()}, and that is others")
        return Parameter(self.name, values)

    def told(self) -> str:
        """The values in words."""
        shown = [f"{one:.6g}" for one in self.values]
        if len(shown) > 12:
            shown = [*shown[:3], "...", shown[-1]]
        return ", ".join(shown)


@dataclass(frozen=True, slots=True)
class Template:
    """A machine with numbers left open.

    Attributes:
        name: of it.
        architecture: the machine whose levels change.
        spaces: parameters, by the name of the space; the first is the usual one.
        default: values of the machine as it is.
        levels: for each level that changes, expressions by field.
        digest: of all that makes a design.
    """

    name: str
    architecture: Architecture
    spaces: Mapping[str, tuple[Parameter, ...]]
    default: Mapping[str, float]
    levels: Mapping[str, Mapping[str, Any]]
    digest: str

    def space(self, name: str | None = None, ranges: Sequence[str] = ()) -> "Space":
        """The designs of one space.

        Args:
            name: of the space; the first by default.
            ranges: parts of it, as ``pe=8..64``.

        Raises:
            InputError: there is no such space or parameter, or a range leaves nothing.
        """
        chosen = next(iter(self.spaces)) if name is None else name
        if chosen not in self.spaces:
            hint = did_you_mean(chosen, self.spaces)
            known = ", ".join(self.spaces)
            raise InputError(
                f"template {self.name} has no space {chosen!r}{hint}; its spaces: {known}"
            )
        parameters = {one.name: one for one in self.spaces[chosen]}
        for text in ranges:
            key, equals, values = text.partition("=")
            if not equals or key not in parameters:
                hint = did_you_mean(key, parameters)
                raise InputError(
                    f"--range {text}: a parameter of template {self.name} and its values are "
                    f"required, as {next(iter(parameters))}=8..64{hint}; its parameters: "
                    f"{', '.join(parameters)}"
                )
            parameters[key] = parameters[key].within(values)
        return Space(self, chosen, tuple(parameters.values()))

    def make(self, values: Mapping[str, float]) -> Architecture:
        """The machine of some values.

        Raises:
            InputError: a size would be below 1.
        """
        changes: dict[str, dict[str, object]] = {}
        for level in self.architecture.levels:
            if level.name in self.levels:
                fields = self.levels[level.name].items()
                changes[level.name] = {
                    field: self._field(level, field, text, values) for field, text in fields
                }
        return self.architecture.with_levels(changes)

    def _field(self, level: Level, field: str, given: Any, values: Mapping[str, float]) -> object:
        if isinstance(given, Mapping):
            return {
                Operand(operand): self._whole(level, field, text, values)
                for operand, text in given.items()
            }
        if field in _RATES:
            return float(evaluate(str(given), values))
        size = self._whole(level, field, given, values)
        return replace(level.fan_out, size=size) if field == _FAN_OUT else size

    def _whole(self, level: Level, field: str, given: Any, values: Mapping[str, float]) -> int:
        found = math.floor(evaluate(str(given), values) * (1 + _ROUNDING))
        if found < 1:
            told = ", ".join(f"{name}={value:g}" for name, value in values.items())
            raise InputError(
                f"template {self.name} with {told}: {field} of level {level.name}, {given}, is "
                f"{found}; it must be 1 or more"
            )
        return found


@dataclass(frozen=True, slots=True)
class Space:
    """The designs of a template.

    Attributes:
        template: it.
        name: of the space.
        parameters: with the values that they may have.
    """

    template: Template
    name: str
    parameters: tuple[Parameter, ...]

    def __len__(self) -> int:
        return math.prod(len(one.values) for one in self.parameters)

    def __iter__(self) -> Iterator[Design]:
        return itertools.product(*(range(len(one.values)) for one in self.parameters))

    def values(self, design: Design) -> dict[str, float]:
        """Its numbers by the parameters' names."""
        pairs = zip(self.parameters, design, strict=True)
        return {one.name: one.values[number] for one, number in pairs}

    def told(self, design: Design) -> str:
        """Its numbers in words."""
        return " ".join(f"{name}={value:.6g}" for name, value in self.values(design).items())

    def nearest(self, values: Mapping[str, float]) -> Design:
        """The design whose numbers are nearest."""
        return tuple(one.nearest(values[one.name]) for one in self.parameters)

    def architecture(self, design: Design) -> Architecture:
        """The machine.

        Raises:
            InputError: a size would be below 1.
        """
        return self.template.make(self.values(design))

    def neighbours(self, design: Design) -> Iterator[Design]:
        """The designs that are at most a step away in every direction."""
        for steps in itertools.product((-1, 0, 1), repeat=len(design)):
            found = tuple(number + step for number, step in zip(design, steps, strict=True))
            pairs = zip(found, self.parameters, strict=True)
            if any(steps) and all(0 <= number < len(one.values) for number, one in pairs):
                yield found


def _folder() -> Path:
    return Path(str(importlib.resources.files("mlcnn.codesign") / "spaces"))


@lru_cache
def template_names() -> tuple[str, ...]:
    """The templates that come with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def load_template(name: str | Path) -> Template:
    """A template by name, or from a ``.yaml`` file of the user's.

    Raises:
        InputError: the name is not known or the file is wrong.

    Example:
        >>> space = load_template("gemmini").space()
        >>> len(space), [one.name for one in space.parameters]
        (1008, ['pe', 'scratchpad_kb', 'accumulator_kb'])
    """
    if is_file(name):
        return _read(Path(name))
    if name not in template_names():
        raise unknown(_WHAT, name, template_names())
    return _built_in(str(name))


@lru_cache
def _built_in(name: str) -> Template:
    return _read(_folder() / f"{name}.yaml")


def _read(path: Path) -> Template:
    description = read_description(path, _WHAT, tuple(_File.model_fields))
    file = description.read(_File)
    architecture = load_architecture(file.architecture)
    _check(description, file, architecture)
    spaces = {
        name: tuple(
            Parameter(key, one.values(f"{description.where}:{_line(description, name, key)}"))
            for key, one in ranges.items()
        )
        for name, ranges in file.spaces.items()
    }
    levels = {name: one.model_dump(exclude_none=True) for name, one in file.levels.items()}
    content = json.dumps([repr(architecture), levels], sort_keys=True)
    digest = hashlib.sha256(content.encode()).hexdigest()[:16]
    template = Template(path.stem, architecture, spaces, file.default, levels, digest)
    template.make(file.default)  # so that a wrong expression is told at once
    return template


def _line(description: Description, *keys: str) -> int:
    return description.line(("spaces", *keys))


def _check(description: Description, file: _File, architecture: Architecture) -> None:
    """Look for names that nothing has.

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
    for space, ranges in file.spaces.items():
        if set(ranges) != set(file.default):
            odd = sorted(set(ranges) ^ set(file.default))[0]
            where = f"{description.where}:{_line(description, space)}"
            raise InputError(
                f"{where}: space {space} and default must name the same parameters, and {odd} "
                "stands in one of them alone"
            )
