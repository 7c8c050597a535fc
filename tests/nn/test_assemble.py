"""Whole networks as modules: names, shapes, sharing, speed of the graph."""

import copy

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import helper
from torch import nn

from mlcnn import zoo
from mlcnn.errors import UnsupportedError
from mlcnn.nn import to_module, write_weights


@pytest.mark.long
@pytest.mark.parametrize("name", zoo.names(variants=True))
def test_every_network_of_the_zoo(name):
    entry = zoo.describe(name)
    original = zoo.build(name, seed=4)
    # Written in, because a network may come with trained weights instead.
    module = to_module(write_weights(original, zoo.load(name)))
    x = torch.randn(2, *entry.input_shape, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        torch.testing.assert_close(module(x), original(x), rtol=0, atol=1e-5)
    assert set(module.state_dict()) == set(original.state_dict())


def test_it_computes_what_the_original_module_does(resnet):
    original, model = resnet
    module = to_module(model)
    for batch in (1, 5):
        x = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(batch))
        with torch.no_grad():
            torch.testing.assert_close(module(x), original(x), rtol=0, atol=1e-6)


def test_weights_go_by_their_own_names(resnet):
    original, model = resnet
    state = to_module(model).state_dict()
    expected = original.state_dict()
    assert set(state) == set(expected)
    assert all(torch.equal(state[name], expected[name]) for name in expected)


BRANCHES = """g (float[n,3,8,8] x) => (float[n,5] y) {
    c = Conv <pads = [0, 1, 1, 0]> (x, w)
    a = AveragePool <kernel_shape = [2, 2], dilations = [2, 2], pads = [1, 1, 1, 1],
                     count_include_pad = 1> (c)
    m = MaxPool <kernel_shape = [2, 2]> (c)
    p = AveragePool <kernel_shape = [3, 3], pads = [0, 1, 2, 1], ceil_mode = 1> (c)
    k = Concat <axis = 1> (a, p)
    r = Clip (k, low)
    t = ReduceMean <keepdims = 0> (r, axes)
    s = Shape <start = 0, end = 1> (x)
    u = Concat <axis = 0> (s, rest)
    v = Reshape (t, u)
    z = Mul (v, scale)
    y = Gemm (z, d, e)
}"""


def test_nothing_breaks_the_graph_for_a_compiler(network, random, agrees):
    weights = {"w": random(4, 3, 2, 2), "d": random(8, 5), "e": random(5), "scale": random(8)}
    weights |= {"low": np.float32(0), "axes": np.array([2, 3]), "rest": np.array([8])}
    model = network(BRANCHES, weights)
    module = to_module(model)
    compiled = torch.compile(module, backend="eager", fullgraph=True, dynamic=True)
    for batch in (2, 3):
        agrees(compiled, model, random(batch, 3, 8, 8))


def test_it_starts_in_eval_mode_and_can_be_copied(resnet):
    _, model = resnet
    module = to_module(model)
    assert not any(child.training for child in module.modules())
    copied = copy.deepcopy(module)
    with torch.no_grad():
        next(copied.parameters()).zero_()
    assert next(module.parameters()).count_nonzero()
    assert set(copied.state_dict()) == set(module.state_dict())


def test_every_weight_trains(resnet):
    _, model = resnet
    module = to_module(model).train()
    loss = module(torch.randn(4, 3, 32, 32)).square().sum()
    loss.backward()
    assert all(p.grad is not None and p.grad.count_nonzero() for p in module.parameters())


SQUARE = "g (float[n,4,8,8] x) => (float[n,4,8,8] y)"


def test_a_layer_called_twice_is_one_module(network, random, agrees):
    text = f"""{SQUARE} {{
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        r = Relu (a)
        y = Conv <pads = [1, 1, 1, 1]> (r, w)
    }}"""
    model = network(text, {"w": random(4, 4, 3, 3)})
    module = to_module(model)
    assert sum(isinstance(child, nn.Conv2d) for child in module.modules()) == 1
    agrees(module, model, random(2, 4, 8, 8))


def test_two_layers_with_one_weight_share_the_parameter(network, random, agrees):
    text = f"""{SQUARE} {{
        a = Conv <pads = [1, 1, 1, 1]> (x, w)
        y = Conv <pads = [2, 2, 2, 2], dilations = [2, 2]> (a, w)
    }}"""
    model = network(text, {"w": random(4, 4, 3, 3)})
    module = to_module(model)
    assert sum(isinstance(child, nn.Conv2d) for child in module.modules()) == 2
    assert len(list(module.parameters())) == 1
    agrees(module, model, random(2, 4, 8, 8))


def test_a_weight_in_two_layouts_is_refused(network, random):
    text = """g (float[n,4] x) => (float[n,4] y) {
        a = Gemm (x, w)
        y = Gemm <transB = 1> (a, w)
    }"""
    with pytest.raises(UnsupportedError, match="weight 'w' is also used in another layout"):
        to_module(network(text, {"w": random(4, 4)}))


def test_a_weight_that_is_also_an_operand_stays_one_tensor(network, random, agrees):
    text = """g (float[n,4] x) => (float[n,4] y) {
        a = Gemm <transB = 1> (x, w)
        y = Add (a, w)
    }"""
    model = network(text, {"w": random(4, 4)})
    module = to_module(model)
    agrees(module, model, random(4, 4))
    with torch.no_grad():
        next(iter(module.parameters())).zero_()
        assert module(torch.ones(4, 4)).count_nonzero() == 0


def test_constants_are_buffers_that_are_not_saved(network, random, agrees):
    model = network(f"{SQUARE} {{ y = Mul (x, scale) }}", {"scale": random(4, 1, 1)})
    module = to_module(model)
    assert not list(module.parameters())
    assert not module.state_dict()
    assert not copy.deepcopy(module).state_dict()
    assert [tuple(buffer.shape) for buffer in module.buffers()] == [(4, 1, 1)]
    agrees(module, model, random(2, 4, 8, 8))
    assert module.double()(torch.ones(1, 4, 8, 8, dtype=torch.float64)).dtype == torch.float64


DYNAMIC_FLATTEN = """g (float[n,4,8,8] x) => (float[n,256] y) {
    s = Shape <start = 0, end = 1> (x)
    t = Concat <axis = 0> (s, rest)
    y = Reshape (x, t)
}"""


def test_shape_arithmetic_of_a_reshape_disappears(network, random, agrees):
    model = network(DYNAMIC_FLATTEN, {"rest": np.array([-1])})
    module = to_module(model)
    assert [node.op for node in module.graph.nodes] == ["placeholder", "call_module", "output"]
    agrees(module, model, random(3, 4, 8, 8))


def test_shape_arithmetic_that_is_needed_runs(network, random, agrees):
    text = """g (float[n,4,h,8] x) => (float[n,4,m] y) {
        s = Shape <start = 0, end = 2> (x)
        t = Concat <axis = 0> (s, rest)
        y = Reshape (x, t)
    }"""
    model = network(text, {"rest": np.array([-1])})
    module = to_module(model)
    agrees(module, model, random(3, 4, 5, 8))
    agrees(module, model, random(2, 4, 7, 8))


def test_several_inputs_and_outputs(network, random, agrees):
    text = """g (float[n,4] first, float[n,4] second)
        => (float[n,4] sum, float[n,1] p, float[n,3] q) {
        sum = Add (first, second)
        p, q = Split <axis = 1> (sum, sizes)
    }"""
    model = network(text, {"sizes": np.array([1, 3])})
    module = to_module(model)
    agrees(module, model, random(2, 4), random(2, 4, seed=1))


def test_names_that_torch_cannot_take(random):
    """Inputs and layers may be called anything in ONNX."""
    nodes = [
        helper.make_node("Relu", ["input.1"], ["r"], name="type"),
        helper.make_node("Conv", ["r", "a.b.weight"], ["c"], name="one"),
        helper.make_node("Conv", ["c", "a.weight"], ["d"], name="two"),
        helper.make_node("Relu", ["d"], ["e"], name="a"),
        helper.make_node("Sigmoid", ["e"], ["f"], name="a/b: c"),
        helper.make_node("Tanh", ["f"], ["y"], name="forward"),
    ]
    image = helper.make_tensor_value_info("input.1", 1, ["n", 2, 4, 4])
    weights = [
        onnx.numpy_helper.from_array(random(2, 2, 1, 1, seed=seed), name)
        for seed, name in enumerate(("a.b.weight", "a.weight"))
    ]
    result = helper.make_tensor_value_info("y", 1, ["n", 2, 4, 4])
    graph = helper.make_graph(nodes, "g", [image], [result], weights)
    model = onnx.helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    module = to_module(ir.serde.deserialize_model(model))
    assert set(module.state_dict()) == {"a.weight", "a.b.weight"}
    x = torch.randn(1, 2, 4, 4)
    inner = module.get_parameter("a.b.weight"), module.get_parameter("a.weight")
    expected = x.relu()
    for weight in inner:
        expected = nn.functional.conv2d(expected, weight)
    torch.testing.assert_close(module(x), expected.relu().sigmoid().tanh())


def test_functions_are_looked_into(random):
    body = [
        onnx.parser.parse_node("pooled = AveragePool <kernel_shape: ints = @box> (x)"),
        onnx.parser.parse_node("y = Conv (pooled, w)"),
    ]
    function = helper.make_function(
        "mlcnn", "Fused", ["x", "w"], ["y"], body, [helper.make_opsetid("", 20)], ["box"]
    )
    call = helper.make_node("Fused", ["x", "conv1.weight"], ["y"], domain="mlcnn", box=[2, 2])
    graph = helper.make_graph(
        [call],
        "g",
        [helper.make_tensor_value_info("x", 1, ["n", 2, 5, 5])],
        [helper.make_tensor_value_info("y", 1, ["n", 3, 2, 2])],
        [onnx.numpy_helper.from_array(random(3, 2, 3, 3), "conv1.weight")],
    )
    opsets = [helper.make_opsetid("", 20), helper.make_opsetid("mlcnn", 1)]
    model = ir.serde.deserialize_model(
        helper.make_model(graph, opset_imports=opsets, functions=[function])
    )
    module = to_module(model)
    assert set(module.state_dict()) == {"conv1.weight"}
    x = torch.randn(2, 2, 5, 5)
    pooled = nn.functional.avg_pool2d(x, 2, 1)
    expected = nn.functional.conv2d(pooled, module.get_parameter("conv1.weight"))
    torch.testing.assert_close(module(x), expected)


def test_nodes_that_no_output_needs_are_left_out(network):
    text = f"{SQUARE} {{ unused = Relu (x)  y = Tanh (x) }}"
    model = network(text)
    model.graph.node(0).op_type = "Strange"
    assert len(list(to_module(model).children())) == 1
