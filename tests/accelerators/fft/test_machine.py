"""What the engine takes, in which way, and that its parts add up."""

import math
from dataclasses import fields, replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import mlcnn
from mlcnn.accelerators import (
    LayerTask,
    Machine,
    evaluate_layer,
    load_accelerator,
    network_tasks,
)
from mlcnn.accelerators.array import best_of, cost_of
from mlcnn.accelerators.fft import (
    Spectral,
    activity,
    core_area,
    engine_area,
    in_blocks,
)
from mlcnn.accelerators.fft.transform import whole
from mlcnn.api.options import RewriteOptions
from mlcnn.errors import InfeasibleError
from mlcnn.ops.block_circulant import KIND, structure
from mlcnn.workload import Arithmetic, ConvLayer, Layer, Pool, Weights

SOME = settings(max_examples=settings.default.max_examples // 3)
NEST = ConvLayer("conv", N=2, K=64, C=32, H=8, W=8, R=3, S=3, pads=(1, 1, 1, 1))


def test_it_is_a_machine(engine, technology):
    assert isinstance(engine, Machine)
    assert (engine.name, engine.clock_mhz, engine.precision) == ("fft-fp16", 1000, "fp16")
    assert engine.area(technology) == engine_area(engine.core, engine.array, technology).total


@SOME
@given(data=st.data())
def test_blocks_of_one_are_the_dense_machine(data, small_layers, engines, circulant, technology):
    nest, engine = data.draw(small_layers), data.draw(engines)
    task = LayerTask(Layer(nest))
    why = engine.array.takes(task.layer)
    assert engine.takes(task.layer) == engine.takes(circulant(nest, 1)) == why
    assume(why is None)
    expected = engine.array.cost(task, technology)
    assert engine.cost(task, technology) == expected
    assert engine.cost(LayerTask(circulant(nest, 1)), technology) == expected


@SOME
@given(data=st.data())
def test_never_slower_than_the_dense_layer(data, circulant_layers, engines, technology):
    layer, engine = data.draw(circulant_layers), data.draw(engines)
    dense = Layer(layer.nest)
    assume(engine.takes(dense) is None)
    assert engine.takes(layer) is None
    dense_cycles = best_of(engine.ways(LayerTask(dense)), engine.array, 0.0).cycles
    assert best_of(engine.ways(LayerTask(layer)), engine.array, 0.0).cycles <= dense_cycles


@pytest.mark.parametrize(
    ("block", "execution"), [(8, "spectral"), (128, "plain"), (6, "plain"), (1, "plain")]
)
def test_blocks_that_the_core_does_not_take_run_as_dense(
    block, execution, engine, circulant, technology
):
    small = replace(engine, core=replace(engine.core, largest_block=64))
    task = LayerTask(circulant(NEST, block))
    assert small.takes(task.layer) is None
    assert small.cost(task, technology).execution == execution


def test_other_layers_are_none_of_its_business(engine, technology):
    binary = Layer(NEST, arithmetic=Arithmetic.AND_POPCOUNT)
    both = replace(binary, weights=structure(8), parts=(NEST,))
    sparse = Layer(NEST, weights=Weights("sparse", (("density", 0.5),)), parts=(NEST,))
    for layer in (binary, both, sparse):
        why = engine.takes(layer)
        assert why is not None
        assert why.unknown
        with pytest.raises(InfeasibleError, match="cannot run conv as what it is"):
            engine.cost(LayerTask(layer), technology)
    # As the convolution that stands for it.
    assert evaluate_layer(LayerTask(sparse), engine, technology).execution == "plain"


def test_groups_are_padded_each_by_itself():
    grouped = replace(NEST, C=12, K=20, G=2)
    found = in_blocks(grouped, 8)
    assert (found.C, found.K, found.G) == (2, 4, 2)


def test_a_pool_goes_in_front(engine, circulant, technology):
    pooled = replace(NEST, pool=Pool((2, 2), (2, 2)))
    fused = engine.cost(LayerTask(circulant(pooled, 8)), technology)
    alone = engine.cost(LayerTask(circulant(NEST, 8)), technology)
    assert (fused.execution, fused.fused) == ("fused spectral", True)
    assert (alone.execution, alone.fused) == ("spectral", False)
    # 8 blocks of outputs at 4x4 pooled positions, where there were 8x8.
    assert fused.mapping["inverted"] == 2 * 8 * 16
    assert alone.mapping["inverted"] == 2 * 8 * 64
    ragged = replace(NEST, H=9, pool=Pool((2, 2), (2, 2), ceil_mode=True))
    assert engine.cost(LayerTask(circulant(ragged, 8)), technology).execution == "spectral"


def _energies(cost):
    return [getattr(cost.energy, field.name) for field in fields(cost.energy)]


@SOME
@given(data=st.data())
def test_parts_add_up(data, circulant_layers, engines, technology):
    layer, engine = data.draw(circulant_layers), data.draw(engines)
    assume(engine.takes(layer) is None)
    cost = engine.cost(LayerTask(layer), technology)
    assert cost.energy.total == pytest.approx(math.fsum(_energies(cost)))
    chosen = best_of(engine.ways(LayerTask(layer)), engine.array)
    assert sum(chosen.waits) == pytest.approx(cost.cycles)
    assume(isinstance(chosen.work.execution, Spectral))
    array = cost_of(chosen, engine.array, technology)
    done = activity(chosen, chosen.work.execution, engine.array).operations
    assert cost.multiplications == array.multiplications + done.multiplications
    assert cost.additions == array.additions + done.additions
    assert all(a >= b for a, b in zip(_energies(cost), _energies(array), strict=True))
    # The core is on while others work: it leaks by its area.
    seconds = cost.cycles / (engine.clock_mhz * 1e6)
    watts = core_area(engine.core, engine.array, technology).total
    watts *= technology.memory.leakage_mw_per_um2 / 1e3
    assert cost.energy.static - array.energy.static == pytest.approx(watts * seconds * 1e12)


def test_area_by_hand(engine, technology):
    """Sixteen points in FP16: 3 levels of constants, and a general one of 12 multipliers."""
    found = core_area(engine.core, engine.array, technology)
    assert found.adders == (16 + 8 + 16 + 16 + 12) * 1360
    assert found.multipliers == (4 + 12) * 1640
    assert found.registers == 4 * 16 * 16 * 4.522
    # 32 complex twiddles of a block of 128.
    assert found.twiddles == 32 * 2 * 16 * 4.522
    # a + b of the inputs, two for each bin of the weights; two for each bin on the way out.
    assert found.sums == (8 + 32) * 1360 + 16 * 4184
    assert found.total == pytest.approx(found.logic + found.twiddles)
    four = core_area(replace(engine.core, products=4), engine.array, technology)
    assert four == replace(found, sums=0.0)


def test_a_small_dense_layer_by_hand(engine, circulant):
    """64 to 64 channels, one image: 8 blocks in, 8 out, one chunk."""
    nest = ConvLayer("fc", N=1, K=64, C=64, H=1, W=1, R=1, S=1)
    work = engine.ways(LayerTask(circulant(nest, 8)))[0]
    chosen = best_of((work,), engine.array, 0.0)
    # Sixteen beats of weights; two of inputs pass the core, 36 cycles deep, in four.
    commands = 16 + (3 * 12 + 64 // 16)
    first = commands + 60 + 6
    # Weights of eight slices fill in two beats; eleven products a sum apart, of five cycles each.
    multiply = (2 + 1) + 10 * 5 + 1
    last = (3 + 9 + 5) + 9 + (3 * 12 + 64 // 16)
    begin = 60 + 4 + 60 + 8 * 64 // 64
    assert chosen.tiling.to_json()["output_channels"] == 8
    assert chosen.cycles == begin + first + multiply + last


def test_energy_by_hand(engine, circulant, technology):
    """One pixel of 128 to 128 channels: 16 blocks in and out, 256 of weights."""
    nest = ConvLayer("fc", N=1, K=128, C=128, H=1, W=1, R=1, S=1)
    cost = engine.cost(LayerTask(circulant(nest, 8)), technology)
    assert cost.execution == "spectral"
    # Twenty additions and two products each way.
    transforms = 32 * (20 * 0.4 + 2 * 1.1)
    # a + b of three bins of each input; two sums each for weights and for bins on the way out.
    beside = 3 * (16 + 2 * 256) * 0.4 + 6 * 16 * 0.9
    # Eight blocks of inputs at a time: two sums accumulate of each product.
    products, accumulated = 256 * 11, 16 * 11 * 2
    array = products * 1.1 + (products - accumulated) * 0.4 + (accumulated + 128) * 0.9
    assert cost.energy.mac == pytest.approx(transforms + beside + array)
    assert cost.multiplications == products + 32 * 2
    assert cost.additions == products + 128 + 32 * 20 + 3 * (16 + 2 * 256) + 6 * 16
    # In beats of 64 bytes; bias, scale and configuration in 18 of them.
    assert cost.traffic.dram == (128 + 256 * 8 + 128) * 2 + 18 * 64


def test_fixed_point_grows_in_the_core(circulant, technology):
    """Adders of level s have 12 + s bits: each by the 32-bit row."""
    engine = load_accelerator("fft-12")
    found = core_area(engine.core, engine.array, technology)
    levels = 16 * 13 + 8 * 14 + 16 * 15 + (16 + 12) * 19
    assert found.adders == pytest.approx(levels * 137 / 32)
    assert found.multipliers == pytest.approx(634.5 * (4 * 15 + 12 * 19) / 12)
    # 17 bits do not fit the 16 of the multipliers: 47 products in two passes, for 23 in one.
    for block, products in ((16, 23), (32, 2 * 47)):
        layer = circulant(replace(NEST, C=256, K=256, R=1, S=1, pads=(0,) * 4), block)
        cost = engine.cost_in_blocks(LayerTask(layer), technology)
        passed = cost.mapping["transformed"] + cost.mapping["inverted"]
        expected = (256 // block) ** 2 * products * 2 * 64
        assert cost.multiplications == expected + passed * whole(block).multiplications


def test_a_rewritten_network(circulant, technology):
    """The engine runs what the pass writes into a network; an array runs it as the dense layer."""
    passes = RewriteOptions(passes="block-circulant{block=8}")
    found = mlcnn.evaluate("resnet20", passes, on="fft-fp16", against="dcnn-fp16", batch=1)
    tasks = network_tasks(mlcnn.load("resnet20"), batch=1)
    engine, dense = load_accelerator("fft-fp16"), load_accelerator("dcnn-fp16")
    rewritten = [row.task.layer.weights.kind == KIND for row in found.layers]
    assert sum(rewritten) == len(tasks) - 2
    for row, task, blocks in zip(found.layers, tasks, rewritten, strict=True):
        layer = circulant(task.nest, 8) if blocks else task.layer
        assert row.cost == evaluate_layer(replace(task, layer=layer), engine, technology)
        plain = evaluate_layer(task, dense, technology)
        assert (row.against.cycles, row.against.energy) == (plain.cycles, plain.energy)
    assert {row.cost.execution for row in found.layers} == {"plain", "spectral"}
