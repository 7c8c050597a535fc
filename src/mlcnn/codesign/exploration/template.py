"""Templates: machines whose sizes follow from a few numbers, and the designs that these span.

A template is a YAML file: which machine it starts from, ranges with steps for some numbers, and
sizes as expressions of them. There are two kinds: ``loop_nests`` and ``arrays``.
"""

import itertools
import math
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mlcnn.codesign.exploration.parameter import Parameter, Values, value_text
from mlcnn.codesign.timeloop.expression import evaluate
from mlcnn.errors import InputError, did_you_mean

__all__ = ["Design", "Space", "Template", "whole"]

Design = tuple[int, ...]
"""For each parameter of a space the number of its value."""

_ROUNDING = 1e-9


@dataclass(frozen=True, slots=True)
class Template(ABC):
    """A machine with numbers left open.

    Attributes:
        name: of it.
        spaces: parameters, by the name of the space; the first is the usual one.
        default: values of the machine as it is.
        digest: of all that makes a design.
    """

    name: str
    spaces: Mapping[str, tuple[Parameter, ...]]
    default: Values
    digest: str

    @property
    @abstractmethod
    def clock_mhz(self) -> float:
        """Of all its machines."""

    @property
    @abstractmethod
    def no_area(self) -> str:
        """Why the area of its machines is not known; empty where it is."""

    @abstractmethod
    def make(self, values: Values) -> Any:
        """The machine of some values.

        Raises:
            InputError: a size would be below 1.
        """

    @abstractmethod
    def area_um2(self, machine: Any) -> float | None:
        """Area of one of its machines; None where it is not known."""

    @abstractmethod
    def read(self, path: Path) -> tuple[tuple[str, Values] | None, Any]:
        """The template's name and the values that a design's file states, and its machine.

        Raises:
            InputError: the file is wrong, or of another kind of machine.
        """

    @abstractmethod
    def document(self, machine: Any) -> dict[str, Any]:
        """The keys and values of the file of one of its machines."""

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

    def hardware(self, design: Design) -> dict[str, float | str]:
        """The same, with the names of choices."""
        pairs = zip(self.parameters, design, strict=True)
        return {one.name: one.shown[number] for one, number in pairs}

    def told(self, design: Design) -> str:
        """Its values in words."""
        return " ".join(
            f"{name}={value_text(value)}" for name, value in self.hardware(design).items()
        )

    def numbers(self, values: Values) -> dict[str, float]:
        """Values as numbers, those of choices too.

        Raises:
            InputError: one is no name of its choice.
        """
        return {one.name: one.number_of(values[one.name]) for one in self.parameters}

    def nearest(self, values: Values) -> Design:
        """The design whose values are nearest."""
        return tuple(one.nearest(values[one.name]) for one in self.parameters)

    def architecture(self, design: Design) -> Any:
        """The machine.

        Raises:
            InputError: a size would be below 1.
        """
        return self.template.make(self.hardware(design))

    def neighbours(self, design: Design) -> Iterator[Design]:
        """The designs that are at most a step away in every direction."""
        for steps in itertools.product((-1, 0, 1), repeat=len(design)):
            found = tuple(number + step for number, step in zip(design, steps, strict=True))
            pairs = zip(found, self.parameters, strict=True)
            if any(steps) and all(0 <= number < len(one.values) for number, one in pairs):
                yield found


def whole(template: str, what: str, given: str, values: Values) -> int:
    """A size, rounded down.

    Args:
        template: its name.
        what: the size.
        given: its expression.
        values: of the parameters.

    Raises:
        InputError: it is below 1, or no expression of the parameters.
    """
    numbers = {name: value for name, value in values.items() if not isinstance(value, str)}
    exact = evaluate(given, numbers)
    found = math.floor(exact + abs(exact) * _ROUNDING)
    if found < 1:
        words = ", ".join(f"{name}={value_text(value)}" for name, value in values.items())
        raise InputError(
            f"template {template} with {words}: {what}, {given}, is {found}; it must be 1 or more"
        )
    return found
