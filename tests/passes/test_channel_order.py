"""Orders of channels: the network computes the same in any, and a search keeps what gains."""

import numpy as np
import onnx_ir as ir
import pytest
from api.random_networks import accepted, random_network
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from passes.builder import Net

import mlcnn
from mlcnn import engines, graph
from mlcnn.ops.block_circulant import Blocks, KeptEnergy, dense_weight, projected
from mlcnn.passes import BlockCirculant, pipeline
from mlcnn.passes.channel_order import ChannelOrder, search
from mlcnn.passes.channel_spaces import Axis, Space, channel_spaces, permute


def _run(model: ir.Model, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    return engines.get("onnxruntime").prepare(model).run(inputs)


def _shuffled(model: ir.Model, seed: int = 0) -> tuple[ir.Model, tuple[Space, ...]]:
    """The network with all its free channels in random orders."""
    generator, model = np.random.default_rng(seed), graph.clone(model)
    spaces = channel_spaces(model)
    for space in spaces:
        permute(space, generator.permutation(space.channels))
    return model, spaces


def _weights(spaces: tuple[Space, ...]) -> list[set[tuple[str, int]]]:
    return [{(axis.weight.name or "", axis.axis) for axis in space.axes} for space in spaces]


def _assert_same(model: ir.Model, other: ir.Model, seed: int = 0) -> None:
    shapes = {v.name: [d if isinstance(d, int) else 2 for d in v.shape] for v in model.graph.inputs}
    generator = np.random.default_rng(seed)
    inputs = {
        name: generator.standard_normal(shape).astype(np.float32) for name, shape in shapes.items()
    }
    for name, expected in _run(model, inputs).items():
        found = _run(other, inputs)[name]
        np.testing.assert_allclose(found, expected, rtol=0, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize(
    ("name", "spaces"),
    # ResNet-18: behind the first convolution of each block, and what additions join, one space for
    # each of four sizes. ResNet-20: the same, of the stream's channels those that each of three
    # sizes adds.
    [("resnet20", 12), ("vgg16", 13), ("lenet5", 4), ("resnet18", 12)],
)
def test_zoo_networks_compute_the_same_in_any_order(name, spaces):
    model = mlcnn.load(name)
    shuffled, found = _shuffled(model)
    assert len(found) == spaces
    _assert_same(model, shuffled)


@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10**6))
def test_random_networks_compute_the_same_in_any_order(seed):
    network = random_network(seed, dtype=np.float32)
    expected = accepted(network.proto, network.inputs)
    assume(expected is not None)
    shuffled, _ = _shuffled(graph.from_proto(network.proto), seed)
    found = _run(shuffled, network.inputs)
    for name, values in expected.items():
        if values.dtype.kind == "f":
            scale = np.abs(values).max(initial=1e-30)
            np.testing.assert_allclose(found[name], values, rtol=0, atol=2e-5 * scale)


def _residual() -> ir.Model:
    """Everything that keeps or joins spaces: norms, constants, depthwise, addition, flattening."""
    net = Net(2, 3, 8, 8)
    first = net.op("Relu", net.norm(net.conv(net.x, 6, channels=3, name="a"), 6, name="n"))
    deep = net.conv(first, 6, channels=6, group=6, name="depthwise")
    scaled = net.op("Mul", deep, net.per_channel("scale", 6))
    inner = net.op("PRelu", net.conv(scaled, 5, channels=6, name="b"), net.per_channel("slope", 5))
    second = net.conv(net.op("MaxPool", inner, kernel_shape=[1, 1]), 6, channels=5, name="c")
    pooled = net.pool(net.op("Add", first, second))
    padded = net.op("Pad", pooled, np.array([0, 0, 1, 0, 0, 0, 1, 0]))
    flat = net.op("Reshape", padded, np.array([0, -1]))
    hidden = net.op("MatMul", flat, net.weight("d.weight", 6 * 24, 7))
    shifted = net.op("Add", hidden, net.weight("d.bias", 7))
    normed = net.norm(shifted, 7, name="m")
    output = net.op("Gemm", normed, net.weight("e.weight", 4, 7), net.weight("e.bias", 4), transB=1)
    return net.model(output)


def test_spaces_follow_what_keeps_channels_apart():
    model = _residual()
    shuffled, found = _shuffled(model)
    norm, features = (
        {(f"{name}.{part}", 0) for part in ("weight", "bias", "mean", "var")} for name in "nm"
    )
    assert _weights(found) == [
        {("a.weight", 0), ("a.bias", 0), ("depthwise.weight", 0), ("depthwise.bias", 0),
         ("scale", 0), ("b.weight", 1), ("c.weight", 0), ("c.bias", 0), ("d.weight", 0), *norm},
        {("b.weight", 0), ("b.bias", 0), ("slope", 0), ("c.weight", 1)},
        {("d.weight", 1), ("d.bias", 0), ("e.weight", 1), *features},
    ]  # fmt: skip
    (flattened,) = (a for a in found[0].axes if a.weight.name == "d.weight")
    assert flattened.places.shape == (6, 24)
    _assert_same(model, shuffled)
    before, after = (
        m.graph.initializers["a.weight"].const_value.numpy() for m in (model, shuffled)
    )
    assert not np.array_equal(before, after)
    np.testing.assert_array_equal(np.sort(before, axis=0), np.sort(after, axis=0))


@pytest.mark.parametrize(
    "foreign",
    [
        lambda net, value: net.op("Softmax", value, axis=1),
        lambda net, value: net.op("Transpose", value, perm=[0, 2, 1, 3]),
        lambda net, value: net.op("Pad", value, np.array([0, 1, 0, 0, 0, 1, 0, 0]), mode="edge"),
        lambda net, value: net.op("Pad", value, np.array([0, -1, 0, 0, 0, 0, 0, 0])),
        lambda net, value: net.op("ReduceMean", value, np.array([1]), keepdims=1),
        lambda net, value: net.conv(value, 4, channels=4, group=2, name="grouped"),
        lambda net, value: net.op("Add", value, net.input("other", 2, 4, 8, 8)),
        lambda net, value: net.op("Mul", value, net.op("Relu", net.weight("shared", 4, 1, 1))),
    ],
)
def test_what_mixes_channels_leaves_their_order(foreign):
    net = Net(2, 2, 8, 8)
    value = foreign(net, net.op("Relu", net.conv(net.x, 4)))
    model = net.model(net.op("Relu", value))
    assert channel_spaces(model) == ()


def _stream() -> ir.Model:
    """A residual stream that a padding widens, another part of it beside it, and its features."""
    net = Net(2, 3, 8, 8)
    first = net.op("Relu", net.norm(net.conv(net.x, 4, channels=3, name="a"), 4, name="n"))
    wide = net.conv(first, 9, channels=4, name="b", pads=[1] * 4)
    bordered = net.op("Pad", first, np.array([0, 2, 0, 0, 0, 3, 0, 0]))
    second = net.op("Relu", net.op("Add", net.norm(wide, 9, name="m"), bordered))
    inner = net.op("Pad", net.conv(second, 5, channels=9, name="c", pads=[1] * 4),
                   np.array([0, 0, 1, 1, 0, 0, 1, 1]), np.array(2, np.float32))  # fmt: skip
    window = net.op("MaxPool", inner, kernel_shape=[3, 3])
    joined = net.op("Concat", window, second, axis=1)
    flat = net.op("Flatten", joined)
    return net.model(net.op("MatMul", flat, net.weight("d.weight", 14 * 64, 3)))


def test_a_widened_stream_is_two_spaces_and_a_concatenation_leaves_its_parts_free():
    model = _stream()
    shuffled, found = _shuffled(model)
    n, m = ({(f"{name}.{part}", 0) for part in ("weight", "bias", "mean", "var")} for name in "nm")
    after = {("b.weight", 0), ("b.bias", 0), ("c.weight", 1), ("d.weight", 0), *m}
    assert _weights(found) == [
        {("a.weight", 0), ("a.bias", 0), ("b.weight", 1), *n, *after},
        after,
        {("c.weight", 0), ("c.bias", 0), ("d.weight", 0)},
    ]
    old, added, inner = ({(a.weight.name, a.axis): a.places for a in space.axes} for space in found)
    assert old["b.weight", 0].tolist() == [[2], [3], [4], [5]]
    assert added["b.weight", 0].tolist() == [[0], [1], [6], [7], [8]]
    pixels = np.arange(14 * 64).reshape(14, 64)
    np.testing.assert_array_equal(inner["d.weight", 0], pixels[:5])
    np.testing.assert_array_equal(old["d.weight", 0], pixels[5 + 2 : 5 + 6])
    _assert_same(model, shuffled)


def test_outputs_and_shared_weights_keep_their_order():
    net = Net(2, 2, 8, 8)
    seen = net.conv(net.x, 4, name="seen")
    middle = net.conv(net.op("Relu", seen), 2, channels=4, name="middle")
    shared = net.conv(middle, 2, name="once")
    twice = net.conv(shared, 2, weight=net.initializers["once.weight"], name="twice")
    last = net.conv(net.op("Relu", twice), 2, name="last")
    model = net.model(seen, last)
    assert channel_spaces(model) == ()


class _Counted:
    """Worth as many as there are entries of an axis in their own places."""

    def __init__(self, size: int) -> None:
        self.order = np.random.default_rng(1).permutation(size)

    def swap(self, axis: int, first: int, second: int) -> float:
        del axis
        before = self.right
        self.order[[first, second]] = self.order[[second, first]]
        return float(self.right - before)

    @property
    def right(self) -> int:
        return int((self.order == np.arange(len(self.order))).sum())


def test_a_search_finds_the_order_that_is_worth_most():
    value, objective = ir.Value(name="w"), _Counted(12)
    before = objective.order.copy()
    space = Space(12, (Axis(value, 0, np.arange(12)[:, None]),))
    (order,) = search((space,), {value: objective}, swaps_per_channel=200)
    np.testing.assert_array_equal(before[order], np.arange(12))
    np.testing.assert_array_equal(objective.order, np.arange(12))


@settings(max_examples=60, deadline=None)
@given(
    size=st.sampled_from([1, 2, 3, 4, 8]),
    shape=st.tuples(st.integers(3, 12), st.integers(3, 12)),
    taps=st.sampled_from([(), (1, 1), (3, 2)]),
    transposed=st.booleans(),
    seed=st.integers(0, 99),
)
def test_kept_energy_is_that_of_the_projection_after_any_swaps(size, shape, taps, transposed, seed):
    generator = np.random.default_rng(seed)
    weight, blocks = generator.standard_normal((*shape, *taps)), Blocks(size, *shape)
    found = KeptEnergy(weight, blocks, transposed=transposed)

    def share() -> float:
        kept = dense_weight(projected(weight, blocks), blocks)
        # The projection is orthogonal: what it keeps and what it loses add up.
        assert (weight * kept).sum() == pytest.approx((kept**2).sum())
        return float((kept**2).sum() / (weight**2).sum())

    assert found.share == pytest.approx(share())
    for _ in range(6):
        axis, before = int(generator.integers(2)), share()
        first, second = generator.choice(shape[axis], 2, replace=False)
        order = np.arange(shape[axis])
        order[[first, second]] = order[[second, first]]
        weight = np.take(weight, order, axis)
        gained = found.swap(1 - axis if transposed else axis, int(first), int(second))
        assert gained == pytest.approx(share() - before, abs=1e-12)
        assert found.share == pytest.approx(share())


def _chain() -> ir.Model:
    """Four convolutions, of which a projection takes the two in the middle."""
    net = Net(2, 3, 8, 8)
    value = net.op("Relu", net.norm(net.conv(net.x, 8, channels=3, name="a"), 8))
    for name in "bc":
        value = net.op("Relu", net.conv(value, 8, channels=8, name=name))
    return net.model(net.conv(value, 4, channels=8, name="d"))


def test_a_searched_order_keeps_more_and_is_the_same_for_the_same_seed():
    model = _chain()

    def kept(options: str) -> list[float]:
        (item,) = pipeline.parse(f"block-circulant{{block=4{options}}}")
        changes = item.apply(model).changes
        return [float(c.reason.split("keeps ")[1].split(" %")[0]) for c in changes]

    given_order, searched, again = kept(""), kept(",order=searched"), kept(",order=searched")
    assert searched == again != kept(",order=searched,seed=1")
    assert len(given_order) == len(searched) == 2
    assert all(after > 1.1 * before for before, after in zip(given_order, searched, strict=True))


def test_a_searched_order_alone_changes_nothing_but_the_projection():
    """Blocks of 1 keep every weight, whatever the order."""
    model = _chain()
    result = BlockCirculant(block="1", order=ChannelOrder.SEARCHED).apply(model)
    assert result.changes
    _assert_same(model, result.model)
