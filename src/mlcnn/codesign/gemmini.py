"""Gemminis of other sizes, with the constants of a table."""

from dataclasses import dataclass

from mlcnn.codesign.architecture import Architecture, EnergyLaw, FanOut
from mlcnn.codesign.files import load_architecture
from mlcnn.codesign.sram import SramTable

__all__ = ["GemminiSize", "gemmini", "with_one_law"]

_MEMORIES = ("scratchpad", "accumulator", "register")


@dataclass(frozen=True, slots=True)
class GemminiSize:
    """Sizes of a Gemmini.

    Attributes:
        side: units of the square array along each side.
        accumulator_words: of 32 bits, of each of the ``side`` accumulators.
        scratchpad_bytes: of the scratchpad.
    """

    side: int
    accumulator_words: int
    scratchpad_bytes: int


def gemmini(size: GemminiSize) -> Architecture:
    """The template ``gemmini`` of another size.

    The scratchpad's word is one byte a column, and its bandwidth two such words a cycle.
    """
    return load_architecture("gemmini").with_levels(
        {
            "scratchpad": {
                "capacity": size.scratchpad_bytes,
                "block_words": size.side,
                "shared_bandwidth": 2 * size.side,
                "fan_out": FanOut(size.side, ("K",)),
            },
            "accumulator": {
                "capacity": size.accumulator_words,
                "fan_out": FanOut(size.side, ("C",)),
            },
        }
    )


def with_one_law(architecture: Architecture, table: SramTable) -> Architecture:
    """A Gemmini whose memories on the chip have one law of energy by the byte."""
    changes: dict[str, dict[str, object]] = {}
    for level in architecture.levels:
        if level.name in _MEMORIES:
            words = level.word_bits / 8
            law = EnergyLaw(table.byte.pj * words, table.byte.pj_per_kb * words)
            changes[level.name] = {"energy": law}
    return architecture.with_levels(changes)
