"""Small networks as text, and what ONNX Runtime says of them."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime as ort
import pytest
import torch

from mlcnn import zoo
from mlcnn.graph import infer_shapes, to_proto


def read_network(text: str, weights: Mapping[str, np.ndarray] | None = None) -> ir.Model:
    """A network from ONNX's text syntax (the graph alone), weights given as arrays."""
    header = '<ir_version: 10, opset_import: ["" : 20, "mlcnn" : 1]>\n'
    proto = onnx.parser.parse_model(header + text)
    for name, array in (weights or {}).items():
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.asarray(array), name))
    model = ir.serde.deserialize_model(proto)
    infer_shapes(model)
    return model


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng((seed, *shape))
    return generator.normal(size=shape).astype(np.float32)


@pytest.fixture(scope="session")
def resnet() -> tuple[torch.nn.Module, ir.Model]:
    """The zoo's own ResNet-20, and its network."""
    return zoo.build("resnet20", seed=3), zoo.load("resnet20", seed=3)


@pytest.fixture(scope="session")
def network() -> Callable[..., ir.Model]:
    return read_network


@pytest.fixture(scope="session")
def random() -> Callable[..., np.ndarray]:
    return noise


@pytest.fixture(scope="session")
def agrees() -> Callable[..., None]:
    """Checks a module against ONNX Runtime, in float32."""

    def check(module: torch.nn.Module, model: ir.Model, *inputs: np.ndarray) -> None:
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.log_severity_level = 4
        session = ort.InferenceSession(to_proto(model).SerializeToString(), options)
        names = [formal.name for formal in session.get_inputs()]
        expected: list[Any] = session.run(None, dict(zip(names, inputs, strict=True)))
        with torch.no_grad():
            actual = module(*map(torch.from_numpy, inputs))
        actual = (actual,) if isinstance(actual, torch.Tensor) else actual
        assert len(actual) == len(expected)
        for ours, theirs in zip(actual, expected, strict=True):
            assert ours.numpy().dtype == theirs.dtype
            np.testing.assert_allclose(ours.numpy(), theirs, rtol=1e-5, atol=1e-5)

    return check
