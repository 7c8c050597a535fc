"""``mlcnn quantize``: codes that engines compute with, and what a user can get wrong."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from training.quantisation.networks import images_of_classes, residual

from mlcnn.graph import save
from mlcnn.training import load_sample

Call = Callable[..., Any]


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained network, and labelled images."""
    folder = tmp_path_factory.mktemp("trained")
    save(residual(), folder / "net.onnx")
    images, labels = images_of_classes(900, seed=1)
    np.savez(folder / "data.npz", images=images, labels=labels)
    np.savez(folder / "few.npz", images=images[:250], labels=labels[:250])
    np.savez(folder / "small.npz", images=images[:, :, :8, :8], labels=labels)
    np.savez(folder / "labels.npz", images=images, labels=labels + 2)
    broken = images.copy()
    broken[:, 0, 0, 0] = np.inf
    np.savez(folder / "infinite.npz", images=broken, labels=labels)
    return folder


def operators(path: Path, tmp_path: Path) -> Counter[str]:
    """What ONNX Runtime makes of a network."""
    options = onnxruntime.SessionOptions()
    options.optimized_model_filepath = str(tmp_path / "run.onnx")
    options.log_severity_level = 3
    onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    return Counter(node.op_type for node in onnx.load(tmp_path / "run.onnx").graph.node)


def test_every_layer_is_computed_in_integers(mlcnn: Call, trained: Path, tmp_path: Path) -> None:
    result = mlcnn(
        "quantize", trained / "net.onnx", "--data", trained / "data.npz", "-o", "q.onnx", "--json"
    )
    assert result.code == 0, result.err
    document = result.json
    assert document["output"] == "q.onnx"
    assert [way["observer"] for way in document["tried"]][:4] == [
        "min-max", "percentile", "mse", "entropy",
    ]  # fmt: skip
    whole = [way for way in document["tried"] if not way["float_layers"]]
    best = min(whole, key=lambda way: way["divergence"])
    assert (document["observer"], document["bias_correction"]) == (
        best["observer"], best["bias_correction"],
    )  # fmt: skip
    assert document["pipeline"].startswith("fold-constants,fold-batch-norm,quantize{weights=8")
    sizes = document["cost"]["bytes"]
    assert sizes["after"] < 0.5 * sizes["before"]
    for row in document["engines"].values():
        assert abs(row["drop_points"]) <= 5
        assert row["interval"][0] < row["after"] < row["interval"][1]
        assert row["same_as_first"] >= 0.97
        assert row["agreement"] is None  # nothing was trained
    found = operators(tmp_path / "q.onnx", tmp_path)
    assert found["QLinearConv"] + found["Conv"] == 4
    assert found["Conv"] <= len(document["float_layers"])
    assert found["QLinearAdd"] == found["QLinearConcat"] == 1


def test_fused_codes_are_counted_and_evaluated(mlcnn: Call, tmp_path: Path) -> None:
    """Both ways round: the fused network in codes, and the network in codes, fused."""
    sample = load_sample("cifar10")
    np.savez("sample.npz", images=sample.images, labels=sample.labels)
    options = (
        "--data", "sample.npz", "--engine", "native", "--observer", "mse", "--no-sensitivity",
        "--bias-correction", "off", "--calibration-images", "64", "--fuse", "--json",
    )  # fmt: skip
    first = mlcnn("quantize", "lenet5", "-o", "first.onnx", *options)
    assert first.code == 0, first.err
    assert first.json["means"] == "rounded"
    assert "means of fused layers are rounded to 8-bit codes" in first.json["notes"][-1]
    passes = ("--passes", "fold-batch-norm,max-to-average,reorder")
    unfused = mlcnn("quantize", "lenet5", "-o", "unfused.onnx", *options, *passes)
    assert unfused.code == 0, unfused.err
    then = mlcnn("optimize", "unfused.onnx", "--form", "box", "-o", "then.onnx", "--json")
    assert then.code == 0, then.err
    assert [change["form"] for change in then.json["changes"]] == ["box", "box"]
    for name in ("first.onnx", "then.onnx"):
        rows = mlcnn("count", name, "--json").json["layers"]
        assert [row["fused"] for row in rows] == [True, True, False, False, False]
        ratios = [row["multiplications"] for row in rows[:2]]
        assert all(4 * ratio["fused"] == ratio["original"] for ratio in ratios)
        machine = mlcnn("evaluate", name, "--on", "mlcnn-int8", "--against", "dcnn-int8", "--json")
        assert machine.code == 0, machine.err
        assert machine.json["mean_fused"]["speedup"] > 1


def test_a_layer_can_stay_in_floats(mlcnn: Call, trained: Path, tmp_path: Path) -> None:
    result = mlcnn(
        "quantize", trained / "net.onnx", "--data", trained / "data.npz", "--observer", "mse",
        "--bias-correction", "on", "--float", "inner", "--no-sensitivity",
        "--engine", "onnxruntime", "--test-images", "20",
    )  # fmt: skip
    assert result.code == 0, result.err
    assert "float=inner" in result.out
    assert "written: net-int8.onnx" in result.out
    names = {init.name for init in onnx.load(tmp_path / "net-int8.onnx").graph.initializer}
    assert "inner.weight" in names
    assert {"side.weight_quantized", "last.weight_quantized"} <= names


def test_fine_tuning_with_few_bits(mlcnn: Call, trained: Path, tmp_path: Path) -> None:
    torch.set_num_threads(2)
    result = mlcnn(
        "quantize", trained / "net.onnx", "--data", trained / "data.npz", "-o", "q.onnx", "--json",
        "--weight-bits", "4", "--input-bits", "4", "--finetune", "2", "--no-flip",
        "--engine", "native", "--engine", "onnxruntime", "--threads", "1", "--device", "cuda",
        "--training-device", "cpu",  # only the engines would be on a GPU, and none is measured
    )  # fmt: skip
    assert result.code == 0, result.err
    document = result.json
    assert "quantize{weights=4,inputs=4" in document["pipeline"]
    assert "epochs=2" in document["pipeline"]
    shares = {name: row["agreement"] for name, row in document["engines"].items()}
    assert [*shares] == ["native", "onnxruntime"]
    assert all(0.97 <= share <= 1 for share in shares.values())
    assert document["agreement"] == shares["native"]
    assert torch.get_num_threads() == 1
    assert document["accuracy"]["drop_points"] <= 10
    assert [path.name for path in tmp_path.iterdir()] == ["q.onnx"]  # no checkpoint is left


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--data", "few.npz"], "at least 32 are needed; as 8% of the images serve for this, give"),
        (["--data", "none.npz"], "none.npz: no such file or folder"),
        (["--data", "small.npz"], "are 3x8x8, the network takes 3x16x16"),
        (["--data", "labels.npz"], "the network tells 4 classes apart"),
        (["--data", "infinite.npz"], "finite"),
        (["--calibration-images", "8"], "--calibration-images 8: at least 32 are needed"),
        (["--validation-images", "8"], "--validation-images 8: at least 32 are needed"),
        (["--bits", "9"], "--bits 9: codes of 2 to 8 bits are supported"),
        (["--bits", "1"], "--bits 1: codes of 2 to 8 bits are supported"),
        (["--weight-bits", "9"], "--weight-bits 9: codes of 1 to 8 bits are supported"),
        (["--threads", "0"], "--threads 0: at least 1 is required"),
        (
            ["--finetune", "1", "--training-device", "abacus"],
            "--training-device abacus: torch has no such device here",
        ),
        (["--input-bits", "1"], "--input-bits 1: codes of 2 to 8 bits are supported"),
        (["--weight-bits", "0"], "--weight-bits 0: codes of 1 to 8 bits are supported"),
        (
            ["--weight-bits", "1"],
            "--weight-bits 1: signs alone have to be trained; give --finetune",
        ),
        (["--observer", "entropi"], 'Did you mean "entropy"?'),
        (["--float", "iner"], "no such layer to quantise; did you mean 'inner'?"),
        (["--form", "box"], "options of the rewrite go with --fuse"),
        (["--finetune", "0"], "--finetune 0.0: a number of epochs above 0 is required"),
        (["--resize", "32"], "--resize 32: height and width are required, as 32x32"),
        (["-o", "out.txt"], "written to an .onnx file"),
        (["-o", "no/such/out.onnx"], "there is no directory"),
        (["--engine", "nativ"], 'Did you mean "native"?'),
    ],
)
def test_bad_input(
    mlcnn: Call, trained: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    data = [] if "--data" in options else ["--data", trained / "data.npz"]
    given = [trained / item if item.endswith(".npz") else item for item in options]
    result = mlcnn("quantize", trained / "net.onnx", *data, *given)
    assert result.code == 2, result.err
    assert message in result.error
    assert result.out == ""
    assert not [*tmp_path.iterdir()]


def test_a_network_without_layers(mlcnn: Call, trained: Path, tmp_path: Path) -> None:
    pool = onnx.helper.make_node("GlobalAveragePool", ["x"], ["p"])
    flat = onnx.helper.make_node("Flatten", ["p"], ["y"])
    floats = onnx.TensorProto.FLOAT
    graph = onnx.helper.make_graph(
        [pool, flat], "pool",
        [onnx.helper.make_tensor_value_info("x", floats, ["N", 3, 16, 16])],
        [onnx.helper.make_tensor_value_info("y", floats, ["N", 3])],
    )  # fmt: skip
    imports = [onnx.helper.make_opsetid("", 20)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=imports, ir_version=10), "pool.onnx")
    images, labels = images_of_classes(900)
    np.savez("three.npz", images=images, labels=labels % 3)
    result = mlcnn("quantize", "pool.onnx", "--data", "three.npz")
    assert result.code == 2
    assert "nothing to quantise: the network has no convolution or dense layer" in result.error
