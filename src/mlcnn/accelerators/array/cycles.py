"""Cycles of a layer in closed form, for many tilings and many machines at once.

The machine advances in steps. While a step computes one chunk of input channels for one tile of
outputs, the chunk of the next step comes in, and the tile that was finished before goes out:

    step = max(compute, DRAM of both, input unit, leaving of the finished tile)
    layer = first load + steps + last tile leaving

A step has the length that the largest tile of the layer needs: the control is a set of counters
with fixed limits, and a tile at an edge idles for the rest. The last chunk of input channels alone
is as short as it is. So steps fall into few classes: where among the chunks of its tile a step is,
whether a chunk of the outer operand comes in or is kept from before, and whether a tile leaves.
"""

from dataclasses import dataclass

import numpy as np

from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.tiling import Floats, Tiles, Tilings
from mlcnn.accelerators.array.work import Work

__all__ = [
    "NEVER",
    "Schedule",
    "StepClass",
    "StepTimes",
    "held_bytes",
    "leave_time",
    "rounds_of",
    "schedule",
    "split_slices",
]

# Cycles of a tile that the accumulators cannot hold: more than any layer takes.
NEVER = 2.0**80
# Numbers of groups of slices that work on different positions.
_WAYS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 21, 24, 32)


@dataclass(frozen=True, slots=True)
class StepClass:
    """Steps of the same length; arrays by tiling.

    Attributes:
        count: how many there are.
        last_computes: whether the last, shorter chunk of input channels is computed.
        loads: share of a whole chunk that comes in: 0 none, 1 whole, 2 the last, shorter one.
        outer: whether a chunk of the outer operand comes in too.
        leaves: whether the tile finished before leaves.
    """

    count: Floats
    last_computes: bool
    loads: int
    outer: bool
    leaves: bool


NOTHING, WHOLE, LAST = 0, 1, 2


def step_classes(t: Tilings) -> tuple[StepClass, ...]:
    """Count the steps of each class, the first load and the last store not included.

    ``pairs`` are iterations of the outer and the inner loop; ``fresh`` ones load the outer
    operand, ``stale`` ones find it kept. A tile leaves during the first step of the next pair.
    """
    pairs, chunks = t.outer * t.inner, t.input_chunks
    single, double = chunks == 1, chunks == 2
    several = np.where(chunks > 2, 1.0, 0.0)
    fresh = np.where(t.kept > 0, t.outer, pairs)
    stale = pairs - fresh
    found: list[StepClass] = []
    # The first chunk of several, while the second comes in; the first pair has nothing to leave.
    for loads, present in ((WHOLE, several), (LAST, np.where(double, 1.0, 0.0))):
        found += [
            StepClass(present, False, loads, True, False),
            StepClass(present * (fresh - 1), False, loads, True, True),
            StepClass(present * stale, False, loads, False, True),
        ]
    # Those between, while the next or the last one comes in.
    for loads, between in ((WHOLE, several * (chunks - 3)), (LAST, several)):
        found += [
            StepClass(between * fresh, False, loads, True, False),
            StepClass(between * stale, False, loads, False, False),
        ]
    # The last chunk of several, while the first of the next pair comes in.
    many = np.where(single, 0.0, 1.0)
    found += [
        StepClass(many * (fresh - 1), True, WHOLE, True, False),
        StepClass(many * stale, True, WHOLE, False, False),
        StepClass(many, True, NOTHING, False, False),
    ]
    return (*found, *_single_chunk(t, pairs, np.where(single, 1.0, 0.0)))


def _single_chunk(t: Tilings, pairs: Floats, single: Floats) -> tuple[StepClass, ...]:
    """Steps that are a whole pair each: the first lets nothing leave, the last loads nothing."""
    first_outer = single * ((t.inner == 1) & (pairs > 1))
    first_inner = single * ((t.inner > 1) & (pairs > 1))
    alone = single * (pairs == 1)
    return (
        StepClass(first_outer, True, WHOLE, True, False),
        StepClass(first_inner, True, WHOLE, False, False),
        StepClass(single * (t.outer - 1) - first_outer, True, WHOLE, True, True),
        StepClass(single * (pairs - t.outer) - first_inner, True, WHOLE, False, True),
        StepClass(alone, True, NOTHING, False, False),
        StepClass(single - alone, True, NOTHING, False, True),
    )


@dataclass(frozen=True, slots=True)
class ChunkTimes:
    """What one chunk of input channels takes; arrays that broadcast to (machines, tilings).

    Attributes:
        compute: cycles of the array.
        refill: the part of ``compute`` that waits for weight registers.
        outer_bytes: DRAM bytes of the outer operand.
        inner_bytes: DRAM bytes of the inner operand.
        outer_unit: cycles of the input unit for the outer operand.
        inner_unit: cycles of the input unit for the inner operand.
    """

    compute: Floats
    refill: Floats
    outer_bytes: Floats
    inner_bytes: Floats
    outer_unit: Floats
    inner_unit: Floats


@dataclass(frozen=True, slots=True)
class StepTimes:
    """What the parts of the steps take; shape (machines, tilings) or one that broadcasts to it.

    Attributes:
        whole: a chunk of Tm input channels.
        last: the last chunk, with what is left of them.
        groups: groups of output channels that take turns on the slices.
        ways: positions that different slices work on at a time.
        tile_bytes: DRAM bytes of a finished tile.
        leave: cycles of a finished tile through the pipeline's end, bias, activation and pool.
        returning: cycles of the input unit for a finished tile on its way out.
        bandwidth: DRAM bytes a cycle.
    """

    whole: ChunkTimes
    last: ChunkTimes
    groups: Floats
    ways: Floats
    tile_bytes: Floats
    leave: Floats
    returning: Floats
    bandwidth: Floats

    def dram(self, step: StepClass) -> Floats:
        """DRAM cycles of a step."""
        moved = np.zeros(1)
        if step.loads != NOTHING:
            chunk = self.whole if step.loads == WHOLE else self.last
            moved = chunk.inner_bytes + (chunk.outer_bytes if step.outer else 0.0)
        return np.ceil((moved + (self.tile_bytes if step.leaves else 0.0)) / self.bandwidth)

    def unit(self, step: StepClass) -> Floats:
        """Cycles of the input unit in a step, one operand after the other."""
        busy = self.returning if step.leaves else np.zeros(1)
        if step.loads == NOTHING:
            return busy
        chunk = self.whole if step.loads == WHOLE else self.last
        return busy + chunk.inner_unit + (chunk.outer_unit if step.outer else 0.0)

    def compute(self, step: StepClass) -> ChunkTimes:
        """The chunk that a step computes."""
        return self.last if step.last_computes else self.whole

    def length(self, step: StepClass) -> Floats:
        """Cycles of a step."""
        longest = np.maximum(self.compute(step).compute, self.dram(step))
        longest = np.maximum(longest, self.unit(step))
        return np.maximum(longest, self.leave) if step.leaves else longest

    @property
    def first_load(self) -> Floats:
        """The first chunks of both operands, before anything computes."""
        moved = np.ceil((self.whole.inner_bytes + self.whole.outer_bytes) / self.bandwidth)
        return np.maximum(moved, self.whole.inner_unit + self.whole.outer_unit)

    @property
    def last_store(self) -> Floats:
        """The last tile on its way out, when nothing else moves."""
        moved = np.ceil(self.tile_bytes / self.bandwidth)
        return np.maximum(np.maximum(self.leave, self.returning), moved)


@dataclass(frozen=True, slots=True)
class Split:
    """How a tile is spread over the slices.

    Attributes:
        round: cycles of one set of weights over all positions and groups of the tile.
        refill: the part of ``round`` that waits for weight registers.
        groups: groups of output channels that take turns.
        ways: positions that different slices work on at a time.
    """

    round: Floats
    refill: Floats
    groups: Floats
    ways: Floats


def split_slices(work: Work, t: Tiles | Tilings, p: Parameters) -> Split:
    """The fastest split of the slices over output channels and positions."""
    best = np.full(np.broadcast_shapes(p.slices.shape, t.line.shape), NEVER)
    refill, groups, ways = np.zeros_like(best), np.ones_like(best), np.ones_like(best)
    lines, before = float(t.lines.max()), 0
    load = np.ceil(work.execution.set_words(p.multipliers) / p.weight_words)
    for way in _WAYS:
        allowed = (way <= p.input_windows) & (way <= p.slices)
        if not allowed.any() or before >= lines:
            break
        side = np.minimum(np.maximum(np.floor(p.slices / way), 1), t.output_channels)
        turns = np.ceil(t.output_channels / side)
        positions = np.ceil(t.lines / way) * t.line
        held = 2 * turns * positions * work.sums <= p.accumulator_entries
        passes = work.execution.passes(t.output_channels, side)
        busy = passes * np.maximum(turns * positions, p.accumulator_latency)
        took = passes * np.maximum(turns * np.maximum(positions, load), p.accumulator_latency)
        better = allowed & held & (took < best)
        best = np.where(better, took, best)
        refill = np.where(better, took - busy, refill)
        groups, ways = np.where(better, turns, groups), np.where(better, way, ways)
        before = way
    return Split(best, refill, groups, ways)


def rounds_of(work: Work, channels: Floats, p: Parameters) -> Floats:
    """Sets of weights that stream one after the other for a chunk of input channels."""
    together = np.maximum(np.floor(p.multipliers / work.taps), 1)
    parts = np.ceil(work.taps / p.multipliers)
    wide = np.where(work.precision.is_integer & (work.stored_bits > p.wide_bits), 2.0, 1.0)
    return work.frequencies * np.ceil(channels / together) * parts * wide


def _unit(work: Work, t: Tilings, p: Parameters, m: Floats) -> tuple[Floats, Floats]:
    """Cycles of the input unit for a chunk of inputs, and for a chunk of weights."""
    inputs, weights = work.execution.input_cycles(t, p, m)
    if not work.scaled:
        return inputs, weights
    words = t.loaded * m * work.execution.input_block
    return np.maximum(inputs, np.ceil(words / np.maximum(p.input_scalers, 1))), weights


def _chunk(work: Work, t: Tilings, p: Parameters, split: Split, m: Floats) -> ChunkTimes:
    """Times and bytes of a chunk of ``m`` input channels."""
    outer = t.weights_outer > 0
    weight_bytes = t.output_channels * m * work.layer.kernel_area * work.weight_bits / 8
    input_bytes = t.loaded * m * work.loaded_bits / 8
    inputs, weights = _unit(work, t, p, m)
    rounds = rounds_of(work, m, p)
    return ChunkTimes(
        compute=np.minimum(split.round * rounds, NEVER),
        refill=split.refill * rounds,
        outer_bytes=np.where(outer, weight_bytes, input_bytes),
        inner_bytes=np.where(outer, input_bytes, weight_bytes),
        outer_unit=np.where(outer, weights, inputs),
        inner_unit=np.where(outer, inputs, weights),
    )


def step_times(work: Work, t: Tilings, p: Parameters) -> StepTimes:
    """What the parts of a step take, for every tiling and machine."""
    split = split_slices(work, t, p)
    return StepTimes(
        whole=_chunk(work, t, p, split, t.input_channels),
        last=_chunk(work, t, p, split, t.last_channels),
        groups=split.groups,
        ways=split.ways,
        tile_bytes=t.outputs * t.output_channels * work.output_bits / 8,
        leave=leave_time(work, t, p),
        returning=work.execution.returning_cycles(t, p),
        bandwidth=p.dram_bytes_per_cycle,
    )


def leave_time(work: Work, t: Tiles | Tilings, p: Parameters) -> Floats:
    """A finished tile through the pipeline's end, bias, activation and pool."""
    lanes = p.output_lanes
    if work.pools_behind:
        lanes = np.minimum(lanes, p.pooling_adders)
    sums = t.convolved if work.sums == 1 else t.lines * t.line * work.sums
    return p.pipeline_depth + np.ceil(sums * t.output_channels / lanes)


def held_bytes(work: Work, t: Tilings) -> Floats:
    """Bytes of all chunks that the buffer holds at a time.

    An operand that is loaded again has two places, one in use and one being filled; a kept one has
    a place for each of its chunks and one more, so that the next tile's come in behind the last
    use of these. Weights that are all there will ever be need no more than themselves; inputs get
    their second place in any case, so that a further image fits where one does.
    """
    chunks, outer = t.input_chunks, t.weights_outer > 0
    kept = t.kept > 0
    outer_places = np.where(kept, chunks, 1) + 1
    outer_loads = t.outer * np.where(kept, chunks, chunks * t.inner)
    of_weights = np.where(
        outer,
        np.minimum(outer_places, outer_loads),
        np.minimum(2, t.outer * t.inner * chunks),
    )
    of_inputs = np.where(outer, 2, outer_places)
    weights = work.execution.tile_weight_bits(work.layer, work.precision, t)
    inputs = t.stored * t.input_channels * work.input_bits
    return (weights * of_weights + inputs * of_inputs) / 8


@dataclass(frozen=True, slots=True)
class Schedule:
    """Cycles of a layer; shape (machines, tilings), infinite where a tiling does not fit.

    Attributes:
        cycles: all of them.
        classes: how many steps there are of each class.
        times: what the parts of a step take.
    """

    cycles: Floats
    classes: tuple[StepClass, ...]
    times: StepTimes


def schedule(work: Work, t: Tilings, p: Parameters) -> Schedule:
    """Cycles of every tiling on every machine."""
    times, classes = step_times(work, t, p), step_classes(t)
    total = times.first_load + times.last_store
    for step in classes:
        if step.count.any():
            total = total + step.count * times.length(step)
    row_bytes = t.row_sums * work.row_bits / 8
    fits = (held_bytes(work, t) <= p.buffer_bytes) & (row_bytes <= p.row_buffer_bytes)
    fits &= times.whole.compute < NEVER
    return Schedule(np.where(fits, total, np.inf), classes, times)
