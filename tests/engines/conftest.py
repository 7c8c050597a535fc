"""Small networks whose outputs numpy knows; tests import what they share from `engines`."""

import numpy as np
import onnx_ir as ir
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlcnn.graph import from_proto


def _model(nodes, inputs, outputs, weights=(), opsets=(("", 20),)) -> ir.Model:
    graph = helper.make_graph(
        nodes,
        "net",
        [helper.make_tensor_value_info(*info) for info in inputs],
        [helper.make_tensor_value_info(*info) for info in outputs],
        [numpy_helper.from_array(array, name) for name, array in weights],
    )
    imports = [helper.make_opsetid(*opset) for opset in opsets]
    return from_proto(helper.make_model(graph, opset_imports=imports, ir_version=10))


@pytest.fixture
def conv_weights() -> tuple[np.ndarray, np.ndarray]:
    generator = np.random.default_rng(5)
    weight = generator.standard_normal((4, 3, 3, 3), np.float32)
    return weight, generator.standard_normal(4, np.float32)


@pytest.fixture
def convolution(conv_weights) -> ir.Model:
    """image (N, 3, 8, 8) -> 3x3 convolution, padded by 1, and ReLU -> features (N, 4, 8, 8)."""
    weight, bias = conv_weights
    nodes = [
        helper.make_node("Conv", ["image", "w", "b"], ["y"], pads=[1, 1, 1, 1], name="conv"),
        helper.make_node("Relu", ["y"], ["features"], name="relu"),
    ]
    return _model(
        nodes,
        [("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
        [("features", TensorProto.FLOAT, ["N", 4, 8, 8])],
        [("w", weight), ("b", bias)],
    )


@pytest.fixture
def pooled():
    """Makes image (N, 3, 8, 8) -> square convolution that keeps the size -> average pool."""

    def make(weight: np.ndarray, bias: np.ndarray, window: int) -> ir.Model:
        pads = [weight.shape[2] // 2] * 4
        pool = {"kernel_shape": [window] * 2, "strides": [window] * 2}
        nodes = [
            helper.make_node("Conv", ["image", "w", "b"], ["y"], pads=pads, name="conv"),
            helper.make_node("AveragePool", ["y"], ["features"], name="pool", **pool),
        ]
        return _model(
            nodes,
            [("image", TensorProto.FLOAT, ["N", 3, 8, 8])],
            [("features", TensorProto.FLOAT, ["N", 4, 8 // window, 8 // window])],
            [("w", weight), ("b", bias)],
        )

    return make


@pytest.fixture
def two_by_two() -> ir.Model:
    """left, right (N, 3) -> difference and product, in this order."""
    nodes = [
        helper.make_node("Mul", ["left", "right"], ["product"]),
        helper.make_node("Sub", ["left", "right"], ["difference"]),
    ]
    return _model(
        nodes,
        [(name, TensorProto.FLOAT, ["N", 3]) for name in ("left", "right")],
        [(name, TensorProto.FLOAT, ["N", 3]) for name in ("difference", "product")],
    )


@pytest.fixture
def fixed_batch() -> ir.Model:
    """image (1, 3) -> ReLU."""
    return _model(
        [helper.make_node("Relu", ["image"], ["y"])],
        [("image", TensorProto.FLOAT, [1, 3])],
        [("y", TensorProto.FLOAT, [1, 3])],
    )


@pytest.fixture
def any_size() -> ir.Model:
    """image (N, 3, H, W) -> ReLU."""
    return _model(
        [helper.make_node("Relu", ["image"], ["y"])],
        [("image", TensorProto.FLOAT, ["N", 3, "H", "W"])],
        [("y", TensorProto.FLOAT, ["N", 3, "H", "W"])],
    )


@pytest.fixture
def foreign() -> ir.Model:
    """A network with an operator that no engine knows."""
    return ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["" : 20, "acme" : 1]>
        net (float[N, 3] x) => (float[N, 3] y) { y = acme.Frobnicate(x) }"""
    )
