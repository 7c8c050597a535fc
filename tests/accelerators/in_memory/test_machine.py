"""Engines of memory sub-arrays as machines."""

import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mlcnn.accelerators import (
    DEFAULT_TECHNOLOGY,
    LayerTask,
    Precision,
    load_accelerator,
    load_technology,
)
from mlcnn.accelerators.in_memory import InMemoryEngine, engine_area, sweep
from mlcnn.errors import InfeasibleError
from mlcnn.workload import ConvLayer, Layer, Numbers, Pool, Weights

_TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)
_ENGINE = load_accelerator("imce-stt")


def task(nest: ConvLayer, weight: int = 1, given: int = 2) -> LayerTask:
    layer = Layer(nest, parts=(nest,), numbers=Numbers(weight, given))
    return LayerTask(layer, loaded_bits=given, written_bits=given)


@st.composite
def layers(draw: st.DrawFn) -> LayerTask:
    groups = draw(st.sampled_from([1, 1, 2, 8]))
    kernel = draw(st.integers(1, 5))
    size = draw(st.integers(kernel, 20))
    pool = draw(st.sampled_from([None, Pool((2, 2), (2, 2)), Pool((3, 3), (2, 2))]))
    nest = ConvLayer(
        "layer", draw(st.integers(1, 3)), groups * draw(st.integers(1, 40)),
        groups * draw(st.integers(1, 60)), size, size, kernel, kernel, groups,
        pads=(kernel // 2,) * 4,
    )  # fmt: skip
    assume(pool is None or pool.kernel[0] <= nest.P)
    return task(replace(nest, pool=pool), draw(st.integers(1, 8)), draw(st.integers(1, 8)))


@given(layer=layers(), arrays=st.integers(1, 40))
def test_no_layer_is_faster_than_its_row_operations(layer, arrays):
    engine = replace(_ENGINE, arrays=arrays)
    assume(engine.takes(layer.layer) is None)
    cost = engine.cost(layer, _TECHNOLOGY)
    positions = layer.nest.N * layer.nest.P * layer.nest.Q
    bits = layer.layer.numbers.input
    if cost.fused:
        positions = layer.nest.N * math.prod(layer.nest.pooled)
        bits = (((1 << bits) - 1) * math.prod(layer.nest.pool.kernel)).bit_length()
    side = max(min(engine.columns // layer.nest.products, engine.segments), 1)
    slices = -(-layer.nest.products // engine.columns)
    pairs = layer.nest.K * positions / side
    least = pairs * slices * layer.layer.numbers.weight * bits * engine.sense_cycles / arrays
    assert cost.cycles >= least
    assert 0 < cost.utilisation <= 1


def _fastest(engine: InMemoryEngine, layer: LayerTask) -> float:
    """Without the slack that is given to less energy."""
    return float(sweep([layer], [engine], _TECHNOLOGY, slack=0)[0][0, 0])


@given(layer=layers(), arrays=st.integers(1, 64), more=st.integers(1, 30))
def test_more_sub_arrays_are_no_slower(layer, arrays, more):
    engine = replace(_ENGINE, arrays=arrays)
    assume(engine.takes(layer.layer) is None)
    assert _fastest(replace(engine, arrays=arrays + more), layer) <= _fastest(engine, layer)


@given(layer=layers(), columns=st.sampled_from([128, 256, 512]))
def test_more_columns_of_the_same_cells_are_no_slower(layer, columns):
    narrow = replace(_ENGINE, sub_array=replace(_ENGINE.sub_array, columns=columns))
    wide = replace(_ENGINE, sub_array=replace(_ENGINE.sub_array, columns=2 * columns))
    assume(narrow.takes(layer.layer) is None)
    assert _fastest(wide, layer) <= _fastest(narrow, layer)


@given(layer=layers())
def test_parts_of_the_energy_add_up(layer):
    cost = _ENGINE.cost(layer, _TECHNOLOGY)
    parts = cost.mapping["energy_pj"]
    assert sum(parts.values()) == pytest.approx(cost.energy.total)
    assert min(parts.values()) >= 0
    done = cost.mapping
    assert parts["sensing"] == done["row_operations"] * _ENGINE.sub_array.both_pj
    assert parts["counting"] == pytest.approx(done["bits_counted"] * 0.00375)
    assert parts["writing"] == pytest.approx(done["bits_written"] * _ENGINE.sub_array.write_pj)
    assert parts["dram"] == pytest.approx(cost.traffic.dram * 8 * 3.92)


def test_parts_of_the_area_add_up():
    found = engine_area(_ENGINE, _TECHNOLOGY)
    assert found.arrays == pytest.approx(16 * 79970.867)
    assert found.counters == pytest.approx(16 * 512 * 4.5)
    assert _ENGINE.area(_TECHNOLOGY) == pytest.approx(found.total)


@pytest.mark.parametrize("bits", [1, 2, 4, 8])
def test_a_fused_pool_of_2x2_takes_its_share_of_the_row_operations(bits):
    nest = ConvLayer("conv", 1, 64, 64, 32, 32, 3, 3, pads=(1, 1, 1, 1))
    plain = _ENGINE.cost(task(nest, 1, bits), _TECHNOLOGY)
    pooled = replace(nest, pool=Pool((2, 2), (2, 2)))
    fused = _ENGINE.cost(task(pooled, 1, bits), _TECHNOLOGY)
    assert fused.fused
    share = fused.mapping["row_operations"] / plain.mapping["row_operations"]
    assert share == (bits + 2) / (4 * bits)


def test_a_sweep_gives_what_machines_give_by_themselves():
    tasks = [
        task(ConvLayer("a", 1, 32, 16, 12, 12, 3, 3, pads=(1, 1, 1, 1))),
        task(ConvLayer("b", 1, 10, 640, 1, 1, 1, 1), 8, 8),
        task(ConvLayer("c", 1, 32, 16, 12, 12, 3, 3, pads=(1, 1, 1, 1))),
    ]
    machines = [
        replace(_ENGINE, arrays=arrays, segments=segments)
        for arrays in (1, 6, 40)
        for segments in (1, 8)
    ]
    cycles, energy = sweep(tasks, machines, _TECHNOLOGY)
    for row, machine in enumerate(machines):
        alone = [machine.cost(each, _TECHNOLOGY) for each in tasks]
        assert cycles[row].tolist() == [cost.cycles for cost in alone]
        np.testing.assert_allclose(energy[row], [cost.energy.total for cost in alone], rtol=1e-12)


def test_what_sram_senses_and_what_mram_writes():
    layer = task(ConvLayer("conv", 1, 64, 64, 16, 16, 3, 3, pads=(1, 1, 1, 1)))
    stt, sram = (
        load_accelerator(name).cost(layer, _TECHNOLOGY).mapping["energy_pj"]
        for name in ("imce-stt", "imce-sram")
    )
    # NVSim: a row of 512 cells read, 78.5 and 4.54 pJ, and a second one sensed with it.
    assert stt["sensing"] / sram["sensing"] == pytest.approx((78.528 + 24.763) / (1.8 * 4.535))


def _refused(layer: Layer, **changes: object) -> str:
    engine = replace(_ENGINE, **changes)
    why = engine.takes(layer)
    assert why is not None
    with pytest.raises(InfeasibleError) as caught:
        engine.cost(LayerTask(layer), _TECHNOLOGY)
    assert str(caught.value) == str(why)
    return str(why)


def test_a_network_of_floats_is_told_how_to_quantise():
    nest = ConvLayer("conv1", 1, 8, 3, 8, 8, 3, 3)
    told = _refused(Layer(nest, parts=(nest,)))
    assert "conv1" in told
    assert "mlcnn quantize MODEL --data DIR --weight-bits" in told


def test_rows_that_a_sub_array_has_not():
    nest = ConvLayer("conv1", 1, 8, 3, 8, 8, 3, 3)
    few = replace(_ENGINE.sub_array, rows=8)
    told = _refused(Layer(nest, parts=(nest,), numbers=Numbers(8, 8)), sub_array=few)
    assert "takes 16 rows, and a sub-array has 8: take more rows, or fewer bits" in told
    many = ConvLayer("dense", 1, 8, 5120, 1, 1, 1, 1)
    two = replace(_ENGINE.sub_array, rows=16)
    told = _refused(Layer(many, parts=(many,), numbers=Numbers(8, 8)), sub_array=two, arrays=9)
    assert "10 slices of 512 columns, and all 9 sub-arrays hold 9: take more sub-arrays" in told


def test_a_buffer_that_holds_no_row_of_windows():
    nest = ConvLayer("conv1", 1, 8, 64, 8, 64, 3, 3)
    layer = Layer(nest, parts=(nest,), numbers=Numbers(1, 8))
    told = _refused(layer, buffer_bytes=8192)
    assert "take 12360 bytes, and the buffer has 8192: enlarge it" in told


def test_other_layers_are_not_known():
    nest = ConvLayer("conv1", 1, 8, 8, 8, 8, 3, 3)
    few = Numbers(1, 2)
    for layer in (
        Layer(nest, parts=(nest,), numbers=few, weights=Weights("block-circulant")),
        Layer(nest, form="other", parts=(nest, nest), numbers=few),
    ):
        why = _ENGINE.takes(layer)
        assert why is not None
        assert why.unknown


def test_it_names_no_precision():
    assert not isinstance(getattr(_ENGINE, "precision", None), Precision)
