"""The commands on the embedded network."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

Call = Callable[..., Any]


@pytest.fixture
def accuracy_of_the_sample() -> dict[str, float]:
    """Accuracies on the 500 embedded images, from ``zoo/weights/README.md``."""
    return {"original": 0.714, "reordered": 0.672, "fused": 0.672}


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
        "reordered",
        "fused",
    ]
    found = {row["variant"]: row["top1"] for row in document["accuracy"]}
    assert found == pytest.approx(accuracy_of_the_sample, abs=0.003)
    assert any("trained in its new order" in line for line in document["warnings"])
    saved = onnx.load(tmp_path / document["output"])
    assert {node.domain for node in saved.graph.node} <= {"", "ai.onnx"}
    assert (tmp_path / "runs/lenet5/report.html").is_file()


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
    assert accuracies == {"original": pytest.approx(0.714, abs=0.003)}
    assert result.json["potential"]["sites"] == 2
    assert "with it (--approximate), 2 layers could be fused" in result.err


def test_wrong_weights(mlcnn: Call, tmp_path: Path) -> None:
    (tmp_path / "w.npz").write_bytes(b"PK\x03\x04")
    result = mlcnn("count", "lenet5", "--weights", "w.npz")
    assert result.code == 2
    assert "w.npz: not a readable .npz file" in result.error
    result = mlcnn("count", "lenet5", "--weights", "w.pth")
    assert result.code == 2
    assert "pickled" in result.error
