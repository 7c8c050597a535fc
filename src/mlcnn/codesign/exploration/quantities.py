"""What designs are compared by, and what bounds them."""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from mlcnn.codesign.exploration.evaluation import Evaluation
from mlcnn.errors import InputError, did_you_mean

__all__ = ["Limit", "Quantity", "only_latency", "parse_limit", "parse_objectives", "within"]

_MOST_OBJECTIVES = 3
_TEXT = re.compile(r"\s*([0-9.]+(?:[eE][+-]?\d+)?)\s*([a-zA-Z]\w*)?\s*")
_TIMES = {"s": 1.0, "ms": 1e-3, "us": 1e-6, "ns": 1e-9}


class Quantity(StrEnum):
    """Of a network on a design; the less, the better."""

    LATENCY = "latency"
    ENERGY = "energy"
    POWER = "power"
    AREA = "area"
    EDP = "edp"

    def of(self, found: Evaluation) -> float:
        """Its value in cycles, pJ, W, square micrometres, or pJ x cycles.

        Raises:
            InputError: the area is not known.
        """
        if self is Quantity.AREA:
            if found.area_um2 is None:
                raise InputError("the area is not known")
            return found.area_um2
        values = {
            Quantity.LATENCY: found.latency_cycles,
            Quantity.ENERGY: found.energy_pj,
            Quantity.POWER: found.power_w,
            Quantity.EDP: found.edp,
        }
        return values[self]

    def told(self, value: float, *, up: bool = False) -> str:
        """A value in words.

        Args:
            value: in the unit of ``of``.
            up: rounded up, so that a bound of what is told is met.
        """
        if self is Quantity.LATENCY:
            return f"{math.ceil(value) if up else value:,.0f} cycles"
        scale, unit = _SHOWN[self]
        value *= scale
        if up:
            step = 10.0 ** (math.floor(math.log10(value)) - _DIGITS + 1)
            value = math.ceil(value / step * (1 - 1e-12)) * step
        return f"{value:.{_DIGITS}g} {unit}"


_DIGITS = 5
_SHOWN = {
    Quantity.ENERGY: (1e-6, "uJ"),
    Quantity.POWER: (1.0, "W"),
    Quantity.AREA: (1e-6, "mm2"),
    Quantity.EDP: (1.0, "pJ x cycles"),
}
_UNITS: dict[Quantity, dict[str, float]] = {
    Quantity.LATENCY: {"": 1.0, "cycles": 1.0},
    Quantity.ENERGY: {"pj": 1.0, "": 1.0, "nj": 1e3, "uj": 1e6, "mj": 1e9, "j": 1e12},
    Quantity.POWER: {"w": 1.0, "": 1.0, "mw": 1e-3},
    Quantity.AREA: {"mm2": 1e6, "": 1e6, "um2": 1.0},
    Quantity.EDP: {"": 1.0},
}


@dataclass(frozen=True, slots=True)
class Limit:
    """What a design must not be above.

    Attributes:
        quantity: of it.
        most: in the unit of ``Quantity.of``.
    """

    quantity: Quantity
    most: float

    def __str__(self) -> str:
        return f"{self.quantity} of at most {self.quantity.told(self.most)}"

    @property
    def told(self) -> str:
        """The same with its article."""
        return f"{'an' if self.quantity[0] in 'ae' else 'a'} {self}"

    def met(self, found: Evaluation) -> bool:
        """Whether a design is within it."""
        return self.quantity.of(found) <= self.most


def _quantity(given: str, name: str) -> Quantity:
    names = [str(one) for one in Quantity]
    if name not in names:
        raise InputError(
            f"{given}: unknown quantity {name!r}{did_you_mean(name, names)}; known: "
            f"{', '.join(names)}"
        )
    return Quantity(name)


def parse_objectives(text: str) -> tuple[Quantity, ...]:
    """The quantities in a text like ``latency,power,area``.

    Raises:
        InputError: one is not known or given twice, or there are more than three.
    """
    given = f"--objectives {text}"
    found = tuple(_quantity(given, name.strip()) for name in text.split(","))
    if len(set(found)) < len(found) or len(found) > _MOST_OBJECTIVES:
        raise InputError(f"{given}: one to {_MOST_OBJECTIVES} different ones are required")
    return found


def parse_limit(text: str, clock_mhz: float) -> Limit:
    """The bound in a text like ``power=0.5W``.

    Args:
        text: a quantity, =, a number and a unit: cycles, s, ms or us; pJ to J; mW or W; mm2.
        clock_mhz: of the machine, which makes cycles of seconds.

    Raises:
        InputError: it is no such text.
    """
    given = f"--at-most {text}"
    name, equals, value = text.partition("=")
    if not equals:
        raise InputError(f"{given}: a quantity and its bound are required, as power=0.5W")
    quantity = _quantity(given, name.strip())
    units = dict(_UNITS[quantity])
    if quantity is Quantity.LATENCY:
        units |= {unit: seconds * clock_mhz * 1e6 for unit, seconds in _TIMES.items()}
    found = _TEXT.fullmatch(value)
    unit = "" if found is None else (found[2] or "").lower()
    try:
        number = 0.0 if found is None else float(found[1])
    except ValueError:
        number = 0.0
    if found is None or not number or unit not in units:
        known = " or ".join(one for one in units if one)
        raise InputError(
            f"{given}: a positive number{f' and {known}' if known else ''} is required behind "
            f"{quantity}="
        )
    return Limit(quantity, number * units[unit])


def within(limits: Sequence[Limit], found: Evaluation) -> bool:
    """Whether a design is within all bounds."""
    return all(limit.met(found) for limit in limits)


def only_latency(objectives: Sequence[Quantity], limits: Sequence[Limit]) -> bool:
    """Whether nothing that is asked for depends on the energy."""
    asked = {*objectives, *(limit.quantity for limit in limits)}
    return Quantity.LATENCY in asked and asked <= {Quantity.LATENCY, Quantity.AREA}
