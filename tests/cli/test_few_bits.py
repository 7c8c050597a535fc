"""What ``run``, ``bench`` and ``count`` say of layers of few bits."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from engines.qdq import Quantised

from mlcnn.graph import to_proto

Call = Callable[..., Any]
QUICK = ("--engine", "native", "--seconds", "0.05")


def network(path: Path, *, bits: int = 1, inputs: int = 2, scales: int = 1) -> Path:
    """A convolution of 64 channels, of so many bits."""
    net, rng = Quantised(64, (8, 8)), np.random.default_rng(0)
    ends = net.constant(np.float32(0)), net.constant(np.float32((1 << inputs) - 1))
    steps = net.constant(np.ones(scales if scales > 1 else (), np.float32))
    zeros = net.constant(np.zeros(scales if scales > 1 else (), np.uint8))
    codes = net.op("QuantizeLinear", net.op("Clip", "x", *ends), steps, zeros, axis=1)
    value = net.op("DequantizeLinear", codes, steps, zeros, axis=1)
    odd = (2 * rng.integers(0, 1 << bits, (64, 64, 3, 3)) - (1 << bits) + 1).astype(np.int8)
    value = net.op("Conv", value, net.weight(odd, np.full(64, 0.01, np.float32)), pads=[1] * 4)
    onnx.save(to_proto(net.model(net.rounded(net.op("Relu", value), 1, 0))), path)
    return path


@pytest.fixture
def few(tmp_path: Path) -> Path:
    return network(tmp_path / "few.onnx")


@pytest.mark.parametrize("command", ["bench", "run"])
def test_each_layer_is_told_with_its_bits_kernel_times_and_reason(
    mlcnn: Call, few: Path, command: str
) -> None:
    others = ("--no-evaluate",) if command == "run" else ()
    found = mlcnn(command, few, *QUICK, *others)
    assert found.code == 0, found.err
    title, heading, _, row, *_ = found.out.partition("Quantised layers: native")[2].splitlines()
    assert "batch 1" in title
    assert heading.split() == ["layer", "bits", "computed", "by", "time", "others", "why"]
    assert row.split()[1] == "W1A2"
    assert all(name in row for name in ("bit planes", "int8"))
    assert "times as fast as INT8" in row or "few bits do not pay" in row


def test_in_json_too(mlcnn: Call, few: Path) -> None:
    (row,) = mlcnn("bench", few, *QUICK, "--json").json["results"]
    (layer,) = row["algorithms"]
    assert layer["bits"] == {"weight": 1, "input": 2, "sums": 0}
    assert layer["ms"] == layer["times_ms"][layer["algorithm"]]
    assert {"bit planes", "int8"} <= layer["times_ms"].keys()
    assert layer["coded"]
    assert layer["told"]


@pytest.mark.parametrize(
    ("options", "row", "told"),
    [
        ({"scales": 64}, ("W1A8", "FP32"), "declined: its inputs have 64 scales"),
        ({"bits": 4, "inputs": 4}, ("W4A4", "int8"), "few bits do not pay: 16 products of planes"),
        ({"inputs": 8}, ("W1A8", "int8"), "declined: inputs of 8 bits are wider"),
    ],
)
def test_what_is_declined_or_does_not_pay(
    mlcnn: Call, tmp_path: Path, options: dict[str, int], row: tuple[str, str], told: str
) -> None:
    path = network(tmp_path / "net.onnx", **options)
    found = mlcnn("run", path, *QUICK, "--no-evaluate")
    assert found.code == 0, found.err
    words = found.out.partition("Quantised layers")[2].split()
    assert set(row) <= set(words)
    assert told in " ".join(words)


def test_networks_without_quantisers_say_nothing(mlcnn: Call, fusable: Path) -> None:
    found = mlcnn("bench", fusable, *QUICK)
    assert found.code == 0, found.err
    assert "Quantised layers" not in found.out


def test_bits_that_are_asked_for_are_taken(mlcnn: Call, few: Path) -> None:
    found = mlcnn("bench", few, *QUICK, "--algorithm", "bits", "--json")
    assert found.code == 0, found.err
    (row,) = found.json["results"]
    assert [layer["algorithm"] in {"bit planes", "tables"} for layer in row["algorithms"]] == [True]


@pytest.mark.parametrize("command", ["bench", "run"])
def test_bits_that_are_asked_for_and_are_not_there(
    mlcnn: Call, tmp_path: Path, fusable: Path, command: str
) -> None:
    """It says the layers, the bits found, and the options of ``quantize`` that help."""
    wide = network(tmp_path / "wide.onnx", inputs=8)
    for path, told in ((fusable, "is not quantised"), (wide, " is W1A8")):
        found = mlcnn(command, path, *QUICK, "--algorithm", "bits")
        assert found.code == 2
        error = found.err.splitlines()[-1]  # `run` says first that nothing is to be gained
        assert error.startswith("mlcnn: error: ")
        assert "native: --algorithm bits: it computes layers between quantisers" in error
        assert told in error
        assert "`mlcnn quantize --weight-bits 1 --input-bits 2" in error


def test_counts_bit_by_bit(mlcnn: Call, few: Path, fusable: Path) -> None:
    found = mlcnn("count", few)
    assert "Few bits, by AND and popcount of 64-bit words" in found.out
    assert "1 x 2" in found.out
    document = mlcnn("count", few, "--json").json
    words, outputs = 9, 64 * 8 * 8
    assert document["total"]["bitwise"]["ands"] == 2 * words * outputs
    assert document["layers"][0]["bitwise"] == document["total"]["bitwise"]
    assert "bitwise_ands" in mlcnn("count", few, "--csv").out
    plain = mlcnn("count", fusable)
    assert "popcount" not in plain.out
