"""The closed form against a walk, phase by phase; and the bounds that no layer can pass."""

import math
from contextlib import contextmanager
from dataclasses import replace

import numpy as np
import pytest
from accelerators.array.walk import Walk, bounded, every, splits
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask
from mlcnn.accelerators.array import PLAIN, Boxes, best_of
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.fft import Spectral, activity
from mlcnn.errors import InfeasibleError

# A share of the profile's examples: each one searches all tilings of a layer.
SOME = settings(max_examples=settings.default.max_examples // 3)


def _spectral(engine, layer, *, scaled=False):
    works = engine.ways(LayerTask(layer, scaled))
    return [work for work in works if isinstance(work.execution, Spectral)]


def _phase(engine, block, blocks):
    """Words enter the core one group after the other, pass after pass; then it runs empty."""
    core, cycles, points = engine.core, 0, engine.core.words
    while True:
        for _ in range(0, blocks * block, core.words):
            cycles += 1
        if points >= block:
            break
        points *= 2
    return cycles + core.level_latency * int(math.log2(block))


class _Walk(Walk):
    """A layer on an engine, step by step: inputs and finished tiles take turns at the core."""

    def __init__(self, engine, work, tiling, ways, side):
        super().__init__(work, engine.array, tiling, ways, side)
        self.engine, self.block = engine, work.execution.points
        self.bins = self.block // 2 - 1
        self.fused = work.execution.fused

    @contextmanager
    def as_array(self, how):
        """Within it, what the array does in another way."""
        before, self.how = self.how, how
        yield super()
        self.how = before

    def boxes(self, axis, outputs):
        """Box sums in front of the core where it is fused, as the array forms them."""
        with self.as_array(Boxes() if self.fused else self.how) as array:
            return array.boxes(axis, outputs)

    def passing(self, tile):
        with self.as_array(Boxes() if self.fused else self.how) as array:
            return array.passing(tile)

    def sets(self, channels):
        """Of each real product of a bin."""
        taps = self.layer.R * self.layer.S * (2 + self.engine.core.products * self.bins)
        return -(-channels // self.machine.multipliers) * taps

    def sweeps(self):
        if not self.work.precision.is_integer:
            return 1
        bits = self.work.precision.bits + int(math.log2(self.block))
        if self.fused:
            bits += (math.prod(self.layer.pool.kernel) - 1).bit_length()
        return -(-bits // self.machine.wide_bits)

    def compute(self, filters, tile, channels):
        """A pool that is not in front accumulates, as in any array."""
        with self.as_array(self.how if self.fused else PLAIN) as array:
            return array.compute(filters, tile, channels)

    def weights(self, filters, channels):
        """They come as spectra, of as many words as the columns."""
        fill = -(-min(self.side, len(filters)) // self.groups)
        beats = self.sets(len(channels)) * -(-len(filters) // self.side) * fill
        beats = -(-beats * self.block // (2 + self.engine.core.products * self.bins))
        return beats, beats

    def inputs(self, tile, channels):
        """Beats of a chunk of blocks, and cycles of box sums and core."""
        positions, cycles = self.passing(tile)
        blocks = -(-len(channels) * self.block // self.lanes)
        stored = len(tile.images) * math.prod(
            len(self.boxes(axis, outputs)) for axis, outputs in enumerate((tile.rows, tile.columns))
        )
        core = _phase(self.engine, self.block, stored * len(channels))
        return blocks * positions, max(blocks * cycles, core)

    def leaving(self, filters, tile):
        """Beats of a finished tile; cycles of its sums out of the accumulators, and of the core."""
        outputs = len(tile.images) * len(tile.rows) * len(tile.columns)
        words = {3: 2 + 3 * self.bins, 4: self.block}[self.engine.core.products]
        entries = outputs * words * -(-len(filters) // min(self.lanes, self.side))
        stores = outputs * -(-len(filters) * self.block // self.lanes)
        core = _phase(self.engine, self.block, outputs * len(filters))
        return stores, max(entries, math.ceil(stores * self.beat_cycles), core)


@SOME
@given(data=st.data())
def test_closed_form_equals_the_walk(data, circulant_layers, engines):
    layer, engine = data.draw(circulant_layers), data.draw(engines)
    works = _spectral(engine, layer, scaled=data.draw(st.booleans()))
    work = data.draw(st.sampled_from(works))
    _, some, plan = every(work, engine.array)
    fitting = np.flatnonzero(np.isfinite(plan.cycles))
    assume(len(fitting))
    for _ in range(6):
        index, tiling, ways, side = splits(plan, some, fitting, data.draw(st.integers(0, 10**6)))
        chosen = tilings(work).choices[tiling]
        walked = _Walk(engine, work, chosen, ways, side).run()[0]
        assert plan.cycles[index] == walked, (chosen, ways, side)


@SOME
@given(data=st.data())
def test_the_search_rules_out_nothing_that_is_faster(data, circulant_layers, engines):
    layer, engine = data.draw(circulant_layers), data.draw(engines)
    for work in _spectral(engine, layer):
        bounded(work, engine.array)


@SOME
@given(data=st.data())
def test_no_layer_is_faster_than_multipliers_core_and_bandwidth(
    data, circulant_layers, engines, technology
):
    layer, engine = data.draw(circulant_layers), data.draw(engines)
    array, core = engine.array, engine.core
    assume(engine.takes(layer) is None)
    cost = engine.cost(LayerTask(layer), technology)
    assert cost.cycles >= cost.traffic.dram / array.dram_bytes_per_cycle
    assume("spectral" in cost.execution)
    assert 0 < cost.utilisation <= 1
    block, nest = cost.mapping["block"], layer.nest
    rows, columns = nest.pooled if cost.fused or nest.pool is None else (0, 0)
    filters = -(-nest.K // nest.G // block) * nest.G
    channels = -(-nest.C // nest.G // block)
    bins = 2 + core.products * (block // 2 - 1)
    products = nest.N * filters * channels * nest.R * nest.S * rows * columns * bins
    assert cost.cycles >= products / array.multiplications_per_cycle
    blocks = cost.mapping["transformed"] + cost.mapping["inverted"]
    assert cost.cycles >= core.passes(block) * blocks * block / core.words


def _least(engine, layer):
    try:
        return best_of(engine.ways(LayerTask(layer)), engine.array, 0.0).cycles
    except InfeasibleError:
        return math.inf


@SOME
@given(data=st.data())
def test_more_of_anything_is_never_slower(data, circulant_layers, engines):
    layer, engine = data.draw(circulant_layers), data.draw(engines)
    names = (
        "slices input_bytes weight_bytes dram_bytes_per_cycle accumulator_entries most_ways "
        "input_adders row_buffer_bytes"
    )
    field = data.draw(st.sampled_from([*names.split(), "words"]))
    if field == "words":
        better = replace(engine, core=replace(engine.core, words=2 * engine.core.words))
    else:
        more = replace(engine.array, **{field: 2 * getattr(engine.array, field)})
        better = replace(engine, array=more)
    assert _least(better, layer) <= _least(engine, layer)


@SOME
@given(data=st.data())
def test_a_batch_costs_between_one_image_and_as_many(data, circulant_layers, engines):
    layer, engine = data.draw(circulant_layers), data.draw(engines)
    images = data.draw(st.sampled_from([2, 4, 5]))
    one, batch = (
        _least(engine, replace(layer, nest=replace(layer.nest, N=n))) for n in (1, images)
    )
    assume(math.isfinite(one))
    assert one <= batch <= images * one


@SOME
@given(data=st.data())
def test_blocks_that_pass_the_core(data, circulant_layers, engines):
    """Tile by tile, each with the positions that it has."""
    layer, engine = data.draw(circulant_layers), data.draw(engines)
    work = data.draw(st.sampled_from(_spectral(engine, layer)))
    try:
        chosen = best_of((work,), engine.array)
    except InfeasibleError:
        assume(condition=False)
    tiling, nest = chosen.tiling, work.layer
    filters = -(-(nest.K // nest.G) // tiling.output_channels)
    kept = tiling.keep or tiling.input_channels >= nest.C // nest.G
    loads = 1 if kept and not tiling.weights_outer else filters
    transformed = inverted = places = 0
    for first in range(0, nest.N, tiling.images):
        images = len(range(first, min(first + tiling.images, nest.N)))
        for row in _ranges(nest.pooled[0], tiling.rows):
            for column in _ranges(nest.pooled[1], tiling.columns):
                down = work.execution.tile(work.rows, row)
                along = work.execution.tile(work.columns, column)
                transformed += images * down[2] * along[2] * nest.C * loads
                inverted += images * len(row) * len(column) * nest.K
                places += 1
    done = activity(chosen, work.execution, engine.array)
    assert (done.transformed, done.inverted) == (transformed, inverted)
    assert done.weights == nest.weights * (1 if kept and tiling.weights_outer else places)


def _ranges(size, part):
    return [range(first, min(first + part, size)) for first in range(0, size, part)]


@pytest.mark.parametrize(("words", "passes"), [(2, 4), (4, 3), (8, 2), (16, 1), (64, 1)])
def test_larger_blocks_by_recursion(engine, words, passes):
    core = replace(engine.core, words=words)
    assert core.passes(16) == passes
    assert core.cycles(np.array([6.0]), 16) == core.fill(16) + passes * -(-96 // words)
