"""``mlcnn bench``."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from mlcnn.engines.native import library

Call = Callable[..., Any]
KEYS = {"engine", "variant", "batch", "threads", "median_ms", "q1_ms", "q3_ms"}


def test_variants_of_an_approximate_rewrite(mlcnn: Call, reorderable: Path) -> None:
    result = mlcnn(
        "bench", reorderable, "--approximate", "--form", "box", "--engine", "onnxruntime",
        "--seconds", "0.05", "--batch", "3", "--json",
    )  # fmt: skip
    assert result.code == 0
    rows = result.json["results"]
    assert [row["variant"] for row in rows] == ["original", "reorder", "result"]
    for row in rows:
        assert row.keys() >= KEYS
        assert (row["engine"], row["batch"], row["threads"]) == ("onnxruntime", 3, 1)
        assert 0 < row["q1_ms"] <= row["median_ms"] <= row["q3_ms"]


def test_table(mlcnn: Call, fusable: Path) -> None:
    result = mlcnn("bench", fusable, "--engine", "onnxruntime", "--seconds", "0.05")
    assert result.code == 0
    assert "onnxruntime" in result.out
    assert "original" in result.out


def test_sizes_have_to_be_known(mlcnn: Call, dynamic: Path) -> None:
    result = mlcnn("bench", dynamic, "--engine", "onnxruntime")
    assert result.code == 2
    assert "give --input-shape" in result.error


def test_a_network_that_no_engine_runs(
    mlcnn: Call, network: Callable[..., onnx.ModelProto], tmp_path: Path
) -> None:
    unknown = onnx.helper.make_node("Warp", ["x"], ["w"], domain="com.example", name="warp")
    model = network(unknown, onnx.helper.make_node("Conv", ["w", "conv.weight"], ["y"]))
    model.opset_import.append(onnx.helper.make_opsetid("com.example", 1))
    path = tmp_path / "unknown.onnx"
    onnx.save(model, path)
    result = mlcnn("bench", path, "--engine", "onnxruntime", "--json")
    assert result.code == 2
    assert result.out == ""
    assert "nothing could be measured (onnxruntime:" in result.error
    assert result.error.rstrip().endswith("): name another engine")


def test_without_a_compiler_it_says_so_and_blames_no_operator(mlcnn: Call, monkeypatch) -> None:
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.delenv("CC", raising=False)
    library.load.cache_clear()
    result = mlcnn("bench", "lenet5", "--engine", "native")
    assert result.code == 2
    assert (
        "nothing could be measured (native: engine 'native' needs a C compiler: install gcc or "
        "clang, or use engine 'onnxruntime'): name another engine"
    ) in " ".join(result.error.split())
    assert "operator" not in result.error


@pytest.mark.long
def test_a_compiler_that_refuses_assembly(
    mlcnn: Call, monkeypatch, tmp_path: Path, hopeless: Path
) -> None:
    """The kernels are built without, and it is told once."""
    shim = tmp_path / "cc"
    refusal = "echo 'error: assembly is not supported' >&2; exit 1"
    taken = f'case "$*" in *NO_ASSEMBLY*) exec {shutil.which("gcc")} -O1 "$@";; esac'
    shim.write_text(f"#!/bin/sh\n{taken}\n{refusal}\n")
    shim.chmod(0o755)
    monkeypatch.setenv("CC", str(shim))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    library.load.cache_clear()
    result = mlcnn(
        "bench", hopeless, "--engine", "native", "--seconds", "0.05", "--batch", 1, "--batch", 2
    )
    library.load.cache_clear()
    assert result.code == 0, result.err
    assert result.err.count("the compiler refuses assembly, so the kernels are built without") == 1
