"""``mlcnn train``, ``mlcnn finetune`` and budgets of accuracy, on the images of the package."""

import csv
import json
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import numpy as np
import onnx
import pytest

from mlcnn import __version__ as version
from mlcnn import training

QUICK = ("--batch-size", "50")
ONE = ("--epochs", "1")


@pytest.fixture
def data(tmp_path) -> Path:
    sample = training.load_sample()
    np.savez(tmp_path / "sample.npz", images=sample.images, labels=sample.labels)
    return tmp_path / "sample.npz"


def check_provenance(record):
    """What made the result stands in it."""
    source = ("git", "-C", str(Path(__file__).parent), "rev-parse", "HEAD")
    commit = subprocess.run(source, capture_output=True, text=True, check=False).stdout.strip()
    place = record["where"]
    assert place["commit"] == (commit or None)
    for name in ("torch", "onnx", "numpy"):
        assert place[name] == metadata.version(name)
    assert (place["mlcnn"], place["device"]) == (version, "cpu")
    assert place["threads"] >= 1
    assert record["hardware"]["precision"] == "fp32"
    assert (record["seed"], record["limit"], record["processes"]) == (0, None, 1)
    assert record["normalisation"]["mean"] == [0.4914, 0.4822, 0.4465]


def test_train_and_go_on(mlcnn, data):
    command = ("train", "lenet5", "--data", data, "-o", "out", *QUICK, *ONE, "--pooling", "avg",
               "--order", "reordered", "--json")  # fmt: skip
    result = mlcnn(*command)
    assert result.code == 0, result.err
    document = result.json
    assert document["name"] == "lenet5-avg-reordered"
    model = onnx.load(document["output"])
    assert [node.op_type for node in model.graph.node][:3] == ["Conv", "AveragePool", "Relu"]
    low, high = document["test"]["low"], document["test"]["high"]
    assert 0 <= low <= document["test"]["top1"] <= high <= 1
    with Path("out/epochs.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    assert [row["number"] for row in rows] == ["1"]
    assert float(rows[0]["loss"]) == document["epochs"][0]["loss"]
    record = json.loads(Path("out/result.json").read_text())
    assert record["recipe"]["epochs"] == 1
    check_provenance(record)
    again = mlcnn(*command)  # nothing is left to do
    assert again.json["epochs"] == document["epochs"]
    other = mlcnn(*command, "--lr", "0.5")
    assert other.code == 2
    assert "recipe learning_rate is 0.05 there and 0.5 here" in other.error


@pytest.fixture
def module(tmp_path, monkeypatch) -> str:
    """A callable that returns a module, without an example of its input."""
    (tmp_path / "own_nets.py").write_text(
        "from torch import nn\n"
        "def pooled(size=2):\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.MaxPool2d(size),\n"
        "        nn.Flatten(), nn.Linear(4 * (30 // size) ** 2, 10))\n"
        "def other():\n"
        "    return nn.Conv2d(1, 10, 32)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    yield "own_nets:pooled"
    sys.modules.pop("own_nets", None)


@pytest.mark.parametrize("command", ["train", "finetune", "quantize"])
def test_a_module_takes_the_shape_of_the_images(mlcnn, data, module, command):
    options = {
        "train": (*QUICK, *ONE, "-o", "out"),
        "finetune": (*QUICK, *ONE, "-o", "out", "--no-measure"),
        "quantize": ("--engine", "onnxruntime", "--observer", "mse", "-o", "out.onnx"),
    }[command]
    result = mlcnn(command, module, "--data", data, *options, "--json")
    assert result.code == 0, result.err
    (given,) = onnx.load(result.json["output"]).graph.input
    sizes = [size.dim_value for size in given.type.tensor_type.shape.dim]
    assert sizes == [0, 3, 32, 32]  # the batch is dynamic


def test_a_module_for_other_images(mlcnn, data, module):
    result = mlcnn("train", module.replace("pooled", "other"), "--data", data, *QUICK)
    assert result.code == 2
    message = result.err.splitlines()[-1]
    assert "own_nets:other: the module fails on an input of shape (2, 3, 32, 32)" in message
    assert message.endswith("give one of the shape that it takes, batch first")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--order", "reordered"], "--order reordered: no activation stands before an average"),
        (["--lr", "1e30"], "training diverged in epoch 1, step"),
        (["--epochs", "-1"], "a recipe needs epochs"),
        (["--device", "abacus"], "--device abacus: torch has no such device here"),
        (["--data", "none"], "none: no such file or folder"),
        (["--threads", "0"], "--threads 0: at least 1 is required"),
        (["--optimizer", "lion"], "lion"),
    ],
)
def test_bad_training(mlcnn, data, tmp_path, options, message):
    given = () if "--data" in options else ("--data", data)
    result = mlcnn("train", "lenet5", *given, "-o", "out", *QUICK, *options)
    assert result.code == 2
    assert message in result.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_pools_that_a_network_has_not(mlcnn, data):
    result = mlcnn("train", "resnet20", "--data", data, *QUICK, "--pooling", "max")
    assert result.error.startswith("--pooling max: resnet20 has no such form, only avg")


def test_finetune_recovers(mlcnn, data):
    command = ("finetune", "lenet5", "--data", data, "-o", "out", *QUICK, "--epochs", "4",
               "--lr", "0.01", "--threads", "1", "--seconds", "0.05", "--engine", "onnxruntime",
               "--json")  # fmt: skip
    result = mlcnn(*command)
    assert result.code == 0, result.err
    document = result.json
    rows = {row["variant"]: row for row in document["accuracy"]}
    assert list(rows) == ["original", "rewritten", "fine-tuned"]  # LeNet-5 has no batch norms
    assert rows["rewritten"]["top1"] < rows["fine-tuned"]["top1"] <= rows["original"]["top1"] + 0.1
    change = rows["fine-tuned"]["top1"] - rows["original"]["top1"]
    assert rows["fine-tuned"]["difference"]["top1"] == pytest.approx(change)
    assert {row["variant"] for row in document["bench"]["results"]} == {"original", "result"}
    operators = [n.op_type for n in onnx.load("out/lenet5-trained.onnx").graph.node]
    assert operators[:3] == ["Conv", "AveragePool", "Relu"]
    assert "AveragePool" not in [n.op_type for n in onnx.load("out/lenet5.onnx").graph.node]
    record = json.loads(Path("out/result.json").read_text())
    check_provenance(record)
    assert (record["recipe"]["epochs"], record["recipe"]["learning_rate"]) == (4, 0.01)
    assert (record["passes"], record["max_drop"]) == ("max-to-average,reorder", None)
    assert record["teaching"] == {"weight": 0.9, "temperature": 2.0}
    assert record["where"]["threads"] == 1
    text = mlcnn(*command[:-1])
    assert "lenet5: accuracy on" in text.out
    assert "written: out/lenet5.onnx" in text.out


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--passes", "exact"], "--passes exact: every pass is exact, so nothing needs training"),
        (["--teacher-weight", "2"], "--teacher-weight must lie in 0..1"),
    ],
)
def test_bad_finetuning(mlcnn, data, tmp_path, options, message):
    result = mlcnn("finetune", "lenet5", "--data", data, "-o", "out", *QUICK, *options)
    assert result.code == 2
    assert message in result.error
    assert not (tmp_path / "out").exists()


def test_a_budget_that_nothing_meets(mlcnn, data):
    command = ("--data", data, "--max-drop", "-50", "--no-measure")
    result = mlcnn("finetune", "lenet5", *command, "-o", "out", *QUICK, *ONE)
    assert result.code == 2
    assert "--max-drop -50: nothing meets it, the nearest is" in result.err.splitlines()[-1]
    result = mlcnn("optimize", "lenet5", *command, "-o", "out.onnx")
    assert "--max-drop -50: no swap stays within it without training; the nearest is pool" in (
        result.error
    )


BLOCKS = ("--passes", "block-circulant{block=2}", "--engine", "onnxruntime", "--seconds", "0.05")


def test_a_budget_of_accuracy_chooses_sizes(mlcnn, data):
    """The fewest parameters within the images that may be lost; the record says what they cost."""
    command = ("finetune", "lenet5", "--data", data, "-o", "out", *QUICK, *ONE, *BLOCKS)
    result = mlcnn(*command, "--budget", "accuracy-drop=20", "--no-measure")
    assert result.code == 0, result.err
    record = json.loads(Path("out/result.json").read_text())
    assert record["budget"]["text"] == "accuracy-drop=20"
    assert 0 <= record["budget"]["predicted"] <= 20
    chosen = [row for row in record["sizes"] if row["chosen"]]
    assert any(row["size"] > 1 for row in chosen)
    images = int(record["budget"]["where"].split()[0])
    lost = sum(max(row["wrong"], 0) for row in chosen)
    assert record["budget"]["predicted"] == pytest.approx(100 * lost / images)
    assert "within accuracy-drop=20: block-circulant{block=" in result.err
    assert "by all together, untrained, on" in result.err


@pytest.mark.parametrize(
    ("budget", "message"),
    [
        ("time=2x", "times are measured; leave --no-measure"),
        ("speed=2x", "a factor above 1 is required, as in 4x"),
        ("accuracy-drop=2x", "a factor above 1 is required"),
    ],
)
def test_bad_budgets(mlcnn, data, tmp_path, budget, message):
    command = ("finetune", "lenet5", "--data", data, "-o", "out", *QUICK, *BLOCKS)
    result = mlcnn(*command, "--no-measure", "--budget", budget)
    assert result.code == 2
    assert f"--budget {budget}: {message}" in result.err.splitlines()[-1]
    assert not (tmp_path / "out").exists()


def test_a_budget_without_training(mlcnn, data):
    command = ("optimize", "lenet5", "--data", data, "--no-measure", "-o", "out.onnx")
    found = mlcnn(*command, "--max-drop", "15", "--json").json
    kept = {swap["layer"]: swap["kept"] for swap in found["swaps"]}
    assert kept == {"pool2": True, "pool1": False}
    saved = {swap["layer"]: swap["saved"] for swap in found["swaps"]}
    # A quarter of the products of 10x10 and of 28x28 outputs is left, with 16 and 6 channels.
    assert saved == {"pool2": 240_000 - 86_400, "pool1": 352_800 - 127_008}
    operators = [node.op_type for node in onnx.load("out.onnx").graph.node]
    assert operators.count("MaxPool") == 1
    assert mlcnn(*command).error == (
        "--data and --max-drop go together: images, and what may be lost on them"
    )
