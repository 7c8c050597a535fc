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

__all__ = ["Bound", "Demand", "demand", "lower_bound"]


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


@dataclass(frozen=True, slots=True)
class Demand:
    """What a nest asks of all machines that differ in the energies of their levels alone.

    Attributes:
        latency_cycles: least.
        macs: multiply-accumulates.
        words: different ones of each operand.
        serving: for each operand the levels that may serve the arithmetic: number of the level,
            words that it is read or, of outputs, written at least, and words of outputs that it is
            read at least.
    """

    latency_cycles: float
    macs: int
    words: tuple[float, ...]
    serving: tuple[tuple[tuple[int, float, float], ...], ...]

    def energy_pj(
        self, read_pj: NDArray[np.float64], write_pj: NDArray[np.float64], mac_pj: float
    ) -> NDArray[np.float64]:
        """The least energy on several machines, shape (machines,).

        Either the outermost level alone serves an operand, or every word moves there once and an
        inner level serves it.

        Args:
            read_pj: of a word of each level, shape (levels, machines).
            write_pj: likewise.
            mac_pj: of a multiply-accumulate.
        """
        energy = np.full(read_pj.shape[1], self.macs * mac_pj)
        for operand, words, serving in zip(Operand, self.words, self.serving, strict=True):
            served_pj = write_pj if operand is Operand.OUTPUT else read_pj
            once = words * served_pj[0]
            least = np.full(len(energy), np.inf)
            for number, served, visits in serving:
                each = served * served_pj[number] + visits * read_pj[number]
                least = np.minimum(least, each if number == 0 else once + each)
            energy += np.maximum(least, once)
        return energy


def demand(
    nest: LoopNest, architecture: Architecture, keep: NDArray[np.bool_] | None = None
) -> Demand:
    """What a nest asks of a machine, whatever energy its levels take.

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
    serving: list[tuple[tuple[int, float, float], ...]] = []
    for number, (operand, one, size) in enumerate(zip(Operand, access, words, strict=True)):
        levels = range(len(architecture.levels))
        kept = [n for n in levels if operand in architecture.levels[n].keeps]
        if keep is not None:
            kept = [int(np.flatnonzero(keep[:, number])[-1])]
        served = [nest.macs / _shared(one, architecture, n, nest) for n in kept]
        read = [
            _visits(each, size, architecture.instances(n)) if operand is Operand.OUTPUT else 0.0
            for n, each in zip(kept, served, strict=True)
        ]
        serving.append(tuple(zip(kept, served, read, strict=True)))
    least = max(compute, _transfer(architecture.levels[0], words))
    return Demand(least, nest.macs, tuple(words), tuple(serving))


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
    needed = demand(nest, architecture, keep)
    read, write = (
        np.array([[getattr(level, name)] for level in architecture.levels])
        for name in ("read_pj", "write_pj")
    )
    energy = needed.energy_pj(read, write, architecture.mac_energy_pj)
    return Bound(needed.latency_cycles, float(energy[0]))


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


def _visits(served: float, words: float, instances: int) -> float:
    """Words of outputs that are read: first visits are none, one of each word in each instance."""
    return max(served - words * instances, 0.0)


def _shared(access: Access, architecture: Architecture, number: int, nest: LoopNest) -> int:
    """Units below one instance of a level that one read can serve."""
    # Along the axes that slide instances may overlap: they count as if they shared all.
    slides = {dim for axis in access.windows for dim in (axis.outputs, axis.taps)}
    shares = [
        dim for index, dim in enumerate(nest.dims) if index in slides or not access.relevant[index]
    ]
    return math.prod(_side_by_side(nest, level, shares) for level in architecture.levels[number:])
