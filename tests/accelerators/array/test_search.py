"""What the search finds: bounds, laws, fairness and refusals."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask, load_accelerator
from mlcnn.accelerators.array import Boxes, best, operations, transfers
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.cycles import schedule
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.accelerators.array.search import choose
from mlcnn.accelerators.array.work import Work
from mlcnn.errors import InfeasibleError
from mlcnn.workload import ConvLayer, Layer, Pool

# A share of the profile's examples: each one searches all tilings of a layer.
SOME = settings(max_examples=settings.default.max_examples // 5)


def ways(layer, machine, *, sole_consumer=False):
    return machine.ways(LayerTask(Layer(layer), sole_consumer=sole_consumer))


def _least(layer, machine):
    """Cycles of the fastest way; infinite where the machine cannot run the layer."""
    found = [float("inf")]
    for work in ways(layer, machine):
        try:
            found.append(choose(work, machine, 0.0).cycles)
        except InfeasibleError:
            continue
    return min(found)


@SOME
@given(data=st.data())
def test_the_search_is_exact(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    for work in ways(layer, machine):
        every = schedule(work, tilings(work), Parameters.of((machine,))).cycles.min()
        assume(np.isfinite(every))
        assert choose(work, machine, 0.0).cycles == every
        assert choose(work, machine, 0.01).cycles <= every * 1.01


@SOME
@given(data=st.data())
def test_no_layer_beats_its_multiplications_or_its_bytes(data, small_layers, machines, technology):
    layer, machine = data.draw(small_layers), data.draw(machines)
    assume(np.isfinite(_least(layer, machine)))
    task = LayerTask(Layer(layer))
    chosen, cost = best(task, machine), machine.cost(task, technology)
    run = chosen.work, chosen.tiling, machine, chosen.ways
    array, done, moved = machine.multiplications_per_cycle, operations(*run), transfers(*run)
    assert cost.cycles == chosen.cycles
    assert cost.cycles >= done.multiplications / array
    assert cost.cycles >= cost.traffic.dram / machine.dram_bytes_per_cycle
    assert cost.traffic.dram == moved.dram == chosen.dram_bytes
    assert sum(chosen.waits) == pytest.approx(cost.cycles)
    # Nothing is loaded or stored less than once.
    word = machine.precision.bits / 8
    outputs = layer.N * layer.K * np.prod(layer.pooled)
    assert cost.traffic.dram_weight >= layer.weights * word
    assert cost.traffic.dram_output == outputs * word


@SOME
@given(data=st.data())
def test_a_better_machine_is_never_slower(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    field = data.draw(
        st.sampled_from(
            ["slices", "buffer_bytes", "dram_bytes_per_cycle", "accumulator_entries",
             "input_windows", "weight_words", "input_adders", "input_lanes"]
        )
    )  # fmt: skip
    before = getattr(machine, field)
    more = data.draw(st.sampled_from([1, 2, before // 2, before, 2 * before]))
    better = replace(machine, **{field: before + more})
    assert _least(layer, better) <= _least(layer, machine)


@SOME
@given(data=st.data())
def test_a_batch_costs_between_one_image_and_as_many_single_ones(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    images = data.draw(st.sampled_from([2, 4, 5]))
    one = _least(replace(layer, N=1), machine)
    assume(np.isfinite(one))
    batch = _least(replace(layer, N=images), machine)
    assert one <= batch <= images * one


@pytest.mark.parametrize(
    ("channels", "filters"), [(96, 48), (256, 128), (832, 384), (27, 32), (64, 96), (100, 320)]
)
def test_dense_reaches_its_utilisation_on_1x1(channels, filters, dense):
    """(C/9)/ceil(C/9) * (K/slices)/ceil(K/slices), or better where slices share positions."""
    layer = ConvLayer("l", N=16, K=filters, C=channels, H=16, W=16, R=1, S=1)
    machine = replace(dense, dram_bytes_per_cycle=1e6)
    rounds, groups = -(-channels // 9), -(-filters // machine.slices)
    expected = channels / 9 / rounds * filters / machine.slices / groups
    cycles = best(LayerTask(Layer(layer)), machine, 0.0).cycles
    assert layer.macs / (cycles * 9 * machine.slices) >= 0.995 * expected


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 11])
def test_kernels_take_the_passes_of_the_reconfigurable_mapping(kernel, dense):
    """1x1: nine channels a pass; 3x3: one; 5x5, 7x7, 11x11: 3, 6 and 14 passes."""
    passes = {1: 1 / 9, 2: 1 / 2, 3: 1, 5: 3, 7: 6, 11: 14}[kernel]
    layer = ConvLayer("l", N=8, K=32, C=36, H=26, W=26, R=kernel, S=kernel)
    machine = replace(dense, dram_bytes_per_cycle=1e6)
    cost = best(LayerTask(Layer(layer)), machine, 0.0)
    ideal = 8 * layer.P * layer.Q * 36 * passes
    assert ideal <= cost.cycles <= 1.03 * ideal + 500


def test_wide_integer_sums_take_two_passes():
    machine = replace(load_accelerator("mlcnn-int8"), dram_bytes_per_cycle=1e6, input_adders=10**6)
    machine = replace(machine, input_lanes=10**6, output_lanes=10**6)
    layer = ConvLayer("l", N=16, K=512, C=90, H=8, W=8, R=1, S=1)
    two = replace(layer, H=2, W=2, pool=Pool((2, 2), (2, 2)))
    eight = replace(layer, pool=Pool((8, 8), (8, 8)))
    works = [Work(one, machine.precision, Boxes()) for one in (two, eight)]
    assert [work.stored_bits for work in works] == [10, 14]
    narrow, wide = (choose(work, machine, 0.0).cycles for work in works)
    assert 1.7 * narrow < wide < 2.1 * narrow


def test_pair_sums_are_used_only_where_they_are_fewer_bytes(mlcnn):
    pool = Pool((2, 2), (2, 2))
    layers = {
        "1x1": ConvLayer("l", N=1, K=8, C=8, H=8, W=8, R=1, S=1, pool=pool),
        "small map": ConvLayer("l", N=1, K=16, C=6, H=14, W=14, R=5, S=5, pool=pool),
        "3x3": ConvLayer("l", N=1, K=8, C=8, H=32, W=32, R=3, S=3, pads=(1,) * 4, pool=pool),
    }
    paired = {
        name: [
            getattr(work.execution, "paired", False)
            for work in ways(layer, mlcnn, sole_consumer=True)
        ]
        for name, layer in layers.items()
    }
    assert paired == {
        "1x1": [True, False, False], "small map": [True, False, False], "3x3": [False, False],
    }  # fmt: skip
    found = ways(layers["1x1"], mlcnn, sole_consumer=True)
    rows = [work.rows.tiles(4).inputs for work in found]
    assert rows == [4, 8, 8]


def test_a_machine_that_holds_no_tile_says_what_it_needs(dense):
    machine = replace(dense, buffer_bytes=64)
    layer = ConvLayer("features.0", N=1, K=8, C=8, H=8, W=8, R=3, S=3)
    work = ways(layer, machine)[0]
    with pytest.raises(InfeasibleError) as caught:
        choose(work, machine)
    # A chunk of one channel for one filter and one output: 9 weights and 9 inputs, both twice.
    assert str(caught.value) == (
        "accelerator dcnn-fp32 cannot run features.0 (3x3, 8 to 8 channels, 8x8, plain): its "
        "smallest tile takes 144 bytes of buffer and there are 64; make it 144 or more "
        "(buffer_bytes)"
    )


def test_a_pool_too_large_for_the_accumulators_says_so(dense):
    machine = replace(dense, accumulator_entries=16, input_windows=2)
    layer = ConvLayer("last", N=1, K=8, C=8, H=16, W=16, R=1, S=1, pool=Pool((16, 16), (1, 1)))
    with pytest.raises(InfeasibleError, match=r"last .*256 sums.*raise accumulator_entries"):
        choose(ways(layer, machine)[0], machine)
