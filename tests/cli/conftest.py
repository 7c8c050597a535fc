"""Small networks as files, and the command line called in this process."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlcnn import training
from mlcnn.cli import main


@dataclass(frozen=True)
class Outcome:
    """What one call of the command line left."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """The one document on standard output."""
        assert self.out, self.err
        return json.loads(self.out)

    @property
    def error(self) -> str:
        """The one line on standard error."""
        lines = self.err.splitlines()
        assert len(lines) == 1, self.err
        prefix, _, message = lines[0].partition("mlcnn: error: ")
        assert prefix == "", self.err
        return message


@pytest.fixture
def mlcnn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Callable[..., Outcome]:
    """The command line, in an empty directory; its output goes to a file, which has no width."""
    monkeypatch.chdir(tmp_path)
    for variable in ("MLCNN_DEBUG", "COLUMNS"):
        monkeypatch.delenv(variable, raising=False)

    def call(*arguments: object) -> Outcome:
        capsys.readouterr()
        code = main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return Outcome(code, captured.out, captured.err)

    return call


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """The images of the package eight times, with noise, as an .npz file."""
    sample = training.load_sample()
    images, labels = np.concatenate([sample.images] * 8), np.tile(sample.labels, 8)
    noise = np.random.default_rng(0).integers(-4, 5, images.shape)  # equal images share a part
    images = np.clip(images.astype(int) + noise, 0, 255).astype(np.uint8)
    np.savez(tmp_path / "sample.npz", images=images, labels=labels)
    return tmp_path / "sample.npz"


def make_network(
    *nodes: onnx.NodeProto, size: int | str = 8, weights: dict[str, np.ndarray] | None = None
) -> onnx.ModelProto:
    """A network from ``x`` (N, 3, size, size) to ``y`` with a 3x3 convolution's weight ``w``."""
    generator = np.random.default_rng(0)
    arrays = {"conv.weight": generator.standard_normal((4, 3, 3, 3)).astype(np.float32)}
    arrays |= weights or {}
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", 3, size, size])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(array, name) for name, array in arrays.items()],
    )
    # The newest version that onnx writes is not always one that engines read.
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


@pytest.fixture
def network() -> Callable[..., onnx.ModelProto]:
    """Makes a network of given nodes."""
    return make_network


CONV = helper.make_node("Conv", ["x", "conv.weight"], ["c"], pads=[1, 1, 1, 1], name="conv")


def pool(operator: str, source: str, target: str) -> onnx.NodeProto:
    return helper.make_node(
        operator, [source], [target], kernel_shape=[2, 2], strides=[2, 2], name="pool"
    )


@pytest.fixture
def fusable(tmp_path: Path) -> Path:
    """Convolution, average pool: fused exactly."""
    path = tmp_path / "fusable.onnx"
    onnx.save(make_network(CONV, pool("AveragePool", "c", "y")), path)
    return path


@pytest.fixture
def reorderable(tmp_path: Path) -> Path:
    """Convolution, ReLU, average pool: fused only after an approximate pass."""
    path = tmp_path / "reorderable.onnx"
    relu = helper.make_node("Relu", ["c"], ["r"], name="relu")
    onnx.save(make_network(CONV, relu, pool("AveragePool", "r", "y")), path)
    return path


@pytest.fixture
def hopeless(tmp_path: Path) -> Path:
    """One convolution and no pool: nothing to gain."""
    path = tmp_path / "hopeless.onnx"
    onnx.save(
        make_network(helper.make_node("Conv", ["x", "conv.weight"], ["y"], name="conv")), path
    )
    return path


@pytest.fixture
def dynamic(tmp_path: Path) -> Path:
    """The fusable network with dynamic height and width."""
    path = tmp_path / "dynamic.onnx"
    onnx.save(make_network(CONV, pool("AveragePool", "c", "y"), size="side"), path)
    return path
