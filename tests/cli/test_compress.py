"""``mlcnn compress`` on the images of the package."""

import json
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from mlcnn import training

QUICK = ("--epochs", "1", "--batch-size", "50", "--limit", "200", "--lr", "0.005")


@pytest.fixture
def data(tmp_path) -> Path:
    sample = training.load_sample()
    np.savez(tmp_path / "sample.npz", images=sample.images, labels=sample.labels)
    return tmp_path / "sample.npz"


def zeros(path: Path) -> tuple[int, int]:
    """Weights of convolutions and dense layers that are zero, and all."""
    model = onnx.load(path)
    arrays = {item.name: numpy_helper.to_array(item) for item in model.graph.initializer}
    kernels = [arrays[n.input[1]] for n in model.graph.node if n.op_type in {"Conv", "Gemm"}]
    return sum(int((k == 0).sum()) for k in kernels), sum(k.size for k in kernels)


def test_compress_and_go_on(mlcnn, data):
    command = ("compress", "lenet5", "--data", data, "-o", "small.onnx", "--budget", "4x",
               "--method", "weights", *QUICK, "--engine", "onnxruntime", "--seconds", "0.1",
               "--json")  # fmt: skip
    first = mlcnn(*command)
    assert first.code == 0, first.err
    document = first.json
    gone, whole = zeros(Path("small.onnx"))
    assert 0.745 < gone / whole < 0.76
    assert document["output"] == "small.onnx"
    accuracy = document["accuracy"]
    assert accuracy["interval"][0] <= accuracy["after"] <= accuracy["interval"][1]
    assert accuracy["before"] + accuracy["change"]["top1"] == pytest.approx(accuracy["after"])
    assert set(document["cost"]) == {
        "bytes", "energy_pj", "latency_ms onnxruntime", "multiplications", "multiplications run",
        "parameters", "peak_bytes",
    }  # fmt: skip
    # ONNX Runtime multiplies by zeros, and so does the accelerator: nothing is cheaper for it.
    cost = document["cost"]
    assert cost["multiplications"]["after"] < cost["multiplications"]["before"]
    assert cost["multiplications run"]["after"] == cost["multiplications run"]["before"]
    assert cost["energy_pj"]["after"] == cost["energy_pj"]["before"]
    assert set(document["latency_ms"]["onnxruntime"]) == {"before", "after"}
    layers = {layer["name"]: layer for layer in document["layers"]}
    assert layers["fc1"]["after"]["parameters"] < layers["fc1"]["before"]["parameters"]
    assert set(layers["fc1"]["latency_ms"]) == {"onnxruntime"}
    record = json.loads(Path("small/result.json").read_text())
    assert record["compress"]["budget"] == "4x"
    report = Path("small/report.html").read_text()
    assert "How to repeat this" in report
    again = mlcnn(*command, "--no-measure")
    assert again.code == 0, again.err
    assert again.json["accuracy"] == accuracy
    assert again.json["latency_ms"] == {}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ((), "what may be lost is not said: give --max-drop 0.5 (percentage points), or "),
        (
            ("--max-drop", "1", "--method", "prune"),
            "--method prune: weights, channels, shared-kernels, all are",
        ),
        (("--budget", "4x", "--on", "none"), "none"),
        (("--max-drop", "1", "--epochs", "0"), "--epochs 0: at least 1 is required"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(mlcnn, data, options, message):
    result = mlcnn("compress", "lenet5", "--data", data, *options)
    assert result.code == 2
    assert message in result.error
    assert not Path("lenet5-compressed").exists()
    assert not Path("lenet5-compressed.onnx").exists()


def test_images_of_one_class_are_refused(mlcnn, tmp_path):
    images = np.random.default_rng(0).integers(0, 255, (300, 3, 32, 32), np.uint8)
    np.savez(tmp_path / "one.npz", images=images, labels=np.zeros(300, np.int64))
    result = mlcnn("compress", "lenet5", "--data", tmp_path / "one.npz", "--max-drop", "1")
    assert result.code == 2
    assert "all training images are of one class" in result.error


def test_images_of_another_shape_are_refused(mlcnn, tmp_path):
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (300, 3, 28, 28), np.uint8)
    np.savez(tmp_path / "other.npz", images=images, labels=generator.integers(0, 10, 300))
    result = mlcnn("compress", "lenet5", "--data", tmp_path / "other.npz", "--max-drop", "1")
    assert result.code == 2
    assert "the images of other.npz are 3x28x28, the network takes 3x32x32" in result.error


@pytest.mark.parametrize("method", ["shared-kernels", "all"])
@pytest.mark.parametrize(
    ("basis", "message"),
    [
        ("0", "basis '0': a positive integer is required"),
        ("some", "basis 'some': a positive integer is required"),
        ("26", "basis=26: the kernels of conv1 have 5x5 taps: 1 to 25 can be shared"),
        ("5+conv2=26", "basis=conv2=26: the kernels of conv2 have 5x5 taps: 1 to 25 can be"),
        ("5+conv9=2", "basis=conv9=...: there is no such layer; did you mean 'conv2'?"),
    ],
)
def test_numbers_of_kernels_that_do_not_fit_are_refused(mlcnn, data, method, basis, message):
    """Before anything is trained, whatever other methods could do."""
    result = mlcnn(
        "compress", "lenet5", "--data", data, "--max-drop", "1", "--method", method, "--basis",
        basis, "-o", "small.onnx", "--no-measure", *QUICK,
    )  # fmt: skip
    assert result.code == 2
    assert message in result.error
    assert not list(Path("small").glob("*"))
    assert not Path("small.onnx").exists()


def test_several_processes_are_refused(mlcnn, data, monkeypatch):
    started = nullcontext((training.Processes(1, 2), "cpu"))
    monkeypatch.setattr("mlcnn.training.processes", lambda _: started)
    result = mlcnn("compress", "lenet5", "--data", data, "--max-drop", "1", "-o", "small.onnx")
    assert (result.code, result.error) == (
        2,
        "torchrun: compress trains in one process, 2 were started; call it without torchrun",
    )
    assert not Path("small").exists()
