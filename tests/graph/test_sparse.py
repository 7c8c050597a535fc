"""Weights of which a file keeps what is not zero."""

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from passes.builder import Net

import mlcnn
from mlcnn import graph
from mlcnn.cli import main
from mlcnn.graph import constant
from mlcnn.passes import pipeline


def _pruned(text: str = "", density: float = 0.05) -> ir.Model:
    net = Net(2, 32, 9, 9)
    first = net.op("Relu", net.conv(net.x, 64, channels=32, name="a"))
    model = net.model(net.conv(first, 8, channels=64, name="b"))
    model = pipeline.run(model, pipeline.parse(text)).model if text else model
    for name in ("a.weight", "b.weight"):
        value = model.graph.initializers[name]
        array = value.const_value.numpy().copy()
        array[np.random.default_rng(0).random(array.shape) >= density] = 0
        value.const_value = ir.Tensor(array, name=name)
    return model


@pytest.mark.parametrize("text", ["", "share-kernels{basis=3}", "share-kernels,choose{form=split}"])
def test_a_sparse_file_is_the_same_network(text, tmp_path):
    model = _pruned(text.partition(",")[0])
    if "," in text:
        model = pipeline.run(model, pipeline.parse(text.partition(",")[2])).model
    dense, sparse = tmp_path / "dense.onnx", tmp_path / "sparse.onnx"
    graph.save(model, dense)
    graph.save(model, sparse, sparse=True)
    saved = dense.stat().st_size - sparse.stat().st_size
    assert saved > 0.8 * sum(v.const_value.nbytes for v in model.graph.initializers.values())
    assert len(onnx.load(sparse).graph.sparse_initializer) == 2
    x = np.random.default_rng(1).standard_normal((2, 32, 9, 9)).astype(np.float32)
    results = [onnxruntime.InferenceSession(p).run(None, {"x": x})[0] for p in (dense, sparse)]
    np.testing.assert_array_equal(results[0], results[1])
    loaded = [graph.load_file(path) for path in (dense, sparse)]
    for name, value in loaded[0].graph.initializers.items():
        np.testing.assert_array_equal(constant(loaded[1].graph.initializers[name]), constant(value))


def test_what_would_not_be_smaller_stays_dense(tmp_path):
    graph.save(_pruned(density=0.4), tmp_path / "net.onnx", sparse=True)
    assert not onnx.load(tmp_path / "net.onnx").graph.sparse_initializer


def test_twelve_bytes_a_number(tmp_path):
    """15 % of the dense file at a density of 0.05."""
    model = _pruned()
    graph.save(model, tmp_path / "net.onnx", sparse=True)
    kept = sum(
        len(tensor.values.raw_data) + len(tensor.indices.raw_data)
        for tensor in onnx.load(tmp_path / "net.onnx").graph.sparse_initializer
    )
    weights = [constant(model.graph.initializers[name]) for name in ("a.weight", "b.weight")]
    assert kept == 12 * sum(np.count_nonzero(array) for array in weights)
    assert kept == pytest.approx(0.15 * sum(array.nbytes for array in weights), rel=0.05)


def test_the_command_line_writes_one(tmp_path, capsys):
    path, out = tmp_path / "net.onnx", tmp_path / "small.onnx"
    graph.save(_pruned(), path)
    given = ["optimize", str(path), "--passes", "fold-batch-norm", "--sparse-file"]
    assert main([*given, "--output", str(out)]) == 0
    capsys.readouterr()
    assert len(onnx.load(out).graph.sparse_initializer) == 2
    assert mlcnn.load(out) is not None
