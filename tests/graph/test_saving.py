"""What is written is complete, equal and never half there."""

import os
import stat
import threading

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
import onnxruntime
import pytest

from mlcnn import graph
from mlcnn.errors import InputError


def build(seed=0):
    proto = onnx.parser.parse_model(
        """<ir_version: 10, opset_import: ["": 20, "mlcnn": 1], producer_name: "me",
        metadata_props: ["labels": "cat,dog"]>
        g (float[N,3,8,8] x) => (float[N,4,8,8] y)
        { a = Conv(x, w)  h = mlcnn.Half(a)  y = Relu(h) }
        <domain: "mlcnn", opset_import: ["": 20]> Half (i) => (o)
        { two = Constant<value = float {2.0}>()  o = Div(i, two) }"""
    )
    weight = np.random.default_rng(seed).normal(size=(4, 3, 1, 1)).astype(np.float32)
    proto.graph.initializer.append(onnx.numpy_helper.from_array(weight, "w"))
    model = graph.from_proto(proto)
    model.functions["mlcnn", "Half", ""].metadata_props[graph.OPERATOR_KEY] = "Half"
    return model


def listing(folder):
    return sorted(path.name for path in folder.iterdir())


def x():
    return np.random.default_rng(5).normal(size=(2, 3, 8, 8)).astype(np.float32)


def run_file(path):
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return session.run(None, {"x": x()})[0]


@pytest.mark.parametrize("functions", [False, True])
def test_a_saved_network_computes_the_same(functions, run, tmp_path):
    model = build()
    path = tmp_path / "net.onnx"

    graph.save(model, path, functions=functions)

    saved = onnx.load(path)
    assert {item.domain for item in saved.functions} == ({"mlcnn"} if functions else set())
    assert any(node.domain == "mlcnn" for node in saved.graph.node) == functions
    want = run(graph.to_proto(model), {"x": x()})[0]
    np.testing.assert_allclose(run_file(path), want, rtol=1e-6, atol=1e-6)
    loaded = graph.load_file(path)
    np.testing.assert_array_equal(run(graph.to_proto(loaded), {"x": x()})[0], want)
    assert listing(tmp_path) == ["net.onnx"]


def test_names_and_metadata_are_kept(tmp_path):
    graph.save(build(), tmp_path / "net.onnx")

    saved = onnx.load(tmp_path / "net.onnx")
    assert saved.producer_name == "me"
    assert {p.key: p.value for p in saved.metadata_props} == {"labels": "cat,dog"}
    assert [value.name for value in saved.graph.input] == ["x"]
    assert saved.graph.input[0].type.tensor_type.shape.dim[0].dim_param == "N"


def test_saving_does_not_change_the_network(tmp_path):
    model = build()
    before = graph.to_proto(model).SerializeToString(deterministic=True)

    graph.save(model, tmp_path / "net.onnx")

    assert graph.to_proto(model).SerializeToString(deterministic=True) == before


def test_a_network_is_saved_over_its_own_file(tmp_path, run):
    path = tmp_path / "net.onnx"
    graph.save(build(), path)
    model = graph.load_file(path)
    want = run(graph.to_proto(model), {"x": x()})[0]

    graph.save(model, path)

    np.testing.assert_allclose(run_file(path), want, rtol=1e-6, atol=1e-6)


def test_the_file_has_the_users_permissions(tmp_path):
    path = tmp_path / "net.onnx"
    (tmp_path / "other").write_text("")

    graph.save(build(), path)

    assert stat.S_IMODE(path.stat().st_mode) == stat.S_IMODE((tmp_path / "other").stat().st_mode)


class InterruptError(Exception):
    """Stands for whatever ends the process in the middle."""


def test_an_interrupted_save_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    graph.save(build(), path)
    before = path.read_bytes()

    def interrupt(model):
        raise InterruptError

    monkeypatch.setattr("mlcnn.graph.saving.to_proto", interrupt)
    with pytest.raises(InterruptError):
        graph.save(build(1), path)

    assert path.read_bytes() == before
    assert listing(tmp_path) == ["net.onnx"]


def test_a_full_disk_is_one_message_and_leaves_nothing(tmp_path, monkeypatch):
    def refuse(model):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("mlcnn.graph.saving.to_proto", refuse)
    with pytest.raises(InputError, match=r"net\.onnx: cannot be written: No space left on device"):
        graph.save(build(), tmp_path / "net.onnx")

    assert not listing(tmp_path)


def test_weights_that_exceed_one_message_go_beside_it(tmp_path, monkeypatch):
    model = build()
    big = np.random.default_rng(2).normal(size=(4, 3, 31, 31)).astype(np.float32)
    model.graph[0].replace_input_with(
        1, ir.Value(name="big", const_value=ir.tensor(big, name="big"))
    )
    model.graph.register_initializer(model.graph[0].inputs[1])
    model.graph[0].attributes["pads"] = ir.AttrInt64s("pads", [15, 15, 15, 15])
    monkeypatch.setattr("mlcnn.graph.saving._LARGEST_MESSAGE", 10_000)
    path = tmp_path / "net.onnx"

    graph.save(model, path)

    assert listing(tmp_path) == ["net.onnx", "net.onnx.data"]
    assert path.stat().st_size < 10_000
    loaded = graph.load_file(path)
    np.testing.assert_array_equal(graph.constant(loaded.graph.initializers["big"]), big)
    assert run_file(path).shape == (2, 4, 8, 8)


@pytest.mark.long
def test_a_network_over_two_gigabytes_is_saved_and_loaded(tmp_path):
    model = build()
    rows = 2**15
    big = np.ones((rows, 2**14 + 1), np.float32)  # 2 GiB and a bit
    node = ir.node("MatMul", [ir.Value(name="v"), ir.Value(name="big", const_value=ir.tensor(big))])
    node.inputs[0].shape, node.inputs[0].dtype = ir.Shape(["N", rows]), ir.DataType.FLOAT
    node.outputs[0].name = "product"
    node.outputs[0].shape, node.outputs[0].dtype = ir.Shape(["N", big.shape[1]]), ir.DataType.FLOAT
    model.graph.inputs.append(node.inputs[0])
    model.graph.register_initializer(node.inputs[1])
    model.graph.append(node)
    model.graph.outputs.append(node.outputs[0])
    with pytest.raises(InputError, match=r"holds 2\.0 GiB of weights"):
        graph.to_proto(model)

    graph.save(model, tmp_path / "net.onnx")

    loaded = graph.load_file(tmp_path / "net.onnx")
    assert graph.constant(loaded.graph.initializers["big"]).shape == big.shape
    graph.check(loaded)


def test_a_directory_is_no_output(tmp_path):
    with pytest.raises(InputError, match="is a directory; give the name of a file in it"):
        graph.check_output(tmp_path)


def test_a_missing_directory_is_named(tmp_path):
    with pytest.raises(InputError, match=r"there is no directory .*/nowhere; create it first"):
        graph.check_output(tmp_path / "nowhere" / "net.onnx")


def test_a_directory_that_cannot_be_written_is_refused(tmp_path, monkeypatch):
    # The superuser may write everywhere: the system's answer is simulated.
    monkeypatch.setattr(os, "access", lambda *_: False)

    with pytest.raises(InputError, match="is not writable; choose another"):
        graph.check_output(tmp_path / "net.onnx")


def test_a_read_only_file_is_refused(tmp_path, monkeypatch):
    path = tmp_path / "net.onnx"
    path.write_bytes(b"")
    monkeypatch.setattr(os, "access", lambda target, _: target != path)

    with pytest.raises(InputError, match="the file is read-only; choose another name"):
        graph.check_output(path)


def test_parallel_saves_to_one_path_leave_one_whole_file(tmp_path):
    path = tmp_path / "net.onnx"
    model = build()
    threads = [threading.Thread(target=graph.save, args=(model, path)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert listing(tmp_path) == ["net.onnx"]
    graph.load_file(path)
