"""What a user can get wrong: exit code 2, one line, nothing written."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest

Call = Callable[..., Any]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["optimise", "x"], 'Unknown command "optimise". Did you mean "optimize"?'),
        (["optimize", "x", "--pases", "exact"], "Unknown option: --pases. Did you mean --passes?"),
        (["optimize"], 'Command "optimize" parameter MODEL requires an argument.'),
        (["optimize", "x", "--window", "keeep"], 'Did you mean "keep"?'),
        (["optimize", "x", "y"], "Unused Tokens: ['y']."),
        (["count", "x", "--batch", "two"], 'unable to convert "two" into int'),
        (["optimize", "x", "--json", "--json"], "--json"),
    ],
)
def test_usage(mlcnn: Call, arguments: list[str], message: str) -> None:
    result = mlcnn(*arguments)
    assert result.code == 2
    assert message in result.error
    assert result.out == ""


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("lenet", "did you mean 'lenet5'?"),
        ("lenet", "A file is given with its suffix (.onnx, .pt2)"),
        ("missing.onnx", "missing.onnx: no such file"),
        ("some/where.onnx", "some/where.onnx: no such file"),
        ("checkpoint.pth", "a pickled checkpoint runs code when it is opened, so it is refused"),
        ("no_such_module:build", "importing no_such_module failed"),
        ("json:nothing", "json has no nothing"),
        ("json:dumps", "failed: TypeError"),
        ("os:getcwd", "returned a str"),
    ],
)
@pytest.mark.parametrize("command", ["optimize", "count"])
def test_model(mlcnn: Call, command: str, model: str, message: str) -> None:
    result = mlcnn(command, model)
    assert result.code == 2
    assert message in result.error
    assert result.out == ""


def test_a_file_that_is_not_a_network(mlcnn: Call, tmp_path: Path, fusable: Path) -> None:
    content = fusable.read_bytes()
    for name, broken in {
        "empty.onnx": b"",
        "text.onnx": b"hello",
        "truncated.onnx": content[: len(content) // 2],
    }.items():
        (tmp_path / name).write_bytes(broken)
        result = mlcnn("optimize", name)
        assert result.code == 2, name
        assert name in result.error
    (tmp_path / "net.txt").write_text("x")
    assert ".onnx or .pt2 is required" in mlcnn("optimize", "net.txt").error


def test_a_folder_is_not_a_network(mlcnn: Call, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert mlcnn("optimize", "folder").code == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--passes", "fuze"], "unknown pass 'fuze'; did you mean 'fuse'?"),
        (["--passes", "fuse{frm=box}"], "fuse has no option 'frm'; did you mean 'form'?"),
        (["--passes", "fuse{form=round}"], "unknown form 'round'"),
        (["--form", "round"], "unknown form 'round'; known forms: auto, box"),
        (["--passes", "max-to-average{window=huge}"], "bad value 'huge' for window"),
        (["--passes", "fuse", "--approximate"], "give one"),
        (["--window", "keep"], "--window: no pass of the pipeline 'exact' has this option"),
        (["--all"], "--all: no pass of the pipeline 'exact' has this option"),
        (["--only", "cnov"], "the network has no node of this name; did you mean 'conv'?"),
        (["--exclude", "nothing"], "the network has no node of this name"),
        (["--weights", "w.npz"], "comes with its own; only a name of the zoo or of a source"),
        (["--input", "none.npz"], "none.npz: no such file"),
        (["--input-shape", "3,8,8"], "positive numbers with an x between are required"),
        (["--input-shape", "1x3x0x8"], "positive numbers with an x between are required"),
        (["--input-shape", "1x3x9x9"], "input 'x' of the network is Nx3x8x8"),
        (["--input-shape", "1x3x8"], "input 'x' of the network is Nx3x8x8"),
        (["--dry-run", "-o", "out.onnx"], "leave one of them away"),
    ],
)
def test_options(
    mlcnn: Call, fusable: Path, tmp_path: Path, options: list[str], message: str
) -> None:
    result = mlcnn("optimize", fusable, *options)
    assert result.code == 2
    assert message in result.error
    assert result.out == ""
    assert [path.name for path in tmp_path.iterdir()] == ["fusable.onnx"]


@pytest.mark.parametrize(
    ("output", "message"),
    [
        (".", "is a directory"),
        ("no/such/folder/out.onnx", "there is no directory"),
        ("out.txt", "written to an .onnx file"),
        ("fusable.onnx", "is the network that is read"),
        ("fusable.onnx/out.onnx", "directory"),
    ],
)
def test_output(mlcnn: Call, fusable: Path, tmp_path: Path, output: str, message: str) -> None:
    before = fusable.read_bytes()
    result = mlcnn("optimize", fusable, "-o", output)
    assert result.code == 2
    assert message in result.error
    assert fusable.read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["fusable.onnx"]


def test_a_folder_that_is_not_writable(
    mlcnn: Call, fusable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Root may write everywhere, so that the mode of a folder would not do.
    monkeypatch.setattr(os, "access", lambda *_args, **_options: False)
    assert "not writable" in mlcnn("optimize", fusable, "-o", "out.onnx").error
    assert "not writable" in mlcnn("run", fusable, "-o", "results").error


def test_an_input_larger_than_the_memory(mlcnn: Call) -> None:
    result = mlcnn("optimize", "lenet5", "--input-shape", "1x3x1000000x1000000")
    assert result.code == 2
    # 3e12 floats of 4 bytes
    assert "the input alone needs 10.9 TiB of memory and this machine has" in result.error


def test_a_layer_larger_than_the_memory(mlcnn: Call, dynamic: Path) -> None:
    result = mlcnn("bench", dynamic, "--input-shape", "1x3x40000x40000")
    assert result.code == 2
    # 3 + 4 channels of 1.6e9 floats of 4 bytes
    assert "Conv 'conv' alone, at batch 1, needs 41.7 GiB of memory and this" in result.error


def test_an_unreadable_graph(mlcnn: Call, tmp_path: Path, fusable: Path) -> None:
    model = onnx.load(fusable)
    model.graph.node[0].input[0] = "nowhere"
    onnx.save(model, tmp_path / "dangling.onnx")
    result = mlcnn("optimize", "dangling.onnx")
    assert result.code == 2
    assert "dangling.onnx" in result.error
    assert "nowhere" in result.error


def _in_a_process(path: Path) -> subprocess.CompletedProcess[str]:
    """As a user calls it: the test runner takes what libraries log, a terminal would show it."""
    return subprocess.run(
        [sys.executable, "-m", "mlcnn", "optimize", path.name, "--dry-run"],
        cwd=path.parent, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip


def test_libraries_add_no_lines_of_their_own(tmp_path: Path, fusable: Path) -> None:
    model = onnx.load(fusable)
    model.graph.node[0].input[0] = "nowhere"
    path = tmp_path / "dangling.onnx"
    onnx.save(model, path)
    told = _in_a_process(path)
    assert told.returncode == 2
    (line,) = told.stderr.splitlines()
    assert line.startswith("mlcnn: error: dangling.onnx: ")


def test_weights_that_are_not_finite_are_a_warning(tmp_path: Path, hopeless: Path) -> None:
    model = onnx.load(hopeless)
    weight = onnx.numpy_helper.to_array(model.graph.initializer[0]).copy()
    weight[0, 0, 0, 0] = np.nan
    model.graph.initializer[0].CopyFrom(onnx.numpy_helper.from_array(weight, "conv.weight"))
    path = tmp_path / "odd.onnx"
    onnx.save(model, path)
    told = _in_a_process(path)
    assert told.returncode == 0
    assert "mlcnn: warning: odd.onnx: weight 'conv.weight' holds NaN" in told.stderr.splitlines()
