"""``mlcnn check``: exit codes, the line, the document, and what a user can get wrong."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cli.conftest import CONV, make_network, pool
from onnx import TensorProto, helper

from mlcnn.api import slowing
from mlcnn.cli.check import parse_percent
from mlcnn.errors import InputError

Call = Callable[..., Any]


def save(path: Path, *, channels: int = 4, size: int | str = 8, **changes: Any) -> Path:
    """A convolution and a pool; with changes to what it takes or gives."""
    weight = np.random.default_rng(0).standard_normal((channels, 3, 3, 3)).astype(np.float32)
    model = make_network(
        CONV, pool("AveragePool", "c", "y"), size=size, weights={"conv.weight": weight}
    )
    if "name" in changes:
        model.graph.input[0].name = model.graph.node[0].input[0] = changes["name"]
    if "output" in changes:
        model.graph.output[0].name = model.graph.node[1].output[0] = changes["output"]
    onnx.save(model, path)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    return save(tmp_path / "new.onnx"), save(tmp_path / "old.onnx")


def test_limits_that_hold(mlcnn: Call, pair: tuple[Path, Path]) -> None:
    del pair
    result = mlcnn(
        "check", "new.onnx", "--baseline", "old.onnx", "--no-more", "multiplications",
        "--no-more", "bytes", "--max-error", "1e-4",
    )  # fmt: skip
    assert (result.code, result.err) == (0, "")
    assert result.out.startswith(
        "mlcnn check: ok: new against old: multiplications 6,912 (baseline 6,912); bytes "
    )
    assert result.out.endswith("; error 0.0e+00 (limit 0.0001)\n")
    assert len(result.out.splitlines()) == 1


def test_a_limit_that_breaks(mlcnn: Call, pair: tuple[Path, Path], tmp_path: Path) -> None:
    del pair
    conv = helper.make_node("Conv", ["x", "v"], ["c"], name="conv", pads=[2, 2, 2, 2])
    weights = {"v": np.ones((4, 3, 5, 5), np.float32)}
    onnx.save(
        make_network(conv, pool("AveragePool", "c", "y"), weights=weights), tmp_path / "wide.onnx"
    )
    result = mlcnn(
        "check", "wide.onnx", "--baseline", "old.onnx", "--no-more", "multiplications",
        "--no-more", "parameters",
    )  # fmt: skip
    # 5 x 5 in place of 3 x 3 at 64 positions, 3 channels, 4 filters.
    assert (result.code, result.err) == (3, "")
    assert result.out == (
        "mlcnn check: FAILED: wide against old: multiplications 19,200, which are 12,288 more "
        "(177.78%) than the baseline's 6,912; parameters 300, which are 192 more (177.78%) than "
        "the baseline's 108\n"
    )


def test_one_document(mlcnn: Call, pair: tuple[Path, Path], monkeypatch: Any) -> None:
    del pair
    monkeypatch.setattr(slowing._Trials, "ratio", lambda _self, _number: 1.5)
    result = mlcnn(
        "check", "new.onnx", "--baseline", "old.onnx", "--not-slower", "2%", "--no-more", "bytes",
        "--batch", "1", "--batch", "4", "--json",
    )  # fmt: skip
    assert result.code == 3
    document = result.json
    assert document.keys() == {"model", "baseline", "ok", "line", "checks"}
    assert document["ok"] is False
    rows = document["checks"]
    assert [(row["limit"], row["ok"], row["sure"]) for row in rows] == [
        ("bytes", True, True), ("time", False, True), ("time", False, True),
    ]  # fmt: skip
    assert rows[1]["value"] == 1.5
    assert rows[1]["allowed"] == pytest.approx(1.02)
    assert rows[1]["interval"] == [1.5, 1.5]
    assert rows[2]["told"] == (
        "onnxruntime, batch 4: 1.500 times the time (1.500 to 1.500 in 8 trials), which exceeds "
        "1.02 by 0.480"
    )


def test_a_file_of_inputs(mlcnn: Call, pair: tuple[Path, Path], tmp_path: Path) -> None:
    del pair
    np.savez(tmp_path / "in.npz", x=np.ones((3, 3, 8, 8), np.float32))
    given = ["check", "new.onnx", "--baseline", "old.onnx", "--max-error", "0", "--input", "in.npz"]
    assert mlcnn(*given).code == 0
    np.savez(tmp_path / "in.npz", x=np.ones((3, 3, 9, 9), np.float32))
    assert mlcnn(*given).error == "in.npz: x has shape 3x3x9x9, the network takes Nx3x8x8"


SAME = "; a baseline has the same inputs and outputs by name, type and shape"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"name": "image"},
            ("--baseline other.onnx: it takes image: float32(N, 3, 8, 8), new.onnx takes x: "
            "float32(N, 3, 8, 8)"),
        ),
        (
            {"size": 9},
            ("--baseline other.onnx: it takes x: float32(N, 3, 9, 9), new.onnx takes x: "
            "float32(N, 3, 8, 8)"),
        ),
        (
            {"output": "z"},
            ("--baseline other.onnx: it gives z: float32(N, 4, 4, 4), new.onnx gives y: "
            "float32(N, 4, 4, 4)"),
        ),
        (
            {"channels": 2},
            ("--baseline other.onnx: it gives y: float32(N, 2, 4, 4), new.onnx gives y: "
            "float32(N, 4, 4, 4)"),
        ),
    ],
)  # fmt: skip
def test_a_baseline_with_other_ends(
    mlcnn: Call, pair: tuple[Path, Path], tmp_path: Path, changes: dict[str, Any], message: str
) -> None:
    del pair
    save(tmp_path / "other.onnx", **changes)
    result = mlcnn("check", "new.onnx", "--baseline", "other.onnx", "--no-more", "bytes")
    assert (result.code, result.out) == (2, "")
    assert result.error == message + SAME


def test_a_baseline_of_another_type(mlcnn: Call, pair: tuple[Path, Path], tmp_path: Path) -> None:
    del pair
    graph = helper.make_graph(
        [helper.make_node("Identity", ["x"], ["y"])],
        "doubles",
        [helper.make_tensor_value_info("x", TensorProto.DOUBLE, ["N", 3, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, ["N", 3, 8, 8])],
    )
    opsets = [helper.make_opsetid("", 20)]
    onnx.save(
        helper.make_model(graph, opset_imports=opsets, ir_version=10), tmp_path / "double.onnx"
    )
    result = mlcnn("check", "new.onnx", "--baseline", "double.onnx", "--no-more", "bytes")
    assert result.code == 2
    assert result.error == (
        "--baseline double.onnx: it takes x: float64(N, 3, 8, 8), new.onnx takes x: float32(N, 3, "
        f"8, 8){SAME}"
    )


PERCENT = "a percentage that is 0 or more is required, as 2%"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--not-slower", "2"], f"--not-slower 2: {PERCENT}"),
        (["--not-slower=-1%"], f"--not-slower -1%: {PERCENT}"),
        (["--not-slower", "two%"], f"--not-slower two%: {PERCENT}"),
        (["--not-slower", "%"], f"--not-slower %: {PERCENT}"),
        (
            ["--max-drop", "0.5"],
            (
                "--max-drop 0.5: accuracy is measured on labelled images: give --data, as a folder "
                "with a folder of images for each class"
            ),
        ),
        (["--max-drop", "0.5", "--data", "nowhere"], "nowhere"),
        (["--no-more", "bytes", "--baseline", "gone.onnx"], "gone.onnx: no such file"),
        (
            [],
            (
                "there is nothing to check: give a limit, or several: --no-more multiplications "
                "(or parameters, or bytes), --max-error 1e-4, --max-drop 0.5 with --data, "
                "--not-slower 2%"
            ),
        ),
        (["--max-error=-1"], "--max-error -1: a number that is 0 or more is required"),
    ],
)
def test_wrong_options(
    mlcnn: Call, pair: tuple[Path, Path], options: list[str], message: str
) -> None:
    del pair
    baseline = [] if "--baseline" in options else ["--baseline", "old.onnx"]
    result = mlcnn("check", "new.onnx", *baseline, *options)
    assert (result.code, result.out) == (2, "")
    assert result.error == message if options[:1] != ["--max-drop"] else message in result.error


def test_the_baseline_has_to_be_named(mlcnn: Call, pair: tuple[Path, Path]) -> None:
    del pair
    result = mlcnn("check", "new.onnx", "--no-more", "bytes")
    assert result.code == 2
    assert result.error == 'Command "check" parameter --baseline requires an argument.'


def test_percentages() -> None:
    texts = ("2%", "0%", "2.5 %", ".5%", "100%")
    assert list(map(parse_percent, texts)) == [0.02, 0.0, 0.025, 0.005, 1.0]
    for text in ("", "%", "2", "-2%", "+2%", "2%%", "1e1%", "nan%", "٢%"):
        with pytest.raises(InputError, match="--not-slower"):
            parse_percent(text)
