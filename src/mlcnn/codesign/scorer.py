"""Latency and energy of many mappings: the reference, in numpy and float64."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mlcnn.codesign.architecture import Architecture, Level, Operand
from mlcnn.codesign.batch import Batch
from mlcnn.codesign.conventions import EXACT, Convention
from mlcnn.codesign.counts import Counts, count, tile_words
from mlcnn.errors import InputError
from mlcnn.workload import LoopNest

__all__ = [
    "Score",
    "bandwidth_cycles",
    "check_keep",
    "energy_pj",
    "fits",
    "latency_cycles",
    "score",
    "whole_blocks",
]

Array = NDArray[np.float64]
_WORDS = ("read", "written", "both")


@dataclass(frozen=True, slots=True)
class Score:
    """Mappings scored; arrays of shape (mappings,).

    Attributes:
        latency_cycles: cycles of the slowest of the arithmetic and the levels.
        energy_pj: of accesses and arithmetic.
        counts: words of each level, operand and direction.
    """

    latency_cycles: Array
    energy_pj: Array
    counts: Counts

    @property
    def edp(self) -> Array:
        """Energy times latency, pJ x cycles."""
        return self.energy_pj * self.latency_cycles


def score(
    nest: LoopNest,
    architecture: Architecture,
    batch: Batch,
    rule: Convention = EXACT,
    *,
    exchange: bool = False,
) -> Score:
    """Score mappings of a nest on a machine; what does not fit is scored all the same (``fits``).

    Args:
        nest: the layer.
        architecture: the machine.
        batch: the mappings.
        rule: what is counted.
        exchange: whether what levels exchange is scored alone, without the arithmetic: its energy
            without rounding to blocks, and the cycles that bandwidths allow it at least.

    Raises:
        InputError: the mappings are of other levels than the machine, keep what a level does not
            take, or have counts that float64 does not hold exactly.
    """
    check_keep(architecture, batch)
    counts = count(nest, batch, rule, exchange=exchange)
    latency = latency_cycles(architecture, counts, exchange=exchange)
    return Score(latency, energy_pj(architecture, counts, exchange=exchange), counts)


def latency_cycles(architecture: Architecture, counts: Counts, *, exchange: bool = False) -> Array:
    """Cycles: of the arithmetic, longer where a level's bandwidth does not suffice.

    Per instance and bandwidth b of a level: ``ceil(compute / min(1, b / (writes / compute + reads
    / compute)))``, in double precision, each operand divided by itself and then summed over
    weight, input and output: this order of rounding is Timeloop's. A bound on reads or writes
    alone takes only these.

    Args:
        architecture: the machine.
        counts: of the mappings.
        exchange: whether the arithmetic takes no time.
    """
    result = np.zeros_like(counts.cycles) if exchange else counts.cycles
    for _, _, cycles in bandwidth_cycles(architecture, counts, exchange=exchange):
        result = np.maximum(result, cycles)
    return result


def bandwidth_cycles(
    architecture: Architecture, counts: Counts, *, exchange: bool = False
) -> Iterator[tuple[int, str, Array]]:
    """Cycles at each bandwidth that there is: see ``latency_cycles``.

    Args:
        architecture: the machine.
        counts: of the mappings.
        exchange: whether the arithmetic takes no time.

    Yields:
        The level's number, which words the bandwidth is of (``read``, ``written``, ``both``), and
        the cycles, shape (mappings,), no less than those of the arithmetic where it takes time.
    """
    compute = counts.cycles
    for number, level in enumerate(architecture.levels):
        bounds = (level.read_bandwidth, level.write_bandwidth, level.shared_bandwidth)
        if all(bound is None for bound in bounds):
            continue
        reads, writes = np.zeros_like(compute), np.zeros_like(compute)
        for operand in range(len(Operand)):
            reads = reads + counts.reads[number, operand] / compute
            written = counts.updates[number, operand] + counts.fills[number, operand]
            writes = writes + written / compute
        needs = (reads, writes, writes + reads)
        for what, bound, needed in zip(_WORDS, bounds, needs, strict=True):
            if bound is not None:
                slowed = _least if exchange else _slowed
                yield number, what, slowed(compute, bound, needed)


def _slowed(compute: Array, bandwidth: float, needed: Array) -> Array:
    """Cycles at a bandwidth, in words a cycle, where ``needed`` are wanted; it may be 0."""
    slowdown = np.ones_like(compute)
    np.divide(bandwidth, needed, out=slowdown, where=needed > bandwidth)
    return np.ceil(compute / slowdown)


def _least(compute: Array, bandwidth: float, needed: Array) -> Array:
    """Cycles at a bandwidth at least, whatever the rounding on the way."""
    return np.ceil(needed * compute / bandwidth * (1 - 1e-12))


def energy_pj(architecture: Architecture, counts: Counts, *, exchange: bool = False) -> Array:
    """Energy of all instances: words in whole blocks, per operand and direction; arithmetic.

    Args:
        architecture: the machine.
        counts: of the mappings.
        exchange: whether the arithmetic takes none, and blocks are single words.
    """
    result = np.zeros_like(counts.macs) if exchange else counts.macs * architecture.mac_energy_pj
    for number, level in enumerate(architecture.levels):
        block = 1 if exchange else level.block_words
        read, written = np.zeros_like(result), np.zeros_like(result)
        for operand in range(len(Operand)):
            read = read + whole_blocks(block, counts.reads[number, operand])
            written = written + whole_blocks(block, counts.fills[number, operand])
            written = written + whole_blocks(block, counts.updates[number, operand])
        one = read * level.read_pj + written * level.write_pj
        result = result + one * counts.instances[number]
    return result


def whole_blocks(block_words: int, words: Array) -> Array:
    """Words rounded up to whole blocks.

    Args:
        block_words: words of a block.
        words: of one instance.
    """
    return words if block_words == 1 else np.ceil(words / block_words) * block_words


def fits(
    nest: LoopNest, architecture: Architecture, batch: Batch, rule: Convention = EXACT
) -> NDArray[np.bool_]:
    """Whether the tiles of each mapping fit their levels and its instances their fan-outs.

    Args:
        nest: the layer.
        architecture: the machine.
        batch: the mappings.
        rule: how tiles are measured.
    """
    check_keep(architecture, batch)
    words = tile_words(nest, batch, rule) * batch.keep[:, :, None]
    result = np.ones(len(batch), bool)
    for number, level in enumerate(architecture.levels):
        if isinstance(level.capacity, Mapping):
            for operand, one in zip(Operand, words[number], strict=True):
                result &= one <= level.capacity.get(operand, 0)
        elif level.capacity is not None:
            result &= words[number].sum(0) <= level.capacity
        result &= _spread(level, batch, number)
    return result


def _spread(level: Level, batch: Batch, number: int) -> NDArray[np.bool_]:
    """Whether the spatial loops of a level are those that its fan-out takes."""
    spatial = batch.spatial[number]
    result = spatial.prod(0) <= level.fan_out.size
    if level.fan_out.dims is not None:
        others = [dim not in level.fan_out.dims for dim in batch.dims]
        result &= (spatial[others] == 1).all(0)
    return result


def check_keep(architecture: Architecture, batch: Batch) -> None:
    """Check that mappings have a machine's levels and keep what these take.

    Raises:
        InputError: they do not.
    """
    if batch.keep.shape[0] != len(architecture.levels):
        raise InputError(
            f"architecture {architecture.name} has {len(architecture.levels)} levels and the "
            f"mappings have {batch.keep.shape[0]}"
        )
    for level, row in zip(architecture.levels, batch.keep, strict=True):
        for operand, kept in zip(Operand, row, strict=True):
            if kept and operand not in level.keeps:
                raise InputError(
                    f"level {level.name} of {architecture.name} keeps "
                    f"{', '.join(level.keeps) or 'nothing'}, and the mappings keep {operand} there"
                )
