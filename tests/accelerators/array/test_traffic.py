"""Bytes against a walk that touches every address."""

import itertools

import numpy as np
from accelerators.array.walk import every, splits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask
from mlcnn.accelerators.array import operations, transfers
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.workload import Layer

# A share of the profile's examples: each one searches all tilings of a layer.
SOME = settings(max_examples=settings.default.max_examples // 3)


def _cut(size, part):
    return [range(first, min(first + part, size)) for first in range(0, size, part)]


class _Walk:
    """Runs a layer tile by tile; counts words and beats by the addresses that it touches."""

    def __init__(self, work, tiling, machine, side):
        self.work, self.tiling, self.machine, self.side = work, tiling, machine, side
        self.layer = work.layer
        self.fused = work.execution.name == "fused"
        self.lanes = machine.beat_bytes * 8 // work.precision.bits
        names = "weight input output stored input_read weight_read sums products boxes pairs"
        self.count = dict.fromkeys(names.split(), 0)

    def under(self, axis, outputs):
        """Outputs of the convolution, or positions of the box sums, behind some outputs."""
        pool = self.layer.pool
        if pool is None or self.fused:
            return sorted(outputs)
        size = (self.layer.P, self.layer.Q)[axis]
        windows = [pool.windows(size, axis)[one] for one in outputs]
        return sorted({w.start + i for w in windows for i in range(w.length)})

    def step(self, axis):
        pool = self.layer.pool
        return self.layer.strides[axis] * (pool.strides[axis] if self.fused else 1)

    def tap(self, axis, position, tap):
        """Address along an axis, in inputs or in box sums."""
        layer = self.layer
        lead = layer.pads[axis]
        if self.fused:
            lead += layer.pool.pads[axis] * layer.strides[axis]
        return position * self.step(axis) - lead + tap * layer.dilations[axis]

    def raw(self, axis, address):
        """Valid inputs behind an address."""
        size = (self.layer.H, self.layer.W)[axis]
        window = self.layer.pool.kernel[axis] if self.fused else 1
        inside = [address + i * self.layer.strides[axis] for i in range(window)]
        return [one for one in inside if 0 <= one < size]

    def tile_words(self, images, rows, columns):
        """Words from DRAM and words stored, of one channel; additions that form them: all, and
        those along the height alone."""
        layer, paired = self.layer, self.fused and self.work.execution.paired
        height = {self.tap(0, p, r) for p in rows for r in range(layer.R)}
        width = {self.tap(1, q, s) for q in columns for s in range(layer.S)}
        stored = [(h, w) for h in height for w in width]
        loaded = {
            (n, a, b)
            for n in images
            for h, w in stored
            for a in ([h] if paired and self.raw(0, h) else [] if paired else self.raw(0, h))
            for b in self.raw(1, w)
        }
        if not self.fused:  # padding is not stored
            stored = [(h, w) for h, w in stored if self.raw(0, h) and self.raw(1, w)]
        columns_in = {b for w in width for b in self.raw(1, w)}
        vertical = 0 if paired else sum(max(len(self.raw(0, h)) - 1, 0) for h in height)
        along = sum(max(len(self.raw(1, w)) - 1, 0) for w in width)
        vertical, count = vertical * len(columns_in), len(images)
        boxes = vertical + len({h for h, _ in stored}) * along
        return len(loaded), count * len(stored), count * boxes, count * vertical

    def sets(self, channels):
        return -(-channels // self.machine.multipliers) * self.layer.R * self.layer.S

    def run(self):
        layer, tiling = self.layer, self.tiling
        channels, filters = layer.C // layer.G, layer.K // layer.G
        height, width = layer.pooled
        places = list(
            itertools.product(
                _cut(layer.N, tiling.images),
                _cut(height, tiling.rows),
                _cut(width, tiling.columns),
            )
        )
        outputs = _cut(filters, tiling.output_channels)
        chunks = _cut(channels, tiling.input_channels)
        pairs = [(o, i) for o in outputs for i in places]
        if not tiling.weights_outer:
            pairs = [(o, i) for i in places for o in outputs]
        for _ in range(layer.G):
            held = None
            for output, place in pairs:
                outer = output if tiling.weights_outer else place
                kept = held == outer and (tiling.keep or len(chunks) == 1)
                self.tile(output, place, chunks, kept)
                held = outer
        return self.count

    def tile(self, output, place, chunks, kept):
        layer, tiling, count, machine = self.layer, self.tiling, self.count, self.machine
        images, rows, columns = place
        turns = -(-len(output) // self.side)
        fill = -(-min(self.side, len(output)) // (self.lanes // machine.multipliers))
        window = 1
        if layer.pool is not None and not self.fused:
            window = layer.pool.kernel[0] * layer.pool.kernel[1]
        spots = len(images) * len(rows) * len(columns) * window
        loaded, stored, boxes, pairs = self.tile_words(
            images, self.under(0, rows), self.under(1, columns)
        )
        wide = 2 if self.work.stored_bits > machine.wide_bits and self.fused else 1
        words = 2 if self.fused and self.work.execution.paired and self.lanes == 64 else 1
        for chunk in chunks:
            channels = -(-len(chunk) // machine.multipliers) * machine.multipliers
            beats = self.sets(len(chunk)) * turns * fill
            if not (kept and tiling.weights_outer):
                count["weight"] += beats
            if not (kept and not tiling.weights_outer):
                count["input"] += loaded * -(-len(chunk) * words // self.lanes)
                count["stored"] += stored * channels * wide
                count["boxes"] += boxes * len(chunk)
                count["pairs"] += pairs * len(chunk)
            count["weight_read"] += beats * wide
            # Every turn has its own pass over the words of all positions and taps.
            words_read = channels * layer.R * layer.S
            count["input_read"] += words_read * spots * turns * wide
            count["sums"] += len(output) * spots * self.sets(len(chunk)) * wide
            count["products"] += len(output) * len(chunk) * layer.kernel_area * spots * wide
        leaving = len(images) * len(rows) * len(columns)
        count["output"] += leaving * -(-len(output) // min(self.lanes, self.side))


@SOME
@given(data=st.data())
def test_bytes_equal_a_walk_over_every_address(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    alone = data.draw(st.booleans())
    work = data.draw(st.sampled_from(machine.ways(LayerTask(Layer(layer), sole_consumer=alone))))
    _, some, plan = every(work, machine)
    fitting = np.flatnonzero(np.isfinite(plan.cycles))
    assume(len(fitting))
    for _ in range(2):
        index, number, ways, side = splits(plan, some, fitting, data.draw(st.integers(0, 10**6)))
        tiling = tilings(work).choices[number]
        walked = _Walk(work, tiling, machine, side).run()
        moved = transfers(work, tiling, machine, ways, side)
        beat, bits = machine.beat_bytes, work.precision.bits
        word = machine.wide_bits / 8 if bits == 8 else bits / 8
        assert moved.dram_input == walked["input"] * beat
        assert moved.dram_output == walked["output"] * beat
        assert moved.dram == plan.dram_bytes[index]
        if work.execution.name == "winograd":
            continue  # transformed on the way in: inside the chip nothing has its own address
        parameters = -(-8 * layer.K // beat) + 2
        assert moved.dram_weight == (walked["weight"] + parameters) * beat
        assert moved.weight_written == walked["weight"] * beat
        assert moved.weight_read == walked["weight_read"] * beat
        assert moved.input_written == walked["stored"] * word
        assert moved.input_read == walked["input_read"] * word
        assert moved.partial_sum_written == moved.partial_sum_read == walked["sums"] * 4
        done = operations(work, tiling, machine, ways, side)
        assert done.multiplications == walked["products"]
        assert done.accumulations == walked["sums"]
        assert done.input_additions == walked["boxes"]
        assert moved.row_buffer == 2 * walked["pairs"] * work.row_bits / 8
