"""The closed form against a walk, step by step."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators.array.walk import Walk, every
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask, Precision
from mlcnn.accelerators.array import Boxes, transfers
from mlcnn.accelerators.array.bound import Bounds
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import passing_cycles
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.work import Work
from mlcnn.workload import ConvLayer, Layer, Pool

# A share of the profile's examples: each one searches all tilings of a layer.
SOME = settings(max_examples=settings.default.max_examples // 3)


@SOME
@given(data=st.data())
def test_closed_form_equals_the_walk(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    scaled, alone = data.draw(st.booleans()), data.draw(st.booleans())
    machine = replace(machine, input_scalers=data.draw(st.sampled_from([1, 4, 16, 64])))
    ways_to_run = machine.ways(LayerTask(Layer(layer), scaled, alone))
    work = data.draw(st.sampled_from(ways_to_run))
    _, some, plan = every(work, machine)
    fitting = np.flatnonzero(np.isfinite(plan.cycles))
    assume(len(fitting))
    t = tilings(work)
    for _ in range(8):
        index = int(data.draw(st.sampled_from(fitting.tolist())))
        tiling = t.choices[int(some[index])]
        ways, side = int(plan.split.ways[index]), int(plan.split.side[index])
        cycles, weights, stored = Walk(work, machine, tiling, ways, side).run()
        assert plan.cycles[index] == cycles, (tiling, ways, side)
        moved = transfers(work, tiling, machine, ways, side)
        assert moved.dram_weight == weights * machine.beat_bytes
        assert moved.dram_output == stored * machine.beat_bytes
        assert plan.dram_bytes[index] == moved.dram


@SOME
@given(data=st.data())
def test_the_bound_is_below_the_schedule(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    better = replace(machine, slices=machine.slices * 2, dram_bytes_per_cycle=9.0)
    for work in machine.ways(LayerTask(Layer(layer))):
        t, p = tilings(work), Parameters.of((machine, better))
        bounds = Bounds(work, p)
        of_tiles = bounds.of_tiles()
        for row, one in enumerate((machine, better)):
            shape = bounds.halvings, of_tiles.shape[1]
            halved, tile = (each.reshape(-1) for each in np.indices(shape))
            of_tilings = bounds.of_tilings(np.full_like(tile, row), halved, tile)
            found = of_tilings.reshape(bounds.halvings, -1)
            of_splits = bounds.of_splits(np.full_like(tile, row), tile)[
                np.arange(len(tile)), halved
            ]
            assert np.all(of_splits[:, None] <= of_tilings * (1 + 1e-9))
            halvings, some, plan = every(work, one)
            bound = found[halvings, some]
            assert np.all(bound <= plan.cycles)
            assert np.array_equal(np.isinf(bound), np.isinf(plan.cycles))
            which = np.repeat(np.arange(shape[1]), np.diff(t.starts))
            assert np.all(of_tiles[row, which[some]] <= bound * (1 + 1e-9))


@pytest.mark.parametrize("count", [1, 2, 3, 5])
@pytest.mark.parametrize("rows", [6, 7])
def test_every_step_is_in_one_class(count, rows, mlcnn):
    layer = ConvLayer("l", N=4, K=8 * count, C=10 * count, H=rows, W=6, R=3, S=3)
    work = Work(layer, mlcnn.precision)
    _, some, plan = every(work, mlcnn)
    t = tilings(work).take(some)
    steps = t.output_tiles * t.spots.tiles[t.place] * t.input_chunks
    # The first load and the last store beside those that compute.
    counted = np.bincount(plan.owner, plan.count)
    assert np.array_equal(counted, steps + 2)


@pytest.mark.parametrize(
    ("kernel", "pool", "side", "adders", "cycles"),
    [
        # Windows that do not overlap have one addition a position and direction.
        (1, 2, 8, 1.0, 64),
        (3, 2, 8, 1.0, 100),
        # One adder for two lanes: every second row has an addition at each position.
        (1, 2, 8, 0.5, 32 + 2 * 32),
        (1, 8, 8, 1.0, 64),
    ],
)
def test_cycles_of_the_input_unit_by_hand(kernel, pool, side, adders, cycles):
    """Positions of an 8 x 8 map, with a padding of 1 where the kernel has 3 taps."""
    pads = (kernel // 2,) * 4
    layer = ConvLayer("l", N=1, K=1, C=1, H=side, W=side, R=kernel, S=kernel, pads=pads,
                      pool=Pool((pool, pool), (pool, pool)))  # fmt: skip
    found = passing_cycles(Work(layer, Precision.FP32, Boxes()), adders, 1)
    assert found[0, 0] == cycles
