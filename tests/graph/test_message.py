"""What is written piece by piece is the message that protobuf itself writes."""

import tracemalloc

import ml_dtypes
import numpy as np
import onnx
import onnx_ir as ir
import pytest
from onnx import helper, numpy_helper

from mlcnn import graph
from mlcnn.api import rewrite

TYPES = [
    np.float32, np.float64, np.float16, np.int64, np.uint8, np.bool_, np.complex64,
    ml_dtypes.bfloat16, ml_dtypes.int4, ml_dtypes.uint4, ml_dtypes.float8_e4m3fn,
]  # fmt: skip


def network(array):
    """A large and a small constant of the array's type, both returned as they are."""
    weights = [numpy_helper.from_array(a, n) for a, n in ((array, "large"), (array[:3], "small"))]
    body = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"], "r")],
        "g",
        [helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2])],
        [
            helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, [2]),
            *(helper.make_tensor_value_info(w.name, w.data_type, w.dims) for w in weights),
        ],
        weights,
    )
    opsets = [helper.make_opsetid("", 23)]
    model = helper.make_model(body, opset_imports=opsets, ir_version=11, producer_name="me")
    model.graph.initializer[0].doc_string = "says something"
    return model


@pytest.mark.parametrize("dtype", TYPES, ids=lambda dtype: np.dtype(dtype).name)
def test_constants_of_all_types_are_written_as_they_are(dtype, tmp_path):
    array = np.random.default_rng(0).integers(0, 2, 4097).astype(dtype)
    model = graph.from_proto(network(array))

    graph.save(model, tmp_path / "net.onnx")

    written = onnx.load(tmp_path / "net.onnx")
    whole = graph.to_proto(model)
    found = {tensor.name: tensor for tensor in written.graph.initializer}
    assert [*found] == [tensor.name for tensor in whole.graph.initializer] == ["large", "small"]
    for name, expected in (("large", array), ("small", array[:3])):
        np.testing.assert_array_equal(numpy_helper.to_array(found[name]), expected)
    assert found["large"].doc_string == "says something"
    for message in (written, whole):
        message.graph.ClearField("initializer")
    assert written == whole


def test_saving_does_not_copy_the_weights(tmp_path):
    size = 50 * 2**20
    array = np.zeros(size // 4, np.float32)
    model = graph.from_proto(network(array[:2000]))
    model.graph.initializers["large"].const_value = ir.Tensor(array, name="large")
    model.graph.outputs[1].shape = ir.Shape(array.shape)

    tracemalloc.start()
    graph.save(model, tmp_path / "net.onnx")
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()

    assert (tmp_path / "net.onnx").stat().st_size > size
    assert peak < size / 10


def test_a_rewrite_shares_the_weights_that_it_keeps():
    """The passes' network holds the arrays of the original one, not copies."""
    module = """<ir_version: 10, opset_import: ["": 20]> g (float[N,8,16,16] x) => (float[N,8] y)
        { c = Conv(x, w)  p = AveragePool<kernel_shape = [2, 2], strides = [2, 2]>(c)
        f = Flatten(p)  y = MatMul(f, dense) }"""
    proto = onnx.parser.parse_model(module)
    random = np.random.default_rng(0)
    for name, shape in (("w", (8, 8, 3, 3)), ("dense", (392, 8))):
        weight = random.normal(size=shape).astype(np.float32)
        proto.graph.initializer.append(numpy_helper.from_array(weight, name))
    model = graph.from_proto(proto)

    result = rewrite(model, "fuse{form=box}")

    assert len(result.fused) == 1
    for name in ("w", "dense"):
        before, after = (graph.constant(m.graph.initializers[name]) for m in (model, result.model))
        assert np.shares_memory(before, after)
