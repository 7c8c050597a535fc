"""How long a step of an array takes: the one place that says so.

Four units run side by side. A step starts all of them in the same cycle and ends in the cycle in
which the slowest ends; nothing passes between units inside a step, so that each takes a closed form
of what it is asked for. The search of tilings, the hardware's test bench and its proofs read the
functions of this file. All take whole numbers, or arrays that broadcast.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

__all__ = [
    "CONFIGURATION_BEATS",
    "Hardware",
    "Sets",
    "begin_cycles",
    "command_cycles",
    "issues_of",
    "leave_beats",
    "leave_cycles",
    "load_cycles",
    "sets_in",
    "sets_of",
]

CONFIGURATION_BEATS = 2
"""Beats of a layer's configuration words."""
_PARAMETER_BYTES = 8
"""Bias and scale of an output channel."""

Number = Any
"""An int, or an array of whole numbers."""


@dataclass(frozen=True, slots=True)
class Hardware:
    """The numbers of an array that set how long its units take.

    Attributes:
        slices: that work on different output channels or positions.
        multipliers: of a slice: channels that it takes at a time.
        lanes: channels of a position in a beat, which is what DRAM moves in a cycle.
        beat_bytes: bytes of a beat.
        accumulate: cycles before an accumulator entry can be added to again.
        depth: cycles from the address of an operand to the finished entry.
        input_stages: of the input unit, the write into its buffer among them.
        output_stages: of the output unit, the read of the accumulator among them.
        dram_latency: cycles from the command to the beat.
        write_latency: cycles from a store to its acknowledgement.
    """

    slices: Number
    multipliers: Number
    lanes: Number
    beat_bytes: Number
    accumulate: Number
    depth: Number
    input_stages: Number
    output_stages: Number
    dram_latency: Number
    write_latency: Number

    @property
    def groups(self) -> Number:
        """Slices whose weights a beat holds."""
        return self.lanes // self.multipliers


@dataclass(frozen=True, slots=True)
class Sets:
    """What the array does with one chunk of input channels.

    Attributes:
        words: beats of weights: they fill the registers of all slices of a way once for each set
            and turn.
        fill: beats of one set and turn.
        interval: cycles from one set and turn to the next.
        cycles: of all of it.
        count: sets and turns.
    """

    words: Number
    fill: Number
    interval: Number
    cycles: Number
    count: Number


def sets_of(
    hardware: Hardware,
    filters: Number,
    channels: Number,
    taps: Number,
    positions: Number,
    *,
    ways: Number = 1,
    window: Number = 1,
    sweeps: Number = 1,
) -> Sets:
    """Cycles of the array for a chunk.

    Args:
        hardware: the array.
        filters: output channels of the tile.
        channels: input channels of the chunk.
        taps: of the kernel.
        positions: final outputs of one way, in one channel.
        ways: positions that different slices work on at a time.
        window: outputs of the convolution that a final output is the sum of, where the array adds
            them up; 1 for none.
        sweeps: 2 where an input takes two words.
    """
    side = np.minimum(hardware.slices // ways, filters)
    turns = _up(filters, hardware.slices // ways)
    fill = _up(side, hardware.groups)
    issues = issues_of(hardware, positions, window)
    count = _up(channels, hardware.multipliers) * taps * sweeps * turns
    return sets_in(hardware, count, turns, fill, issues)


def sets_in(hardware: Hardware, count: Number, turns: Number, fill: Number, issues: Number) -> Sets:
    """The same for sets and turns that are counted otherwise.

    Args:
        hardware: the array.
        count: sets and turns.
        turns: groups of output channels that take turns on the slices.
        fill: beats of weights of one set and turn.
        issues: cycles in which one of them has operands.
    """
    interval = np.maximum(issues, np.maximum(fill + 2, _up(hardware.accumulate, turns)))
    cycles = (fill + 1) + (count - 1) * interval + issues
    return Sets(count * fill, fill, interval, cycles, count)


def issues_of(hardware: Hardware, positions: Number, window: Number = 1) -> Number:
    """Cycles in which one set and turn has operands.

    Args:
        hardware: the array.
        positions: final outputs of one way, in one channel.
        window: see ``sets_of``. An entry comes back after as many cycles as there are positions,
            so that too few are padded.
    """
    together = window * np.maximum(positions, hardware.accumulate)
    return np.where(np.asarray(window) > 1, together, np.asarray(positions))


def command_cycles(
    weights: Number, inputs: Number, beats: Number, beat_cycles: Number = 1.0
) -> Number:
    """Cycles of the command bus for what a step loads.

    Args:
        weights: beats.
        inputs: cycles of the positions of the input, padding among them.
        beats: of these.
        beat_cycles: that DRAM takes for a beat, 1 or more.
    """
    weights = np.asarray(weights)
    return np.maximum(weights + inputs, np.ceil((weights + beats) * beat_cycles))


def load_cycles(hardware: Hardware, weights: Number, inputs: Number) -> Number:
    """Cycles until all that a step loads is written.

    Args:
        hardware: the array.
        weights: beats.
        inputs: cycles of the command bus for positions of the input, padding among them.
    """
    after = np.where(np.asarray(inputs) > 0, hardware.input_stages, 0)
    commands = np.asarray(weights) + inputs
    return np.where(commands > 0, commands + hardware.dram_latency + after, 0)


def leave_beats(hardware: Hardware, positions: Number, filters: Number, ways: Number = 1) -> Number:
    """Beats that a finished tile leaves in.

    A bank of accumulators gives one word a cycle, so that a beat holds what the slices of a way
    have of one position, or as many channels as it has lanes.

    Args:
        hardware: the array.
        positions: final outputs in a channel.
        filters: output channels of the tile.
        ways: positions that different slices work on at a time.
    """
    return positions * _up(filters, np.minimum(hardware.lanes, hardware.slices // ways))


def leave_cycles(hardware: Hardware, commands: Number, beats: Number) -> Number:
    """Cycles until the last beat of a finished tile is stored.

    Args:
        hardware: the array.
        commands: of the step's loads, which go first.
        beats: see ``leave_beats``.
    """
    return np.maximum(hardware.depth, commands) + hardware.output_stages + beats


def begin_cycles(hardware: Hardware, filters: Number) -> Number:
    """Cycles of a layer beside its steps.

    The acknowledgement of the last store, the configuration, and the command cycles of bias and
    scale.

    Args:
        hardware: the array.
        filters: output channels of the layer.
    """
    burst = _up(_PARAMETER_BYTES * np.asarray(filters), hardware.beat_bytes)
    started = hardware.dram_latency + CONFIGURATION_BEATS + 2
    return started + hardware.write_latency + burst


def _up(number: Number, by: Number) -> Number:
    """The quotient, rounded up."""
    return -(-np.asarray(number) // by)
