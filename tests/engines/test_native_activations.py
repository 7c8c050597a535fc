"""What a convolution applies to its own result, and depth-wise convolutions of every geometry."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from engines.processors import MARCHES
from engines.test_native import assert_computes, network
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper

from mlcnn import engines
from mlcnn.engines.native import Native, library
from mlcnn.engines.native.algorithms import Choosing
from mlcnn.engines.native.library import Op
from mlcnn.engines.native.lowering import lower
from mlcnn.engines.native.machine import Machine
from mlcnn.engines.native.program import Operation
from mlcnn.graph import evaluate, fold_constants, infer_shapes

ACTIVATIONS = {
    "silu": [("Sigmoid", ["t"], "s", {}), ("Mul", ["t", "s"], "y", {})],
    "silu-turned": [("Sigmoid", ["t"], "s", {}), ("Mul", ["s", "t"], "y", {})],
    "hard-swish": [("HardSwish", ["t"], "y", {})],
    "hard-swish-of-two": [
        ("HardSigmoid", ["t"], "s", {"alpha": 1 / 6, "beta": 0.5}),
        ("Mul", ["t", "s"], "y", {}),
    ],
    "sigmoid": [("Sigmoid", ["t"], "y", {})],
    "tanh": [("Tanh", ["t"], "y", {})],
    "leaky": [("LeakyRelu", ["t"], "y", {"alpha": 0.2})],
    "gelu": [("Gelu", ["t"], "y", {})],
    "relu6": [("Clip", ["t", "zero", "six"], "y", {})],
}
CONVOLUTIONS = {  # channels, filters, groups, kernel, options, size
    "direct": (20, 37, 1, 3, {"pads": [1] * 4}, 7),
    "winograd": (20, 37, 1, 3, {"pads": [1] * 4}, 7),
    "winograd-of-step-2": (20, 37, 1, 3, {"pads": [1] * 4, "strides": [2, 2]}, 11),
    "few": (20, 37, 1, 3, {}, 3),
    "side-by-side": (20, 37, 1, 7, {}, 7),
    "square": (20, 20, 1, 3, {"pads": [1] * 4}, 7),
    "pointwise": (20, 70, 1, 1, {}, 9),
    "groups": (40, 40, 2, 3, {"pads": [1] * 4}, 7),
    "depth-wise": (20, 20, 20, 3, {"pads": [1] * 4}, 7),
    "depth-wise-5": (20, 20, 20, 5, {"pads": [2] * 4, "strides": [2, 2]}, 15),
}


def convolution(kind: str, behind: str, residual: bool = False) -> tuple[ir.Model, np.ndarray]:
    """A convolution, perhaps the sum with a value, and a function; its input."""
    channels, filters, groups, kernel, options, size = CONVOLUTIONS[kind]
    generator = np.random.default_rng(3)
    shape = filters, channels // groups, kernel, kernel
    weights = {
        "w": (generator.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))).astype(np.float32),
        "b": generator.standard_normal(filters, np.float32),
        "zero": np.float32(0), "six": np.float32(1.5),
    }  # fmt: skip
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["t"], group=groups, **options)]
    if residual:
        nodes[0].output[0] = "c"
        nodes.insert(0, helper.make_node("Neg", ["x"], ["n"]))
        nodes.append(helper.make_node("Add", ["c", "n"], ["t"]))
    nodes += [
        helper.make_node(kind, inputs, [output], **attributes)
        for kind, inputs, output, attributes in ACTIVATIONS[behind]
    ]
    image = 3 * generator.standard_normal((3, channels, size, size), np.float32)
    return network(nodes, weights, channels, opset=22), image


def operations(model: ir.Model, image: np.ndarray, algorithm: str = "auto") -> list[Operation]:
    """What a network is lowered to."""
    fixed = fold_constants(engines.fix_shapes(model, {"x": image.shape}))
    infer_shapes(fixed)
    kernels = library.load()
    return lower(fixed, kernels, Choosing(algorithm, Machine(1e11, 1e10), 1, 0).chooser(kernels))


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("kind", CONVOLUTIONS)
@pytest.mark.parametrize("behind", ACTIVATIONS)
def test_a_convolution_applies_it(behind: str, kind: str, march: str) -> None:
    model, image = convolution(kind, behind)
    algorithm = "winograd" if kind.startswith("winograd") else "direct"
    found = [operation.op for operation in operations(model, image, algorithm)]
    assert not {Op.MAP, Op.BINARY} & set(found)
    assert_computes(model, image, march, algorithm)


@pytest.mark.parametrize("behind", ["silu", "hard-swish"])
def test_behind_a_residual(behind: str) -> None:
    model, image = convolution("square", behind, residual=True)
    assert sum(operation.op == Op.MAP for operation in operations(model, image)) == 1  # Neg
    assert_computes(model, image)


def gated(read: str, gate: str = "t") -> ir.Model:
    """t = Conv(x), s = Sigmoid(gate), y = t s, and a reader of one of them."""
    weights = {"w": np.random.default_rng(4).standard_normal((20, 20, 1, 1), np.float32)}
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["t"]),
        helper.make_node("Sigmoid", [gate], ["s"]),
        helper.make_node("Mul", ["t", "s"], ["m"]),
        helper.make_node("Sub", ["m", read], ["y"]),
    ]
    return network(nodes, weights, 20)


@pytest.mark.parametrize(("read", "gate"), [("t", "t"), ("s", "t"), ("x", "x"), ("x", "t")])
def test_what_others_read_stays(read: str, gate: str) -> None:
    """A value or a gate that something else reads, and the gate of another value."""
    image = np.random.default_rng(5).standard_normal((2, 20, 6, 6), np.float32)
    assert_computes(gated(read, gate), image)


@pytest.mark.parametrize("name", ["t", "s", "m"])
def test_what_is_an_output_stays(name: str) -> None:
    model = gated("x")
    model.graph.outputs.extend(
        [node.outputs[0] for node in model.graph if node.outputs[0].name == name]
    )
    image = np.random.default_rng(6).standard_normal((2, 20, 6, 6), np.float32)
    found = Native().prepare(model).run({"x": image})
    expected = evaluate(model, {"x": torch.from_numpy(image)})
    for key in ("y", name):
        np.testing.assert_allclose(found[key], expected[key].numpy(), rtol=0, atol=1e-4)


@pytest.mark.parametrize("march", MARCHES)
def test_infinities_and_what_is_no_number(march: str) -> None:
    """As a step of its own would: SiLU of minus infinity is no number, as 0 times infinity."""
    values = np.float32(
        [0, -0.0, 1e-3, -80, 80, -87, 88, -89, 1e30, -1e30, np.inf, -np.inf, np.nan]
    )
    values = np.concatenate([values, values[:3]]).reshape(1, 1, 4, 4)
    weights = {"w": np.ones((1, 1, 1, 1), np.float32)}
    for behind in ("silu", "sigmoid", "hard-swish", "leaky"):
        nodes = [helper.make_node("Conv", ["x", "w"], ["t"])] + [
            helper.make_node(kind, inputs, [output], **attributes)
            for kind, inputs, output, attributes in ACTIVATIONS[behind]
        ]
        model = network(nodes, weights, 1)
        found = Native(march).prepare(model).run({"x": values})["y"]
        expected = evaluate(model, {"x": torch.from_numpy(values)})["y"].numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-35, err_msg=behind)


@st.composite
def depthwise(draw) -> tuple[ir.Model, np.ndarray]:
    """Kernels with and without results in registers, on rows of 1 to 20 and more results."""
    channels = draw(st.integers(2, 37))
    kernel = draw(st.tuples(*[st.sampled_from([3, 3, 5, 5, 2, 7])] * 2))
    strides = draw(st.tuples(*[st.sampled_from([1, 1, 2, 2, 3])] * 2))
    dilations = draw(st.tuples(*[st.sampled_from([1, 1, 1, 2])] * 2))
    pads = draw(st.tuples(*[st.integers(0, 3)] * 4))
    size = [
        max(1, (k - 1) * d + 1 - a - b) + draw(st.integers(0, 20)) * s
        for k, d, s, a, b in zip(kernel, dilations, strides, pads[:2], pads[2:], strict=True)
    ]
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = {
        "w": generator.standard_normal((channels, 1, *kernel), np.float32),
        "b": generator.standard_normal(channels, np.float32),
        "zero": np.float32(0), "six": np.float32(1.5),
    }  # fmt: skip
    behind = draw(st.sampled_from([None, "relu6", "silu", "leaky"]))
    nodes = [
        helper.make_node(
            "Conv", ["x", "w", "b"], ["y" if behind is None else "t"], group=channels,
            dilations=dilations, strides=strides, pads=pads,
        )
    ]  # fmt: skip
    nodes += [
        helper.make_node(kind, inputs, [output], **attributes)
        for kind, inputs, output, attributes in ACTIVATIONS.get(behind or "", [])
    ]
    image = generator.standard_normal((draw(st.integers(1, 2)), channels, *size), np.float32)
    return network(nodes, weights, channels), image


@pytest.mark.parametrize("march", MARCHES)
@given(case=depthwise())
def test_depthwise_of_any_geometry(march: str, case: tuple[ir.Model, np.ndarray]) -> None:
    assert_computes(*case, march)
