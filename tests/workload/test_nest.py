"""Loop nests of layers, executed point by point, against PyTorch."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.errors import UnsupportedError
from mlcnn.workload import ConvAxis, ConvLayer, NestForm, Pool, loop_nest

_DILATED = (
    "layer c: the expanded kernel of a dilated convolution (dilation 2) is not built; use the form "
    "box"
)


@st.composite
def _layers(draw, *, pool=False):
    groups = draw(st.sampled_from([1, 1, 2, 3]))
    height, width = draw(st.integers(1, 6)), draw(st.integers(1, 6))
    kernel = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    pads = draw(st.tuples(*[st.integers(0, 1)] * 4))
    strides = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    dilations = draw(st.tuples(st.integers(1, 2), st.integers(1, 2)))
    window = Pool(
        draw(st.tuples(st.integers(1, 3), st.integers(1, 2))),
        draw(st.tuples(st.integers(1, 2), st.integers(1, 3))),
    )
    layer = ConvLayer(
        "layer", draw(st.integers(1, 2)), groups * draw(st.integers(1, 2)),
        groups * draw(st.integers(1, 2)), height, width, *kernel, groups, strides, dilations, pads,
        window if pool else None,
    )  # fmt: skip
    assume(min(layer.P, layer.Q) > 0)
    assume(not pool or (window.kernel[0] <= layer.P and window.kernel[1] <= layer.Q))
    return layer


def _tensors(layer, seed=0):
    generator = np.random.default_rng(seed)
    x = generator.integers(-4, 5, (layer.N, layer.C, layer.H, layer.W))
    weight = generator.integers(-4, 5, (layer.K, layer.C // layer.G, layer.R, layer.S))
    return x.astype(float), weight.astype(float)


def _grouped(array, axis, groups):
    """With the groups as an axis of its own in front of the channels, where there are any."""
    if groups == 1:
        return array
    shape = (*array.shape[:axis], groups, array.shape[axis] // groups, *array.shape[axis + 1 :])
    return array.reshape(shape)


def _executed(nest, weight, x):
    """The output of a nest: each point multiplies the two words that it touches."""
    last = dict(zip(nest.dims, (size - 1 for size in nest.sizes), strict=True))
    output = np.zeros(tuple(index + 1 for index in nest.output.word(last)))
    for index in itertools.product(*map(range, nest.sizes)):
        point = dict(zip(nest.dims, index, strict=True))
        output[nest.output.word(point)] += (
            weight[nest.weight.word(point)] * x[nest.input.word(point)]
        )
    return output


def _convolved(layer, weight, x):
    top, left, bottom, right = layer.pads
    padded = F.pad(torch.from_numpy(x), (left, right, top, bottom))
    return padded, F.conv2d(
        padded, torch.from_numpy(weight), None, layer.strides, 0, layer.dilations, layer.G
    )


@given(_layers())
@settings(max_examples=60, deadline=None)
def test_the_nest_of_a_layer_computes_it(layer):
    x, weight = _tensors(layer)
    padded, expected = _convolved(layer, weight, x)
    nest = loop_nest(layer)
    computed = _executed(nest, _grouped(weight, 0, layer.G), _grouped(padded.numpy(), 1, layer.G))
    assert np.array_equal(computed, _grouped(expected.numpy(), 1, layer.G))
    assert nest.macs == layer.macs


def _box_sums(layer, padded):
    kernel = torch.ones(1, 1, *layer.pool.kernel, dtype=torch.float64)
    flat = padded.reshape(-1, 1, *padded.shape[2:])
    sums = F.conv2d(flat, kernel, dilation=layer.strides)
    return sums.reshape(*padded.shape[:2], *sums.shape[2:])


@given(_layers(pool=True))
@settings(max_examples=60, deadline=None)
def test_box_sums_give_the_pooled_layer(layer):
    x, weight = _tensors(layer)
    padded, convolved = _convolved(layer, weight, x)
    area = math.prod(layer.pool.kernel)
    expected = F.avg_pool2d(convolved, layer.pool.kernel, layer.pool.strides) * area
    computed = _executed(
        loop_nest(layer, NestForm.BOX),
        _grouped(weight, 0, layer.G),
        _grouped(_box_sums(layer, padded).numpy(), 1, layer.G),
    )
    assert np.allclose(computed, _grouped(expected.numpy(), 1, layer.G), rtol=1e-12, atol=1e-9)


def _expanded(layer, weight):
    """The kernel convolved with the box of the pool, whose taps are a stride apart."""
    box = torch.zeros(
        1, 1, *((k - 1) * s + 1 for k, s in zip(layer.pool.kernel, layer.strides, strict=True)),
        dtype=torch.float64,
    )  # fmt: skip
    box[:, :, :: layer.strides[0], :: layer.strides[1]] = 1
    flat = torch.from_numpy(weight).reshape(-1, 1, layer.R, layer.S)
    pads = (box.shape[2] - 1, box.shape[3] - 1)
    full = F.conv2d(flat, box.flip(2, 3), padding=pads)
    return full.reshape(*weight.shape[:2], *full.shape[2:]).numpy()


@given(_layers(pool=True))
@settings(max_examples=60, deadline=None)
def test_an_expanded_kernel_gives_the_pooled_layer(layer):
    assume(all(d == 1 or k == 1 for d, k in zip(layer.dilations, (layer.R, layer.S), strict=True)))
    x, weight = _tensors(layer)
    padded, convolved = _convolved(layer, weight, x)
    area = math.prod(layer.pool.kernel)
    expected = F.avg_pool2d(convolved, layer.pool.kernel, layer.pool.strides) * area
    computed = _executed(
        loop_nest(layer, NestForm.EXPANDED),
        _grouped(_expanded(layer, weight), 0, layer.G),
        _grouped(padded.numpy(), 1, layer.G),
    )
    assert np.allclose(computed, _grouped(expected.numpy(), 1, layer.G), rtol=1e-12, atol=1e-9)


def test_a_depth_is_two_more_dimensions():
    layer = ConvLayer("c", 1, 4, 2, 5, 5, 3, 3, depth=ConvAxis(7, 3, stride=2))
    nest = loop_nest(layer)
    assert (nest.size("D"), nest.size("T")) == (3, 3)
    assert nest.macs == layer.macs


def test_the_depth_of_a_flat_layer_is_one():
    assert loop_nest(ConvLayer("c", 1, 4, 2, 5, 5, 3, 3)).size("D") == 1


@pytest.mark.parametrize(
    ("layer", "form", "message"),
    [
        (
            ConvLayer("c", 1, 1, 1, 4, 4, 3, 3),
            NestForm.BOX,
            "layer c: the form box fuses a pool, and the layer has none; use the form plain",
        ),
        (
            ConvLayer("c", 1, 1, 1, 9, 9, 3, 3, dilations=(2, 2), pool=Pool((2, 2), (2, 2))),
            NestForm.EXPANDED,
            _DILATED,
        ),
        (
            ConvLayer("c", 1, 1, 1, 2, 2, 3, 3),
            NestForm.PLAIN,
            "layer c: its kernel fits nowhere, so it has no nest",
        ),
    ],
)
def test_what_is_no_nest_says_why(layer, form, message):
    with pytest.raises(UnsupportedError) as told:
        loop_nest(layer, form)
    assert str(told.value) == message


def test_windows_that_are_not_whole_are_not_fused():
    layer = ConvLayer("c", 1, 1, 1, 6, 6, 3, 3, pool=Pool((2, 2), (2, 2), (1, 1, 1, 1)))
    with pytest.raises(UnsupportedError, match="windows of its pool are not whole"):
        loop_nest(layer, NestForm.BOX)
