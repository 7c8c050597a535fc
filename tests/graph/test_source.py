"""What is written where nothing was rewritten: the file that was read."""

import logging

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper, numpy_helper

import mlcnn
from mlcnn import graph


def proto(opset=9, ir_version=3, seed=0):
    """Nothing to rewrite: a convolution, and no pool. Every initializer is an input, as in IR 3."""
    weight = np.random.default_rng(seed).normal(size=(4, 3, 3, 3)).astype(np.float32)
    kind = onnx.TensorProto.FLOAT
    body = helper.make_graph(
        [helper.make_node("Conv", ["x", "w"], ["c"]), helper.make_node("Relu", ["c"], ["y"])],
        "g",
        [
            helper.make_tensor_value_info("x", kind, ["n", 3, 8, 8]),
            helper.make_tensor_value_info("w", kind, weight.shape),
        ],
        [helper.make_tensor_value_info("y", kind, ["n", 4, 6, 6])],
        [numpy_helper.from_array(weight, "w")],
    )
    opsets = [helper.make_opsetid("", opset)]
    return helper.make_model(body, opset_imports=opsets, ir_version=ir_version)


def run(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": np.ones((2, 3, 8, 8), np.float32)})[0]


def test_a_file_with_nothing_to_rewrite_is_written_byte_for_byte(tmp_path):
    source, output = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(proto(), source)

    assert mlcnn.optimize(source).save(output)

    assert output.read_bytes() == source.read_bytes()
    assert onnx.load(output).opset_import[0].version == 9


def test_weights_beside_the_file_come_along(tmp_path):
    folders = [tmp_path / "from", tmp_path / "to"]
    for folder in folders:
        folder.mkdir()
    source, output = (folder / "net.onnx" for folder in folders)
    external = {"save_as_external_data": True, "location": "net.bin", "size_threshold": 0}
    onnx.save(proto(), source, **external)

    mlcnn.optimize(source).save(output)

    assert output.read_bytes() == source.read_bytes()
    assert (folders[1] / "net.bin").read_bytes() == (folders[0] / "net.bin").read_bytes()
    np.testing.assert_array_equal(run(output), run(source))


def test_weights_of_another_network_are_not_overwritten(tmp_path):
    folders = [tmp_path / "from", tmp_path / "to"]
    for seed, folder in enumerate(folders):
        folder.mkdir()
        external = {"save_as_external_data": True, "location": "net.bin", "size_threshold": 0}
        onnx.save(proto(seed=seed), folder / "net.onnx", **external)
    before = run(folders[1] / "net.onnx")

    mlcnn.optimize(folders[0] / "net.onnx").save(folders[1] / "copy.onnx")

    np.testing.assert_array_equal(run(folders[1] / "net.onnx"), before)
    np.testing.assert_array_equal(run(folders[1] / "copy.onnx"), run(folders[0] / "net.onnx"))


def test_a_file_that_changed_since_is_not_copied(tmp_path):
    source, output = tmp_path / "net.onnx", tmp_path / "out.onnx"
    onnx.save(proto(), source)
    expected = run(source)
    optimized = mlcnn.optimize(source)
    changed = proto(seed=1)
    changed.producer_name = "somebody else"
    onnx.save(changed, source)

    assert not optimized.save(output)

    np.testing.assert_allclose(run(output), expected, rtol=1e-6)


@pytest.mark.parametrize("shape", [None, (1, 3, 8, 8)])
def test_given_sizes_are_a_change(shape, tmp_path):
    source, output = tmp_path / "net.onnx", tmp_path / "out.onnx"
    dynamic = proto()
    for axis in (2, 3):
        dynamic.graph.input[0].type.tensor_type.shape.dim[axis].dim_param = f"s{axis}"
    dynamic.graph.output[0].type.tensor_type.ClearField("shape")
    onnx.save(dynamic, source)

    assert mlcnn.optimize(source, input_shape=shape).save(output) == (shape is None)

    dims = onnx.load(output).graph.input[0].type.tensor_type.shape.dim
    assert [dim.dim_value for dim in dims][2:] == ([0, 0] if shape is None else [8, 8])


@pytest.mark.parametrize(("ir_version", "said"), [(3, False), (8, True)])
def test_an_input_with_a_default_is_said_to_be_fixed(ir_version, said, caplog):
    with caplog.at_level(logging.WARNING):
        model = graph.from_proto(proto(opset=13, ir_version=ir_version))

    assert [value.name for value in model.graph.inputs] == ["x"]
    found = "input 'w' can be left out and has a default value: it is fixed to that" in caplog.text
    assert found == said
