"""Channels without effect go, and nothing else changes."""

import re

import numpy as np
import onnx_ir as ir
import pytest
from api.random_networks import accepted, random_network
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from passes.builder import Net

import mlcnn
from mlcnn import engines, graph
from mlcnn.errors import InputError
from mlcnn.graph import constant, layer_name
from mlcnn.passes import PassResult, RemoveChannels, channel_flow, pipeline
from mlcnn.passes.channel_spaces import channel_spaces
from mlcnn.passes.verification import check_site

LAYERS = ("Conv", "Gemm", "MatMul")


def _run(model: ir.Model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return engines.get("onnxruntime").prepare(model).run(inputs)


def _zero(
    model: ir.Model, name: str, *, filters: tuple[int, ...] = (), inputs: tuple[int, ...] = ()
) -> None:
    """Zero filters, or the weights of inputs, of a layer that is stored outputs first."""
    value = model.graph.initializers[f"{name}.weight"]
    array = value.const_value.numpy().copy()
    array[list(filters)] = 0
    array[:, list(inputs)] = 0
    value.const_value = ir.Tensor(array, name=value.name)


def _zero_at_random(model: ir.Model, generator: np.random.Generator, share: float) -> None:
    for node in model.graph:
        value = node.inputs[1] if node.op_type in LAYERS else None
        array = constant(value)
        if value is None or array is None or not value.is_initializer() or array.ndim < 2:
            continue
        array = array.copy()
        for axis in (0, 1):
            lost = generator.random(array.shape[axis]) < share
            np.moveaxis(array, axis, 0)[lost] = 0
        value.const_value = ir.Tensor(array, name=value.name)


def _removed(model: ir.Model, multiple: int = 1) -> ir.Model:
    """The network without them, each site checked."""
    result = pipeline.run(model, [RemoveChannels(multiple=multiple)], verify=True)
    # What torch cannot compute, as a window larger than its image, is not checked and so stays.
    reasons = result.stages[0].failed.values()
    assert all("cannot run on inputs" in reason for reason in reasons), reasons
    return result.model


def _shapes(model: ir.Model) -> dict[str, tuple[int, ...]]:
    return {
        layer_name(node): constant(node.inputs[1]).shape
        for node in model.graph
        if node.op_type in LAYERS
    }


def _assert_same(model: ir.Model, other: ir.Model, seed: int = 0) -> None:
    shapes = {v.name: [d if isinstance(d, int) else 2 for d in v.shape] for v in model.graph.inputs}
    generator = np.random.default_rng(seed)
    inputs = {
        name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    found = _run(other, inputs)
    for name, expected in _run(model, inputs).items():
        np.testing.assert_allclose(
            found[name], expected, rtol=0, atol=2e-5 * np.abs(expected).max()
        )


def _chain(padding: int = 0, *, bias: bool = False) -> ir.Model:
    """Convolution, norm, activation, convolution."""
    net = Net(2, 3, 8, 8)
    first = net.norm(net.conv(net.x, 6, channels=3, name="a", bias=bias), 6)
    active = net.op("Relu", first)
    return net.model(net.conv(active, 4, channels=6, name="b", bias=bias, pads=[padding] * 4))


def _everything() -> ir.Model:
    """Whatever channels pass through: they are kept, joined, put side by side, added and split."""
    net = Net(2, 3, 9, 9)
    first = net.op("Relu", net.norm(net.conv(net.x, 6, channels=3, name="a"), 6, name="n"))
    inner = net.op("Relu", net.norm(net.conv(first, 5, channels=6, name="b"), 5, name="m"))
    added = net.op(
        "Relu", net.op("Add", first, net.conv(inner, 6, channels=5, name="c", pads=[1] * 4))
    )
    halves = net.op("Slice", added, *(np.array(n) for n in ([0, 0], [9, 9], [2, 3], [2, 2])))
    shortcut = net.op("Pad", halves, np.array([0, 2, 0, 0, 0, 2, 0, 0]))
    wide = net.conv(added, 10, channels=6, name="d", strides=[2, 2])
    second = net.op("Add", net.norm(wide, 10, name="o"), shortcut)
    deep = net.conv(net.op("LeakyRelu", second), 10, channels=10, name="e", group=10, pads=[0] * 4)
    scaled = net.op(
        "PRelu", net.op("Mul", deep, net.per_channel("scale", 10)), net.per_channel("slope", 10)
    )
    branch = net.conv(scaled, 4, 1, channels=10, name="f", bias=False)
    joined = net.op("Concat", scaled, branch, axis=1)
    pooled = net.pool(net.op("Sigmoid", joined), 3, 3)
    flat = net.op("Reshape", pooled, np.array([-1, 14]))
    hidden = net.op("Gemm", flat, net.weight("g.weight", 8, 14), net.weight("g.bias", 8), transB=1)
    normed = net.op("Relu", net.norm(hidden, 8, name="p"))
    output = net.op("Gemm", normed, net.weight("h.weight", 8, 4), net.weight("h.bias", 4))
    return net.model(output)


@given(
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.1, 0.3, 0.6, 0.9]),
    multiple=st.sampled_from([1, 2, 4]),
)
@settings(max_examples=40, deadline=None)
def test_random_masks_change_no_output(seed, share, multiple):
    model = _everything()
    _zero_at_random(model, np.random.default_rng(seed), share)
    _assert_same(model, _removed(model, multiple), seed)


@given(
    seed=st.integers(0, 10**6),
    share=st.sampled_from([0.1, 0.3, 0.6, 0.9]),
    multiple=st.sampled_from([1, 2, 4]),
    normed=st.booleans(),
)
@settings(max_examples=40, deadline=None)
def test_channels_that_are_zero_in_all_their_weights_go(seed, share, multiple, normed):
    """And where norms make a number of the zero, what is left computes the same."""
    model, generator = _everything(), np.random.default_rng(seed)
    spaces, left = channel_spaces(model), []
    for space in spaces:
        lost = generator.random(space.channels) < share
        left.append(int((~lost).sum()))
        for axis in space.axes:
            value = axis.weight
            array = value.const_value.numpy().copy()
            if array.ndim > 1 or normed:
                np.moveaxis(array, axis.axis, 0)[axis.places[lost].flatten()] = 0
                value.const_value = ir.Tensor(array, name=value.name)
    after = _removed(model, multiple)
    _assert_same(model, after, seed)
    assert [space.channels for space in spaces] == [6, 5, 4, 4, 8]
    if normed and all(left):
        inner = constant(after.graph.initializers["b.weight"]).shape[0]
        assert inner == min(5, -(-left[1] // multiple) * multiple)


def test_channels_go_in_blocks():
    model = _chain(padding=1)
    _zero(model, "a", filters=(1, 2, 3, 4, 5))
    _zero(model, "b", inputs=(1, 2, 3, 4, 5))
    assert [_shapes(_removed(model, n))["a"][0] for n in (1, 2, 3, 4, 5, 8)] == [1, 2, 3, 4, 5, 6]
    (passes,) = pipeline.parse("remove-channels{multiple=4}")
    result = passes.apply(model)
    assert [left.reason for left in result.skipped] == [
        "filters of zeros, of 6: 3 stay: a multiple of 4 is left"
    ]
    with pytest.raises(InputError, match="remove-channels: multiple=0: at least 1 is required"):
        pipeline.parse("remove-channels{multiple=0}")


@given(seed=st.integers(0, 10**6))
@settings(max_examples=60, deadline=None)
def test_random_networks_compute_the_same(seed):
    network = random_network(seed, dtype=np.float32)
    model = graph.from_proto(network.proto)
    _zero_at_random(model, np.random.default_rng(seed), 0.4)
    expected = accepted(graph.to_proto(model), network.inputs)
    assume(expected is not None)
    found = _run(_removed(model), network.inputs)
    for name, values in expected.items():
        if values.dtype.kind == "f":
            scale = np.abs(values).max(initial=1e-30)
            np.testing.assert_allclose(found[name], values, rtol=0, atol=2e-5 * scale)


def test_an_input_without_weights_goes_with_the_filter_that_makes_it():
    model = _chain(padding=1)
    _zero(model, "b", inputs=(1, 4))
    assert _shapes(_removed(model)) == {"a": (4, 3, 3, 3), "b": (4, 4, 3, 3)}


@pytest.mark.parametrize("bias", [False, True])
def test_a_filter_of_zeros_becomes_part_of_the_next_bias(bias):
    model = _chain(bias=bias)
    _zero(model, "a", filters=(0, 1, 2, 3))
    after = _removed(model)
    assert _shapes(after)["a"] == (2, 3, 3, 3)
    assert constant(after.graph.initializers["b.bias"]).any()
    _assert_same(model, after)


def test_a_filter_that_is_no_zero_behind_its_norm_stays_where_a_border_is_padded():
    model = _chain(padding=1)
    _zero(model, "a", filters=(0, 1, 2, 3))
    beta = model.graph.initializers["norm.bias"]
    beta.const_value = ir.Tensor(np.array([9, -9, 9, -9, 0, 0], np.float32), name=beta.name)
    result = RemoveChannels().apply(model)
    assert _shapes(result.model)["a"][0] == 4
    (left,) = result.skipped
    assert left.node == "a"
    assert left.reason == (
        "filters of zeros, of 6: 2 stay: norm and activation make a number of them that b "
        "sees end at its padded border"
    )


def test_a_rewrite_that_ignores_the_border_is_caught(monkeypatch):
    monkeypatch.setattr(channel_flow, "is_padded", lambda _: False)
    model = _chain(padding=1)
    _zero(model, "a", filters=(0, 1, 2, 3))
    result = RemoveChannels().apply(model)
    failure = check_site(RemoveChannels(), model, result.model, result.changes[0]).failure
    assert re.match(r"remove-channels is not exact at a \(form none\): error", failure or "")


def test_what_goes_lets_more_go():
    net = Net(2, 3, 16, 16)
    first = net.conv(net.x, 4, channels=3, name="a")
    second = net.conv(net.op("Relu", first), 4, channels=4, name="b")
    third = net.conv(net.op("Relu", second), 4, channels=4, name="c")
    model = net.model(third)
    _zero(model, "c", inputs=(0,))
    weight = model.graph.initializers["b.weight"]
    array = weight.const_value.numpy().copy()
    array[1:, 2] = 0  # only the filter that nothing needs reads it
    weight.const_value = ir.Tensor(array, name=weight.name)
    assert _shapes(_removed(model)) == {"a": (3, 3, 3, 3), "b": (3, 3, 3, 3), "c": (4, 3, 3, 3)}


def test_what_is_added_stays_while_one_of_both_needs_it():
    net = Net(2, 3, 8, 8)
    first, second = (net.conv(net.x, 6, channels=3, name=name, bias=False) for name in "ab")
    model = net.model(net.conv(net.op("Add", first, second), 2, channels=6, name="c"))
    _zero(model, "a", filters=(0, 1, 2))
    _zero(model, "b", filters=(1, 2, 3))
    result = RemoveChannels().apply(model)
    assert _shapes(result.model) == {"a": (4, 3, 3, 3), "b": (4, 3, 3, 3), "c": (2, 4, 3, 3)}
    assert {(left.node, left.reason) for left in result.skipped} == {
        (name, "filters of zeros, of 6: 1 stay: they are added to channels that are not")
        for name in "ab"
    }


def test_channels_of_zeros_are_padded_no_more():
    net = Net(2, 3, 8, 8)
    first = net.conv(net.x, 4, channels=3, name="a")
    padded = net.op("Pad", first, np.array([0, 2, 0, 0, 0, 3, 0, 0]))
    inner = net.conv(net.op("Relu", first), 9, channels=4, name="b", bias=False)
    model = net.model(net.conv(net.op("Add", padded, inner), 2, channels=9, name="c"))
    _zero(model, "b", filters=(0, 8))
    after = _removed(model)
    (pad,) = (node for node in after.graph if node.op_type == "Pad")
    assert constant(pad.inputs[1]).tolist() == [0, 1, 0, 0, 0, 2, 0, 0]
    assert _shapes(after)["c"] == (2, 7, 3, 3)


def test_an_output_of_the_network_keeps_its_channels():
    net = Net(2, 3, 8, 8)
    model = net.model(net.conv(net.x, 4, channels=3, name="a"))
    _zero(model, "a", filters=(1,))
    result = RemoveChannels().apply(model)
    assert not result.changes
    assert [left.reason for left in result.skipped] == [
        "filters of zeros, of 4: 1 stay: they are the network's output"
    ]


def test_no_layer_is_left_without_channels():
    model = _chain(padding=1)
    _zero(model, "b", inputs=tuple(range(6)))
    assert _shapes(_removed(model)) == {"a": (1, 3, 3, 3), "b": (4, 1, 3, 3)}


def test_a_weight_of_two_layers_is_cut_for_each():
    net = Net(2, 3, 8, 8)
    weight = net.weight("shared.weight", 4, 3, 3, 3)
    first, second = (
        net.op("Relu", net.conv(net.x, 4, channels=3, name=name, weight=weight, bias=False))
        for name in "ab"
    )
    ends = [net.conv(first, 2, channels=4, name="c"), net.conv(second, 2, channels=4, name="d")]
    model = net.model(net.op("Add", *ends))
    _zero(model, "c", inputs=(1, 2))
    _zero(model, "d", inputs=(0,))
    after = _removed(model)
    shapes = [constant(node.inputs[1]).shape for node in after.graph if node.op_type == "Conv"]
    assert sorted(shapes) == [(2, 2, 3, 3), (2, 3, 3, 3), (2, 3, 3, 3), (3, 3, 3, 3)]
    _assert_same(model, after)


def test_a_site_that_is_excluded_stays():
    model = _chain(padding=1)
    _zero(model, "b", inputs=(1,))
    result: PassResult = RemoveChannels(exclude=("b",)).apply(model)
    assert not result.changes
    assert [left.reason for left in result.skipped] == ["excluded by --exclude b"]
    assert _shapes(result.model) == _shapes(model)


def test_resnet20_with_zero_shortcuts():
    model = mlcnn.load("resnet20")
    generator = np.random.default_rng(0)
    for value in model.graph.initializers.values():
        if value.name.endswith(("bias", "mean")):
            array = generator.standard_normal(tuple(value.shape)).astype(np.float32)
            value.const_value = ir.Tensor(array, name=value.name)
    _zero_at_random(model, generator, 0.3)
    after = _removed(model)
    _assert_same(model, after)
    before, less = _shapes(model), _shapes(after)
    inner = [name for name in before if name.endswith(("0.conv1", "1.conv1"))]
    assert all(less[name][0] < before[name][0] for name in inner)
