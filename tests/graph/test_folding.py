"""Constants that cannot be folded stay as they are."""

import ml_dtypes
import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import mlcnn
from mlcnn import graph

TEXTS = np.asarray(["cat", "dog", "bird"], object)
NODES = {
    "initializer": [],
    "identity": [helper.make_node("Identity", ["labels"], ["z"])],
    "reshape": [helper.make_node("Reshape", ["labels", "shape"], ["z"])],
    "gather": [helper.make_node("Gather", ["labels", "column"], ["z"], axis=0)],
    "concat": [helper.make_node("Concat", ["labels", "labels"], ["z"], axis=0)],
    "equal": [helper.make_node("Equal", ["labels", "labels"], ["z"])],
    "cast": [helper.make_node("Cast", ["column"], ["z"], to=onnx.TensorProto.STRING)],
    "constant": [
        helper.make_node("Constant", [], ["k"], value_strings=["a", "b"]),
        helper.make_node("Identity", ["k"], ["z"]),
    ],
    "sequence": [
        helper.make_node("SequenceConstruct", ["labels", "labels"], ["s"]),
        helper.make_node("SequenceAt", ["s", "first"], ["z"]),
    ],
}


def network(nodes, labels, kind):
    weight = np.random.default_rng(0).normal(size=(4, 3, 3, 3)).astype(np.float32)
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    name = "z" if nodes else "labels"
    initializers = {"w": weight, "column": np.asarray([[0], [1], [2]]), "first": np.asarray(0)}
    initializers["shape"] = np.asarray([3, 1])
    body = helper.make_graph(
        [
            helper.make_node("Conv", ["x", "w"], ["c"], "conv"),
            helper.make_node("AveragePool", ["c"], ["y"], "pool", **pool),
            *nodes,
        ],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 3, 8, 8])],
        [
            helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [1, 4, 3, 3]),
            helper.make_tensor_value_info(name, kind, None),
        ],
        [numpy_helper.from_array(labels, "labels")]
        + [numpy_helper.from_array(array, key) for key, array in initializers.items()],
    )
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", 21)], ir_version=10)


def run(source):
    session = onnxruntime.InferenceSession(source, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((1, 3, 8, 8), np.float32)})


@pytest.mark.parametrize("name", NODES)
def test_texts_are_left_untouched(name, tmp_path):
    kind = onnx.TensorProto.BOOL if name == "equal" else onnx.TensorProto.STRING
    model = network(NODES[name], TEXTS, kind)
    y, expected = run(model.SerializeToString())

    optimized = mlcnn.optimize(model)
    optimized.save(tmp_path / "out.onnx")

    assert len(optimized.fused) == 1
    assert optimized.counts()  # what counts reads the constants too
    found = run(tmp_path / "out.onnx")
    np.testing.assert_allclose(found[0], y, rtol=1e-4, atol=1e-5)
    assert found[1].tolist() == expected.tolist()


@pytest.mark.parametrize("dtype", ["int4", "uint4", "float8_e5m2", "bfloat16", "complex64"])
@pytest.mark.parametrize("name", ["initializer", "identity", "reshape", "gather"])
def test_constants_of_rare_types_keep_their_values(dtype, name, tmp_path):
    kind = np.dtype(getattr(ml_dtypes, dtype, dtype))
    labels = np.arange(3).astype(kind)
    tensor = numpy_helper.from_array(labels, "labels")

    optimized = mlcnn.optimize(network(NODES[name], labels, tensor.data_type))
    optimized.save(tmp_path / "out.onnx")

    assert len(optimized.fused) == 1
    saved = graph.load_file(tmp_path / "out.onnx")
    values = [graph.constant(value) for value in saved.graph.initializers.values()]
    kept = [value for value in values if value is not None and value.dtype == kind]
    assert any(np.array_equal(np.ravel(value), labels) for value in kept)
