"""Bytes against a walk that touches every address."""

import itertools

import numpy as np
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask
from mlcnn.accelerators.array import operations, transfers
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import schedule
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.workload import Layer

# A share of the profile's examples: each one searches all tilings of a layer.
SOME = settings(max_examples=settings.default.max_examples // 3)


def _cut(size, part):
    return [range(first, min(first + part, size)) for first in range(0, size, part)]


class _Walk:
    """Runs a layer tile by tile; counts words by the addresses that it touches."""

    def __init__(self, work, tiling, machine, ways):
        self.work, self.tiling, self.machine, self.ways = work, tiling, machine, ways
        self.layer = work.layer
        self.fused = work.execution.name == "fused"
        names = "weight input output stored input_read weight_read sums products boxes pairs"
        self.count = dict.fromkeys(names.split(), 0)

    def convolved(self, rows, columns):
        """Positions of the array for a tile of outputs."""
        pool = self.layer.pool
        if pool is None or self.fused:
            return list(rows), list(columns)
        sizes = self.layer.P, self.layer.Q
        found = []
        for axis, outputs in enumerate((rows, columns)):
            windows = pool.windows(sizes[axis], axis)
            touched = {w.start + i for o in outputs for w in [windows[o]] for i in range(w.length)}
            found.append(sorted(touched))
        return found

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
        places = itertools.product(height, width)
        stored = [(h, w) for h, w in places if self.raw(0, h) and self.raw(1, w)]
        loaded = {
            (n, a, b)
            for n in images
            for h, w in stored
            for a in ([h] if paired else self.raw(0, h))
            for b in self.raw(1, w)
        }
        lines = {h for h, _ in stored}
        halves = {(h, b) for h, w in stored for b in self.raw(1, w)}
        vertical = sum(0 if paired else len(self.raw(0, h)) - 1 for h, _ in halves)
        along = len(lines) * sum(len(self.raw(1, w)) - 1 for w in {w for _, w in stored})
        count = len(images)
        return len(loaded), count * len(stored), count * (vertical + along), count * vertical

    def window_words(self, images, rows, columns):
        """Words that window registers take for one channel, over all sets of its taps."""
        layer = self.layer
        taps = list(itertools.product(range(layer.R), range(layer.S)))
        together = self.machine.multipliers
        total = 0
        for first in range(0, len(taps), together):
            some = taps[first : first + together]
            for _, p in itertools.product(images, rows):
                held = set()
                for q in columns:
                    now = {(self.tap(0, p, r), self.tap(1, q, s)) for r, s in some}
                    total += len(now - held) if len(taps) > 1 else len(now)
                    held = now
        return total

    def sets(self, channels):
        taps = self.layer.kernel_area
        if taps <= self.machine.multipliers:
            return -(-channels // (self.machine.multipliers // taps))
        return channels * -(-taps // self.machine.multipliers)

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
        layer, tiling, count = self.layer, self.tiling, self.count
        images, rows, columns = place
        positions = self.convolved(rows, columns)
        side = max(self.machine.slices // self.ways, 1)
        turns = -(-len(output) // side)
        spots = len(images) * len(positions[0]) * len(positions[1])
        loaded, stored, boxes, pairs = self.tile_words(images, *positions)
        reads = self.window_words(images, *positions)
        wide = 2 if self.work.stored_bits > self.machine.wide_bits and self.fused else 1
        for chunk in chunks:
            weights = len(output) * len(chunk) * layer.kernel_area
            if not (kept and tiling.weights_outer):
                count["weight"] += weights
            if not (kept and not tiling.weights_outer):
                count["input"] += loaded * len(chunk)
                count["stored"] += stored * len(chunk)
                count["boxes"] += boxes * len(chunk)
                count["pairs"] += pairs * len(chunk)
            count["weight_read"] += weights
            count["input_read"] += reads * len(chunk) * turns * wide
            count["sums"] += len(output) * spots * self.sets(len(chunk)) * wide
            count["products"] += weights * spots * wide
        count["output"] += len(output) * len(images) * len(rows) * len(columns)


@SOME
@given(data=st.data())
def test_bytes_equal_a_walk_over_every_address(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    alone = data.draw(st.booleans())
    work = data.draw(st.sampled_from(machine.ways(LayerTask(Layer(layer), sole_consumer=alone))))
    t = tilings(work)
    plan = schedule(work, t, Parameters.of((machine,)))
    fitting = np.flatnonzero(np.isfinite(plan.cycles[0]))
    assume(len(fitting))
    for _ in range(2):
        index = int(data.draw(st.sampled_from(fitting.tolist())))
        tiling, ways = t.choices[index], int(plan.times.ways[0, index])
        walked = _Walk(work, tiling, machine, ways).run()
        moved = transfers(work, tiling, machine, ways)
        word, stored = work.precision.bits / 8, work.stored_bits / 8
        assert moved.dram_weight == walked["weight"] * word
        assert moved.dram_input == walked["input"] * work.loaded_bits / 8
        assert moved.dram_output == walked["output"] * word
        if work.execution.name == "winograd":
            continue  # transformed on the way in: inside the chip nothing has its own address
        assert moved.weight_written == walked["weight"] * word
        assert moved.weight_read == walked["weight_read"] * word
        assert moved.input_written == walked["stored"] * stored
        assert moved.input_read == walked["input_read"] * stored
        assert moved.partial_sum_written == moved.partial_sum_read == walked["sums"] * 4
        done = operations(work, tiling, machine, ways)
        assert done.multiplications == walked["products"]
        assert done.accumulations == walked["sums"]
        assert done.input_additions == walked["boxes"]
        assert moved.row_buffer == 2 * walked["pairs"] * stored
