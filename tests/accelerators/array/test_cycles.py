"""The closed form against the recurrence, step by step."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask
from mlcnn.accelerators.array.bound import Bounds
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import schedule, step_classes
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.winograd import TRANSFORMS
from mlcnn.accelerators.array.work import Work
from mlcnn.workload import ConvLayer, Layer

# A share of the profile's examples: each one searches all tilings of a layer.
SOME = settings(max_examples=settings.default.max_examples // 3)


def _steps(work, tiling, inner_tiles, outer_tiles):
    """(group, outer tile, inner tile, chunk of channels), in the order of execution."""
    channels = work.layer.C // work.layer.G
    chunks = [
        min(tiling.input_channels, channels - first)
        for first in range(0, channels, tiling.input_channels)
    ]
    return [
        (group, outer, inner, index, size, index == len(chunks) - 1)
        for group in range(work.layer.G)
        for outer in range(outer_tiles)
        for inner in range(inner_tiles)
        for index, size in enumerate(chunks)
    ]


class _Recurrence:
    """One layer on one machine, walked step by step with the sizes of the largest tile."""

    def __init__(self, work, machine, tiling, ways):
        self.work, self.machine, self.tiling, self.ways = work, machine, tiling, ways
        self.rows = work.rows.tiles(tiling.rows)
        self.columns = work.columns.tiles(tiling.columns)

    def loads(self, size, outer):
        """DRAM bytes and input unit cycles of the operand of the outer or inner loop."""
        is_weight = outer == self.tiling.weights_outer
        work, machine, tiling = self.work, self.machine, self.tiling
        bits = work.precision.bits
        if is_weight:
            filters = tiling.output_channels * size
            unit = 0
            if work.execution.name == "winograd":
                cost = TRANSFORMS[work.execution.outputs].weight
                unit = max(
                    math.ceil(9 * filters / machine.input_lanes),
                    math.ceil(filters * cost / machine.input_adders),
                )
            return filters * work.layer.kernel_area * bits / 8, unit
        words = tiling.images * self.rows.inputs * self.columns.inputs * size
        unit = math.ceil(words / machine.input_scalers) if work.scaled else 0
        if work.execution.name == "fused":
            boxes = self.rows.additions * self.columns.inputs
            boxes += self.rows.stored * self.columns.additions
            boxes *= tiling.images * size
            unit = max(
                unit,
                math.ceil(words / machine.input_lanes),
                math.ceil(boxes / machine.input_adders),
            )
        if work.execution.name == "winograd":
            tiles = tiling.images * self.rows.positions * self.columns.positions * size
            cost = TRANSFORMS[work.execution.outputs].input
            unit = max(
                unit,
                math.ceil(words / machine.input_lanes),
                math.ceil(tiles * cost / machine.input_adders),
            )
        return words * work.loaded_bits / 8, unit

    def compute(self, size):
        work, machine, tiling = self.work, self.machine, self.tiling
        side = min(max(machine.slices // self.ways, 1), tiling.output_channels)
        turns = -(-tiling.output_channels // side)
        positions = -(-tiling.images * self.rows.positions // self.ways) * self.columns.positions
        refill = -(-machine.multipliers // machine.weight_words)
        per_set = max(turns * max(positions, refill), machine.accumulator_latency)
        if work.taps <= machine.multipliers:
            sets = -(-size // (machine.multipliers // work.taps))
        else:
            sets = size * -(-work.taps // machine.multipliers)
        wide = 2 if work.precision.bits == 8 and work.stored_bits > machine.wide_bits else 1
        return per_set * sets * work.frequencies * wide

    def store(self):
        work, machine, tiling = self.work, self.machine, self.tiling
        sums = tiling.images * self.rows.convolved * self.columns.convolved
        if work.frequencies > 1:
            sums = tiling.images * self.rows.positions * self.columns.positions * work.frequencies
        lanes = machine.output_lanes
        if work.layer.pool is not None and work.execution.name != "fused":
            lanes = min(lanes, machine.pooling_adders or machine.input_adders)
        leave = machine.pipeline_depth + math.ceil(sums * tiling.output_channels / lanes)
        outputs = tiling.images * tiling.rows * tiling.columns * tiling.output_channels
        return outputs * work.precision.bits / 8, leave

    def run(self):
        work, tiling, machine = self.work, self.tiling, self.machine
        places = -(-work.layer.N // tiling.images) * self.rows.tiles * self.columns.tiles
        output_tiles = -(-(work.layer.K // work.layer.G) // tiling.output_channels)
        loops = (places, output_tiles)
        outer_tiles, inner_tiles = loops[::-1] if tiling.weights_outer else loops
        steps = _steps(work, tiling, inner_tiles, outer_tiles)
        held = None  # (group, outer tile) whose outer chunks are kept
        moves = []
        for group, outer, inner, index, size, _ in steps:
            single = tiling.input_channels >= work.layer.C // work.layer.G
            here = (group, outer)
            kept = (tiling.keep or single) and held == here and inner > 0
            parts = [self.loads(size, outer=False)]
            if not kept:
                parts.append(self.loads(size, outer=True))
            if index == 0:
                held = here
            moves.append((sum(p[0] for p in parts), sum(p[1] for p in parts)))
        tile_bytes, leave = self.store()
        bandwidth = machine.dram_bytes_per_cycle
        total = max(math.ceil(moves[0][0] / bandwidth), moves[0][1])
        finished = False
        for at, (_, _, _, _, size, last) in enumerate(steps):
            moved, unit = moves[at + 1] if at + 1 < len(steps) else (0, 0)
            moved += tile_bytes if finished else 0
            total += max(
                self.compute(size), math.ceil(moved / bandwidth), unit, leave if finished else 0
            )
            finished = last
        return total + max(leave, math.ceil(tile_bytes / bandwidth))


@SOME
@given(data=st.data())
def test_closed_form_equals_the_recurrence(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    scaled, alone = data.draw(st.booleans()), data.draw(st.booleans())
    machine = replace(machine, input_scalers=data.draw(st.sampled_from([1, 4, 16])))
    ways_to_run = machine.ways(LayerTask(Layer(layer), scaled, alone))
    work = data.draw(st.sampled_from(ways_to_run))
    t = tilings(work)
    plan = schedule(work, t, Parameters.of((machine,)))
    fitting = np.flatnonzero(np.isfinite(plan.cycles[0]))
    assume(len(fitting))
    for _ in range(8):
        index = int(data.draw(st.sampled_from(fitting.tolist())))
        ways = int(plan.times.ways[0, index])
        expected = _Recurrence(work, machine, t.choices[index], ways).run()
        assert plan.cycles[0, index] == expected, t.choices[index]


@SOME
@given(data=st.data())
def test_the_bound_is_below_the_schedule(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    better = replace(machine, slices=machine.slices * 2, dram_bytes_per_cycle=9.0)
    for work in machine.ways(LayerTask(Layer(layer))):
        t, p = tilings(work), Parameters.of((machine, better))
        cycles = schedule(work, t, p).cycles
        bounds = Bounds(work, p)
        of_tiles = bounds.of_tiles()
        blocks = [bounds.of_tilings(np.array([0, 1]), tile) for tile in range(of_tiles.shape[1])]
        of_tilings = np.concatenate(blocks, axis=1)
        assert np.all(of_tilings <= cycles)
        assert np.array_equal(np.isinf(of_tilings), np.isinf(cycles))
        assert np.all(of_tiles[:, t.tile] <= of_tilings)


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_every_step_is_in_one_class(count, mlcnn):
    layer = ConvLayer("l", N=4, K=8 * count, C=10 * count, H=6, W=6, R=3, S=3)
    t = tilings(Work(layer, mlcnn.precision))
    total = sum(step.count for step in step_classes(t))
    assert np.array_equal(total, t.outer * t.inner * t.input_chunks)
