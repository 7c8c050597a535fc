"""A layer on an array, literally: tile after tile, step after step, each as large as it is.

Written from the description of the machine, in whole numbers, and not from the model: positions are
listed, loops are run, and what a step takes is the recurrence spelled out.
"""

import itertools
import math
from dataclasses import dataclass

import numpy as np

from mlcnn.accelerators.array.bound import Bounds, halvings_of
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import schedule
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.winograd import TRANSFORMS


def every(work, machine):
    """Every tiling with every split of the slices: halvings, tilings, and the schedule."""
    p, t = Parameters.of((machine,)), tilings(work)
    count = halvings_of(p)
    halvings = np.repeat(np.arange(count), len(t.choices))
    some = np.tile(np.arange(len(t.choices)), count)
    return halvings, some, schedule(work, t.take(some), p.take(np.array(0)), halvings)


def splits(plan, some, fitting, choice):
    """One of those that fit: its tiling's index, and its ways and slices of each."""
    index = int(fitting[choice % len(fitting)])
    return index, int(some[index]), int(plan.split.ways[index]), int(plan.split.side[index])


def bounded(work, machine):
    """Bounds of every tiling against its cycles: not above, and infinite where it does not fit."""
    p, t = Parameters.of((machine,)), tilings(work)
    bounds = Bounds(work, p)
    of_tiles = bounds.of_tiles()[0]
    halved, tile = (each.reshape(-1) for each in np.indices((bounds.halvings, len(of_tiles))))
    rows = np.zeros_like(tile)
    of_splits = bounds.of_splits(rows, tile)[np.arange(len(tile)), halved]
    of_tilings = bounds.of_tilings(rows, halved, tile)
    assert np.all(of_splits[:, None] <= of_tilings * (1 + 1e-9))
    halvings, some, plan = every(work, machine)
    bound = of_tilings.reshape(bounds.halvings, -1)[halvings, some]
    assert np.all(bound <= plan.cycles * (1 + 1e-12))
    assert np.array_equal(np.isinf(bound), np.isinf(plan.cycles))
    which = np.repeat(np.arange(len(of_tiles)), np.diff(t.starts))
    assert np.all(of_tiles[which[some]] <= bound * (1 + 1e-9))


def up(number, by):
    return -(-number // by)


def cut(size, part):
    return [range(first, min(first + part, size)) for first in range(0, size, part)]


@dataclass(frozen=True)
class Tile:
    """A tile of positions: images, output rows and output columns."""

    images: range
    rows: range
    columns: range


class Walk:
    """One layer on one machine in one tiling, with so many slices on each of so many ways."""

    block = 1

    def __init__(self, work, machine, tiling, ways, side):
        self.work, self.layer, self.machine, self.tiling = work, work.layer, machine, tiling
        self.ways, self.side, self.how = ways, side, work.execution
        bits = work.precision.bits
        self.lanes = machine.beat_bytes * 8 // bits
        self.groups = self.lanes // machine.multipliers
        self.beat_cycles = max(machine.beat_bytes / machine.dram_bytes_per_cycle, 1)
        self.adders = machine.input_adders / (2 * self.lanes) or 1
        layer = self.layer
        self.places = [
            Tile(*one)
            for one in itertools.product(
                cut(layer.N, tiling.images),
                cut(layer.pooled[0], tiling.rows),
                cut(layer.pooled[1], tiling.columns),
            )
        ]
        self.outputs = cut(layer.K // layer.G, tiling.output_channels)
        self.chunks = cut(layer.C // layer.G, tiling.input_channels)

    # What a tile has along an axis, its padding included.

    def boxes(self, axis, outputs):
        """Box sums, as the addresses that each is made of; plain: single inputs."""
        layer, pool = self.layer, self.layer.pool
        taps = (layer.R, layer.S)[axis]
        stride, dilation, pad = layer.strides[axis], layer.dilations[axis], layer.pads[axis]
        if pool is None:
            starts = [(o * stride - pad, 1) for o in outputs]
        elif self.how.name == "fused":
            first = [(o * pool.strides[axis] - pool.pads[axis]) * stride - pad for o in outputs]
            starts = [(one, pool.kernel[axis]) for one in first]
        else:
            under = {
                o * pool.strides[axis] - pool.pads[axis] + i
                for o in outputs
                for i in range(pool.kernel[axis])
            }
            starts = [(one * stride - pad, 1) for one in under]
        return {
            tuple(start + tap * dilation + i * stride for i in range(window))
            for start, window in starts
            for tap in range(taps)
        }

    def passing(self, tile):
        """Positions that pass the input unit, and their cycles, for one beat of channels."""
        down, along = self.boxes(0, tile.rows), self.boxes(1, tile.columns)
        paired = self.how.name == "fused" and self.how.paired
        rows = down if paired else {one for box in down for one in box}
        columns = {one for box in along for one in box}
        slow = up(self.lanes, max(self.machine.input_scalers, 1)) if self.work.scaled else 1
        cycles = 0
        for row in rows:
            if paired:
                added, done = 0, 1
            else:
                added = sum(row in box[1:] for box in down)
                done = sum(row == box[-1] for box in down) if self.how.name == "fused" else 0
            for column in columns:
                across = sum(column in box[1:] for box in along) if done else 0
                cycles += max(
                    slow, math.ceil(added / self.adders), done * math.ceil(across / self.adders)
                )
        count = len(tile.images)
        return count * len(rows) * len(columns), count * cycles

    def spots(self, tile):
        """Rows of positions of the slices times images, and positions in a row."""
        sizes = len(tile.rows), len(tile.columns)
        if self.how.name == "winograd":
            pool, m = self.layer.pool, self.how.outputs
            if pool is not None:
                sizes = tuple(
                    (size - 1) * pool.strides[axis] + pool.kernel[axis]
                    for axis, size in enumerate(sizes)
                )
            sizes = tuple(up(size, m) for size in sizes)
        return len(tile.images) * sizes[0], sizes[1]

    # What the units take.

    def sets(self, channels):
        taps = self.layer.R * self.layer.S
        if self.how.name == "winograd":
            taps = (self.how.outputs + 2) ** 2
        return up(channels, self.machine.multipliers) * taps

    def sweeps(self):
        if self.work.precision.bits >= 16:
            return 1
        bits = self.work.precision.bits
        if self.how.name == "fused":
            bits += (math.prod(self.layer.pool.kernel) - 1).bit_length()
        return up(bits, self.machine.wide_bits)

    def compute(self, filters, tile, channels):
        """Sets and turns, one after the other: see the recurrence."""
        machine, filters, channels = self.machine, len(filters), len(channels)
        lines, line = self.spots(tile)
        turns, fill = up(filters, self.side), up(min(self.side, filters), self.groups)
        positions = up(lines, self.ways) * line
        pool = self.layer.pool
        if self.how.name == "plain" and pool is not None and math.prod(pool.kernel) > 1:
            positions = math.prod(pool.kernel) * max(positions, machine.accumulator_latency)
        at = fill + 1  # the weights of the first set are in the registers
        sets = self.sets(channels) * self.sweeps() * turns
        for _ in range(sets - 1):
            at += max(positions, fill + 2, up(machine.accumulator_latency, turns))
        return at + positions

    def weights(self, filters, channels):
        """Beats of a chunk of weights, and cycles of the commands."""
        filters, channels = len(filters), len(channels)
        fill = up(min(self.side, filters), self.groups)
        beats = self.sets(channels) * up(filters, self.side) * fill
        if self.how.name != "winograd":
            return beats, beats
        cost = TRANSFORMS[self.how.outputs].weight
        beats = math.ceil(beats * 9 / (self.how.outputs + 2) ** 2)
        return beats, max(beats, up(filters * channels * cost, self.machine.input_adders))

    def inputs(self, tile, channels):
        """Beats of a chunk of inputs, padding among them, and cycles of the commands."""
        words, channels = 1, len(channels)
        if self.how.name == "fused" and self.how.paired and self.work.precision.bits == 8:
            words = 2
        positions, cycles = self.passing(tile)
        blocks = up(channels * words, self.lanes)
        cycles *= blocks
        if self.how.name == "winograd":
            lines, line = self.spots(tile)
            cost = TRANSFORMS[self.how.outputs].input
            transforms = up(lines * line * channels * cost, self.machine.input_adders)
            cycles = max(cycles, transforms)
        return blocks * positions, cycles

    def leaving(self, filters, tile):
        """Beats that a finished tile leaves in, and cycles of that."""
        outputs = len(tile.images) * len(tile.rows) * len(tile.columns)
        each = up(len(filters), min(self.lanes, self.side))
        lines, line = self.spots(tile)
        entries = lines * line * (self.sets(1) if self.how.name == "winograd" else 1)
        return outputs * each, max(entries * each, math.ceil(outputs * each * self.beat_cycles))

    # The loops.

    def steps(self):
        """(filters, tile, channels, weights come in, inputs come in, last chunk)."""
        outer_weights = self.tiling.weights_outer
        kept = self.tiling.keep or len(self.chunks) == 1
        pairs = [(n, p) for n in self.outputs for p in self.places]
        if not outer_weights:
            pairs = [(n, p) for p in self.places for n in self.outputs]
        found = []
        for _ in range(self.layer.G):
            held = None
            for filters, tile in pairs:
                outer = filters if outer_weights else tile
                again = kept and held == outer
                for chunk in self.chunks:
                    weights = not (again and outer_weights)
                    inputs = not (again and not outer_weights)
                    last = chunk is self.chunks[-1]
                    found.append((filters, tile, chunk, weights, inputs, last))
                held = outer
        return found

    def load(self, step):
        """Commands of what a step needs, until when it is there, and its beats of weights."""
        if step is None:
            return 0, 0, 0
        filters, tile, channels, with_weights, with_inputs, _ = step
        beats, taken = self.weights(filters, channels) if with_weights else (0, 0)
        positions, cycles = self.inputs(tile, channels) if with_inputs else (0, 0)
        commands = max(taken + cycles, math.ceil((beats + positions) * self.beat_cycles))
        ready = commands + self.machine.dram_latency
        return commands, ready + (self.machine.input_stages if with_inputs else 0), beats

    def run(self):
        """Cycles of the layer, and beats of weights and of outputs."""
        machine, steps = self.machine, self.steps()
        depth = machine.multiplier_latency + machine.tree_latency + machine.accumulator_latency
        parameters = up(8 * self.layer.K * self.block, machine.beat_bytes)
        total = machine.dram_latency + 4 + machine.write_latency + parameters
        total += math.ceil((self.beat_cycles - 1) * (parameters + 2))
        finished, loaded, stored = None, 0, 0
        for now, then in zip([None, *steps, None], [*steps, None, None], strict=True):
            commands, load, beats = self.load(then)
            compute = 0 if now is None else self.compute(*now[:3])
            leave, loaded = 0, loaded + beats
            if finished is not None:
                out, cycles = self.leaving(*finished)
                leave, stored = max(depth, commands) + machine.output_stages + cycles, stored + out
            total += max(load, compute, leave, 1)
            finished = now[:2] if now is not None and now[5] else None
        return total, loaded + parameters + 2, stored
