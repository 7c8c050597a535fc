"""Weights in a file beside the model are read; anything outside the model's folder is not."""

import os

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import pytest

from mlcnn import graph
from mlcnn.errors import InputError, UnsupportedError

WEIGHT = np.random.default_rng(0).normal(size=(2, 3, 1, 1)).astype(np.float32)


def model_at(folder, location="net.data", offset=0, length=WEIGHT.nbytes):
    folder.mkdir(exist_ok=True)
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,3,4,4] x) => (float[1,2,4,4] y)
        { y = Conv(x, w) }"""
    )
    tensor = model.graph.initializer.add()
    tensor.CopyFrom(onnx.numpy_helper.from_array(WEIGHT, "w"))
    tensor.ClearField("raw_data")
    tensor.data_location = onnx.TensorProto.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        if value is not None:
            entry = tensor.external_data.add()
            entry.key, entry.value = key, str(value)
    path = folder / "net.onnx"
    path.write_bytes(model.SerializeToString())
    return path


@pytest.mark.parametrize(("offset", "length"), [(0, 24), (None, None), (8, 24), (8, None)])
def test_data_beside_the_model_is_read(tmp_path, offset, length):
    path = model_at(tmp_path, offset=offset, length=length)
    (tmp_path / "net.data").write_bytes(b"\0" * (offset or 0) + WEIGHT.tobytes())

    model = graph.load_file(path)

    np.testing.assert_array_equal(graph.constant(model.graph[0].inputs[1]), WEIGHT)


def test_data_in_a_folder_inside_is_read(tmp_path):
    path = model_at(tmp_path, "weights/net.data")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "net.data").write_bytes(WEIGHT.tobytes())

    graph.load_file(path)


def test_a_relative_path_of_the_model_works(tmp_path, monkeypatch):
    model_at(tmp_path)
    (tmp_path / "net.data").write_bytes(WEIGHT.tobytes())
    monkeypatch.chdir(tmp_path)

    graph.load_file("net.onnx")


@pytest.mark.parametrize(
    "location",
    ["../secret", "weights/../../secret", "", "..", "C:\\secret", "\\\\host\\share", "..\\secret"],
)
def test_data_outside_the_folder_is_refused(tmp_path, location):
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    path = model_at(tmp_path / "model", location)

    with pytest.raises(InputError, match="outside the model's folder; put the data file beside"):
        graph.load_file(path)


def test_an_absolute_path_is_refused_even_inside(tmp_path):
    (tmp_path / "net.data").write_bytes(WEIGHT.tobytes())
    path = model_at(tmp_path, str(tmp_path / "net.data"))

    with pytest.raises(InputError, match="outside the model's folder"):
        graph.load_file(path)


@pytest.mark.parametrize("kind", ["file", "folder"])
def test_a_link_that_leads_outside_is_refused(tmp_path, kind):
    (tmp_path / "secret").write_bytes(WEIGHT.tobytes())
    folder = tmp_path / "model"
    path = model_at(folder, "net.data" if kind == "file" else "link/secret")
    if kind == "file":
        (folder / "net.data").symlink_to(tmp_path / "secret")
    else:
        (folder / "link").symlink_to(tmp_path, target_is_directory=True)

    with pytest.raises(InputError, match="a link that leads outside the model's folder"):
        graph.load_file(path)


def test_a_link_that_stays_inside_is_read(tmp_path):
    path = model_at(tmp_path)
    (tmp_path / "real").write_bytes(WEIGHT.tobytes())
    (tmp_path / "net.data").symlink_to("real")

    graph.load_file(path)


def test_a_special_file_is_refused(tmp_path):
    path = model_at(tmp_path)
    os.mkfifo(tmp_path / "net.data")

    with pytest.raises(InputError, match=r"'net\.data', which is missing beside the model"):
        graph.load_file(path)


def test_a_missing_data_file_is_named(tmp_path):
    with pytest.raises(
        InputError, match=r"initializer 'w' points .* 'net\.data', which is missing"
    ):
        graph.load_file(model_at(tmp_path))


@pytest.mark.parametrize(
    ("offset", "length", "stored"),
    [(0, 24, 23), (8, 24, 24), (0, 20, 24), (2**40, 24, 24), (0, 48, 48)],
)
def test_a_data_file_of_another_size_is_refused(tmp_path, offset, length, stored):
    path = model_at(tmp_path, offset=offset, length=length)
    (tmp_path / "net.data").write_bytes(b"\0" * stored)

    with pytest.raises(InputError, match=r"'w' of shape .* needs 24 bytes from offset .* damaged"):
        graph.load_file(path)


@pytest.mark.parametrize(("offset", "length"), [(-8, 24), ("x", 24), (0, -1), (0, "9" * 30)])
def test_a_position_that_is_no_number_is_refused(tmp_path, offset, length):
    path = model_at(tmp_path, offset=offset, length=length)

    with pytest.raises(InputError, match=r"initializer 'w' lies at .* which is no number of bytes"):
        graph.load_file(path)


def test_a_message_cannot_have_data_elsewhere(tmp_path):
    path = model_at(tmp_path)

    with pytest.raises(InputError, match="is in another file; load the model from its path"):
        graph.from_proto(onnx.load(path, load_external_data=False))


def test_an_external_attribute_is_refused_by_name(tmp_path):
    model = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (int64[1] n) => (float y)
        { y = ConstantOfShape<value = float[1] {1.0}>(n) }"""
    )
    tensor = model.graph.node[0].attribute[0].t
    tensor.data_location = onnx.TensorProto.EXTERNAL
    entry = tensor.external_data.add()
    entry.key, entry.value = "location", "net.data"
    path = tmp_path / "net.onnx"
    path.write_bytes(model.SerializeToString())

    with pytest.raises(UnsupportedError, match="attribute 'value' of ConstantOfShape 'y' is ext"):
        graph.load_file(path)
