"""``--precision``, and quantised networks that are refused."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from engines.qdq import BAD, Quantised, summed

from mlcnn.graph import to_proto

Call = Callable[..., Any]
QUICK = ("--seconds", "0.05", "--json")


def saved(model: ir.Model, path: Path) -> Path:
    onnx.save(to_proto(model), path)
    return path


@pytest.fixture
def coded(tmp_path: Path) -> Path:
    """Two quantised 3x3 convolutions."""
    rng = np.random.default_rng(0)
    net = Quantised(8, (8, 8))
    value = net.rounded("x", 0.05, 128)
    for _ in range(2):
        codes = rng.integers(-128, 128, (8, 8, 3, 3), np.int8)
        weight = net.weight(codes, np.full(8, 0.001, np.float32))
        value = net.rounded(net.op("Conv", value, weight, pads=[1, 1, 1, 1]), 0.05, 128)
    return saved(net.model(value), tmp_path / "coded.onnx")


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ((), {"onnxruntime": "int8", "native": "int8", "torch": "fp32"}),
        (("--precision", "int8"), {"onnxruntime": "int8", "native": "int8"}),
        (("--precision", "fp32"), {"native": "fp32", "torch": "fp32"}),
    ],
)
def test_of_a_quantised_network(
    mlcnn: Call, coded: Path, asked: tuple[str, ...], found: dict[str, str]
) -> None:
    result = mlcnn("bench", coded, *asked, *QUICK)
    assert result.code == 0, result.err
    rows = {r["engine"]: r for r in result.json["results"] if r["variant"] == "original"}
    rows.pop("openvino", None)
    assert {engine: row["precision"] for engine, row in rows.items()} == found
    layers = rows["native"]["algorithms"]
    assert [layer["coded"] for layer in layers] == [found["native"] == "int8"] * 2
    assert [layer["bits"]["weight"] for layer in layers] == [8, 8]
    assert not any(layer["told"] for layer in layers)


def test_of_a_run_stands_in_its_report(mlcnn: Call, coded: Path, tmp_path: Path) -> None:
    result = mlcnn(
        "run", coded, "--no-evaluate", "--engine", "native", "--precision", "int8", *QUICK
    )
    assert result.code == 0, result.err
    assert [row["precision"] for row in result.json["bench"]["results"]] == ["int8"]
    assert "<td>int8</td>" in Path(tmp_path / result.json["report"]).read_text(encoding="utf-8")


@pytest.mark.parametrize("command", ["bench", "run"])
def test_int8_needs_a_quantised_network(mlcnn: Call, fusable: Path, command: str) -> None:
    result = mlcnn(command, fusable, "--precision", "int8")
    assert result.code == 2
    assert result.error.startswith("--precision int8: the network is not quantised")
    assert "calibration data" in result.error
    assert "`mlcnn quantize`" in result.error


@pytest.mark.parametrize(
    ("precision", "engine", "other"), [("fp32", "onnxruntime", "int8"), ("int8", "torch", "fp32")]
)
def test_an_engine_that_computes_in_another_one(
    mlcnn: Call, coded: Path, precision: str, engine: str, other: str
) -> None:
    result = mlcnn("bench", coded, "--precision", precision, "--engine", engine)
    assert result.code == 2
    told = f"--precision {precision}: engine {engine} computes this network in {other}; name one"
    assert result.error.startswith(told)


@pytest.mark.parametrize("case", BAD)
def test_bad_quantisers(mlcnn: Call, tmp_path: Path, case: str) -> None:
    make, message = BAD[case]
    path = saved(make(), tmp_path / "bad.onnx")
    result = mlcnn("bench", path, "--engine", "native", "--seconds", "0.05")
    assert result.code == 2
    assert "Traceback" not in result.err
    error = result.err.splitlines()[-1]  # behind warnings of numbers that are not finite
    assert error.startswith("mlcnn: error: nothing could be measured (native: node ")
    assert message in error
    assert "Linear-v" in error or "Conv-v" in error


def test_sums_that_just_fit_32_bits(mlcnn: Call, tmp_path: Path) -> None:
    path = saved(summed(1841), tmp_path / "summed.onnx")
    result = mlcnn("bench", path, "--engine", "native", *QUICK)
    assert result.code == 0, result.err
