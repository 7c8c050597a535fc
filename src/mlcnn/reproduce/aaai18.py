"""Wang et al., AAAI 2018: the ratios of its abstract, and what its fastest row asks of its device.

The rows are recalled, not re-read (the column ``source`` of each says so). The abstract's ratios
follow from them, which confirms three pairs and no more: they are ratios of different devices'
figures, and nothing of them is measured or fitted here. Ours stand beside them: ``aaai18_engine``.

The bound is on multiplications alone. A figure above it needs multipliers made of logic, or
another network than the one assumed; one below it may still be out of reach for other reasons.
"""

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from mlcnn.reproduce.aaai18_engine import beside_published
from mlcnn.reproduce.circulant_counts import FEWEST, OURS, PRODUCTS, Transform
from mlcnn.reproduce.reproduction import (
    Beside,
    Cell,
    Number,
    Reproduction,
    Tell,
    compared,
    number,
    published_rows,
)

__all__ = ["fewest_multiplications", "reproduce_aaai18"]

_BLOCKS = tuple(1 << power for power in range(1, 8))
_CONDITIONS = (
    "ratios of published figures of different devices, at different precisions and accuracies, "
    "and none of them measured here"
)
_SHOWN = ("design", "data", "bits", "accuracy", "kfps", "kfps_per_watt")
_Published = Mapping[str, str]


def reproduce_aaai18(what: str, _: Tell) -> Reproduction:
    """Reproduce ``aaai18``."""
    designs = _designs()
    published = published_rows(what)
    rows = tuple(compared(row, _QUANTITIES[row["quantity"]](row, designs)) for row in published)
    claims = [row for row in published if row["quantity"] == "allowed"]
    beside = _table(tuple(designs.values())), *beside_published(), _claims(claims)
    return Reproduction(what, rows, _CONDITIONS, beside)


def fewest_multiplications(widths: Iterable[int], transform: Transform) -> int:
    """Real multiplications of dense layers for one input, each in the form that takes the fewest.

    The forms are dense and blocks of 2, 4, ... 128, so that the unknown block sizes of a
    publication do not matter.

    Args:
        widths: values that each layer reads, and those that the last one returns.
        transform: how blocks are multiplied.
    """
    return sum(
        min(
            inputs * outputs,
            *(transform.multiplications(outputs, inputs, block) for block in _BLOCKS),
        )
        for inputs, outputs in itertools.pairwise(widths)
    )


@dataclass(frozen=True, slots=True)
class _Design:
    """A published row; ``printed`` holds its cells as they are remembered, marks and all."""

    kfps: float
    kfps_per_watt: float
    printed: _Published

    @property
    def watts(self) -> float:
        return self.kfps / self.kfps_per_watt


def _designs() -> dict[tuple[str, str], _Design]:
    return {
        (row["design"], row["data"]): _Design(
            _about(row["kfps"]), _about(row["kfps_per_watt"]), row
        )
        for row in published_rows("aaai18-designs")
    }


def _about(text: str) -> float:
    """A number that may be marked as approximate."""
    return float(text.removeprefix("~"))


_Designs = Mapping[tuple[str, str], _Design]


def _throughput(row: _Published, designs: _Designs) -> Number:
    return designs[_of(row)].kfps / designs[_over(row)].kfps


def _efficiency(row: _Published, designs: _Designs) -> Number:
    return designs[_of(row)].kfps_per_watt / designs[_over(row)].kfps_per_watt


def _of(row: _Published) -> tuple[str, str]:
    return row["design"], row["data"]


def _over(row: _Published) -> tuple[str, str]:
    return row["over"], row["over_data"]


def _allowed(row: _Published, _: _Designs) -> Number:
    """Thousands of images a second that so many multipliers have the cycles for."""
    a_second = number(row["multipliers"]) * number(row["megahertz"]) * 1e6
    return a_second / fewest_multiplications(_widths(row), FEWEST) / 1e3


_QUANTITIES: Mapping[str, Callable[[_Published, _Designs], Number]] = {
    "kfps": _throughput,
    "kfps_per_watt": _efficiency,
    "allowed": _allowed,
}


def _widths(row: _Published) -> tuple[int, ...]:
    return tuple(map(int, row["network"].split("-")))


def _table(designs: Sequence[_Design]) -> Beside:
    """The published rows and the power that each implies."""
    own = [design.watts for design in designs if design.printed["design"] == "proposed"]
    return Beside(
        "the published rows, recalled and not re-read; mW follow from kFPS over kFPS/W: "
        f"{min(own):.2f} to {max(own):.2f} W in all {len(own)} rows of the paper, one power "
        "whatever the network",
        ("design", "data", "bits", "accuracy, %", "kFPS", "kFPS/W", "mW", "provenance"),
        tuple(
            (*(design.printed[key] for key in _SHOWN), 1e3 * design.watts, design.printed["source"])
            for design in designs
        ),
    )


def _claims(claims: Sequence[_Published]) -> Beside:
    """Multipliers that the fastest row keeps busy, whatever the block sizes."""
    clock, multipliers = claims[0]["megahertz"], claims[0]["multipliers"]
    return Beside(
        f"multipliers that MNIST 1's {claims[0]['published']} kFPS keep busy at {clock} MHz, every "
        "layer in the block size, or dense, that takes the fewest multiplications, three for a "
        "product of complex numbers; its device, a "
        f"Cyclone V 5CEA9, is remembered to have {multipliers} of 18x18 bits (not verified), and "
        "which of the two networks MNIST 1 stands for is not known",
        (
            "network",
            "counted",
            "an image, blocks of the hidden width",
            "an image, fewest",
            "1e9 a second",
            f"multipliers at {clock} MHz",
        ),
        tuple(_claim(row, transform) for row in claims for transform in (PRODUCTS, FEWEST, OURS)),
    )


def _claim(row: _Published, transform: Transform) -> tuple[Cell, ...]:
    widths = _widths(row)
    hidden = sum(
        transform.multiplications(outputs, inputs, widths[1])
        for inputs, outputs in itertools.pairwise(widths)
    )
    fewest = fewest_multiplications(widths, transform)
    a_second = fewest * number(row["published"]) * 1e3
    multipliers = a_second / (number(row["megahertz"]) * 1e6)
    return row["network"], transform.name, hidden, fewest, a_second / 1e9, round(multipliers)
