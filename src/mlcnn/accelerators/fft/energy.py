"""Energy of the core for a layer."""

import math

from mlcnn.accelerators.array import ArrayDescription
from mlcnn.accelerators.array.area import memories
from mlcnn.accelerators.array.energy import per_byte
from mlcnn.accelerators.cost import Energy
from mlcnn.accelerators.fft.activity import Activity
from mlcnn.accelerators.fft.area import CoreArea
from mlcnn.accelerators.fft.transform import levels
from mlcnn.accelerators.fft.width import adder, multiplier, widths
from mlcnn.accelerators.technology import Technology

__all__ = ["core_energy"]


def core_energy(
    done: Activity, array: ArrayDescription, technology: Technology, size: CoreArea, cycles: float
) -> Energy:
    """What the core adds to the energy of its array.

    Args:
        done: what passes the core.
        array: the array behind it.
        technology: the tables.
        size: area of the core, which leaks as much as memory of that area.
        cycles: time.
    """
    return Energy(
        buffer=done.blocks * _registers(done, array, technology)
        + (done.core.passes(done.block) - 1) * _between_passes(done, array, technology),
        mac=done.blocks * _transform(done, array, technology) + _sums(done, array, technology),
        static=size.total * technology.memory.leakage_mw_per_um2 * cycles * 1e3 / array.clock_mhz,
    )


def _transform(done: Activity, array: ArrayDescription, technology: Technology) -> float:
    """Operations of one transform, each level as wide as its words are."""
    precision = array.precision
    return math.fsum(
        one.additions * adder(precision, bits, technology).energy_pj
        + one.multiplications * multiplier(precision, bits, technology).energy_pj
        for one, bits in zip(levels(done.block), widths(precision, done.block), strict=True)
    )


def _sums(done: Activity, array: ArrayDescription, technology: Technology) -> float:
    """Additions beside the core."""
    costs = technology.costs(array.precision)
    before = done.sums_before * costs.input_add.energy_pj
    return before + done.sums_behind * costs.accumulate.energy_pj


def _registers(done: Activity, array: ArrayDescription, technology: Technology) -> float:
    """One rank of words behind each level, and a twiddle for each of its products."""
    per_bit = technology.register.energy_pj_per_bit
    words = done.block * sum(widths(array.precision, done.block))
    twiddles = sum(one.multiplications for one in levels(done.block)) * array.precision.bits
    return per_bit * (words + twiddles)


def _between_passes(done: Activity, array: ArrayDescription, technology: Technology) -> float:
    """Words of a large block wait where they come from or go to: in the buffer, in accumulators."""
    held = memories(array, technology)
    width = widths(array.precision, done.block)[-1] / 8
    buffer, sums = sum(per_byte(held.inputs[0])), sum(per_byte(held.accumulators[0]))
    return done.block * (done.transformed * width * buffer + done.inverted * 4 * sums)
