"""Networks of fixed taps and of comparisons: what the passes make of convolutions, and leave."""

import math
from zlib import crc32

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net

from mlcnn import engines, workload
from mlcnn.errors import InputError
from mlcnn.graph import constant
from mlcnn.ops import method_of
from mlcnn.ops.comparator import KIND, drawn, pairs_of
from mlcnn.passes import pipeline
from mlcnn.passes.fix_taps import drawn_taps
from mlcnn.workload import Arithmetic


def block(*, between: str = "Relu", shown: bool = False, **attributes: object) -> ir.Model:
    """A convolution of the images, then 3x3, ReLU and 1x1."""
    net = Net("n", 3, 8, 8)
    first = net.conv(net.x, 16, 3, channels=3, name="stem", pads=[1, 1, 1, 1])
    inner = net.conv(first, 32, 3, channels=16, name="inner", pads=[1, 1, 1, 1], **attributes)
    behind = net.conv(net.op(between, inner), 16, 1, channels=32, name="mix")
    model = net.model(behind)
    if shown:
        model.graph.outputs.append(inner)
    return model


def result_of(model: ir.Model, text: str) -> pipeline.PipelineResult:
    return pipeline.run(model, pipeline.parse(text))


def operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def comparator(model: ir.Model):
    (node,) = (node for node in model.graph if method_of(node) is not None)
    return method_of(node).read(node)


def run(model: ir.Model, seed: int = 0) -> np.ndarray:
    images = np.random.default_rng(seed).standard_normal((2, 3, 8, 8)).astype(np.float32)
    (output,) = engines.get("onnxruntime").prepare(model).run({"x": images}).values()
    return output


def test_a_block_becomes_one_layer() -> None:
    model = block()
    done = result_of(model, "compare-taps{pairs=3,seed=4}")
    (change,) = done.changes
    assert (change.nodes, change.exact) == (("inner", "mix"), False)
    assert operators(done.model) == ["Conv", "ComparatorConv"]
    layer = comparator(done.model)
    assert (layer.filters, layer.channels, layer.kernel) == (16, 16, (3, 3))
    right = drawn(3, 16, (3, 3), seed=(4, crc32(b"inner")))
    np.testing.assert_array_equal(pairs_of(layer).first, right.first)
    (_, found) = workload.read(done.model).layers
    assert (found.arithmetic, found.weights.kind) == (Arithmetic.COMPARE, KIND)
    assert found.before.parameters == 32 * 16 * 9 + 16 * 32 + 48  # of both, biases included
    assert [skipped.node for skipped in done.skipped] == ["stem"]
    assert "reads the images" in done.skipped[0].reason


@pytest.mark.parametrize(
    "model", [block(between="Sigmoid"), block(shown=True)], ids=["another function", "an output"]
)
def test_a_convolution_alone(model: ir.Model) -> None:
    done = result_of(model, "compare-taps")
    assert [change.nodes for change in done.changes] == [("inner",)]
    assert comparator(done.model).filters == 32


def test_weights_begin_nearest_to_the_kernels() -> None:
    """A kernel that is a sum of differences of taps is met exactly, bits taken for differences."""
    pairs = drawn(4, 16, (3, 3), seed=(0, crc32(b"inner")))
    model = block(between="Sigmoid")
    kernels = np.zeros((32, 16, 9))
    own = np.random.default_rng(1).standard_normal((32, 4, 16))
    for pattern in range(4):
        at = np.arange(16)
        np.add.at(kernels, (slice(None), at, pairs.first[pattern]), own[:, pattern])
        np.add.at(kernels, (slice(None), at, pairs.second[pattern]), -own[:, pattern])
    weight = model.graph.initializers["inner.weight"]
    shaped = kernels.reshape(32, 16, 3, 3).astype(np.float32)
    weight.const_value = ir.Tensor(shaped, name=weight.name)
    layer = comparator(result_of(model, "compare-taps").model)
    found = constant(layer.weight).reshape(32, 4, 16)
    # 2 w b - w stands for w (x_first - x_second), whatever pairs depend on each other.
    again = np.zeros((32, 16, 9))
    for pattern in range(4):
        np.add.at(again, (slice(None), at, pairs.first[pattern]), found[:, pattern] / 2)
        np.add.at(again, (slice(None), at, pairs.second[pattern]), -found[:, pattern] / 2)
    np.testing.assert_allclose(again, kernels, atol=1e-5)
    bias = constant(model.graph.initializers["inner.bias"])
    np.testing.assert_allclose(
        constant(layer.bias), bias - constant(layer.weight).sum((1, 2, 3)) / 2, atol=1e-5
    )


@pytest.mark.parametrize("sparsity", [0.5, 0.9])
def test_taps_are_drawn_with_replacement(sparsity: float) -> None:
    taps = drawn_taps((64, 64, 3, 3), sparsity, np.random.default_rng(0))
    assert set(np.unique(taps)) == {-1, 0, 1}
    share = 1 - math.exp(-sparsity)  # .393 and .593
    spread = 4 * math.sqrt(share * (1 - share) / taps.size)
    assert (taps != 0).mean() == pytest.approx(share, abs=spread)
    assert taps.sum() == pytest.approx(0, abs=4 * math.sqrt(share * taps.size))


@pytest.mark.parametrize("text", ["compare-taps", "compare-taps{share=1}"])
def test_every_layer_has_pairs_of_its_own(text: str) -> None:
    net = Net("n", 16, 8, 8)
    value = net.x
    for name in ("stem", "first", "second"):
        value = net.conv(value, 16, 3, channels=16, name=name, pads=[1, 1, 1, 1])
    done = result_of(net.model(value), text).model
    layers = [method_of(n).read(n) for n in done.graph if method_of(n) is not None]
    first, second = (pairs_of(layer) for layer in layers)
    assert (first.first != second.first).any()


def test_fixed_taps() -> None:
    done = result_of(block(), "fix-taps{sparsity=0.5,seed=3}")
    assert [change.nodes for change in done.changes] == [("inner",)]
    assert operators(done.model) == ["Conv", "DequantizeLinear", "Conv", "Relu", "Conv"]
    _, inner, _ = workload.read(done.model).layers
    assert inner.numbers.weight == 2
    codes = next(
        value.const_value.numpy() for value in done.model.graph.initializers.values()
        if value.name == "inner.taps"
    )  # fmt: skip
    np.testing.assert_array_equal(
        codes, drawn_taps((32, 16, 3, 3), 0.5, np.random.default_rng([3, 1]))
    )
    # Outputs are about as large as inputs: of unit variance, if these are.
    scale = done.model.graph.initializers["inner.step"].const_value.numpy()
    kernels = codes * scale
    assert (kernels**2).sum((1, 2, 3)).mean() == pytest.approx(1, rel=0.1)


def test_the_same_seed_gives_the_same_network() -> None:
    for text in ("compare-taps{share=1}", "fix-taps"):
        first, second = (run(result_of(block(), text).model) for _ in range(2))
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("compare-taps{pairs=0}", "pairs=0, share=16: 1 or more is required"),
        ("fix-taps{sparsity=0}", "sparsity=0.0: above 0 and at most 1"),
        ("fix-taps{sparsity=1.5}", "sparsity=1.5: above 0 and at most 1"),
    ],
)
def test_bad_options(text: str, told: str) -> None:
    with pytest.raises(InputError, match=told):
        pipeline.parse(text)


def test_what_is_left_alone() -> None:
    net = Net("n", 4, 8, 8)
    first = net.conv(net.x, 4, 3, channels=4, name="stem")
    model = net.model(net.conv(first, 4, 3, channels=4, name="grouped", group=2))
    for text in ("compare-taps", "fix-taps"):
        reasons = {s.node: s.reason for s in result_of(model, text).skipped}
        assert reasons["grouped"] == "it has 2 groups"
