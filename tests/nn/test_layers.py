"""Operators with weights: which module each becomes, and that it computes the same."""

import numpy as np
import pytest
import torch
from torch import nn

from mlcnn.errors import UnsupportedError
from mlcnn.nn import to_module

IMAGE = "g (float[n,4,9,8] x) => (float[n,a,b,c] y)"
VECTOR = "g (float[n,6] x) => (float[n,m] y)"


def only_module(module: nn.Module, kind: type[nn.Module]) -> nn.Module:
    found = [child for child in module.modules() if isinstance(child, kind)]
    assert len(found) == 1
    return found[0]


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        "<strides = [2, 1], pads = [1, 2, 1, 2]>",
        "<dilations = [2, 1]>",
        "<pads = [0, 1, 2, 0]>",
        '<auto_pad = "SAME_UPPER", strides = [2, 2]>',
        '<auto_pad = "SAME_LOWER">',
        '<auto_pad = "VALID">',
    ],
)
@pytest.mark.parametrize("bias", [True, False])
def test_conv(network, random, agrees, attributes, bias):
    weights = {"w": random(6, 4, 3, 2)} | ({"b": random(6)} if bias else {})
    model = network(f"{IMAGE} {{ y = Conv {attributes} (x, {', '.join(weights)}) }}", weights)
    module = to_module(model)
    conv = only_module(module, nn.Conv2d)
    assert (conv.bias is not None) == bias
    agrees(module, model, random(3, 4, 9, 8))


def test_grouped_conv(network, random, agrees):
    model = network(f"{IMAGE} {{ y = Conv <group = 2> (x, w) }}", {"w": random(6, 2, 3, 3)})
    module = to_module(model)
    assert only_module(module, nn.Conv2d).groups == 2
    agrees(module, model, random(2, 4, 9, 8))


def test_one_and_three_axes(network, random, agrees):
    text = "g (float[n,4,9] x) => (float[n,a,b] y) { y = Conv <pads = [1, 1]> (x, w) }"
    model = network(text, {"w": random(5, 4, 3)})
    agrees(to_module(model), model, random(2, 4, 9))
    text = "g (float[n,2,5,6,4] x) => (float[n,a,b,c,d] y) { y = Conv <pads=[0,1,1,1,1,0]> (x, w) }"
    model = network(text, {"w": random(3, 2, 2, 3, 2)})
    agrees(to_module(model), model, random(2, 2, 5, 6, 4))


def test_same_padding_of_a_dynamic_size_is_found_at_run_time(network, random, agrees):
    text = """g (float[n,4,h,w] x) => (float[n,a,b,c] y)
        { y = Conv <auto_pad = "SAME_UPPER"> (x, k) }"""
    model = network(text, {"k": random(5, 4, 2, 3)})
    module = to_module(model)
    agrees(module, model, random(1, 4, 9, 8))
    agrees(module, model, random(2, 4, 6, 5))


def test_computed_weights_have_no_parameters(network, random, agrees):
    text = "g (float[1,4,9,8] x, float[5,4,3,3] w) => (float[n,a,b,c] y) { y = Conv (x, w) }"
    model = network(text)
    module = to_module(model)
    assert not list(module.parameters())
    agrees(module, model, random(1, 4, 9, 8), random(5, 4, 3, 3))


def test_a_constant_of_zeros_is_no_bias(network, random):
    """The exporter adds one to a convolution without bias; it must not start to train."""
    weights = {"w": random(6, 4, 3, 3), "val_6": np.zeros(6, np.float32)}
    module = to_module(network(f"{IMAGE} {{ y = Conv (x, w, val_6) }}", weights))
    assert only_module(module, nn.Conv2d).bias is None


@pytest.mark.parametrize(
    "attributes",
    [
        "",
        "<strides = [2, 3], pads = [1, 0, 1, 0], output_padding = [1, 0]>",
        "<pads = [0, 1, 1, 0]>",
    ],
)
def test_conv_transpose(network, random, agrees, attributes):
    weights = {"w": random(4, 5, 3, 2), "b": random(5)}
    model = network(f"{IMAGE} {{ y = ConvTranspose {attributes} (x, w, b) }}", weights)
    agrees(to_module(model), model, random(2, 4, 9, 8))


@pytest.mark.parametrize("transposed", [0, 1])
@pytest.mark.parametrize("bias_shape", [None, (5,), (1, 5)])
def test_gemm(network, random, agrees, transposed, bias_shape):
    weights = {"w": random(5, 6) if transposed else random(6, 5)}
    weights |= {} if bias_shape is None else {"b": random(*bias_shape)}
    text = f"{VECTOR} {{ y = Gemm <transB = {transposed}> (x, {', '.join(weights)}) }}"
    model = network(text, weights)
    module = to_module(model)
    assert only_module(module, nn.Linear).in_features == 6
    agrees(module, model, random(3, 6))


@pytest.mark.parametrize("attributes", ["alpha = 0.5", "beta = 0.5", "transA = 1"])
def test_an_exotic_gemm_is_still_computed(network, random, agrees, attributes):
    text = f"g (float[6,6] x) => (float[n,m] y) {{ y = Gemm <{attributes}> (x, w, b) }}"
    model = network(text, {"w": random(6, 5), "b": random(5)})
    agrees(to_module(model), model, random(6, 6))


def test_matmul_by_a_constant_is_a_dense_layer(network, random, agrees):
    text = "g (float[n,3,6] x) => (float[n,3,5] y) { y = MatMul (x, w) }"
    model = network(text, {"w": random(6, 5)})
    module = to_module(model)
    only_module(module, nn.Linear)
    agrees(module, model, random(2, 3, 6))


@pytest.mark.parametrize("shape", [(4,), (4, 5), (4, 5, 6), (4, 3, 2, 5)])
def test_batch_norm(network, random, agrees, shape):
    sizes = ",".join(map(str, shape))
    text = f"""g (float[n,{sizes}] x) => (float[n,{sizes}] y)
        {{ y = BatchNormalization <epsilon = 0.01> (x, s, b, m, v) }}"""
    weights = {name: random(4, seed=i) for i, name in enumerate("sbm")}
    model = network(text, weights | {"v": np.abs(random(4)) + np.float32(0.5)})
    agrees(to_module(model), model, random(3, *shape))


def test_batch_norm_of_unknown_rank_is_refused(network, random):
    weights = {name: np.abs(random(4, seed=i)) for i, name in enumerate("sbmv")}
    text = "g (float x) => (float y) { y = BatchNormalization (x, s, b, m, v) }"
    model = network(text, weights)
    model.graph.inputs[0].shape = None
    with pytest.raises(UnsupportedError, match=r"\(BatchNormalization\): the rank of its input 0"):
        to_module(model)


def test_other_normalisations(network, random, agrees):
    weights = {"s": random(4), "b": random(4, seed=1), "r": random(9, 8), "q": random(9, 8, seed=1)}
    text = f"""{IMAGE} {{
        i = InstanceNormalization <epsilon = 0.01> (x, s, b)
        y = LayerNormalization <axis = 2> (i, r, q)
    }}"""
    model = network(text, weights)
    module = to_module(model)
    only_module(module, nn.InstanceNorm2d)
    only_module(module, nn.LayerNorm)
    agrees(module, model, random(2, 4, 9, 8))


@pytest.mark.parametrize("shape", [(1,), (4, 1, 1)])
def test_parametric_relu(network, random, agrees, shape):
    model = network(f"{IMAGE} {{ y = PRelu (x, w) }}", {"w": random(*shape)})
    module = to_module(model)
    assert only_module(module, nn.PReLU).weight.shape == (np.prod(shape),)
    agrees(module, model, random(2, 4, 9, 8))


def test_parametric_relu_of_another_shape_is_a_function(network, random, agrees):
    model = network(f"{IMAGE} {{ y = PRelu (x, w) }}", {"w": random(9, 8)})
    agrees(to_module(model), model, random(2, 4, 9, 8))


def test_building_leaves_the_random_state_alone(network, random):
    model = network(f"{IMAGE} {{ y = Conv (x, w) }}", {"w": random(6, 4, 3, 3)})
    torch.manual_seed(1)
    before = torch.get_rng_state()
    to_module(model)
    assert torch.equal(before, torch.get_rng_state())
