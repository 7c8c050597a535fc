"""What a sparse machine takes, and what a layer costs without its zeros."""

import math
from dataclasses import fields, replace

import numpy as np
import pytest
from accelerators.array.walk import Walk, bounded, every
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import (
    LayerTask,
    Machine,
    evaluate_layer,
    load_accelerator,
)
from mlcnn.accelerators.array import Tiling, best_of, cost_of, operations, transfers
from mlcnn.accelerators.sparse import Skipping, SkippingMaps, activity, sparse_area
from mlcnn.errors import InfeasibleError
from mlcnn.ops.shared_kernels import structure
from mlcnn.workload import DENSE, Arithmetic, ConvLayer, Layer, Weights

SOME = settings(max_examples=settings.default.max_examples // 3)
NEST = ConvLayer("conv", N=2, K=32, C=32, H=12, W=12, R=3, S=3, pads=(1, 1, 1, 1))


def _energies(cost):
    return np.array([getattr(cost.energy, field.name) for field in fields(cost.energy)])


def test_it_is_a_machine(machine, technology):
    assert isinstance(machine, Machine)
    assert (machine.name, machine.clock_mhz, machine.precision) == (
        "sparse-basis-fp32",
        1000,
        "fp32",
    )
    added = sparse_area(machine.sparsity, machine.array, technology).total
    assert machine.area(technology) == machine.array.area(technology) + added


@SOME
@given(data=st.data())
def test_parts_add_up(data, sparse_layers, sparse_machines, technology):
    layer, machine = data.draw(sparse_layers), data.draw(sparse_machines)
    task = LayerTask(layer, scaled=data.draw(st.booleans()))
    assume(machine.skipping(task) is not None)
    try:
        cost = machine.cost_without_zeros(task, technology)
    except InfeasibleError:
        assume(False)
    assert cost.energy.total == pytest.approx(math.fsum(_energies(cost)))
    chosen = best_of((machine.skipping(task),), machine.array)
    assert cost.cycles == chosen.cycles == pytest.approx(sum(chosen.waits))
    assert cost.traffic.dram == pytest.approx(chosen.dram_bytes)
    array = cost_of(chosen, machine.array, technology)
    done = activity(chosen, chosen.work.execution, machine.array)
    assert cost.multiplications == array.multiplications + done.basis_products
    assert cost.additions == array.additions + done.basis_additions
    assert np.all(_energies(cost) >= _energies(array))
    assert cost.energy.dram == array.energy.dram
    assert cost.skips_zeros


@SOME
@given(data=st.data())
def test_the_bound_is_below_the_schedule(data, sparse_layers, sparse_machines):
    layer, machine = data.draw(sparse_layers), data.draw(sparse_machines)
    work = machine.skipping(LayerTask(layer))
    assume(work is not None)
    bounded(work, machine.array)


@SOME
@given(data=st.data())
def test_no_product_is_lost_and_none_is_by_a_zero(data, sparse_layers, sparse_machines, technology):
    """As many as non-zeros and places of the output, beside the basis."""
    layer, machine = data.draw(sparse_layers), data.draw(sparse_machines)
    nest = replace(layer.nest, pool=None)
    task = LayerTask(replace(layer, nest=nest))
    assume(machine.skipping(task) is not None)
    try:
        cost = machine.cost_without_zeros(task, technology)
    except InfeasibleError:
        assume(False)
    kept = int((layer.mask.weight.numpy() != 0).sum())
    assert cost.multiplications - cost.mapping["basis_products"] == nest.N * nest.outputs * kept


def _full(nest, with_zeros):
    return with_zeros(nest, 1.1)


def test_full_density_computes_as_long_as_all_weights_take(machine, with_zeros):
    """36 weights of a window take five sets of eight in each slice, at every position."""
    task = LayerTask(_full(NEST, with_zeros))
    sparse, array = machine.skipping(task), machine.array
    tiling = Tiling(1, NEST.P, NEST.Q, 15, 2, weights_outer=False, keep=True)
    done = operations(sparse, tiling, array, 1, 15)
    positions, windows = 2 * 144, 32 // 4
    assert done.multiplications == 32 * 32 * 9 * positions
    assert done.accumulations == 32 * windows * 5 * positions
    # Two windows of one image: 10 sets of 15 slices, one after the other at 144 positions.
    walk = Walk(sparse, array, tiling, 1, 15)
    found = sparse.execution.passes(np.array([15]), np.array([15]))
    assert float(found[0]) * 2 == 10
    # Each filter's weights of a window: 36 of 38 bits, and six for their number.
    bits = 32 * windows * (36 * 38 + 6)
    moved = transfers(sparse, tiling, array, 1, 15)
    assert moved.weight_read == pytest.approx(bits / 8 * len(walk.places))


@SOME
@given(data=st.data())
def test_zero_free_is_never_cheaper_than_dense(data, small_layers, sparse_machines, technology):
    nest, machine = data.draw(small_layers), data.draw(sparse_machines)
    task = LayerTask(Layer(nest, parts=(nest,)))
    why = machine.array.takes(task.layer)
    assert machine.takes(task.layer) == why
    assume(why is None)
    dense, found = (one.cost(task, technology) for one in (machine.array, machine))
    assert found.energy.static > dense.energy.static
    static = replace(found.energy, static=dense.energy.static)
    assert replace(found, energy=static) == dense


@SOME
@given(data=st.data())
def test_never_slower_than_the_dense_layer(data, sparse_layers, sparse_machines):
    layer, machine = data.draw(sparse_layers), data.draw(sparse_machines)
    dense = replace(layer, weights=DENSE, form=None)
    assume(machine.array.takes(dense) is None)
    assert machine.takes(layer) is None
    slowest = best_of(machine.array.ways(LayerTask(dense)), machine.array, 0.0).cycles
    assert best_of(machine.ways(LayerTask(layer)), machine.array, 0.0).cycles <= slowest


@SOME
@given(data=st.data())
def test_one_more_zero_never_costs_cycles(data, small_layers, sparse_machines, with_zeros):
    nest, machine = data.draw(small_layers), data.draw(sparse_machines)
    layer = with_zeros(nest, 0.6, data.draw(st.integers(0, 99)))
    less = layer.mask.weight.numpy().copy().reshape(-1)
    assume(less.any())
    less[data.draw(st.sampled_from(np.flatnonzero(less).tolist()))] = 0
    shape = layer.mask.weight.numpy().shape
    mask = replace(layer.mask, weight=type(layer.mask.weight)(less.reshape(shape)))
    works = [machine.skipping(LayerTask(one)) for one in (layer, replace(layer, mask=mask))]
    assume(works[0] is not None)
    before, after = (every(work, machine.array)[2].cycles for work in works)
    assert np.all(after <= before)


def test_the_basis_unit_forms_each_map_once(machine, with_zeros, technology):
    layer = with_zeros(NEST, 0.1, basis=5)
    cost = machine.cost(LayerTask(layer), technology)
    assert cost.execution == "sparse on shared kernels"
    assert cost.mapping["basis_products"] == 2 * 32 * 5 * 9 * 144
    kept = round(layer.density * 32 * 32 * 5)
    assert cost.multiplications == 2 * 144 * (32 * 5 * 9 + kept)
    # 7 channels fit a window of 36 words, so that 32 take five.
    assert cost.mapping["windows"] == 5
    assert cost.mapping["index_bytes"] == kept * 6 / 8
    assert cost.mapping["weight_bytes"] == (kept * 38 + 32 * 5 * 6) / 8


def test_without_the_unit_shared_kernels_run_as_the_dense_layer(machine, with_zeros, technology):
    without = replace(machine, sparsity=replace(machine.sparsity, basis_multipliers=0))
    layer = with_zeros(NEST, 0.1, basis=5)
    dense = without.array.cost(LayerTask(Layer(NEST)), technology)
    found = without.cost(LayerTask(layer), technology)
    assert (found.execution, found.cycles, found.skips_zeros) == ("plain", dense.cycles, False)
    with pytest.raises(InfeasibleError, match="conv on sparse-basis-fp32: its zeros are not known"):
        without.cost_without_zeros(LayerTask(layer), technology)


@pytest.mark.parametrize("hidden", [None, "other shape"])
def test_zeros_that_the_network_hides_are_charged(hidden, machine, with_zeros, technology):
    layer = with_zeros(NEST, 0.1)
    mask = with_zeros(replace(NEST, C=16), 0.1).mask if hidden else None
    found = machine.cost(LayerTask(replace(layer, mask=mask)), technology)
    assert (found.execution, found.skips_zeros) == ("plain", False)


def test_kernels_larger_than_a_window_run_dense(machine, with_zeros, technology):
    large = with_zeros(replace(NEST, R=11, S=11), 0.1)
    assert machine.cost(LayerTask(large), technology).execution == "plain"


def test_other_layers_are_none_of_its_business(machine, technology):
    binary = Layer(NEST, arithmetic=Arithmetic.AND_POPCOUNT)
    both = replace(binary, weights=structure(5), parts=(NEST,))
    other = Layer(NEST, weights=Weights("other"), parts=(NEST,))
    for layer in (binary, both, other):
        why = machine.takes(layer)
        assert why is not None
        assert why.unknown
        with pytest.raises(InfeasibleError, match="cannot run conv as what it is"):
            machine.cost(LayerTask(layer), technology)
    assert evaluate_layer(LayerTask(other), machine, technology).execution == "plain"


def test_what_the_ways_are(machine, with_zeros):
    plain, shared = with_zeros(NEST, 0.5), with_zeros(NEST, 0.5, basis=2)
    kinds = [[type(w.execution) for w in machine.ways(LayerTask(one))] for one in (plain, shared)]
    assert [kind[0] for kind in kinds] == [Skipping, SkippingMaps]
    assert load_accelerator("sparse-fp32").skipping(LayerTask(shared)) is None
