"""Comparator layers on engines of memory sub-arrays: laws, refusals, and what stays as it was."""

import math
from dataclasses import replace

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

import mlcnn
from mlcnn.accelerators import (
    DEFAULT_TECHNOLOGY,
    LayerTask,
    accelerator_names,
    evaluate_layer,
    load_accelerator,
    load_technology,
)
from mlcnn.accelerators.in_memory import InMemoryEngine, engine_area, sweep
from mlcnn.errors import InfeasibleError
from mlcnn.workload import Arithmetic, ConvLayer, Layer, Numbers, Pool, Weights, read

_TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)
_ENGINE = load_accelerator("cmp-pim")


def task(
    nest: ConvLayer, pairs: int = 4, share: int = 16, weight: int = 1, given: int = 8
) -> LayerTask:
    part = ConvLayer(nest.name, nest.N, nest.K, pairs * nest.C, nest.P, nest.Q, 1, 1)
    layer = Layer(
        nest, parts=(part,), arithmetic=Arithmetic.COMPARE, numbers=Numbers(weight, given),
        weights=Weights("comparator", (("pairs", pairs), ("share", share))),
    )  # fmt: skip
    return LayerTask(layer, loaded_bits=given, written_bits=given)


def _square(size: int = 14, channels: int = 32, images: int = 1) -> ConvLayer:
    return ConvLayer("conv", images, 24, channels, size, size, 3, 3, pads=(1, 1, 1, 1))


@st.composite
def layers(draw: st.DrawFn) -> LayerTask:
    nest = ConvLayer(
        "layer", draw(st.integers(1, 3)), draw(st.integers(1, 40)), draw(st.integers(1, 50)),
        draw(st.integers(3, 24)), draw(st.integers(3, 24)), 3, draw(st.integers(1, 3)),
        strides=(draw(st.integers(1, 2)),) * 2, pads=(1, 1, 1, 1),
    )  # fmt: skip
    pool = draw(st.sampled_from([None, Pool((2, 2), (2, 2))]))
    assume(pool is None or min(nest.P, nest.Q) >= 2)
    share, pairs = draw(st.sampled_from([1, 16])), draw(st.integers(1, 8))
    bits = draw(st.integers(1, 4)), draw(st.integers(1, 8))
    return task(replace(nest, pool=pool), pairs, share, *bits)


@given(layer=layers(), arrays=st.integers(1, 40))
def test_no_layer_is_faster_than_its_row_operations(layer, arrays):
    engine = replace(_ENGINE, arrays=arrays)
    cost = engine.cost(layer, _TECHNOLOGY)
    nest, bits = layer.nest, layer.layer.numbers
    maps = dict(layer.layer.weights.options)["pairs"] * nest.C
    positions = nest.N * nest.P * nest.Q
    least = 2 * bits.input * math.ceil(positions * maps / engine.columns)
    added, planes = positions, 1
    if cost.fused:
        added, planes = nest.N * math.prod(nest.pooled), 3
    side = max(min(engine.columns // maps, engine.segments), 1)
    pairs = nest.K * added / side * math.ceil(maps / engine.columns)
    rows = least + pairs * bits.weight * planes
    assert cost.cycles >= rows * engine.sense_cycles / arrays
    assert cost.mapping["row_operations"] >= rows
    assert cost.mapping["comparisons"] == positions * maps
    assert 0 < cost.utilisation <= 1


def _fastest(engine: InMemoryEngine, layer: LayerTask) -> float:
    """Without the slack that is given to less energy."""
    return float(sweep([layer], [engine], _TECHNOLOGY, slack=0)[0][0, 0])


@given(layer=layers(), arrays=st.integers(1, 64), more=st.integers(1, 30))
def test_more_sub_arrays_are_no_slower(layer, arrays, more):
    engine = replace(_ENGINE, arrays=arrays)
    assert _fastest(replace(engine, arrays=arrays + more), layer) <= _fastest(engine, layer)


@given(layer=layers(), columns=st.sampled_from([64, 128, 256, 512]))
def test_more_columns_of_the_same_cells_are_no_slower(layer, columns):
    narrow = replace(_ENGINE, sub_array=replace(_ENGINE.sub_array, columns=columns))
    wide = replace(_ENGINE, sub_array=replace(_ENGINE.sub_array, columns=2 * columns))
    assert _fastest(wide, layer) <= _fastest(narrow, layer)


@given(layer=layers(), size=st.sampled_from([4096, 131072]))
def test_parts_of_the_energy_add_up(layer, size):
    engine = replace(_ENGINE, buffer_bytes=size, bus_bits=64)
    assume(engine.takes(layer.layer) is None)
    cost = engine.cost(layer, _TECHNOLOGY)
    done, parts = cost.mapping, cost.mapping["energy_pj"]
    assert sum(parts.values()) == pytest.approx(cost.energy.total)
    assert min(parts.values()) >= 0
    array = engine.sub_array
    assert parts["sensing"] == pytest.approx(done["row_operations"] * array.both_pj)
    assert parts["writing"] == pytest.approx(done["bits_written"] * array.write_pj)
    assert parts["dram"] == pytest.approx(cost.traffic.dram * 8 * 3.92)
    if len({done["images_at_a_time"], layer.nest.N}) == 1:
        assert parts["latching"] == pytest.approx(done["compare"]["bits_latched"] * 0.009)


def test_bits_that_the_buffer_does_not_hold_go_to_dram_and_back():
    layer = task(_square(28), weight=1)
    bits = 28 * 28 * 4 * 32
    kept = _ENGINE.cost(layer, _TECHNOLOGY)
    small = replace(_ENGINE, buffer_bytes=8192, bus_bits=64)
    spilled = small.cost(layer, _TECHNOLOGY)
    assert kept.mapping["bits_stay_on_chip"]
    assert not spilled.mapping["bits_stay_on_chip"]
    added = spilled.mapping["add"]
    assert added["cycles"]["DRAM"] > kept.mapping["add"]["cycles"]["DRAM"]
    assert kept.traffic.dram_output == 28 * 28 * 24
    assert kept.traffic.dram_input == 28 * 28 * 32
    assert spilled.traffic.dram_output == kept.traffic.dram_output + bits / 8
    # What the second program loads, beside inputs of the first, which overlap where strips meet.
    loaded = spilled.mapping["compare"]["bits_sent"] / 8 + bits / 8
    assert spilled.traffic.dram_input == loaded


def test_images_run_as_many_at_a_time_as_the_buffer_holds():
    """14 x 14 positions of 128 bits take 3,136 bytes, three rows of codes 1,344."""
    engine = replace(_ENGINE, buffer_bytes=2 * 3136 + 1344, bus_bits=64)
    five, two, one = (engine.cost(task(_square(images=n)), _TECHNOLOGY) for n in (5, 2, 1))
    assert five.mapping["images_at_a_time"] == 2
    assert five.cycles == 2 * two.cycles + one.cycles
    assert five.energy.total == pytest.approx(2 * two.energy.total + one.energy.total)


def test_pairs_that_channels_share_fill_the_columns():
    """Where each channel has its own, a row holds one channel only, of more strips with halos."""
    shared, own = (
        _ENGINE.cost(task(_square(28, 128), share=share), _TECHNOLOGY) for share in (16, 1)
    )
    assert shared.mapping["bits_written"] < own.mapping["bits_written"]
    assert shared.cycles < own.cycles


def test_a_sweep_gives_what_machines_give_by_themselves():
    layer = task(_square())
    engines = [replace(_ENGINE, arrays=arrays) for arrays in (2, 16)]
    other = load_accelerator("imce-stt")
    cycles, energy = sweep([layer], [*engines, other], _TECHNOLOGY)
    costs = [engine.cost(layer, _TECHNOLOGY) for engine in engines]
    assert cycles[:, 0].tolist() == [*(cost.cycles for cost in costs), math.inf]
    assert energy[:2, 0].tolist() == [cost.energy.total for cost in costs]
    assert math.isinf(energy[2, 0])


def test_latches_are_all_that_the_engine_has_more():
    other = load_accelerator("imce-stt")
    assert replace(_ENGINE, name=other.name, compares=False) == other
    found, without = (engine_area(one, _TECHNOLOGY) for one in (_ENGINE, other))
    assert without.latches == 0
    assert found.latches == pytest.approx(16 * 512 * 4 * 4.522)
    assert found.total == pytest.approx(without.total + found.latches)


def test_no_other_machine_takes_what_compares_nor_its_parts():
    layer = task(_square())
    others = [name for name in accelerator_names() if name != "cmp-pim"]
    for machine in map(load_accelerator, others):
        with pytest.raises(InfeasibleError) as caught:
            evaluate_layer(layer, machine, _TECHNOLOGY)
        assert f"{machine.name} cannot run conv as what it is" in str(caught.value)
        assert "compare" in str(caught.value)
    assert evaluate_layer(layer, _ENGINE, _TECHNOLOGY).execution == "compare and add"


def test_layers_of_a_network_that_compares_are_taken_once_they_have_few_bits():
    model = mlcnn.optimize("cmpnet").model
    found = [one for one in read(model).layers if one.arithmetic is Arithmetic.COMPARE]
    assert found
    for layer in found:
        assert "quantise the network first" in str(_ENGINE.takes(layer))
        few = LayerTask(replace(layer, numbers=Numbers(1, 8)))
        cost = _ENGINE.cost(few, _TECHNOLOGY)
        (added,) = layer.parts
        compared = layer.nest.N * layer.nest.P * layer.nest.Q * added.C
        assert cost.mapping["comparisons"] == compared
        assert cost.execution == "compare and add"


def _refused(layer: Layer, **changes: object) -> str:
    engine = replace(_ENGINE, **changes)
    why = engine.takes(layer)
    assert why is not None
    assert not why.unknown
    with pytest.raises(InfeasibleError) as caught:
        engine.cost(LayerTask(layer), _TECHNOLOGY)
    assert str(caught.value) == str(why)
    return str(why)


def test_layers_that_cannot_be_compared():
    layer = task(_square()).layer
    told = _refused(replace(layer, numbers=Numbers(1, 32)))
    assert "its inputs 32, and bits of codes of at most 16 meet" in told
    told = _refused(replace(layer, weights=Weights("comparator", (("pairs", 4),))))
    assert "comparator(pairs=4) weights that compare: its sub-arrays compare where" in told
    assert "2 groups" in _refused(replace(layer, nest=replace(layer.nest, G=2)))
    few = replace(_ENGINE.sub_array, rows=64)
    told = _refused(layer, sub_array=few)
    assert "a window of 3 x 3 takes 72 rows, and a sub-array has 64: take more rows" in told
    told = _refused(layer, buffer_bytes=1024, bus_bits=8)
    assert "inputs of a row of positions take 1344 bytes, and the buffer has 1024" in told
    wide = task(_square(), pairs=100).layer
    told = _refused(wide, arrays=1, sub_array=replace(_ENGINE.sub_array, columns=16, rows=72))
    assert "a window has 3200 numbers, 200 slices of 16 columns, and all 1 sub-arrays hold" in told
