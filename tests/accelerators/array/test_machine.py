"""What an array takes, and why it does not take a layer."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators.array.walk import every
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask, evaluate_layer, load_accelerator
from mlcnn.accelerators.array import Boxes, best, transfers
from mlcnn.accelerators.array.search import refusal
from mlcnn.errors import InfeasibleError
from mlcnn.workload import Activity, Arithmetic, ConvAxis, ConvLayer, Layer, Numbers, Pool, Weights

# A share of the profile's examples: each one searches all tilings of a layer.
SOME = settings(max_examples=settings.default.max_examples // 5)

NEST = ConvLayer("conv", N=1, K=8, C=8, H=8, W=8, R=3, S=3)
HALVE = Pool((2, 2), (2, 2))


@SOME
@given(data=st.data())
def test_it_takes_what_it_can_cost(data, small_layers, machines, technology):
    layer, machine = Layer(data.draw(small_layers)), data.draw(machines)
    refused, task = machine.takes(layer), LayerTask(layer)
    if refused is None:
        assert machine.cost(task, technology).cycles > 0
    else:
        assert not refused.unknown
        with pytest.raises(InfeasibleError) as caught:
            machine.cost(task, technology)
        assert str(caught.value) == refused.reason


@SOME
@given(data=st.data())
def test_a_refusal_is_exact(data, small_layers, machines):
    """Against the schedule of every tiling."""
    layer, machine = data.draw(small_layers), data.draw(machines)
    for work in machine.ways(LayerTask(Layer(layer))):
        cycles = every(work, machine)[2].cycles
        assert (refusal(work, machine) is None) == bool(np.isfinite(cycles).any())


def test_too_small_a_buffer_as_data(dense):
    """Eight channels of the nine inputs of one output, of 4 bytes, twice."""
    why = replace(dense, input_bytes=100).takes(Layer(NEST))
    assert (why.demand, why.bound, why.gap) == (576, 100, 476)
    assert (why.unit, why.levers) == ("bytes of input buffer", ("input_buffer bytes",))
    assert not why.unknown
    assert replace(dense, input_bytes=576).takes(Layer(NEST)) is None


def test_too_few_accumulators_as_data():
    """A transform tile has 36 sums at a time; two ways hold 8 entries each in a half."""
    machine = replace(load_accelerator("winograd-f4-fp32"), accumulator_entries=16, most_ways=2)
    work = machine.ways(LayerTask(Layer(NEST)))[0]
    why = refusal(work, machine)
    assert (why.demand, why.bound, why.unit) == (36, 16, "accumulator entries")
    assert why.levers[:2] == ("accumulator_entries", "ways")
    assert why.reason.startswith("accelerator winograd-f4-fp32 cannot run conv (3x3, 8 to 8")
    # The layer runs plain, and the array takes it.
    assert machine.takes(Layer(NEST)) is None


def test_a_pool_accumulates_on_one_entry(dense):
    """The 256 outputs under a window need no more entries than one."""
    layer = Layer(replace(NEST, H=16, W=16, R=1, S=1, pool=Pool((16, 16), (1, 1))))
    assert replace(dense, accumulator_entries=2).takes(layer) is None


def test_too_small_a_row_buffer_as_data(mlcnn):
    """Windows of 4 rows under a 5x5 kernel: 3 sums are begun at a time, each as wide as a tile."""
    nest = replace(NEST, H=16, W=16, R=5, S=5, pool=Pool((4, 4), (4, 4)))
    machine = replace(mlcnn, row_buffer_bytes=8)
    work = machine.ways(LayerTask(Layer(nest)))[0]
    why = refusal(work, machine)
    assert work.execution == Boxes()
    # The narrowest tile is one output of 5 taps, 4 inputs each and one apart: 8 columns of a beat.
    least = 3 * 8 * 64
    assert (why.demand, why.bound, why.unit) == (least, 8, "bytes of row buffer")
    assert why.levers == ("row_buffer_bytes",)
    assert "take 1536 bytes of row buffer at least and there are 8; make it 1536" in why.reason
    # The layer runs plain, and the array takes it.
    assert machine.takes(Layer(nest)) is None
    assert best(LayerTask(Layer(nest)), machine).work.execution.name == "plain"
    assert refusal(work, replace(machine, row_buffer_bytes=least)) is None


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"weights": Weights("circulant", (("block", 8.0),))}, "circulant(block=8) weights"),
        ({"arithmetic": Arithmetic.COMPARE}, "inputs that are compared with each other"),
        ({"form": "own", "parts": (replace(NEST, C=1),)}, "the form own"),
        ({"nest": replace(NEST, depth=ConvAxis(4, 3))}, "three dimensions"),
    ],
)
def test_layers_that_an_array_does_not_know(change, what, dense, technology):
    layer = replace(Layer(NEST), **change)
    why = dense.takes(layer)
    # What compares is not all in its parts.
    assert why.unknown == (layer.arithmetic is Arithmetic.MULTIPLY)
    assert (why.demand, why.bound, why.unit, why.levers) == (1, 0, what, ("type",))
    assert str(why) == (
        f"accelerator dcnn-fp32 cannot run conv as what it is, a layer with {what}: an array "
        "multiplies dense weights; use a machine that takes it"
    )
    with pytest.raises(InfeasibleError, match="as what it is"):
        dense.cost(LayerTask(layer), technology)


def test_two_reasons_in_one(dense):
    layer = Layer(NEST, weights=Weights("binary"), arithmetic=Arithmetic.AND_POPCOUNT)
    why = dense.takes(layer)
    assert why.demand == 2
    assert why.unit == "binary weights and weights and inputs that and-popcount"


@pytest.mark.parametrize(
    "change",
    [
        {"numbers": Numbers(8, 8)},  # an array has one precision for all layers
        {"activity": Activity(0.5, 0.1, 100)},
        {"parts": (NEST,)},
        {"operator": "Gemm"},
    ],
)
def test_what_changes_nothing_for_an_array(change, dense, technology):
    usual = dense.cost(LayerTask(Layer(NEST)), technology)
    assert dense.cost(LayerTask(replace(Layer(NEST), **change)), technology) == usual


def test_a_stacked_layer_runs_by_its_parts(mlcnn, technology):
    """A pool behind structured weights: box sums of dense weights would be too many products."""
    part = replace(NEST, name="conv.0", C=2)
    layer = Layer(
        replace(NEST, pool=HALVE), form="box", parts=(part,), weights=Weights("circulant")
    )
    cost = evaluate_layer(LayerTask(layer), mlcnn, technology)
    assert cost.cycles == mlcnn.cost(LayerTask(Layer(part)), technology).cycles
    assert not cost.fused


def test_the_fastest_way_is_taken(mlcnn, dense, technology):
    pooled = LayerTask(Layer(replace(NEST, N=16, pool=HALVE)))
    fused, plain = mlcnn.cost(pooled, technology), dense.cost(pooled, technology)
    assert (fused.execution, fused.fused) == ("fused", True)
    assert (plain.execution, plain.fused) == ("plain", False)
    assert 4 * fused.multiplications == plain.multiplications == pooled.nest.macs
    assert fused.cycles < plain.cycles
    for cost, machine in ((fused, mlcnn), (plain, dense)):
        busy = cost.multiplications / (cost.cycles * machine.multiplications_per_cycle)
        assert cost.utilisation == busy
        assert 0 < busy <= 1


def test_sums_in_the_buffer_are_all_operands(mlcnn, technology):
    """The summary of bytes loses none: DRAM and buffer of each operand."""
    task = LayerTask(Layer(replace(NEST, pool=HALVE)))
    chosen = best(task, mlcnn)
    moved = transfers(chosen.work, chosen.tiling, mlcnn, chosen.ways, chosen.side)
    cost = mlcnn.cost(task, technology)
    names = [name for name in moved.__slots__ if not name.startswith("dram")]
    assert sum(cost.traffic.parts[3:]) == sum(getattr(moved, name) for name in names)
    assert cost.traffic.dram == moved.dram


@pytest.mark.parametrize("name", ["mlcnn-fp32", "dcnn-int8", "winograd-f2-fp32"])
def test_a_name_is_a_name(name, technology):
    """Layers and machines that differ in name alone cost the same."""
    machine = load_accelerator(name)
    one = machine.cost(LayerTask(Layer(NEST)), technology)
    other = replace(machine, name="other").cost(
        LayerTask(Layer(replace(NEST, name="else"))), technology
    )
    assert other == replace(one, name="else")
