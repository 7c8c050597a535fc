"""Comparator layers: operator, form and module give the bits of the definition."""

import itertools
import re

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from passes.builder import Net

from mlcnn import engines, graph, nn, workload
from mlcnn.counting import count
from mlcnn.errors import InputError
from mlcnn.ops import Emitter, method_of
from mlcnn.ops.comparator import KIND, Pairs, compare, drawn, pairs_of, structure
from mlcnn.passes import pipeline, restore
from mlcnn.passes.rewriting import install
from mlcnn.workload import RECORD_KEY, Arithmetic, Operations, Record

BATCH = 2


@st.composite
def layers(draw):
    """Attributes, sizes and pairs of a layer that has at least one window."""
    kernel, strides, dilations, size = (
        tuple(draw(st.tuples(values, values)))
        for values in (st.integers(1, 4), st.integers(1, 3), st.integers(1, 2), st.integers(1, 9))
    )
    pads = tuple(draw(st.tuples(*[st.integers(0, 2)] * 4)))
    extents = [(k - 1) * d + 1 for k, d in zip(kernel, dilations, strict=True)]
    assume(np.prod(kernel) > 1)
    assume(all(size[i] + pads[i] + pads[i + 2] >= extents[i] for i in (0, 1)))
    channels = draw(st.integers(1, 20))
    pairs = drawn(
        draw(st.integers(1, 5)), channels, kernel, shared=draw(st.sampled_from([1, 3, 16])),
        centre=draw(st.booleans()), seed=draw(st.integers(0, 99)),
    )  # fmt: skip
    return {
        "pairs": pairs, "strides": strides, "dilations": dilations, "size": size, "pads": pads,
        "filters": draw(st.integers(1, 5)), "seed": draw(st.integers(0, 99)),
    }  # fmt: skip


PLAIN = {
    "pairs": drawn(4, 32, (3, 3)), "strides": (1, 1), "dilations": (1, 1), "size": (8, 8),
    "pads": (1, 1, 1, 1), "filters": 6, "seed": 0,
}  # fmt: skip


def brute_force(images: np.ndarray, layer: dict) -> np.ndarray:
    """Bits by the definition, position by position, shape (N, maps, P, Q)."""
    pairs, (top, left, bottom, right) = layer["pairs"], layer["pads"]
    around = ((0, 0), (0, 0), (top, bottom), (left, right))
    padded = np.pad(images, around, mode="edge")
    rows, columns = (
        (padded.shape[axis + 2] - (pairs.kernel[axis] - 1) * layer["dilations"][axis] - 1)
        // layer["strides"][axis] + 1
        for axis in (0, 1)
    )  # fmt: skip
    bits = np.zeros((len(images), pairs.maps, rows, columns), bool)
    for pattern, channel in itertools.product(range(pairs.count), range(pairs.channels)):
        for row, column in itertools.product(range(rows), range(columns)):
            values = []
            for tap in (pairs.first[pattern, channel], pairs.second[pattern, channel]):
                down, along = divmod(int(tap), pairs.kernel[1])
                at = row * layer["strides"][0] + down * layer["dilations"][0]
                beside = column * layer["strides"][1] + along * layer["dilations"][1]
                values.append(padded[:, channel, at, beside])
            bits[:, pattern * pairs.channels + channel, row, column] = values[0] > values[1]
    return bits


def network(layer: dict, *, norm: np.ndarray | None = None, pool: int = 0) -> ir.Model:
    """A comparator layer, with a batch norm of these factors in front and a pool behind."""
    pairs = layer["pairs"]
    net = Net(BATCH, pairs.channels, *layer["size"], seed=layer["seed"])
    source = net.x
    if norm is not None:
        source = net.op(
            "BatchNormalization", source, norm.astype(np.float32),
            *(net.weight(f"norm.{part}", pairs.channels) for part in ("bias", "mean")),
            np.full(pairs.channels, 0.7, np.float32), name="norm",
        )  # fmt: skip
    # An identity that the layer takes the place of.
    result = net.op("Identity", source, name="layer")
    if pool:
        result = net.op(
            "AveragePool", result, kernel_shape=[pool, pool], strides=[pool, pool], name="pool"
        )
    model = net.model(result)
    place = next(node for node in model.graph if node.name == "layer")
    nest = workload.ConvLayer(
        "layer", 1, layer["filters"], pairs.channels, *layer["size"], *pairs.kernel,
        strides=layer["strides"], dilations=layer["dilations"], pads=layer["pads"],
    )  # fmt: skip
    record = Record("layer:0", nest, KIND, weights=structure(pairs), arithmetic=Arithmetic.COMPARE)
    emitter = Emitter(20, np.dtype(np.float32), "layer", {RECORD_KEY: record.text()})
    generator = np.random.default_rng(layer["seed"])
    weight = generator.standard_normal((layer["filters"], pairs.maps, 1, 1))
    bias = generator.standard_normal(layer["filters"])
    made = compare(
        emitter, place.inputs[0], pairs, emitter.weight(weight, "weight"),
        emitter.weight(bias, "bias"), strides=layer["strides"], pads=layer["pads"],
        dilations=layer["dilations"],
    )  # fmt: skip
    for value in (place.outputs[0], *([] if not pool else model.graph.outputs)):
        value.shape = None
    install(model, emitter, place.outputs[0], made)
    graph.infer_shapes(model)
    return model


def weights(model: ir.Model) -> tuple[np.ndarray, np.ndarray]:
    found = model.graph.initializers
    return tuple(found[f"layer.{part}"].const_value.numpy() for part in ("weight", "bias"))


def expected(images: np.ndarray, layer: dict, model: ir.Model) -> np.ndarray:
    weight, bias = weights(model)
    bits = brute_force(images, layer).astype(np.float64)
    return np.einsum("km,nmpq->nkpq", weight[:, :, 0, 0], bits) + bias[:, None, None]


def images_of(layer: dict, kind: str = "floats") -> np.ndarray:
    generator = np.random.default_rng(layer["seed"] + 1)
    shape = (BATCH, layer["pairs"].channels, *layer["size"])
    if kind == "codes":  # many equal neighbours
        return generator.integers(0, 4, shape).astype(np.float32)
    return generator.standard_normal(shape).astype(np.float32)


def run(model: ir.Model, images: np.ndarray) -> np.ndarray:
    (value,) = model.graph.inputs
    (output,) = engines.get("onnxruntime").prepare(model).run({value.name: images}).values()
    return output


@pytest.mark.parametrize("kind", ["floats", "codes"])
@settings(max_examples=15)
@given(layer=layers())
def test_operator_module_and_form_give_the_definition(layer, kind):
    model, images = network(layer), images_of(layer, kind)
    right = expected(images, layer, model)
    np.testing.assert_allclose(run(model, images), right, atol=1e-5)
    module = nn.to_module(model)
    np.testing.assert_allclose(module(torch.from_numpy(images)).detach(), right, atol=1e-5)
    bits = module.layer.bits(torch.from_numpy(images))
    np.testing.assert_array_equal(bits.numpy() > 0, brute_force(images, layer))
    formed = pipeline.run(model, pipeline.parse("choose{form=compare}"), verify=True)
    assert not any(stage.failed for stage in formed.stages)
    np.testing.assert_allclose(run(formed.model, images), right, atol=1e-5)


@settings(max_examples=15)
@given(layer=layers())
def test_a_file_is_the_operator_again(layer, tmp_path_factory):
    model, images = network(layer), images_of(layer)
    for text in ("fold-constants", "choose{form=compare}"):
        made = pipeline.run(model, pipeline.parse(text)).model
        path = tmp_path_factory.mktemp("file") / "net.onnx"
        graph.save(made, path)
        loaded = restore(graph.load_file(path), lowered=True)
        (node,) = (node for node in loaded.graph if method_of(node) is not None)
        found = pairs_of(method_of(node).read(node))
        np.testing.assert_array_equal(found.first, layer["pairs"].first)
        np.testing.assert_array_equal(found.second, layer["pairs"].second)
        np.testing.assert_array_equal(run(loaded, images), run(model, images))


@settings(max_examples=30)
@given(
    layer=layers(),
    signs=st.lists(st.sampled_from([-2.0, -0.3, 0.0, 0.4, 3.0]), min_size=20, max_size=20),
)
def test_a_batch_norm_in_front_changes_no_bit(layer, signs):
    factors = np.array(signs)[: layer["pairs"].channels]
    model, images = network(layer, norm=factors), images_of(layer, "codes")
    folded = pipeline.run(model, pipeline.parse("fold-batch-norm"), verify=True)
    assert [change.nodes[0] for change in folded.changes] == ["norm"]
    assert "BatchNormalization" not in {node.op_type for node in folded.model.graph}
    np.testing.assert_allclose(run(folded.model, images), run(model, images), atol=1e-5)


def test_nothing_is_greater_than_what_is_no_number():
    layer = PLAIN | {"pairs": Pairs(*np.array([[[0]], [[1]]]), (1, 2)), "filters": 1,
                     "size": (1, 4), "pads": (0, 0, 0, 0)}  # fmt: skip
    model = network(layer)
    weight, bias = weights(model)
    images = np.array([1, np.nan, 0, -1], np.float32).reshape(1, 1, 1, 4).repeat(BATCH, 0)
    bits = [0, 0, 1]  # 1 > nan, nan > 0, 0 > -1
    right = weight.item() * np.array(bits) + bias.item()
    np.testing.assert_allclose(run(model, images)[0, 0, 0], right, rtol=1e-6)
    formed = pipeline.run(model, pipeline.parse("choose{form=compare}")).model
    np.testing.assert_allclose(run(formed, images)[0, 0, 0], right, rtol=1e-6)
    found = nn.to_module(model)(torch.from_numpy(images)).detach()
    np.testing.assert_allclose(found[0, 0, 0], right, rtol=1e-6)


@pytest.mark.parametrize("seed", range(3))
def test_gradients_pass_where_taps_are_near(seed):
    layer = PLAIN | {"seed": seed, "pads": (0, 0, 0, 0)}
    module = nn.to_module(network(layer)).layer.double()
    images = torch.from_numpy(images_of(layer).astype(np.float64)).requires_grad_()
    upstream = torch.randn(BATCH, layer["pairs"].maps, 6, 6, dtype=torch.float64)
    (module.bits(images) * upstream).sum().backward()
    # By the definition: that of the difference of the taps where it is at most 1.
    given_, right = images.detach().numpy(), np.zeros(images.shape)
    pairs = layer["pairs"]
    for pattern, channel in itertools.product(range(pairs.count), range(pairs.channels)):
        (u, v), (y, x) = (
            divmod(int(tap[pattern, channel]), 3) for tap in (pairs.first, pairs.second)
        )
        first = (slice(None), channel, slice(u, u + 6), slice(v, v + 6))
        second = (slice(None), channel, slice(y, y + 6), slice(x, x + 6))
        passed = upstream[:, pattern * pairs.channels + channel].numpy()
        passed = passed * (np.abs(given_[first] - given_[second]) <= 1)
        right[first] += passed
        right[second] -= passed
    np.testing.assert_allclose(images.grad, right, atol=1e-12)


@pytest.mark.parametrize("pool", [2, 4])
def test_a_pool_behind_it_goes_in_front_of_the_weights(pool):
    model, images = network(PLAIN, pool=pool), images_of(PLAIN)
    fused = pipeline.run(model, pipeline.parse("fuse{form=compare}"), verify=True)
    (change,) = fused.changes
    assert (change.form, change.exact) == ("compare", True)
    operators = [node.op_type for node in fused.model.graph]
    assert operators.index("AveragePool") == operators.index("Conv") - 1
    np.testing.assert_allclose(run(fused.model, images), run(model, images), atol=1e-5)
    # No other form may put a mean in front of what is compared.
    for form in ("box", "pool-first", "expanded", "matmul"):
        other = pipeline.run(model, pipeline.parse(f"fuse{{form={form}}}"))
        assert not other.changes


@pytest.mark.parametrize("pool", [0, 2])
@pytest.mark.parametrize("text", ["fold-constants", "distribute-pool,fuse,choose{form=compare}"])
def test_counts(pool, text):
    """32 channels of 4 pairs, 6 filters, 64 positions: worked out by hand."""
    made = pipeline.run(network(PLAIN, pool=pool), pipeline.parse(text)).model
    (row,) = count(made).layers
    (layer,) = workload.read(made).layers
    assert (layer.arithmetic, str(layer.weights)) == (
        Arithmetic.COMPARE, "comparator(pairs=4, share=16)",
    )  # fmt: skip
    fused = pool and "fuse" in text
    comparisons, positions = 128 * 64, 16 if fused else 64
    additions = 6 * positions * 128 + (128 * 16 * 3 if fused else 0)
    assert row.chosen == BATCH * Operations(0, additions, comparisons)
    assert row.nonzero[1] == 0
    assert layer.stored.parameters == 6 * 128 + 6


def test_drawn_pairs():
    pairs = drawn(6, 40, (3, 3), seed=5)
    assert (pairs.count, pairs.channels, pairs.maps, pairs.shared) == (6, 40, 240, 8)
    for start, stop in ((0, 16), (16, 32), (32, 40)):
        own = pairs.first[:, start:stop], pairs.second[:, start:stop]
        assert all((one == one[:, :1]).all() for one in own)
        assert len({*zip(own[0][:, 0], own[1][:, 0], strict=True)}) == 6
    assert drawn(6, 40, (3, 3), shared=1).shared == 1
    assert (drawn(3, 8, (3, 3), centre=True).second == 4).all()
    assert (drawn(6, 40, (3, 3), seed=5).first == pairs.first).all()
    every = drawn(72, 1, (3, 3))
    assert len({*zip(every.first[:, 0], every.second[:, 0], strict=True)}) == 72


@pytest.mark.parametrize(
    ("first", "second", "told"),
    [
        ([[3]], [[3]], "pair 0 of channel 0 is tap 3 twice"),
        ([[3, 1]], [[0, 9]], "pair 0 of channel 1 has tap 9; a window of 3x3 has taps 0 to 8"),
        ([[-1]], [[0]], "pair 0 of channel 0 has tap -1"),
        ([[1], [2]], [[0]], "two arrays of one shape"),
    ],
)
def test_pairs_that_are_none(first, second, told):
    with pytest.raises(InputError, match=re.escape(told)):
        Pairs(np.array(first), np.array(second), (3, 3))


def test_a_window_of_one_tap():
    with pytest.raises(InputError, match="a window of two taps or more"):
        drawn(1, 4, (1, 1))
