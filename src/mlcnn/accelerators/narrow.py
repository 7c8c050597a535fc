"""What a machine makes of layers whose numbers have fewer bits than its own."""

from collections.abc import Iterable
from enum import StrEnum

from mlcnn.accelerators.machine import Machine, precision_of
from mlcnn.workload import Layer

__all__ = ["Narrow", "scaling_told"]

_SOURCE = (
    "law of CNNergy (Manasi, Snigdha, Sapatnekar, 2020): 8 bits cost half the additions and "
    "memory and a quarter of the multiplications of 16"
)


class Narrow(StrEnum):
    """What fewer bits save; cycles stay, since a number takes a lane and a multiplier either way.

    ``NONE``: nothing. ``PACKED``: memories and traffic of operands, by their bits; multipliers,
    adders and sums are as wide as ever. ``SCALED``: multiplications too, by the product of the bits
    of weight and input, and additions and sums by their mean. What makes multipliers scale takes
    area that is not counted.
    """

    NONE = "none"
    PACKED = "packed"
    SCALED = "scaled"

    @property
    def told(self) -> str:
        """The scaling and where it is from; empty where there is none."""
        return _TOLD[self]


_TOLD = {
    Narrow.NONE: "",
    Narrow.PACKED: "words in memory and on the way there by their bits; multipliers, adders and "
    "sums of full width",
    Narrow.SCALED: "multiplications by bits of weight times bits of input, additions and sums by "
    f"their mean, words in memory and on the way there by their bits; {_SOURCE}",
}


def scaling_told(machine: Machine, layers: Iterable[Layer]) -> tuple[str, ...]:
    """How a machine is charged for layers of fewer bits than its own, and where that is from.

    Args:
        machine: any; one without a ``narrow`` saves nothing.
        layers: that run on it.

    Returns:
        A sentence; nothing where no layer has fewer bits.
    """
    precision = precision_of(machine)
    few = [
        layer
        for layer in layers
        if precision and min(layer.numbers.weight, layer.numbers.input) < precision.bits
    ]
    narrow = getattr(machine, "narrow", Narrow.NONE)
    if not few or not precision or not precision.is_integer or not isinstance(narrow, Narrow):
        return ()
    told = narrow.told or "nothing is saved by that"
    return (f"{machine.name}: {len(few)} layers have fewer than {precision.bits} bits; {told}",)
