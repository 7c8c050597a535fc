"""The commands on the embedded network."""

import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

Call = Callable[..., Any]


@pytest.fixture
def accuracy_of_the_sample() -> dict[str, float]:
    """Accuracies on the 500 embedded images, from ``zoo/weights/README.md``."""
    return {"original": 0.788, "max-to-average, reorder": 0.704, "result": 0.704}


def test_the_main_job(
    mlcnn: Call, tmp_path: Path, accuracy_of_the_sample: dict[str, float]
) -> None:
    result = mlcnn(
        "run", "lenet5", "--json", "--engine", "onnxruntime", "--seconds", "0.05", "--form", "box"
    )
    assert result.code == 0
    document = result.json
    # Each of the two fused layers keeps a quarter of its multiplications.
    fused = [row for row in document["count"]["layers"] if row["fused"]]
    assert [row["name"] for row in fused] == ["conv1", "conv2"]
    assert [row["multiplications"]["fused"] for row in fused] == [352_800 // 4, 240_000 // 4]
    assert [row["variant"] for row in document["bench"]["results"]] == [
        "original",
        "max-to-average, reorder",
        "result",
    ]
    found = {row["variant"]: row["top1"] for row in document["accuracy"]}
    assert found == pytest.approx(accuracy_of_the_sample, abs=0.003)
    assert any("trained in its new order" in line for line in document["warnings"])
    saved = onnx.load(tmp_path / document["output"])
    assert {node.domain for node in saved.graph.node} <= {"", "ai.onnx"}
    assert (tmp_path / "runs/lenet5/report.html").is_file()


def test_the_whole_test_set_stands_beside_the_sample(mlcnn: Call, tmp_path: Path) -> None:
    """Counts of a forward pass in NumPy over all 10,000 images: 7,721 and 7,384 right, 1,087 by
    the original alone, 750 by the reordered one alone; the difference's interval is that of the
    mean of 10,000 paired differences.
    """
    options = ("--no-measure", "--no-evaluate")
    found = mlcnn("run", "lenet5", "--json", *options).json["test_set"]
    assert (found["dataset"], found["images"]) == ("cifar10 test", 10_000)
    assert [(row["variant"], row["top1"]) for row in found["rows"]] == [
        ("original", 0.7721),
        ("result", 0.7384),
    ]
    assert found["rows"][0]["interval"] == pytest.approx([0.76377, 0.78022], abs=1e-5)
    assert found["difference"]["top1"] == pytest.approx(-0.0337, abs=1e-9)
    assert found["difference"]["interval"] == pytest.approx([-0.042074, -0.025325], abs=1e-6)
    printed = " ".join(mlcnn("run", "lenet5", *options).out.split())
    for expected in (
        "Accuracy -3.37 points top-1, all 10,000 images of cifar10 test",
        "original 77.21 % (76.38 to 78.02), result 73.84 %",
        "difference -3.37 points (-4.21 to -2.53)",
        "here, on 500 images of cifar10 test, first 500: original 78.80 %",
    ):
        assert expected in printed
    page = (tmp_path / "runs/lenet5/report.html").read_text()
    assert "cifar10 test, all, recorded" in page
    assert "cifar10 test, first 500" in page


def test_a_record_is_not_shown_for_weights_or_images_that_it_is_not_of(
    mlcnn: Call, tmp_path: Path
) -> None:
    options = ("--json", "--no-measure", "--no-evaluate")
    assert mlcnn("run", "lenet5", "--passes", "exact", *options).json["test_set"] is None
    images = np.zeros((4, 3, 32, 32), np.float32)
    np.savez(tmp_path / "own.npz", images=images, labels=np.arange(4))
    result = mlcnn("run", "lenet5", "--data", "own.npz", *options)
    assert result.json["test_set"] is None


def test_weights_of_another_training_are_told_whether_or_not_anything_is_measured(
    mlcnn: Call,
) -> None:
    result = mlcnn("run", "lenet5", "--json", "--no-measure", "--no-evaluate")
    assert result.code == 0
    assert any("trained in its new order" in line for line in result.json["warnings"])


def test_exact_passes_leave_the_accuracy(mlcnn: Call) -> None:
    result = mlcnn("run", "lenet5", "--json", "--no-measure", "--passes", "exact")
    assert result.code == 0
    accuracies = {row["variant"]: row["top1"] for row in result.json["accuracy"]}
    assert accuracies == {"original": pytest.approx(0.788, abs=0.003)}
    assert result.json["potential"]["sites"] == 2
    assert "with it (--approximate), 2 layers could be fused" in result.err


def test_wrong_weights(mlcnn: Call, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(b"PK\x03\x04")
    result = mlcnn("count", "lenet5", "--weights", "w.npz")
    assert result.code == 2
    assert "w.npz: not a readable .npz file" in result.error
    (tmp_path / "w.pth").write_bytes(pickle.dumps({"conv1.weight": object}))
    result = mlcnn("count", "lenet5", "--weights", "w.pth")
    assert result.code == 2
    assert "w.pth: holds more than tensors" in result.error
