"""``mlcnn run``: the main job on a small classifier."""

import importlib.resources
import re
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
        ("onnxruntime", "result", 1),
        ("onnxruntime", "original", 4),
        ("onnxruntime", "result", 4),
    ]
    for row in document["bench"]["results"]:
        assert 0 < row["q1_ms"] <= row["median_ms"] <= row["q3_ms"]
    assert [(a["variant"], a["images"], a["top1"]) for a in document["accuracy"]] == [
        ("original", 40, 0.75),
        ("result", 40, 0.75),
    ]


def test_without_measuring(mlcnn: Call, classifier: Path, tmp_path: Path) -> None:
    result = mlcnn("run", classifier, "--no-measure", "-o", "here")
    assert result.code == 0
    assert "report: here/report.html" in result.out
    assert "network: here/classifier.onnx" in result.out
    assert (tmp_path / "here" / "report.html").is_file()


def test_the_network_is_evaluated_on_machines_of_three_precisions(
    mlcnn: Call, classifier: Path
) -> None:
    result = mlcnn("run", classifier, "--no-measure", "--json", "--technology", "gddr5")
    found = result.json["evaluate"]
    assert [one["accelerator"] for one in found] == ["mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8"]
    alone = mlcnn("evaluate", classifier, "--on", "mlcnn-fp16", "--technology", "gddr5", "--json")
    assert found[1] == alone.json
    assert found[1]["batch"] == 16
    assert found[1]["mean_fused"]["layers"] == 1


def test_a_machine_that_cannot_run_the_network_is_a_warning(
    mlcnn: Call, classifier: Path, tmp_path: Path
) -> None:
    library = importlib.resources.files("mlcnn.accelerators") / "library"
    text = (library / "mlcnn-fp32.yaml").read_text()
    small = re.sub(r"(input_buffer:[^\n]*\n  bytes: )\d+", r"\g<1>64", text)
    small = small.replace("name: mlcnn-fp32", "name: small")
    (tmp_path / "small.yaml").write_text(small)
    result = mlcnn(
        "run", classifier, "--no-measure", "--json", "--on", "small.yaml", "--on", "mlcnn-fp32",
        "--on-batch", "2",
    )  # fmt: skip
    assert result.code == 0
    (document,) = result.json["evaluate"]
    assert (document["accelerator"], document["batch"]) == ("mlcnn-fp32", 2)
    (warning,) = result.json["warnings"]
    assert warning.startswith("not evaluated on small: accelerator small cannot run conv (3x3,")
    assert (tmp_path / "runs" / "classifier" / "report.html").is_file()


def test_without_evaluating(mlcnn: Call, classifier: Path, tmp_path: Path) -> None:
    result = mlcnn("run", classifier, "--no-measure", "--no-evaluate", "--json")
    assert result.json["evaluate"] == []
    page = (tmp_path / result.json["report"]).read_text(encoding="utf-8")
    assert 'id="accelerator"' not in page


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
        (["--on", "mlcn-fp32"], "unknown accelerator 'mlcn-fp32', did you mean 'mlcnn-fp32'?"),
        (["--against", "dense"], "unknown accelerator 'dense'"),
        (["--technology", "gddr6"], "unknown technology 'gddr6'"),
        (["--on-batch", "0"], "evaluating at batch 0: it must be 1 or more"),
        (["--data", "missing.npz"], "missing.npz: no such file"),
        (["--data", "."], "no data here: neither folders of images, one for each class"),
        (["--data", "classifier.onnx"], "neither an .npz or .mat file nor a readable tar archive"),
        (["--mean", "a,b"], "--mean a,b: numbers with commas between are required"),
        (["--resize", "32"], "--resize 32: height and width are required, as 32x32"),
    ],
)
def test_bad_options(
    mlcnn: Call, classifier: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = mlcnn("run", classifier, *options)
    assert result.code == 2
    assert message in result.error
    assert not (tmp_path / "runs").exists()


def test_a_failure_leaves_what_was_there(mlcnn: Call, tmp_path: Path) -> None:
    (tmp_path / "old").mkdir()
    assert mlcnn("run", "missing.onnx", "-o", "old/new/results").code == 2
    assert list(tmp_path.iterdir()) == [tmp_path / "old"]
    assert not list((tmp_path / "old").iterdir())


def test_data_that_do_not_fit(mlcnn: Call, classifier: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "few.npz", images=np.zeros((3, 3, 8, 8)), labels=np.zeros(2, np.int64))
    assert "one integer for each of 3 images" in mlcnn("run", classifier, "--data", "few.npz").error
    np.savez(tmp_path / "half.npz", images=np.zeros((3, 3, 8, 8)))
    assert "has no array 'labels'" in mlcnn("run", classifier, "--data", "half.npz").error


def test_a_zoo_network_and_a_folder_without_data(mlcnn: Call, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = mlcnn("run", "lenet5", "--data", "empty")
    assert result.code == 2
    assert "no data here: neither folders of images" in result.error
    assert "no such file or folder" in mlcnn("run", "lenet5", "--data", "nowhere").error


def test_negative_labels(mlcnn: Call, classifier: Path, tmp_path: Path, images: np.ndarray) -> None:
    labels = np.full(len(images), -1, np.int64)
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    result = mlcnn("run", classifier, "--data", "data.npz")
    assert result.error == "data.npz: label -1; labels count from 0"


def test_labels_that_the_network_has_no_class_for(
    mlcnn: Call, classifier: Path, tmp_path: Path, images: np.ndarray
) -> None:
    labels = np.zeros(len(images), np.int64)
    labels[7] = 57
    np.savez(tmp_path / "data.npz", images=images, labels=labels)
    result = mlcnn("run", classifier, "--data", "data.npz")
    assert result.code == 2
    assert result.error == (
        "--data data.npz: the network tells 4 classes apart, so labels must lie in 0..3, found "
        "57; give the images that belong to its classes, with labels that count from 0"
    )
    assert not (tmp_path / "runs").exists()


@pytest.mark.parametrize(
    "case",
    [
        ("uint8", [], 1 / 255, "wants its images is not known: they go to it as x / 255"),
        ("uint8", ["--scale", "1"], 1, None),
        ("int16", [], 1, "the images are whole numbers from 0 to 255 and go to the network as"),
        ("float32", ["--scale", "0.5", "--mean", "0", "--std", "2"], 1 / 4, None),
    ],
)
def test_how_images_go_to_the_network_is_said_where_it_is_a_guess(
    mlcnn: Call, classifier: Path, case: tuple[str, list[str], float, str | None]
) -> None:
    dtype, options, scale, told = case
    images = np.random.default_rng(0).integers(0, 256, (8, 3, 8, 8)).astype(dtype)
    images.flat[:2] = 0, 255
    labels = logits(classifier, images.astype(np.float32) * np.float32(scale)).argmax(1)
    np.savez("data.npz", images=images, labels=labels)
    command = ["run", classifier, "--data", "data.npz", "--no-measure", "--no-evaluate", *options]
    result = mlcnn(*command, "--json")
    assert result.json["accuracy"][0]["top1"] == 1
    warnings = [warning for warning in result.json["warnings"] if "data.npz" in warning]
    assert len(warnings) == (told is not None)
    if told is not None:
        assert told in warnings[0]
        assert told in Path(result.json["report"]).read_text()
        assert told in " ".join(mlcnn(*command).out.split())
