"""``mlcnn study``, and figures drawn from what it records."""

import json
from pathlib import Path

import numpy as np
import pytest

from mlcnn import training
from mlcnn.api import StudyOptions, study
from mlcnn.reproduce.study import read_runs

SHORT = ("--epochs", "2", "--threads", "1")


@pytest.fixture
def data(tmp_path) -> Path:
    sample = training.load_sample()
    np.savez(tmp_path / "sample.npz", images=sample.images, labels=sample.labels)
    return tmp_path / "sample.npz"


def right(folder):
    return {run.name: (run.right.tobytes(), run.top5) for run in read_runs(folder)}


def test_a_matrix(mlcnn, data):
    command = ("study", "lenet5", "--data", data, "-o", "runs", *SHORT, "--form", "original",
               "--form", "max", "--seeds", "2")  # fmt: skip
    result = mlcnn(*command)
    assert result.code == 0, result.err
    # Each seed goes through the matrix before the next one.
    told = [line.split(", ")[1].partition(":")[0] for line in result.err.splitlines()]
    assert told == [
        f"lenet5-{form}-sample.npz-fp32-{seed}" for seed in (0, 1) for form in ("original", "max")
    ]
    record = json.loads(Path("runs/lenet5-max-sample.npz-fp32-1.json").read_text())
    assert record["recipe"]["epochs"] == len(record["epochs"]) == 2
    assert record["where"]["threads"] == 1
    assert record["seconds"] == pytest.approx(sum(row["seconds"] for row in record["epochs"]))
    assert 0 <= record["test"]["top1"] <= record["test"]["top5"] <= 1
    before = {path.name: path.stat().st_mtime_ns for path in Path("runs").glob("*.json")}
    again = mlcnn(*command, "--json")  # nothing is left to do
    assert before == {path.name: path.stat().st_mtime_ns for path in Path("runs").glob("*.json")}
    assert [run["name"] for run in again.json["runs"]] == told
    for path in Path("runs").glob("*.json"):  # the paper's figures have the paper's data
        path.write_text(path.read_text().replace('"sample.npz"', '"cifar10"'))
    figure = mlcnn("reproduce", "figure-4", "--runs", "runs", "--json")
    (accuracies,) = (t for t in figure.json["beside"] if "mean over the seeds" in t["title"])
    (of_max,) = (row for row in accuracies["rows"] if row[2] == "max")
    shares = [run.top1 for run in read_runs(Path("runs")) if run.cell.form == "max"]
    assert of_max[4] == pytest.approx(100 * np.mean(shares))
    for name in ("figure.png", "figure.svg", "figure.html"):
        assert mlcnn("reproduce", "figure-4", "--runs", "runs", "--out", name).code == 0
    assert Path("figure.png").read_bytes().startswith(b"\x89PNG")
    assert "original" in Path("figure.svg").read_text()


def test_an_interrupted_run_goes_on(data, tmp_path):
    """Stopped within the second epoch: the record is that of a run that was never stopped."""
    images = training.open_data(data)
    whole, parts = tmp_path / "whole", tmp_path / "parts"
    options = StudyOptions(("lenet5",), ("reordered",), seeds=(3,), epochs=2, every_s=0)
    study([images], options, folder=whole)

    def stop(stage, done, total):
        if stage == "train" and done > total / 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        study([images], options, folder=parts, progress=stop)
    assert right(parts) == {}
    study([images], options, folder=parts)
    assert right(parts) == right(whole) != {}


def test_precisions_start_from_the_weights_in_floats(mlcnn, data):
    command = ("study", "lenet5", "--data", data, "-o", "runs", *SHORT, "--seeds", "1",
               "--form", "reordered")  # fmt: skip
    alone = mlcnn(*command, "--precision", "int8")
    assert alone.code == 2
    assert "starts from the weights of lenet5-reordered-sample.npz-fp32-0" in alone.error
    assert not Path("runs").exists()
    result = mlcnn(*command, *(f"--precision={name}" for name in ("fp32", "fp16", "int8")))
    assert result.code == 0, result.err
    runs = {run.cell.precision: run for run in read_runs(Path("runs"))}
    assert abs(runs["fp16"].top1 - runs["fp32"].top1) < 0.05
    assert runs["fp16"].epochs == ()
    assert len(runs["int8"].epochs) == 1
    assert runs["int8"].recipe["then"]["weight_bits"] == 8
    assert runs["int8"].top5 is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["lenet9"], "network 'lenet9' is not in the study: did you mean 'lenet5'?"),
        ([], "no network to study; there are lenet5, vgg16"),
        (["resnet20", "--form", "max"], "--form max: resnet20 has no such form"),
        (["lenet5", "--seeds", "0"], "--seeds: at least 1 is required"),
        (["lenet5", "--threads", "0"], "--threads 0: at least 1 is required"),
    ],
)
def test_bad_input(mlcnn, data, arguments, message):
    result = mlcnn("study", *arguments, "--data", data, "-o", "runs")
    assert result.code == 2
    assert message in result.error
    assert not Path("runs").exists()


def test_a_data_set_twice(mlcnn, data):
    result = mlcnn("study", "lenet5", "--data", data, "--data", data, "-o", "runs")
    assert result.error == "--data: at least one data set is required, and each only once"


def test_a_record_that_cannot_be_used(mlcnn, data):
    command = ("study", "lenet5", "--data", data, "-o", "runs", "--form", "max", "--seeds", "1")
    assert mlcnn(*command, "--epochs", "1").code == 0
    other = mlcnn(*command, "--epochs", "2")
    assert other.code == 2
    assert "a run of another recipe: epochs is 1 there and 2 here" in other.error
    path = Path("runs/lenet5-max-sample.npz-fp32-0.json")
    path.write_text(path.read_text()[:100])
    for arguments in (command, ("reproduce", "figure-4", "--runs", "runs")):
        damaged = mlcnn(*arguments, *(("--epochs", "1") if arguments is command else ()))
        assert damaged.code == 2
        assert f"{path}: a damaged record of a run" in damaged.error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["table-2", "--runs", "."], "--runs: of table-2 nothing is trained, only of figure-3"),
        (["table-2", "--out", "a.png"], "--out: table-2 is not drawn, only figure-3"),
        (["figure-3", "--runs", "none"], "none: no such folder; `mlcnn study --out none`"),
        (["figure-3", "--runs", ".", "--out", "a.png"], "nothing of it was run"),
        (["figure-3", "--runs", ".", "--out", "a.gif"], "a figure is an .png, .svg, .html file"),
    ],
)
def test_bad_figures(mlcnn, arguments, message):
    result = mlcnn("reproduce", *arguments)
    assert result.code == 2
    assert message in result.error
