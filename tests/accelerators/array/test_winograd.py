"""The kind with Winograd's algorithm: which layers it takes, and what its transforms cost."""

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest

from mlcnn.accelerators import LayerTask, Precision, load_accelerator
from mlcnn.accelerators.array import PLAIN, Winograd, area, best, operations
from mlcnn.accelerators.array.winograd import TRANSFORMS
from mlcnn.accelerators.array.work import Work
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, Layer, Pool

NEST = ConvLayer("l", N=1, K=6, C=4, H=10, W=10, R=3, S=3)

# Lavin and Gray 2016, section 4.1: F(2x2, 3x3).
B2 = np.array([[1, 0, -1, 0], [0, 1, 1, 0], [0, -1, 1, 0], [0, 1, 0, -1]])
G2 = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
A2 = np.array([[1, 1, 1, 0], [0, 1, -1, -1]])
# Section 4.3: F(4x4, 3x3).
B4 = np.array(
    [
        [4, 0, -5, 0, 1, 0],
        [0, -4, -4, 1, 1, 0],
        [0, 4, -4, -1, 1, 0],
        [0, -2, -1, 2, 1, 0],
        [0, 2, -1, -2, 1, 0],
        [0, 4, 0, -5, 0, 1],
    ]
)
G4 = np.array(
    [
        [Fraction(1, 4), 0, 0],
        [Fraction(-1, 6)] * 3,
        [Fraction(-1, 6), Fraction(1, 6), Fraction(-1, 6)],
        [Fraction(1, 24), Fraction(1, 12), Fraction(1, 6)],
        [Fraction(1, 24), Fraction(-1, 12), Fraction(1, 6)],
        [0, 0, 1],
    ]
)
A4 = np.array([[1, 1, 1, 1, 1, 0], [0, 1, -1, 2, -2, 0], [0, 1, 1, 4, 4, 0], [0, 1, -1, 8, -8, 1]])
MATRICES = {2: (B2, G2, A2), 4: (B4, G4.astype(float), A4)}


def _ways(nest, machine):
    return [work.execution for work in machine.ways(LayerTask(Layer(nest)))]


@pytest.fixture(scope="module", params=[2, 4])
def tile(request):
    return request.param


@pytest.fixture
def machine(tile):
    return load_accelerator(f"winograd-f{tile}-fp32")


def test_the_matrices_convolve(tile):
    """What the model counts is a convolution: m x m outputs of a 3x3 kernel from (m + 2)^2."""
    inputs, weights, outputs = MATRICES[tile]
    rng = np.random.default_rng(tile)
    image, kernel = rng.normal(size=(tile + 2, tile + 2)), rng.normal(size=(3, 3))
    products = (weights @ kernel @ weights.T) * (inputs @ image @ inputs.T)
    assert products.size == Winograd(tile).frequencies
    found = outputs @ products @ outputs.T
    for i in range(tile):
        for j in range(tile):
            expected = (image[i : i + 3, j : j + 3] * kernel).sum()
            assert found[i, j] == pytest.approx(expected)


def _additions(matrix, columns):
    """Additions of a transform of (rows of) columns, no term shared: one fewer than its terms."""
    return columns * sum(int((row != 0).sum()) - 1 for row in matrix)


def test_transforms_cost_no_more_than_without_shared_terms(tile):
    inputs, weights, outputs = MATRICES[tile]
    width, cost = tile + 2, TRANSFORMS[tile]
    fives = int((np.abs(inputs) == 5).sum())  # 5x = 4x + x
    plain = 2 * (_additions(inputs, width) + fives * width)
    assert cost.input <= plain
    assert cost.weight <= _additions(weights, 3) + _additions(weights, width)
    assert cost.output <= _additions(outputs, width) + _additions(outputs, tile)
    if tile == 2:  # Lavin and Gray 2016, section 4.1: 32, 28 (4 of them shared here), 24
        assert (cost.input, cost.output) == (plain, 24)


def test_plain_3x3_layers_are_transformed(machine, tile):
    assert _ways(NEST, machine) == [Winograd(tile), PLAIN]


@pytest.mark.parametrize(
    "change",
    [
        {"R": 1, "S": 1},
        {"R": 3, "S": 1},
        {"R": 5, "S": 5},
        {"strides": (2, 2)},
        {"dilations": (2, 2)},
        {"pool": Pool((2, 2), (3, 3))},  # outputs between the windows would be for nothing
    ],
)
def test_other_layers_run_plain(machine, change):
    assert _ways(replace(NEST, **change), machine) == [PLAIN]


def test_a_pool_runs_behind_the_output_transform(machine, tile):
    pooled = replace(NEST, pool=Pool((2, 2), (2, 2)))
    assert _ways(pooled, machine) == [Winograd(tile), PLAIN]
    work = Work(pooled, Precision.FP32, Winograd(tile))
    assert work.window == 1
    assert not work.execution.fused
    # One addition for each output of the convolution, beside the bias and the transforms.
    done, plain = (
        operations(one, best(LayerTask(Layer(pooled)), machine).tiling, machine, 1, 8)
        for one in (work, Work(NEST, Precision.FP32, Winograd(tile)))
    )
    biases = NEST.K * (8 * 8 - 4 * 4)
    assert plain.output_additions - done.output_additions == biases - NEST.K * 8 * 8


def test_words_and_products_of_a_layer(machine, tile):
    """8x8 outputs: 16 or 4 tiles of 16 or 36 products for each pair of channels."""
    work = Work(NEST, Precision.FP32, Winograd(tile))
    tiles = {2: 16, 4: 4}[tile]
    assert work.taps == (tile + 2) ** 2
    assert work.execution.dram_share(NEST) * work.taps == pytest.approx(9)
    tiling = best(LayerTask(Layer(NEST)), replace(machine, input_bytes=10**6)).tiling
    whole = replace(tiling, rows=8, columns=8, output_channels=6, input_channels=4)
    done = operations(work, whole, machine, 1, 8)
    cost = TRANSFORMS[tile]
    assert done.multiplications == 6 * 4 * tiles * (tile + 2) ** 2
    assert done.input_additions == 4 * tiles * cost.input + 6 * 4 * cost.weight
    # Each output has its bias; each tile of each filter its transform.
    assert done.output_additions == 6 * 64 + 6 * tiles * cost.output
    assert done.multiplications * {2: 2.25, 4: 4.0}[tile] == NEST.macs


def test_the_operations_are_those_executed(machine, technology, tile):
    nest = replace(NEST, N=8, K=64, C=64)
    chosen = best(LayerTask(Layer(nest)), machine)
    assert chosen.work.execution == Winograd(tile)
    done = operations(chosen.work, chosen.tiling, machine, chosen.ways, chosen.side)
    cost = machine.cost(LayerTask(Layer(nest)), technology)
    assert cost.multiplications == done.multiplications < nest.macs
    assert cost.additions == (
        done.tree_additions + done.accumulations + done.input_additions + done.output_additions
    )
    assert cost.execution == "winograd"


def test_the_output_transform_takes_adders(machine, technology, tile):
    """24 additions for 16 sums, or 100 for 36, at 16 sums a cycle; one an output of a pool."""
    adders = {2: 24.0 + 4, 4: 16 * (100 + 16) / 36}[tile]
    assert machine.transform_adders == pytest.approx(adders)
    accumulate = technology.operations[machine.precision].accumulate.area_um2
    assert area(machine, technology).output_unit == pytest.approx((16 + adders) * accumulate)


@pytest.mark.parametrize("value", [0, 1, 3, 6])
def test_tiles_that_there_are_none_of(machine, value):
    with pytest.raises(InputError, match=f"winograd_tile is {value} and .* takes 2 or 4"):
        replace(machine, winograd_tile=value)


def test_machines_of_other_tiles_are_no_family():
    two, four = (load_accelerator(f"winograd-f{tile}-fp32") for tile in (2, 4))
    assert two.family != four.family
    assert two.family == replace(two, name="other", slices=3).family
    assert load_accelerator("dcnn-fp32").family != load_accelerator("dcnn-int8").family
