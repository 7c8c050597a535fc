"""Numbers that a template leaves open, and choices among names."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pydantic import Field, PositiveFloat

from mlcnn.accelerators.border import Description, Document
from mlcnn.errors import InputError, did_you_mean

__all__ = ["Parameter", "Range", "Values", "ranges_of", "value_text"]

Values = Mapping[str, float | str]
"""Values of a design by the parameters' names."""

_ROUNDING = 1e-9
_MOST_STEPS = 10_000


class Range(Document):
    """Values of a parameter as a file has them."""

    first: PositiveFloat = Field(alias="from")
    last: PositiveFloat = Field(alias="to")
    times: PositiveFloat | None = None
    plus: PositiveFloat | None = None

    def values(self, where: str) -> tuple[float, ...]:
        """The values.

        Args:
            where: it stands, for messages.

        Raises:
            InputError: there are none, or too many, or no step.
        """
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


@dataclass(frozen=True, slots=True)
class Parameter:
    """A number that a template leaves open, or a choice among names.

    Attributes:
        name: of it.
        values: that it may have, ascending.
        names: of the values, where they are a choice: each is a doubling of the one before.
    """

    name: str
    values: tuple[float, ...]
    names: tuple[str, ...] = ()

    @classmethod
    def choice(cls, name: str, names: Sequence[str]) -> "Parameter":
        """A choice among names."""
        return cls(name, tuple(2.0**number for number in range(len(names))), tuple(names))

    @property
    def shown(self) -> tuple[float | str, ...]:
        """The values, by name where they have one."""
        return self.names or self.values

    def number_of(self, value: float | str) -> float:
        """The number of a value.

        Raises:
            InputError: it is no name of this choice.
        """
        if not self.names and not isinstance(value, str):
            return value
        if value not in self.names:
            hint = did_you_mean(str(value), self.names)
            raise InputError(f"{self.name} is {value!r}{hint}; known: {', '.join(self.names)}")
        return self.values[self.names.index(str(value))]

    def nearest(self, value: float | str) -> int:
        """Number of the value that is nearest, by ratio."""
        number = self.number_of(value)
        distances = [abs(math.log(number / one)) for one in self.values]
        return distances.index(min(distances))

    def within(self, text: str) -> "Parameter":
        """The same with some of the values.

        Args:
            text: ``8``, ``8..64`` or ``8,16,64``; of a choice names with commas between.

        Raises:
            InputError: it is none of these, or leaves no value.
        """
        given = f"--range {self.name}={text}"
        if self.names:
            return self._named(given, [part.strip() for part in text.split(",")])
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

    def _named(self, given: str, wanted: Sequence[str]) -> "Parameter":
        for name in wanted:
            if name not in self.names:
                hint = did_you_mean(name, self.names)
                raise InputError(
                    f"{given}: unknown {self.name} {name!r}{hint}; known: {', '.join(self.names)}"
                )
        stay = [number for number, name in enumerate(self.names) if name in wanted]
        values = tuple(self.values[number] for number in stay)
        return Parameter(self.name, values, tuple(self.names[number] for number in stay))

    def told(self) -> str:
        """The values in words."""
        shown = [value_text(one) for one in self.shown]
        if len(shown) > 12:
            shown = [*shown[:3], "...", shown[-1]]
        return ", ".join(shown)


def value_text(value: float | str) -> str:
    """A value in words."""
    return value if isinstance(value, str) else f"{value:.6g}"


def ranges_of(
    description: Description, spaces: Mapping[str, Mapping[str, Range]], default: Values
) -> dict[str, tuple[Parameter, ...]]:
    """The parameters of the spaces of a file.

    Args:
        description: the file.
        spaces: as it has them.
        default: has a value for each parameter.

    Raises:
        InputError: a space has other parameters than the default, or a range is empty.
    """

    def where(*keys: str) -> str:
        return f"{description.where}:{description.line(('spaces', *keys))}"

    for space, ranges in spaces.items():
        if set(ranges) != set(default):
            odd = sorted(set(ranges) ^ set(default))[0]
            raise InputError(
                f"{where(space)}: space {space} and default must name the same parameters, and "
                f"{odd} stands in one of them alone"
            )
    return {
        name: tuple(Parameter(key, one.values(where(name, key))) for key, one in ranges.items())
        for name, ranges in spaces.items()
    }
