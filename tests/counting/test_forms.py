"""What each form computes, against a direct walk over its merged kernel."""

import itertools
import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from hypothesis import assume, given
from hypothesis import strategies as st

from mlcnn.counting import FORMS, Operations, Reuse, form_operations, fused
from mlcnn.workload import ConvLayer, Pool


def _layer(**changes):
    values = {"N": 1, "K": 2, "C": 3, "H": 12, "W": 12, "R": 3, "S": 3} | changes
    values.setdefault("pool", Pool((2, 2), (2, 2)))
    return ConvLayer("layer", **values)


def test_box_and_pool_first_are_the_shared_sums():
    layer = _layer(R=1, S=1)
    assert form_operations(layer, "box") == fused(layer, Reuse.SHARED)
    assert form_operations(layer, "pool-first") == fused(layer, Reuse.SHARED)


def test_expanded_has_one_kernel_of_sixteen_taps():
    # (3 + 2 - 1)^2 = 16 taps for each of 3 channels, 2 filters and 5x5 outputs.
    assert form_operations(_layer(), "expanded") == Operations(48 * 2 * 25, 47 * 2 * 25)


def test_expanded_kernel_is_trimmed_to_the_input():
    # (3 + 8 - 1)^2 = 100 taps, of which the outermost meet only padding: 8x8 are left.
    layer = _layer(H=8, W=8, pads=(1, 1, 1, 1), pool=Pool((8, 8), (1, 1)))
    assert form_operations(layer, "expanded") == Operations(3 * 64 * 2, (3 * 64 - 1) * 2)


def test_expanded_kernel_with_stride_and_dilation():
    # Taps at multiples of gcd(2, 2) = 2: ((3 - 1)*2 + (2 - 1)*2) / 2 + 1 = 4 along each axis.
    layer = _layer(strides=(2, 2), dilations=(2, 2))
    assert layer.pooled == (2, 2)
    assert form_operations(layer, "expanded").multiplications == 3 * 16 * 2 * 4


@st.composite
def _geometries(draw):
    kernel, window = (draw(st.tuples(*[st.integers(1, 3)] * 2)) for _ in range(2))
    layer = _layer(
        C=1,
        K=1,
        H=draw(st.integers(1, 9)),
        W=draw(st.integers(1, 9)),
        R=kernel[0],
        S=kernel[1],
        strides=draw(st.tuples(*[st.integers(1, 3)] * 2)),
        dilations=draw(st.tuples(*[st.integers(1, 3)] * 2)),
        pads=draw(st.tuples(*[st.integers(0, 3)] * 4)),
        pool=Pool(window, draw(st.tuples(*[st.integers(1, 3)] * 2))),
    )
    assume(window[0] <= layer.P and window[1] <= layer.Q)
    return layer


def _offsets_used(layer):
    """Distances between an output's window and the inputs that it depends on, per axis.

    PyTorch finds them: an input matters where its gradient is not zero.
    """
    x = torch.zeros(1, 1, layer.H, layer.W, dtype=torch.float64, requires_grad=True)
    top, left, bottom, right = layer.pads
    weight = torch.ones(1, 1, layer.R, layer.S, dtype=torch.float64)
    y = F.conv2d(
        F.pad(x, (left, right, top, bottom)), weight, None, layer.strides, 0, layer.dilations
    )
    y = F.avg_pool2d(y, layer.pool.kernel, layer.pool.strides)
    steps = [layer.strides[axis] * layer.pool.strides[axis] for axis in (0, 1)]
    offsets = (set(), set())
    for place in itertools.product(*(range(size) for size in layer.pooled)):
        (gradient,) = torch.autograd.grad(y[(0, 0, *place)], x, retain_graph=True)
        for axis, positions in enumerate(np.nonzero(gradient.numpy()[0, 0])):
            offsets[axis].update(int(p) - place[axis] * steps[axis] for p in positions)
    return offsets


@given(layer=_geometries())
def test_expanded_reaches_from_the_first_input_that_matters_to_the_last(layer):
    offsets = _offsets_used(layer)
    taps = 1
    for axis, kernel in enumerate((layer.R, layer.S)):
        window, dilation, stride = (
            layer.pool.kernel[axis],
            layer.dilations[axis],
            layer.strides[axis],
        )
        step = math.gcd(dilation * (kernel > 1), stride * (window > 1)) or 1
        merged = {c * dilation + a * stride for c in range(kernel) for a in range(window)}
        assume(len(merged) == max(merged) // step + 1)  # no tap of the merged kernel is zero
        used = offsets[axis]
        taps *= (max(used) - min(used)) // step + 1 if used else 0
    outputs = layer.pooled[0] * layer.pooled[1]
    assert form_operations(layer, "expanded").multiplications == taps * outputs


def test_matvec_spreads_the_weights_where_the_input_is_no_larger_than_the_kernel():
    layer = _layer(H=2, W=2, pads=(1, 1, 1, 1))
    assert layer.pooled == (1, 1)
    assert form_operations(layer, "matvec") == Operations(2 * 3 * 4, 2 * (3 * 4 - 1))


def test_matvec_of_a_larger_input_sums_per_tap():
    layer = _layer(H=8, W=8, pads=(1, 1, 1, 1), pool=Pool((8, 8), (1, 1)))
    assert form_operations(layer, "matvec") == fused(layer, Reuse.SHARED)
    assert form_operations(layer, "matvec").multiplications == 2 * 3 * 9


@pytest.mark.parametrize("form", FORMS)
def test_groups_are_separate_layers(form):
    layer = _layer(C=6, K=4, G=2)
    alone = _layer(C=3, K=2)
    assert form_operations(layer, form) == 2 * form_operations(alone, form)


def test_unknown_form():
    with pytest.raises(ValueError, match="layer layer: no count for form 'magic', only for box"):
        form_operations(_layer(), "magic")
