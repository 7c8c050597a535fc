"""Operators without weights: torch's module where it is the same, else the function."""

import numpy as np
import pytest
from torch import nn

from mlcnn.errors import UnsupportedError
from mlcnn.nn import to_module
from mlcnn.nn.stateless import Apply

IMAGE = "g (float[n,4,9,8] x) => (float[n,a,b,c] y)"


@pytest.mark.parametrize(
    ("node", "kind"),
    [
        ("Relu", nn.ReLU),
        ("LeakyRelu <alpha = 0.2>", nn.LeakyReLU),
        ("Elu", nn.ELU),
        ("Celu <alpha = 2.0>", nn.CELU),
        ("Sigmoid", nn.Sigmoid),
        ("Tanh", nn.Tanh),
        ("HardSwish", nn.Hardswish),
        ("Mish", nn.Mish),
        ("Softsign", nn.Softsign),
        ("Gelu", nn.GELU),
        ('Gelu <approximate = "tanh">', nn.GELU),
        ("HardSigmoid <alpha = 0.16666667>", nn.Hardsigmoid),
        ("HardSigmoid", Apply),
        ("Softmax <axis = 1>", nn.Softmax),
        ("LogSoftmax", nn.LogSoftmax),
        ("Identity", nn.Identity),
        ("Dropout", nn.Dropout),
        ("AveragePool <kernel_shape = [2, 3], strides = [2, 2]>", nn.AvgPool2d),
        ("AveragePool <kernel_shape = [2, 3], pads = [1, 1, 1, 1], ceil_mode = 1>", nn.AvgPool2d),
        ("AveragePool <kernel_shape = [2, 2], pads = [0, 1, 1, 0]>", Apply),
        ("AveragePool <kernel_shape = [2, 2], dilations = [2, 1]>", Apply),
        ("AveragePool <kernel_shape = [5, 5], pads = [4, 4, 4, 4], count_include_pad = 1>", Apply),
        ("MaxPool <kernel_shape = [3, 3], strides = [2, 2], pads = [1, 1, 1, 1]>", nn.MaxPool2d),
        ("MaxPool <kernel_shape = [2, 2], pads = [0, 1, 1, 0]>", Apply),
        ("GlobalAveragePool", nn.AdaptiveAvgPool2d),
        ("GlobalMaxPool", nn.AdaptiveMaxPool2d),
        ("Softplus", Apply),
        ("DepthToSpace <blocksize = 2>", Apply),
    ],
)
def test_modules(network, random, agrees, node, kind):
    name, _, attributes = node.partition(" ")
    model = network(f"{IMAGE} {{ y = {name} {attributes} (x) }}")
    module = to_module(model)
    (child,) = [part for part in module.modules() if part is not module][-1:]
    assert type(child) is kind
    agrees(module, model, random(2, 4, 9, 8))


def test_flatten(network, random, agrees):
    text = "g (float[n,4,9,8] x) => (float[n,m] y) { y = Flatten (x) }"
    module = to_module(network(text))
    assert any(isinstance(child, nn.Flatten) for child in module.children())
    agrees(module, network(text), random(2, 4, 9, 8))


@pytest.mark.parametrize("bounds", [(0, 6), (-1, 2)])
def test_clip(network, random, agrees, bounds):
    low, high = bounds
    kind = nn.ReLU6 if bounds == (0, 6) else nn.Hardtanh
    weights = {"low": np.float32(low), "high": np.float32(high)}
    model = network(f"{IMAGE} {{ y = Clip (x, low, high) }}", weights)
    module = to_module(model)
    assert any(type(child) is kind for child in module.modules())
    agrees(module, model, 4 * random(2, 4, 9, 8))


def test_half_a_clip(network, random, agrees):
    model = network(f"{IMAGE} {{ y = Clip (x, , high) }}", {"high": np.float32(0.5)})
    agrees(to_module(model), model, random(2, 4, 9, 8))


def test_dropout_keeps_its_ratio(network):
    weights = {"ratio": np.float32(0.25)}
    module = to_module(network(f"{IMAGE} {{ y = Dropout (x, ratio) }}", weights))
    assert [child.p for child in module.modules() if isinstance(child, nn.Dropout)] == [0.25]


def test_axes_and_slices_are_precomputed(network, random, agrees):
    weights = {
        "axes": np.array([2, 3]),
        "starts": np.array([1, 0]),
        "ends": np.array([4, 6]),
        "slice_axes": np.array([1, 2]),
    }
    text = f"{IMAGE} {{ s = Slice (x, starts, ends, slice_axes)  y = ReduceMean (s, axes) }}"
    model = network(text, weights)
    module = to_module(model)
    assert not list(module.buffers())
    assert "python_value" not in module.code
    agrees(module, model, random(2, 4, 9, 8))


def test_an_unknown_operator_is_named(network):
    model = network(f"{IMAGE} {{ y = Relu (x) }}")
    model.graph.node(0).op_type = "Strange"
    model.graph.node(0).name = "the_node"
    with pytest.raises(UnsupportedError, match=r"node 'the_node' \(Strange\): operator 'Strange'"):
        to_module(model)
