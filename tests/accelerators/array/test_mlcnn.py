"""The kind with box sums: what runs fused, and what its sums cost."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask, Precision, load_accelerator
from mlcnn.accelerators.array import PLAIN, Boxes, best, operations
from mlcnn.accelerators.array.work import Work
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, Layer, Pool

HALVE = Pool((2, 2), (2, 2))
NEST = ConvLayer("l", N=1, K=6, C=4, H=8, W=8, R=3, S=3, pool=HALVE)


def _ways(nest, machine, **more):
    return [work.execution for work in machine.ways(LayerTask(Layer(nest), **more))]


def test_fused_first_and_plain_beside_it(mlcnn):
    assert _ways(NEST, mlcnn) == [Boxes(), PLAIN]
    assert _ways(replace(NEST, pool=None), mlcnn) == [PLAIN]


@pytest.mark.parametrize(
    "pool",
    [
        Pool((2, 2), (2, 2), pads=(1, 1, 1, 1)),
        Pool((4, 4), (4, 4), ceil_mode=True),
    ],
)
def test_windows_that_are_not_whole_run_plain(pool, mlcnn):
    assert _ways(replace(NEST, pool=pool), mlcnn) == [PLAIN]


def test_pairs_where_one_layer_alone_reads_and_nothing_scales(mlcnn):
    one = replace(NEST, R=1, S=1)
    assert _ways(one, mlcnn, sole_consumer=True) == [Boxes(paired=True), Boxes(), PLAIN]
    assert _ways(one, mlcnn) == [Boxes(), PLAIN]
    assert _ways(one, mlcnn, scaled=True, sole_consumer=True) == [Boxes(), PLAIN]
    # A window of three rows is no pair.
    three = replace(one, H=9, W=9, pool=Pool((3, 3), (3, 3)))
    assert _ways(three, mlcnn, sole_consumer=True) == [Boxes(), PLAIN]


@pytest.mark.parametrize(
    ("window", "bits"), [((1, 1), 8), ((2, 1), 9), ((2, 2), 10), ((3, 3), 12), ((8, 8), 14)]
)
def test_integer_sums_are_wider(window, bits):
    """A sum of n words of 8 bits, each from -128 to 127, at its largest and least."""
    nest = replace(NEST, H=20, W=20, pool=Pool(window, window))
    count = window[0] * window[1]
    assert -(2 ** (bits - 1)) <= -128 * count
    assert 127 * count < 2 ** (bits - 1)
    assert -128 * count < -(2 ** (bits - 2))  # one bit fewer would not hold it
    assert Work(nest, Precision.INT8, Boxes()).stored_bits == bits
    assert Work(nest, Precision.FP16, Boxes()).stored_bits == 16
    assert Work(nest, Precision.INT8).stored_bits == 8


def test_pairs_of_integers_take_two_words_in_dram():
    assert Work(NEST, Precision.INT8, Boxes(paired=True)).loaded_bits == 16
    assert Work(NEST, Precision.INT8, Boxes()).loaded_bits == 8
    assert Work(NEST, Precision.FP32, Boxes(paired=True)).loaded_bits == 32


def test_box_sums_convolve_to_the_pooled_output():
    """What the array computes: a convolution over box sums at the pooled outputs is the pool of a
    convolution; and it forms as many sums as the model stores."""
    rng = np.random.default_rng(0)
    image, kernel = rng.normal(size=(8, 8)), rng.normal(size=(3, 3))
    plain = np.zeros((6, 6))
    for i, j in itertools.product(range(6), repeat=2):
        plain[i, j] = (image[i : i + 3, j : j + 3] * kernel).sum()
    pooled = plain.reshape(3, 2, 3, 2).sum(axis=(1, 3))
    work = Work(NEST, Precision.FP32, Boxes())
    starts = sorted(work.rows.box_starts(range(3)))
    assert work.rows.tiles(3).stored == len(starts)
    sums = {
        (h, w): image[h : h + 2, w : w + 2].sum() for h, w in itertools.product(starts, repeat=2)
    }
    for i, j in itertools.product(range(3), repeat=2):
        taps = itertools.product(range(3), repeat=2)
        found = sum(kernel[r, s] * sums[2 * i + r, 2 * j + s] for r, s in taps)
        assert found == pytest.approx(pooled[i, j])


@given(data=st.data())
def test_box_sums_never_multiply_more_than_the_convolution(data, small_layers):
    nest = data.draw(small_layers.filter(lambda one: one.pool is not None))
    counted, plain = Boxes().counted(nest), PLAIN.counted(nest)
    assert counted.multiplications == nest.N * nest.K * nest.products * np.prod(nest.pooled)
    assert plain.multiplications == nest.macs
    window = np.prod(nest.pool.kernel)
    covered = nest.pool.strides == nest.pool.kernel
    if covered and nest.P % nest.pool.kernel[0] == nest.Q % nest.pool.kernel[1] == 0:
        assert counted.multiplications * window == plain.multiplications


@pytest.mark.parametrize(
    ("window", "bits"), [((1, 1), 8), ((2, 2), 8), ((3, 3), 9), ((5, 5), 10), ((8, 8), 11)]
)
def test_rows_that_wait_lack_their_last(window, bits):
    """The row buffer holds sums of n - 1 words down a column: of a 2x2 window the words."""
    nest = replace(NEST, H=20, W=20, pool=Pool(window, window))
    rows = max(window[0] - 1, 1)
    assert -(2 ** (bits - 1)) <= -128 * rows
    assert bits == 8 or -128 * rows < -(2 ** (bits - 2))
    assert Work(nest, Precision.INT8, Boxes()).row_bits == bits
    assert Work(nest, Precision.FP32, Boxes()).row_bits == 32


def test_additions_by_hand(mlcnn):
    """A 1x1 layer with a 2x2 pool: 16 sums of four inputs for each channel, three additions each,
    and each of the 16 outputs leaves with its bias."""
    nest = ConvLayer("l", N=1, K=6, C=4, H=8, W=8, R=1, S=1, pool=HALVE)
    chosen = best(LayerTask(Layer(nest)), mlcnn)
    assert chosen.work.execution == Boxes()
    done = operations(chosen.work, chosen.tiling, mlcnn, chosen.ways, chosen.side)
    assert done.input_additions == 4 * 16 * 3
    assert done.output_additions == 6 * 16
    assert done.multiplications == 6 * 4 * 16


def test_pairs_are_added_by_the_layer_before(mlcnn):
    """Half of the sums' additions remain here; 8 x 4 pairs a channel were one addition each."""
    nest = ConvLayer("l", N=1, K=6, C=4, H=8, W=8, R=1, S=1, pool=HALVE)
    work = Work(nest, Precision.FP32, Boxes(paired=True))
    tiling = best(LayerTask(Layer(nest)), mlcnn).tiling
    done = operations(work, tiling, mlcnn, 1, 8)
    assert done.input_additions == 4 * 16
    assert done.output_additions == 6 * 16 + 4 * 32


def test_wider_operands_are_larger_multipliers(mlcnn):
    int8 = load_accelerator("mlcnn-int8")
    assert int8.multiplier_width == 10 / 8
    assert replace(int8, wide_bits=8).multiplier_width == 1
    assert mlcnn.multiplier_width == load_accelerator("mlcnn-fp16").multiplier_width == 1
    assert load_accelerator("dcnn-int8").multiplier_width == 1


def test_it_needs_adders_for_its_sums(mlcnn):
    with pytest.raises(InputError, match="kind mlcnn needs input_adders, got 0"):
        replace(mlcnn, input_adders=0)
