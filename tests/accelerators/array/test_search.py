"""What the search finds: bounds, laws, fairness and refusals."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators.array.walk import Tile, Walk, every
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask, load_accelerator
from mlcnn.accelerators.array import Boxes, best, operations, transfers
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
        least = every(work, machine)[2].cycles.min()
        assume(np.isfinite(least))
        assert choose(work, machine, 0.0).cycles == least
        assert choose(work, machine, 0.01).cycles <= least * 1.01


@SOME
@given(data=st.data())
def test_no_layer_beats_its_multiplications_or_its_bytes(data, small_layers, machines, technology):
    layer, machine = data.draw(small_layers), data.draw(machines)
    assume(np.isfinite(_least(layer, machine)))
    task = LayerTask(Layer(layer))
    chosen, cost = best(task, machine), machine.cost(task, technology)
    run = chosen.work, chosen.tiling, machine, chosen.ways, chosen.side
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
    assert cost.traffic.dram_output >= outputs * word
    # A beat of weights a cycle leaves their memory, and the accumulators have one port to leave by.
    assert cost.cycles >= moved.weight_read / machine.beat_bytes
    assert cost.cycles >= moved.dram_output / machine.beat_bytes
    entries = done.accumulations / machine.slices
    assert cost.cycles >= entries


@SOME
@given(data=st.data())
def test_a_better_machine_is_never_slower(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    field = data.draw(
        st.sampled_from(
            ["slices", "most_ways", "input_bytes", "weight_bytes", "row_buffer_bytes",
             "dram_bytes_per_cycle", "accumulator_entries", "input_adders"]
        )
    )  # fmt: skip
    before = getattr(machine, field)
    more = data.draw(st.sampled_from([1, 2, before // 2, before, 2 * before]))
    if field in {"slices", "most_ways"}:  # halves of them are choices, other parts are not
        more = data.draw(st.sampled_from([1, 3])) * before
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


@SOME
@given(data=st.data())
def test_quicker_memories_are_never_slower(data, small_layers, machines):
    layer, machine = data.draw(small_layers), data.draw(machines)
    field = data.draw(
        st.sampled_from(["dram_latency", "write_latency", "tree_latency", "output_stages"])
    )
    before = getattr(machine, field)
    slower = replace(machine, **{field: before + data.draw(st.integers(1, 50))})
    assert _least(layer, machine) <= _least(layer, slower)


@pytest.mark.parametrize(
    ("channels", "filters"), [(96, 48), (256, 128), (832, 384), (27, 32), (64, 96), (100, 320)]
)
def test_dense_reaches_its_utilisation_on_1x1(channels, filters, dense):
    """(C/8)/ceil(C/8) * (K/slices)/ceil(K/slices), or better where slices share positions."""
    layer = ConvLayer("l", N=16, K=filters, C=channels, H=16, W=16, R=1, S=1)
    machine = replace(dense, input_bytes=10**6, weight_bytes=10**6, accumulator_entries=8192)
    rounds, groups = -(-channels // 8), -(-filters // machine.slices)
    expected = channels / 8 / rounds * filters / machine.slices / groups
    cycles = best(LayerTask(Layer(layer)), machine, 0.0).cycles
    assert layer.macs / (cycles * 8 * machine.slices) >= 0.93 * expected


@pytest.mark.parametrize("kernel", [1, 2, 3, 5, 7, 11])
def test_kernels_take_a_set_for_each_tap(kernel, dense):
    """Eight channels at one tap: as many sets as taps, whatever the kernel."""
    layer = ConvLayer("l", N=8, K=32, C=32, H=26, W=26, R=kernel, S=kernel)
    machine = replace(dense, input_bytes=10**6, weight_bytes=10**6)
    cost = best(LayerTask(Layer(layer)), machine, 0.0)
    ideal = 8 * layer.P * layer.Q * (32 // 8) * kernel**2
    # What does not compute: the first load at least, and the last store.
    assert ideal <= cost.cycles <= 1.05 * ideal + 3000


def test_wide_integer_sums_take_two_sweeps():
    machine = replace(
        load_accelerator("mlcnn-int8"), input_adders=10**6, input_bytes=10**6, weight_bytes=10**6,
        row_buffer_bytes=10**5, accumulator_entries=1024,
    )  # fmt: skip
    layer = ConvLayer("l", N=16, K=2048, C=64, H=8, W=8, R=1, S=1)
    two = replace(layer, H=2, W=2, pool=Pool((2, 2), (2, 2)))
    eight = replace(layer, pool=Pool((8, 8), (8, 8)))
    works = [Work(one, machine.precision, Boxes()) for one in (two, eight)]
    assert [work.stored_bits for work in works] == [10, 14]
    assert [int(work.sweeps(10)) for work in works] == [1, 2]
    tiling = choose(works[0], machine, 0.0).tiling
    done = [operations(work, tiling, machine, 1, 128).multiplications for work in works]
    assert done[1] == 2 * done[0]
    narrow, wide = (
        Walk(work, machine, replace(tiling, images=1), 1, 128).compute(
            range(128), _tile(work), range(64)
        )
        for work in works
    )
    # Eight sets of one tap, and as many again: each waits for 16 beats of weights.
    assert (narrow, wide) == (17 + 7 * 18 + 1, 17 + 15 * 18 + 1)
    assert [choose(work, machine, 0.0).cycles for work in works] == sorted(
        choose(work, machine, 0.0).cycles for work in works
    )


def _tile(work):
    return Tile(range(1), range(work.layer.pooled[0]), range(work.layer.pooled[1]))


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
    machine = replace(dense, input_bytes=64)
    layer = ConvLayer("features.0", N=1, K=8, C=8, H=8, W=8, R=3, S=3)
    work = ways(layer, machine)[0]
    with pytest.raises(InfeasibleError) as caught:
        choose(work, machine)
    # Eight channels of the nine inputs of one output, twice: 9 x 8 x 4 x 2 bytes.
    assert str(caught.value) == (
        "accelerator dcnn-fp32 cannot run features.0 (3x3, 8 to 8 channels, 8x8, plain): its "
        "smallest tile takes 576 bytes of the memory of inputs and there are 64; make it 576 or "
        "more (input_buffer bytes)"
    )


def test_weights_that_fit_nowhere_say_what_they_need(dense):
    machine = replace(dense, weight_bytes=512)
    layer = ConvLayer("features.0", N=1, K=8, C=8, H=8, W=8, R=3, S=3)
    with pytest.raises(InfeasibleError) as caught:
        choose(ways(layer, machine)[0], machine)
    # One filter takes a beat for each of nine taps, and there are two places.
    assert str(caught.value) == (
        "accelerator dcnn-fp32 cannot run features.0 (3x3, 8 to 8 channels, 8x8, plain): its "
        "smallest chunk of weights takes 1152 bytes of the memory of weights and there are 512; "
        "make it 1152 or more (weight_buffer bytes)"
    )
    assert choose(ways(layer, machine)[0], replace(machine, weight_bytes=1152)).cycles


def test_products_too_many_for_the_accumulators_say_so():
    machine = replace(load_accelerator("winograd-f4-fp32"), accumulator_entries=64)
    layer = ConvLayer("last", N=1, K=8, C=8, H=16, W=16, R=3, S=3)
    work = ways(layer, machine)[0]
    assert work.execution.name == "winograd"
    with pytest.raises(InfeasibleError, match=r"last .*36 sums.*raise accumulator_entries"):
        choose(work, machine)
