"""Widths of the core's words, and what operations of these widths take."""

from mlcnn.accelerators.precision import Precision
from mlcnn.accelerators.technology import Operation, Technology

__all__ = ["adder", "multiplier", "widths"]

# Bits of the table's integer accumulation.
_ACCUMULATOR = 32


def widths(precision: Precision, block: int) -> tuple[int, ...]:
    """Bits of a word behind each level of a block's transform: integers grow by one in each."""
    grown = range(1, block.bit_length())
    return tuple(precision.bits + (bits if precision.is_integer else 0) for bits in grown)


def adder(precision: Precision, bits: int, technology: Technology) -> Operation:
    """An adder of the core.

    Integer ones take energy and area in proportion to their bits, as the rows of 8, 16 and 32 bits
    do within 17 %; the row of 32 bits is scaled.
    """
    costs = technology.costs(precision)
    if not precision.is_integer:
        return costs.add
    share = bits / _ACCUMULATOR
    row = costs.accumulate
    return Operation(row.energy_pj * share, row.area_um2 * share)


def multiplier(precision: Precision, bits: int, technology: Technology) -> Operation:
    """A multiplier of the core: a word of ``bits`` by a twiddle of the precision's.

    An integer operand that is wider by some bits takes that many more rows of cells.
    """
    row = technology.costs(precision).multiply
    share = bits / precision.bits if precision.is_integer else 1.0
    return Operation(row.energy_pj * share, row.area_um2 * share)
