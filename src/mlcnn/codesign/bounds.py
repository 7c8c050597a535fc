"""What no mapping of a nest on a machine can go below.

The bounds hold for every convention and every choice of what is kept, with factors that divide
their dimensions:

* Side by side below a level stand at most as many instances as a product of divisors of the
  dimensions that its fan-out takes, within its size. The arithmetic takes MACs / (the product of
  these over the levels) cycles at least.
* Every word of weight and input that is touched is read from the outermost level at least once, and
  every output written there. (A bounding box has no fewer words than are touched.)
* The innermost reads: each product reads its weight and its input and updates its output somewhere.
  One read serves at most the units that share the word: those side by side along dimensions that do
  not move the operand. The cheapest level that may keep the operand is the least that each costs.
"""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.enumeration import Goal
from mlcnn.codesign.space import Access, accesses
from mlcnn.codesign.windows import Copies, Tiles, touched
from mlcnn.workload import LoopNest

__all__ = ["Bound", "lower_bound"]


@dataclass(frozen=True, slots=True)
class Bound:
    """Least values over all mappings.

    Attributes:
        latency_cycles: cycles.
        energy_pj: energy.
    """

    latency_cycles: float
    energy_pj: float

    def of(self, objective: Goal) -> float:
        """The least of an objective."""
        return float(objective.worth(np.array(self.energy_pj), np.array(self.latency_cycles)))


_OUTPUT = 2


def lower_bound(
    nest: LoopNest, architecture: Architecture, keep: NDArray[np.bool_] | None = None
) -> Bound:
    """Bounds of latency and energy.

    Args:
        nest: the layer.
        architecture: the machine.
        keep: what each level keeps, shape (levels, operands); None for the best choice.

    Raises:
        UnsupportedError: the nest is of no form that is scored.
    """
    access = accesses(nest)
    words = [_words(nest, one) for one in access]
    compute = math.ceil(nest.macs / _units(nest, architecture))
    energy = nest.macs * architecture.mac_energy_pj
    outermost = architecture.levels[0]
    for number, operand in enumerate(Operand):
        levels = range(len(architecture.levels))
        serving = [n for n in levels if operand in architecture.levels[n].keeps]
        if keep is not None:
            serving = [int(np.flatnonzero(keep[:, number])[-1])]
        energy += _operand(nest, architecture, number, serving)
    return Bound(max(compute, _transfer(outermost, words)), energy)


def _words(nest: LoopNest, access: Access) -> float:
    """Different words of an operand."""
    words = math.prod(nest.sizes[dim] for dim in access.plain)
    none = Copies(np.ones((0, 1)), np.ones((0, 1)))
    for axis in access.windows:
        outputs, taps = (np.array([float(nest.sizes[n])]) for n in (axis.outputs, axis.taps))
        words *= float(touched(axis, Tiles(outputs, taps, none, none))[0])
    return words


def _units(nest: LoopNest, architecture: Architecture) -> int:
    """Arithmetic units that can be busy."""
    return math.prod(_side_by_side(nest, level, nest.dims) for level in architecture.levels)


def _side_by_side(nest: LoopNest, level: Level, dims: Iterable[str]) -> int:
    """Most instances below a level along some dimensions."""
    most = level.fan_out.size
    products = {1}
    for dim in dims:
        if level.fan_out.dims is None or dim in level.fan_out.dims:
            size = nest.size(dim)
            divisors = [n for n in range(1, min(size, most) + 1) if size % n == 0]
            products = {p * n for p in products for n in divisors if p * n <= most}
    return max(products)


def _transfer(outermost: Level, words: list[float]) -> float:
    """Cycles in which the outermost level moves every word once."""
    weight, source, output = words
    moved = (
        (outermost.read_bandwidth, weight + source),
        (outermost.write_bandwidth, output),
        (outermost.shared_bandwidth, weight + source + output),
    )
    # A quotient may be rounded up by a few units in the last place; a bound must not be.
    return max(
        (math.ceil(size / bound * (1 - 1e-12)) for bound, size in moved if bound is not None),
        default=0,
    )


def _operand(
    nest: LoopNest,
    architecture: Architecture,
    operand: int,
    serving: list[int],
) -> float:
    """Least energy of one operand's accesses, where some level of several serves the arithmetic.

    Either the outermost level alone does, or every word moves there once and an inner one does.
    """
    access, outermost = accesses(nest)[operand], architecture.levels[0]
    words, writes = _words(nest, access), operand == _OUTPUT
    once = words * (outermost.write_pj if writes else outermost.read_pj)
    options: list[float] = []
    for number in serving:
        level = architecture.levels[number]
        served = nest.macs / _shared(access, architecture, number, nest)
        energy = served * (level.write_pj if writes else level.read_pj)
        if writes:
            # First visits read nothing; each instance may have one of each word.
            visits = max(served - words * architecture.instances(number), 0.0)
            energy += visits * level.read_pj
        options.append(energy if number == 0 else once + energy)
    return max(min(options), once)


def _shared(access: Access, architecture: Architecture, number: int, nest: LoopNest) -> int:
    """Units below one instance of a level that one read can serve."""
    # Along the axes that slide instances may overlap: they count as if they shared all.
    slides = {dim for axis in access.windows for dim in (axis.outputs, axis.taps)}
    shares = [
        dim for index, dim in enumerate(nest.dims) if index in slides or not access.relevant[index]
    ]
    return math.prod(_side_by_side(nest, level, shares) for level in architecture.levels[number:])
