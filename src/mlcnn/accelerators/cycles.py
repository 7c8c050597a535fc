"""Cycles of a layer in closed form, for many tilings and many machines at once.

The machine advances in steps. While a step computes one chunk of input channels for one tile of
outputs, the chunk of the next step comes in, and the tile that was finished before goes out:

    step = max(compute, DRAM of both, input unit, leaving of the finished tile)
    layer = first load + steps + last tile leaving

Every step of a class has the length of the largest tile of the layer: the control is a set of
counters with fixed limits, and an edge tile idles for the rest. The classes are: whether the next
step needs a chunk of the outer operand (1) or not (0), and whether a finished tile leaves.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from mlcnn.accelerators.axis import Execution
from mlcnn.accelerators.description import Accelerator
from mlcnn.accelerators.tiling import Floats, Tilings
from mlcnn.accelerators.work import TRANSFORMS, Work

__all__ = ["Parameters", "StepClasses", "StepTimes", "schedule", "step_classes", "step_times"]

# Numbers of groups of slices that work on different positions.
# Cycles of a tile that the accumulators cannot hold: more than any layer takes.
_NEVER = 2.0**80
_WAYS = (1, 2, 3, 4, 5, 6, 8, 10, 12, 16, 20, 21, 24, 32)


@dataclass(frozen=True, slots=True)
class Parameters:
    """The numbers of several machines that set cycles; arrays of shape (machines, 1)."""

    slices: Floats
    multipliers: Floats
    input_lanes: Floats
    input_adders: Floats
    input_scalers: Floats
    output_lanes: Floats
    pooling_adders: Floats
    buffer_bytes: Floats
    accumulator_entries: Floats
    input_windows: Floats
    weight_words: Floats
    dram_bytes_per_cycle: Floats
    accumulator_latency: Floats
    pipeline_depth: Floats
    wide_bits: Floats

    @classmethod
    def of(cls, machines: Sequence[Accelerator]) -> "Parameters":
        """Gather the numbers of ``machines``."""
        columns = {
            name: np.array([[float(getattr(machine, name))] for machine in machines])
            for name in cls.__slots__
        }
        adders = columns["pooling_adders"]
        columns["pooling_adders"] = np.where(adders > 0, adders, columns["input_adders"])
        return cls(**columns)


@dataclass(frozen=True, slots=True)
class StepClasses:
    """How many steps of each class a schedule has, by tiling.

    Attributes:
        both: the next chunk of the outer operand comes in and a tile leaves.
        outer: the next chunk of the outer operand comes in, nothing leaves.
        leaving: only the inner operand comes in, a tile leaves.
        inner: only the inner operand comes in.
        last_leaves: 1 where a tile leaves during the very last step.
        steps: all steps, the last included.
    """

    both: Floats
    outer: Floats
    leaving: Floats
    inner: Floats
    last_leaves: Floats
    steps: Floats


def step_classes(t: Tilings) -> StepClasses:
    """Count the classes: pairs of an outer and an inner iteration, then chunks in each."""
    pairs, outer, chunks, kept = t.outer * t.inner, t.outer, t.input_chunks, t.kept > 0
    fresh = np.where(kept, outer, pairs)  # pairs whose outer chunks are loaded
    # Several chunks: a tile leaves during the first chunk of the next pair.
    both, leaving = fresh - 1, pairs - fresh
    loads = 1 + fresh * (chunks - 2) + fresh - 1
    rest = (pairs - fresh) * (chunks - 1)
    # One chunk: each step is a whole pair, and the first has nothing to let leave.
    first_outer = (t.inner == 1) & (pairs > 1)
    first_inner = (t.inner > 1) & (pairs > 1)
    single = chunks == 1
    return StepClasses(
        both=np.where(single, outer - 1 - first_outer, both),
        outer=np.where(single, first_outer, loads),
        leaving=np.where(single, pairs - outer - first_inner, leaving),
        inner=np.where(single, first_inner, rest),
        last_leaves=np.where(single & (pairs > 1), 1.0, 0.0),
        steps=pairs * chunks,
    )


@dataclass(frozen=True, slots=True)
class StepTimes:
    """Cycles of the parts of a step; shape (machines, tilings) or one that broadcasts to it.

    Attributes:
        compute: the array. ``_NEVER`` where the accumulators cannot hold the tile.
        refill: the part of ``compute`` that waits for weight registers.
        groups: groups of output channels that take turns on the slices.
        ways: positions that different slices work on at a time.
        outer_bytes: DRAM bytes of a chunk of the outer operand.
        inner_bytes: DRAM bytes of a chunk of the inner operand.
        tile_bytes: DRAM bytes of a finished tile.
        outer_unit: the input unit, for a chunk of the outer operand.
        inner_unit: the input unit, for a chunk of the inner operand.
        leave: a finished tile through the pipeline's end, bias, activation and pool.
        fits: whether the buffer holds all chunks.
    """

    compute: Floats
    refill: Floats
    groups: Floats
    ways: Floats
    outer_bytes: Floats
    inner_bytes: Floats
    tile_bytes: Floats
    outer_unit: Floats
    inner_unit: Floats
    leave: Floats
    fits: Floats


def _ceil(numerator: Floats, denominator: Floats | float) -> Floats:
    """Whole cycles; exact, since both sides are far below 2**53."""
    return np.ceil(numerator / denominator)


def passes(work: Work, channels: Floats, multipliers: Floats) -> Floats:
    """Sets of weights that stream one after the other for a chunk of input channels."""
    together = np.maximum(np.floor(multipliers / work.taps), 1)
    parts = np.ceil(work.taps / multipliers)
    return work.frequencies * np.ceil(channels / together) * parts


def _compute(work: Work, t: Tilings, p: Parameters) -> tuple[Floats, Floats, Floats, Floats]:
    """The best split of the slices over output channels and positions."""
    wide = np.where((work.precision.bits < 16) & (work.stored_bits > p.wide_bits), 2.0, 1.0)
    rounds = passes(work, t.input_channels, p.multipliers) * wide
    best = np.full(np.broadcast_shapes(p.slices.shape, t.line.shape), _NEVER)
    refill, groups, ways = np.zeros_like(best), np.ones_like(best), np.ones_like(best)
    lines = float(t.lines.max())
    for way in _WAYS:
        allowed = (way <= p.input_windows) & (way <= p.slices)
        if not allowed.any() or (way > 1 and _WAYS[_WAYS.index(way) - 1] >= lines):
            break
        side = np.minimum(np.maximum(np.floor(p.slices / way), 1), t.output_channels)
        turns = np.ceil(t.output_channels / side)
        positions = np.ceil(t.lines / way) * t.line
        held = 2 * turns * positions * work.frequencies <= p.accumulator_entries
        load = np.ceil(p.multipliers * side / p.weight_words)
        busy = np.maximum(turns * positions, p.accumulator_latency) * rounds
        took = np.maximum(turns * np.maximum(positions, load), p.accumulator_latency) * rounds
        better = allowed & held & (took < best)
        best = np.where(better, took, best)
        refill = np.where(better, took - busy, refill)
        groups, ways = np.where(better, turns, groups), np.where(better, way, ways)
    return best, refill, groups, ways


def _unit(work: Work, t: Tilings, p: Parameters) -> tuple[Floats, Floats]:
    """Cycles of the input unit for a chunk of inputs, and for a chunk of weights."""
    m, nothing = t.input_channels, np.zeros(1)
    words = t.loaded * m
    scale = _ceil(words, np.maximum(p.input_scalers, 1)) if work.scaled else nothing
    if work.execution is Execution.FUSED:
        sums = _ceil(t.additions * m, p.input_adders)
        return np.maximum(np.maximum(_ceil(words, p.input_lanes), sums), scale), nothing
    if work.execution is Execution.WINOGRAD:
        cost = TRANSFORMS[work.transform]
        tiles = t.lines * t.line * m
        inputs = np.maximum(_ceil(words, p.input_lanes), _ceil(tiles * cost.input, p.input_adders))
        filters = t.output_channels * m
        weights = np.maximum(
            _ceil(9 * filters, p.input_lanes), _ceil(filters * cost.weight, p.input_adders)
        )
        return np.maximum(inputs, scale), weights
    return scale, nothing


def step_times(work: Work, t: Tilings, p: Parameters) -> StepTimes:
    """Cycles and bytes of one step, for every tiling and machine."""
    bits, outer = work.precision.bits, t.weights_outer > 0
    compute, refill, groups, ways = _compute(work, t, p)
    filters = t.output_channels * t.input_channels
    weight_bytes = filters * work.layer.kernel_area * bits / 8
    input_bytes = t.loaded * t.input_channels * bits / 8
    inputs, weights = _unit(work, t, p)
    lanes = p.output_lanes
    if work.layer.pool is not None and work.execution is not Execution.FUSED:
        lanes = np.minimum(lanes, p.pooling_adders)
    sums = t.convolved if work.frequencies == 1 else t.lines * t.line * work.frequencies
    return StepTimes(
        compute=compute,
        refill=refill,
        groups=groups,
        ways=ways,
        outer_bytes=np.where(outer, weight_bytes, input_bytes),
        inner_bytes=np.where(outer, input_bytes, weight_bytes),
        tile_bytes=t.outputs * t.output_channels * bits / 8,
        outer_unit=np.where(outer, weights, inputs),
        inner_unit=np.where(outer, inputs, weights),
        leave=p.pipeline_depth + _ceil(sums * t.output_channels, lanes),
        fits=(held_bytes(work, t) <= p.buffer_bytes).astype(np.float64),
    )


def held_bytes(work: Work, t: Tilings) -> Floats:
    """Bytes of all chunks that the buffer holds at a time.

    An operand that is loaded again has two places, one in use and one being filled; a kept one has
    a place for each of its chunks and one more, so that the next tile's come in behind the last
    use of these. Chunks that are all there will ever be need no more than themselves.
    """
    chunks, outer = t.input_chunks, t.weights_outer > 0
    kept = t.kept > 0
    outer_loads = t.outer * np.where(kept, chunks, chunks * t.inner)
    outer_places = np.minimum(np.where(kept, chunks, 1) + 1, outer_loads)
    inner_places = np.minimum(2, t.outer * t.inner * chunks)
    weights = t.output_channels * t.input_channels * work.weight_words * work.precision.bits
    inputs = t.stored * t.input_channels * work.stored_bits
    places = np.where(outer, outer_places, inner_places), np.where(outer, inner_places, outer_places)
    return (weights * places[0] + inputs * places[1]) / 8


@dataclass(frozen=True, slots=True)
class Schedule:
    """Cycles of a layer; shape (machines, tilings), infinite where a tiling does not fit.

    Attributes:
        cycles: all of them.
        resources: cycles that each resource is busy, by name, in the order of ``BOUNDS``.
    """

    cycles: Floats
    classes: StepClasses
    times: StepTimes


def schedule(work: Work, t: Tilings, p: Parameters) -> Schedule:
    """Cycles of every tiling on every machine."""
    times, classes = step_times(work, t, p), step_classes(t)
    step = step_length(times, p)
    total = step(1, 1) * classes.both
    total += step(1, 0) * classes.outer
    total += step(0, 1) * classes.leaving
    total += step(0, 0) * classes.inner
    last = np.where(classes.last_leaves > 0, out_time(times, p), 0.0)
    total += np.maximum(times.compute, last)
    total += first_load(times, p) + out_time(times, p)
    fits = (times.fits > 0) & (times.compute < _NEVER)
    return Schedule(np.where(fits, total, np.inf), classes, times)


def step_length(times: StepTimes, p: Parameters) -> Callable[[int, int], Floats]:
    """Length of a step of a class: (outer chunk comes in, tile leaves) -> cycles."""

    def length(outer: int, leaves: int) -> Floats:
        moved = times.inner_bytes + outer * times.outer_bytes + leaves * times.tile_bytes
        unit = times.inner_unit + outer * times.outer_unit
        longest = np.maximum(times.compute, np.ceil(moved / p.dram_bytes_per_cycle))
        longest = np.maximum(longest, unit)
        return np.maximum(longest, times.leave) if leaves else longest

    return length


def first_load(times: StepTimes, p: Parameters) -> Floats:
    """The first chunks of both operands, before anything computes."""
    moved = np.ceil((times.inner_bytes + times.outer_bytes) / p.dram_bytes_per_cycle)
    return np.maximum(moved, times.inner_unit + times.outer_unit)


def out_time(times: StepTimes, p: Parameters) -> Floats:
    """A finished tile on its way out while nothing comes in."""
    return np.maximum(times.leave, np.ceil(times.tile_bytes / p.dram_bytes_per_cycle))
