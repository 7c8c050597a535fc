"""Layers of few bits on arrays: what each part costs, computed anew from what is moved and done."""

from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask, Narrow, evaluate_layer, load_accelerator
from mlcnn.accelerators.array import best, operations, transfers
from mlcnn.accelerators.array.area import memories
from mlcnn.accelerators.array.energy import per_byte
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, Layer, Numbers, Pool

NEST = ConvLayer("l", N=1, K=12, C=6, H=12, W=12, R=3, S=3, pads=(1, 1, 1, 1))
POOLED = replace(NEST, pads=(0, 0, 0, 0), pool=Pool((2, 2), (2, 2)))
KINDS = ("dcnn-int8", "mlcnn-int8", "dcnn-int12", "dcnn-int16")
few = st.integers(1, 8)


def _task(weight, given_, loaded=32, written=32, nest=NEST):
    return LayerTask(Layer(nest, numbers=Numbers(weight, given_)), False, False, loaded, written)


def _machine(name, narrow):
    return replace(load_accelerator(name), narrow=narrow)


def _by_hand(task, machine, technology, bits):
    """Energy on an array of 8 bits, with each of the amounts of the model of 8 bits."""
    w, x, loaded, written = bits
    plain = replace(machine, narrow=Narrow.NONE)
    chosen = best(task, plain)
    args = (chosen.work, chosen.tiling, plain, chosen.ways, chosen.side)
    moved, done = transfers(*args), operations(*args)
    held, pj = memories(plain, technology), technology.costs(plain.precision)
    inputs, weights, sums = (
        per_byte(part[0]) for part in (held.inputs, held.weights, held.accumulators)
    )
    register, scaled = 8 * technology.register.energy_pj_per_bit, machine.narrow is Narrow.SCALED
    multiply = w * x / 64 if scaled else 1
    add = (w + x) / 16 if scaled else 1
    mac = multiply * done.multiplications * pj.multiply.energy_pj + add * (
        done.tree_additions * pj.add.energy_pj
        + (done.accumulations + done.output_additions) * pj.accumulate.energy_pj
    )
    on_chip = (
        w / 8 * (moved.weight_written * weights[1] + moved.weight_read * (weights[0] + register))
        + x / 8 * (moved.input_written * inputs[1] + moved.input_read * (inputs[0] + register))
        + add * (moved.partial_sum_written * sums[1] + moved.partial_sum_read * sums[0])
    )
    in_dram = moved.dram_weight * w + moved.dram_input * loaded + moved.dram_output * written
    return mac, on_chip, in_dram * technology.dram.pj_per_bit


@pytest.mark.parametrize("narrow", [Narrow.PACKED, Narrow.SCALED])
@given(st.tuples(few, few, few, few))
@settings(max_examples=15)
def test_every_part_by_hand(technology, narrow, bits):
    machine, task = _machine("dcnn-int8", narrow), _task(*bits)
    spent = evaluate_layer(task, machine, technology).energy
    expected = _by_hand(task, machine, technology, bits)
    assert (spent.mac, spent.buffer, spent.dram) == pytest.approx(expected)


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("nest", [NEST, POOLED], ids=["plain", "pooled"])
@pytest.mark.parametrize("narrow", [Narrow.PACKED, Narrow.SCALED])
def test_own_bits_and_more_cost_exactly_what_they_did(technology, name, nest, narrow):
    machine = load_accelerator(name)
    before = evaluate_layer(LayerTask(Layer(nest)), machine, technology)
    for bits in (machine.precision.bits, 32):
        task = _task(bits, bits, bits, bits, nest)
        assert evaluate_layer(task, _machine(name, narrow), technology) == before


def test_an_old_machine_sees_no_bits(technology):
    machine = load_accelerator("dcnn-int8")
    assert machine.narrow is Narrow.NONE
    few_bits, plain = _task(3, 2, 2, 2), LayerTask(Layer(NEST))
    costs = [evaluate_layer(task, machine, technology) for task in (few_bits, plain)]
    assert costs[0] == costs[1]


@pytest.mark.parametrize("name", KINDS)
@pytest.mark.parametrize("nest", [NEST, POOLED], ids=["plain", "pooled"])
def test_fewer_bits_cost_less_and_take_as_long(technology, name, nest):
    packed, scaled = (_machine(name, kind) for kind in (Narrow.PACKED, Narrow.SCALED))
    for machine in (packed, scaled):
        costs = [
            evaluate_layer(_task(w, x, x, x, nest), machine, technology)
            for w, x in ((8, 8), (7, 8), (7, 6), (4, 6), (4, 3), (2, 2))
        ]
        energies = [cost.energy.total for cost in costs]
        assert energies == sorted(energies, reverse=True)
        assert len({*energies}) == len(energies)
        assert len({cost.cycles for cost in costs}) == 1
    task = _task(4, 4, 4, 4, nest)
    at = [evaluate_layer(task, machine, technology).energy for machine in (packed, scaled)]
    assert at[1].mac < at[0].mac
    assert at[1].dram == at[0].dram


def test_box_sums_keep_the_bits_that_they_need_beside_the_numbers(technology):
    """A 2x2 box sum has two bits more than its numbers: 6 of 10 where these have 4 of 8."""
    machine = _machine("mlcnn-int8", Narrow.PACKED)
    whole, half = (
        evaluate_layer(_task(8, bits, 8, 8, POOLED), machine, technology) for bits in (8, 4)
    )
    assert whole.execution == "fused"
    before, after = whole.traffic.buffer_input, half.traffic.buffer_input
    assert after == pytest.approx(before * 6 / 10)


def test_only_whole_numbers_have_fewer_bits():
    with pytest.raises(InputError, match="only whole numbers have fewer bits"):
        _machine("dcnn-fp16", Narrow.SCALED)


@pytest.mark.parametrize("kind", ["packed", "scaled"])
def test_machines_of_the_package(kind):
    found = load_accelerator(f"dcnn-int8-{kind}")
    plain = load_accelerator("dcnn-int8")
    assert found == replace(plain, name=found.name, narrow=Narrow(kind))
