"""The closed forms against Algorithm 1, executed and counted operation by operation."""

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from counting.algorithm import execute_fused, execute_original
from hypothesis import assume, given
from hypothesis import strategies as st

from mlcnn.counting import Reuse, fused, original
from mlcnn.errors import UnsupportedError
from mlcnn.workload import ConvLayer, Pool

SMALL = st.integers(1, 3)
PAIR = st.tuples(SMALL, SMALL)


@st.composite
def small_layers(draw):
    """Layers whose pool windows are all whole: any stride, dilation, groups, padding, overlap."""
    groups = draw(st.sampled_from([1, 1, 2]))
    kernel, window, pool_strides = draw(PAIR), draw(PAIR), draw(PAIR)
    strides, dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2))), draw(PAIR)
    layer = ConvLayer(
        "small",
        N=draw(st.integers(1, 2)),
        K=groups * draw(st.integers(1, 2)),
        C=groups * draw(st.integers(1, 2)),
        H=draw(st.integers(1, 8)),
        W=draw(st.integers(1, 8)),
        R=kernel[0],
        S=kernel[1],
        G=groups,
        strides=strides,
        dilations=dilations,
        pads=draw(st.tuples(*[st.integers(0, 2)] * 4)),
        pool=Pool(window, pool_strides),
    )
    assume(window[0] <= layer.P and window[1] <= layer.Q)
    return layer


def _operands(layer, seed):
    rng = np.random.default_rng(seed)
    images = rng.normal(size=(layer.N, layer.C, layer.H, layer.W))
    weight = rng.normal(size=(layer.K, layer.C // layer.G, layer.R, layer.S))
    return images, weight, rng.normal(size=layer.K)


def _plain(layer, images, weight, bias, *, kind="average"):
    """Convolution, pool and ReLU by PyTorch."""
    x, w, b = (torch.from_numpy(array) for array in (images, weight, bias))
    top, left, bottom, right = layer.pads
    x = F.conv2d(
        F.pad(x, (left, right, top, bottom)), w, b, layer.strides, 0, layer.dilations, layer.G
    )
    pool = F.avg_pool2d if kind == "average" else F.max_pool2d
    return F.relu(pool(x, layer.pool.kernel, layer.pool.strides)).numpy()


@given(layer=small_layers(), seed=st.integers(0, 2**32 - 1))
def test_every_reuse_computes_the_layer_and_takes_what_its_closed_form_says(layer, seed):
    operands = _operands(layer, seed)
    expected = _plain(layer, *operands)
    for reuse in Reuse:
        executed = execute_fused(layer, *operands, reuse)
        np.testing.assert_allclose(executed.output, expected, rtol=1e-12, atol=1e-12)
        assert executed.operations == fused(layer, reuse), reuse


@given(layer=small_layers(), seed=st.integers(0, 2**32 - 1))
@pytest.mark.parametrize("kind", ["average", "max"])
def test_the_original_takes_what_its_closed_form_says_whatever_the_pool(kind, layer, seed):
    operands = _operands(layer, seed)
    executed = execute_original(layer, *operands, kind=kind)
    expected = _plain(layer, *operands, kind=kind)
    np.testing.assert_allclose(executed.output, expected, rtol=1e-12, atol=1e-12)
    assert executed.operations == original(layer)


def test_a_window_of_eight_with_stride_one():
    layer = ConvLayer(
        "b5", N=1, K=2, C=2, H=8, W=8, R=3, S=3, pads=(1, 1, 1, 1), pool=Pool((8, 8), (1, 1))
    )
    operands = _operands(layer, 0)
    for reuse in (Reuse.PAPER, Reuse.SHARED):
        executed = execute_fused(layer, *operands, reuse)
        np.testing.assert_allclose(executed.output, _plain(layer, *operands), rtol=1e-12)
        assert executed.operations == fused(layer, reuse)


def _algorithm_1(image, weight):
    """Algorithm 1 for one image, 2x2/2 pool and stride 1, loop by loop; only needed sums.

    ``image`` (C, D, D), ``weight`` (K, C, k, k). Full sums are read at (i + 2r, j + 2c).
    """
    channels, size, _ = image.shape
    filters, _, kernel, _ = weight.shape
    rows = (size - kernel + 1) // 2
    needed = kernel + 2 * (rows - 1)
    additions = multiplications = 0
    half = np.zeros((channels, needed, needed + 1))
    for ti in range(channels):
        for i in range(needed):
            for j in range(needed + 1):
                half[ti, i, j] = image[ti, i, j] + image[ti, i + 1, j]
                additions += 1
    output = np.zeros((filters, rows, rows))
    for to in range(filters):
        for ti in range(channels):
            full = np.zeros((needed, needed))
            for r in range(needed):
                for c in range(needed):
                    full[r, c] = half[ti, r, c] + half[ti, r, c + 1]
                    additions += 1
            for r in range(rows):
                for c in range(rows):
                    window = full[2 * r : 2 * r + kernel, 2 * c : 2 * c + kernel]
                    output[to, r, c] += (weight[to, ti] * window).sum()
                    multiplications += kernel**2
                    additions += kernel**2 - (ti == 0)
    return np.maximum(output / 4, 0), multiplications, additions


@pytest.mark.parametrize(("kernel", "size"), [(2, 5), (3, 8), (5, 10), (5, 14)])
def test_algorithm_1_as_printed(kernel, size):
    layer = ConvLayer(
        "alg", N=1, K=3, C=2, H=size, W=size, R=kernel, S=kernel, pool=Pool((2, 2), (2, 2))
    )
    images, weight, _ = _operands(layer, size)
    output, multiplications, additions = _algorithm_1(images[0], weight)
    executed = execute_fused(layer, images, weight, np.zeros(3), Reuse.ALGORITHM)
    np.testing.assert_allclose(executed.output[0], output, rtol=1e-12, atol=1e-12)
    assert executed.operations == fused(layer, Reuse.ALGORITHM)
    assert (executed.operations.multiplications, executed.operations.additions) == (
        multiplications,
        additions,
    )


@pytest.mark.parametrize(
    "pool",
    [Pool((3, 3), (2, 2), (1, 1, 1, 1)), Pool((2, 2), (2, 2), ceil_mode=True)],
    ids=["padded", "partial"],
)
def test_a_pool_with_cut_windows_is_refused(pool):
    layer = ConvLayer("cut", N=1, K=1, C=1, H=5, W=5, R=1, S=1, pool=pool)
    operands = _operands(layer, 0)
    for run in (
        lambda: execute_original(layer, *operands),
        lambda: execute_fused(layer, *operands, Reuse.SHARED),
    ):
        with pytest.raises(UnsupportedError, match="layer cut: the pool pads or cuts off windows"):
            run()
