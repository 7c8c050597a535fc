"""``mlcnn optimize``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest

Call = Callable[..., Any]


def run(path: Path, images: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return np.asarray(session.run(None, {"x": images})[0])


@pytest.fixture
def images() -> np.ndarray:
    return np.random.default_rng(1).standard_normal((3, 3, 8, 8)).astype(np.float32)


def test_the_written_network_computes_the_same(
    mlcnn: Call, fusable: Path, tmp_path: Path, images: np.ndarray
) -> None:
    result = mlcnn("optimize", fusable, "-o", "out.onnx", "--form", "box", "--json")
    assert result.code == 0
    document = result.json
    assert document["output"] == "out.onnx"
    assert [(c["pass"], c["form"], c["exact"]) for c in document["changes"]] == [
        ("fuse", "box", True)
    ]
    assert document["changes"][0]["nodes"][0] == "conv"
    assert 0 <= document["max_error"] <= 1e-12
    assert document["vacuous"] is False
    before, after = run(fusable, images), run(tmp_path / "out.onnx", images)
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_standard_operators_only_unless_functions_are_asked_for(
    mlcnn: Call, fusable: Path, tmp_path: Path, images: np.ndarray
) -> None:
    assert mlcnn("optimize", fusable, "-o", "plain.onnx", "--form", "box").code == 0
    assert mlcnn("optimize", fusable, "-o", "kept.onnx", "--form", "box", "--functions").code == 0
    plain, kept = onnx.load(tmp_path / "plain.onnx"), onnx.load(tmp_path / "kept.onnx")
    assert {node.domain for node in plain.graph.node} <= {"", "ai.onnx"}
    assert not plain.functions
    assert "mlcnn" in {node.domain for node in kept.graph.node}
    expected = run(tmp_path / "plain.onnx", images)
    # The engine lays the plain one out in blocks, and adds up in another order.
    np.testing.assert_allclose(
        run(tmp_path / "kept.onnx", images), expected, rtol=0, atol=1e-6 * np.abs(expected).max()
    )


def test_without_json_it_says_what_was_done_and_where(
    mlcnn: Call, fusable: Path, tmp_path: Path
) -> None:
    result = mlcnn("optimize", fusable, "--form", "box")
    assert result.code == 0
    assert "conv" in result.out
    assert "box" in result.out
    assert "fusable-mlcnn.onnx" in result.out
    assert (tmp_path / "fusable-mlcnn.onnx").is_file()
    assert result.err == ""


def test_dry_run_writes_nothing(mlcnn: Call, fusable: Path, tmp_path: Path) -> None:
    result = mlcnn("optimize", fusable, "--dry-run", "--json")
    assert result.code == 0
    assert result.json["output"] is None
    assert [path.name for path in tmp_path.iterdir()] == ["fusable.onnx"]


def test_your_own_network_keeps_its_function(mlcnn: Call, reorderable: Path) -> None:
    document = mlcnn("optimize", reorderable, "--dry-run", "--json").json
    assert not [c for c in document["changes"] if not c["exact"]]
    reasons = [s["reason"] for s in document["skipped"] if s["node"] == "conv"]
    assert any("reorder" in reason for reason in reasons)


def test_nothing_to_gain_names_what_fine_tuning_would_gain(mlcnn: Call, reorderable: Path) -> None:
    tried = mlcnn("optimize", reorderable, "--approximate", "--no-measure", "--dry-run", "--json")
    # 4 filters over 3 channels: 3x3 taps at 8x8 outputs before; then 3x3 taps (box) or the 4x4 of
    # the expanded kernel, at 4x4 outputs.
    saved = {"box": 12 * (9 * 64 - 9 * 16), "expanded": 12 * (9 * 64 - 16 * 16)}
    expected = saved[tried.json["changes"][-1]["form"]]
    result = mlcnn("optimize", reorderable, "--dry-run", "--json")
    assert result.json["potential"] == {"sites": 1, "multiplications": expected}
    assert result.err == (
        "mlcnn: nothing to gain here without fine-tuning; with it (--approximate), 1 layer could "
        f"be fused and remove {expected:,} multiplications\n"
    )


def test_nothing_to_gain_at_all(mlcnn: Call, hopeless: Path) -> None:
    result = mlcnn("optimize", hopeless, "--json")
    assert result.code == 0
    assert result.json["potential"] is None
    assert result.err.startswith("mlcnn: nothing to gain here, with or without fine-tuning")


def test_approximate_takes_the_whole_pipeline(mlcnn: Call, reorderable: Path) -> None:
    document = mlcnn("optimize", reorderable, "--approximate", "--dry-run", "--json").json
    assert [c["pass"] for c in document["changes"]] == ["reorder", "fuse"]
    assert [c["exact"] for c in document["changes"]] == [False, True]


def test_exclude_and_only(mlcnn: Call, fusable: Path) -> None:
    excluded = mlcnn("optimize", fusable, "--dry-run", "--json", "--exclude", "conv").json
    assert excluded["changes"] == []
    assert "--exclude conv" in excluded["skipped"][-1]["reason"]
    chosen = mlcnn("optimize", fusable, "--dry-run", "--json", "--only", "conv").json
    assert len(chosen["changes"]) == 1


def test_the_pipeline_of_an_output_can_be_run_again(mlcnn: Call, fusable: Path) -> None:
    first = mlcnn("optimize", fusable, "--dry-run", "--json").json
    again = mlcnn("optimize", fusable, "--dry-run", "--json", "--passes", first["pipeline"]).json
    assert again["changes"] == first["changes"]
    assert again["pipeline"] == first["pipeline"]


def test_own_input_is_compared(
    mlcnn: Call, fusable: Path, tmp_path: Path, images: np.ndarray
) -> None:
    np.savez(tmp_path / "data.npz", x=images)
    result = mlcnn("optimize", fusable, "--dry-run", "--json", "--input", "data.npz")
    (row,) = result.json["input"]
    assert row["output"] == "y"
    assert 0 <= row["relative"] < 1e-5


def test_own_input_shows_what_an_approximate_pass_changes(
    mlcnn: Call, reorderable: Path, tmp_path: Path, images: np.ndarray
) -> None:
    np.savez(tmp_path / "data.npz", x=images)
    result = mlcnn(
        "optimize", reorderable, "--approximate", "--dry-run", "--json", "--input", "data.npz"
    )
    assert result.code == 0
    assert result.json["input"][0]["relative"] > 1e-2


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"x": np.zeros((1, 3, 9, 9), "f")}, "x has shape 1x3x9x9, the network takes Nx3x8x8"),
        ({"x": np.zeros((1, 3, 8, 8), "D")}, "x holds complex128, the network takes float32"),
        ({"a": np.zeros(1), "b": np.zeros(1)}, "has a, b; the network's inputs are x"),
    ],
)  # fmt: skip
def test_wrong_own_input(
    mlcnn: Call, fusable: Path, tmp_path: Path, arrays: dict[str, np.ndarray], message: str
) -> None:
    np.savez(tmp_path / "data.npz", **arrays)
    result = mlcnn("optimize", fusable, "--input", "data.npz")
    assert result.code == 2
    assert result.error == f"data.npz: {message}"
    assert not (tmp_path / "fusable-mlcnn.onnx").exists()
