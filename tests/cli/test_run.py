"""``mlcnn run``: the main job on a small classifier."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import helper

Call = Callable[..., Any]


@pytest.fixture
def classifier(tmp_path: Path, network: Callable[..., onnx.ModelProto]) -> Path:
    """Convolution, global average pool, flatten: four logits, fused exactly."""
    path = tmp_path / "classifier.onnx"
    conv = helper.make_node("Conv", ["x", "conv.weight"], ["c"], pads=[1] * 4, name="conv")
    pool = helper.make_node("GlobalAveragePool", ["c"], ["p"], name="pool")
    flat = helper.make_node("Flatten", ["p"], ["y"], name="flatten")
    onnx.save(network(conv, pool, flat), path)
    return path


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((40, 3, 8, 8)).astype(np.float32)


def logits(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": images})[0])


def test_everything_is_written_and_told(
    mlcnn: Call, classifier: Path, tmp_path: Path, images: np.ndarray
) -> None:
    labels = logits(classifier, images).argmax(1)
    labels[:10] = (labels[:10] + 1) % 4  # ten of forty are wrong on purpose
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    result = mlcnn(
        "run", classifier, "--json", "--data", "data.npz", "--engine", "onnxruntime",
        "--seconds", "0.05", "--batch", "1", "--batch", "4", "--form", "matvec",
    )  # fmt: skip
    assert result.code == 0
    document = result.json
    assert document["name"] == "classifier"
    folder = tmp_path / "runs" / "classifier"
    assert sorted(path.name for path in folder.iterdir()) == ["classifier.onnx", "report.html"]
    assert document["report"] == "runs/classifier/report.html"
    assert "</html>" in (tmp_path / document["report"]).read_text()
    expected = logits(classifier, images)
    found = logits(tmp_path / document["output"], images)
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    assert [(c["form"], c["nodes"][0]) for c in document["optimize"]["changes"]] == [
        ("matvec", "conv")
    ]
    assert document["count"]["total"]["multiplications"]["fused"] == 4 * 27
    rows = [(r["engine"], r["variant"], r["batch"]) for r in document["bench"]["results"]]
    assert rows == [
        ("onnxruntime", "original", 1),
        ("onnxruntime", "fused", 1),
        ("onnxruntime", "original", 4),
        ("onnxruntime", "fused", 4),
    ]
    for row in document["bench"]["results"]:
        assert 0 < row["q1_ms"] <= row["median_ms"] <= row["q3_ms"]
    assert [(a["variant"], a["images"], a["top1"]) for a in document["accuracy"]] == [
        ("original", 40, 0.75),
        ("fused", 40, 0.75),
    ]


def test_without_measuring(mlcnn: Call, classifier: Path, tmp_path: Path) -> None:
    result = mlcnn("run", classifier, "--no-measure", "-o", "here")
    assert result.code == 0
    assert "report: here/report.html" in result.out
    assert "network: here/classifier.onnx" in result.out
    assert (tmp_path / "here" / "report.html").is_file()


def test_nothing_to_gain_is_said(mlcnn: Call, hopeless: Path) -> None:
    result = mlcnn("run", hopeless, "--no-measure", "--json")
    assert result.code == 0
    assert "nothing to gain here" in result.err
    assert result.json["optimize"]["changes"] == []


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-o", "classifier.onnx"], "a file stands where a folder is required"),
        (["--engine", "onyxruntime"], 'Did you mean "onnxruntime"?'),
        (["--provider", "CpuExecutionProvider"], "did you mean 'CPUExecutionProvider'?"),
        (["--provider", "X", "--engine", "torch"], "belongs to the engine onnxruntime"),
        (["--threads", "0"], "threads must be 1 or more"),
        (["--batch", "0"], "batch must be 1 or more"),
        (["--seconds", "0"], "--seconds 0: a positive time is required"),
        (["--data", "missing.npz"], "missing.npz: no such file"),
        (["--data", "."], "how your network wants its images is not known"),
        (["--data", "classifier.onnx"], "not an .npz file of plain arrays"),
    ],
)
def test_bad_options(
    mlcnn: Call, classifier: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = mlcnn("run", classifier, *options)
    assert result.code == 2
    assert message in result.error
    assert not list(tmp_path.rglob("*.html"))


def test_data_that_do_not_fit(mlcnn: Call, classifier: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", images=np.zeros((3, 3, 8, 8)), labels=np.zeros(2, np.int64))
    assert "one integer for each of 3 images" in mlcnn("run", classifier, "--data", "few.npz").error
    np.savez(tmp_path / "half.npz", images=np.zeros((3, 3, 8, 8)))
    assert "has no array 'labels'" in mlcnn("run", classifier, "--data", "half.npz").error


def test_a_zoo_network_and_a_folder_without_data(mlcnn: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = mlcnn("run", "lenet5", "--data", "empty")
    assert result.code == 2
    assert "no data set in its standard format is here" in result.error
    assert "no such folder" in mlcnn("run", "lenet5", "--data", "nowhere").error
