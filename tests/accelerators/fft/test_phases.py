"""The closed form against a walk, phase by phase; and the bounds that no layer can pass."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask
from mlcnn.accelerators.array import best_of
from mlcnn.accelerators.array.bound import Bounds
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import schedule
from mlcnn.accelerators.array.parameters import Parameters
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


class _Walk:
    """A layer on an engine, step by step; all tiles as large as the largest."""

    def __init__(self, engine, work, tiling, ways):
        self.engine, self.work, self.tiling, self.ways = engine, work, tiling, ways
        self.block = work.execution.points
        self.rows = work.rows.tiles(tiling.rows)
        self.columns = work.columns.tiles(tiling.columns)
        self.bytes = work.precision.bits / 8

    def transform(self, size):
        """Bytes and cycles of a chunk of inputs through lanes, box sums and core."""
        array, images = self.engine.array, self.tiling.images
        words = images * self.rows.inputs * self.columns.inputs * size * self.block
        blocks = images * self.rows.stored * self.columns.stored * size
        boxes = self.rows.additions * self.columns.inputs
        boxes += self.rows.stored * self.columns.additions
        unit = [
            _phase(self.engine, self.block, blocks),
            math.ceil(words / array.input_lanes),
            math.ceil(boxes * images * size * self.block / array.input_adders),
        ]
        if self.work.scaled:
            unit.append(math.ceil(words / array.input_scalers))
        return words * self.bytes, max(unit)

    def weights(self, size):
        """Bytes of a chunk of weights: they come as spectra, of as many words as the columns."""
        taps = self.work.layer.R * self.work.layer.S
        return self.tiling.output_channels * size * taps * self.block * self.bytes, 0

    def multiply(self, size):
        """One product of one bin after the other, set by set, turn by turn."""
        array, layer = self.engine.array, self.work.layer
        taps = layer.R * layer.S
        side = min(max(array.slices // self.ways, 1), self.tiling.output_channels)
        lines = -(-self.tiling.images * self.rows.positions // self.ways)
        refill = -(-array.multipliers // array.weight_words)
        fitting = max(array.multipliers // taps, 1)
        sets = -(-size // fitting) * -(-taps // array.multipliers)
        complex_bins = self.block // 2 - 1
        products = 2 + self.engine.core.products * complex_bins
        grown = self.work.precision.is_integer * int(math.log2(self.block))
        if self.work.execution.fused and grown:
            grown += (math.prod(layer.pool.kernel) - 1).bit_length()
        wide = self.work.precision.is_integer and self.work.precision.bits + grown > array.wide_bits
        cycles = 0
        for _ in range(products * sets * (2 if wide else 1)):
            turns = 0
            for _ in range(0, self.tiling.output_channels, side):
                turns += max(lines * self.columns.positions, refill)
            cycles += max(turns, array.accumulator_latency)
        return cycles

    def invert(self):
        """Bytes of a finished tile, cycles out of the accumulators, and through the core."""
        array, layer = self.engine.array, self.work.layer
        images, channels = self.tiling.images, self.tiling.output_channels
        blocks = images * self.rows.positions * self.columns.positions * channels
        words = {3: 2 + 3 * (self.block // 2 - 1), 4: self.block}[self.engine.core.products]
        lanes = array.output_lanes
        if layer.pool is not None and not self.work.execution.fused:
            lanes = min(lanes, array.pooling_adders or array.input_adders)
        outputs = images * self.tiling.rows * self.tiling.columns * channels * self.block
        leave = array.pipeline_depth + math.ceil(blocks * words / lanes)
        core = array.pipeline_depth + _phase(self.engine, self.block, blocks)
        return outputs * self.bytes, leave, core

    def run(self):
        layer, tiling = self.work.layer, self.tiling
        bandwidth = self.engine.array.dram_bytes_per_cycle
        channels = layer.C // layer.G
        chunks = [
            min(tiling.input_channels, channels - first)
            for first in range(0, channels, tiling.input_channels)
        ]
        places = -(-layer.N // tiling.images) * self.rows.tiles * self.columns.tiles
        filters = -(-(layer.K // layer.G) // tiling.output_channels)
        outer, inner = (filters, places) if tiling.weights_outer else (places, filters)
        steps = [
            (n, size, size is chunks[-1] and n == len(chunks) - 1, i == 0 or not self.kept(chunks))
            for _ in range(layer.G * outer)
            for i in range(inner)
            for n, size in enumerate(chunks)
        ]
        loads = [self.load(size, fresh) for _, size, _, fresh in steps]
        store, leave, core = self.invert()
        total = max(math.ceil(loads[0][0] / bandwidth), loads[0][1])
        finished = False
        for at, (_, size, last, _) in enumerate(steps):
            moved, unit = loads[at + 1] if at + 1 < len(steps) else (0, 0)
            if finished:
                moved, unit = moved + store, unit + core
            phases = self.multiply(size), unit, math.ceil(moved / bandwidth)
            total += max(*phases, leave if finished else 0)
            finished = last
        return total + max(leave, core, math.ceil(store / bandwidth))

    def kept(self, chunks):
        return self.tiling.keep or len(chunks) == 1

    def load(self, size, fresh):
        """The next chunk: the operand of the outer loop where it is not kept, and the other."""
        operands = [self.weights(size), self.transform(size)]
        if not self.tiling.weights_outer:
            operands.reverse()
        wanted = operands if fresh else operands[1:]
        return sum(w[0] for w in wanted), sum(w[1] for w in wanted)


@SOME
@given(data=st.data())
def test_closed_form_equals_the_walk(data, circulant_layers, engines):
    layer, engine = data.draw(circulant_layers), data.draw(engines)
    works = _spectral(engine, layer, scaled=data.draw(st.booleans()))
    work = data.draw(st.sampled_from(works))
    t = tilings(work)
    plan = schedule(work, t, Parameters.of((engine.array,)))
    fitting = np.flatnonzero(np.isfinite(plan.cycles[0]))
    assume(len(fitting))
    for _ in range(6):
        index = int(data.draw(st.sampled_from(fitting.tolist())))
        ways = int(plan.times.ways[0, index])
        walked = _Walk(engine, work, t.choices[index], ways).run()
        assert plan.cycles[0, index] == walked, t.choices[index]


@SOME
@given(data=st.data())
def test_the_search_rules_out_nothing_that_is_faster(data, circulant_layers, engines):
    layer, engine = data.draw(circulant_layers), data.draw(engines)
    for work in _spectral(engine, layer):
        t, p = tilings(work), Parameters.of((engine.array,))
        cycles, bounds = schedule(work, t, p).cycles, Bounds(work, p)
        of_tiles = bounds.of_tiles()
        blocks = [bounds.of_tilings(np.array([0]), tile) for tile in range(of_tiles.shape[1])]
        of_tilings = np.concatenate(blocks, axis=1)
        assert np.all(of_tilings <= cycles)
        assert np.array_equal(np.isinf(of_tilings), np.isinf(cycles))
        assert np.all(of_tiles[:, t.tile] <= of_tilings)


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
        "slices buffer_bytes dram_bytes_per_cycle accumulator_entries input_windows weight_words "
        "input_adders input_lanes wide_bits"
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
                transformed += images * down[4] * along[4] * nest.C * loads
                inverted += images * down[1] * along[1] * nest.K
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
