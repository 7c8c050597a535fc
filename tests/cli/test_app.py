"""Exit codes, and what an error, an interruption and a closed pipe look like."""

import json
import os
import shlex
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import onnx
import pytest
from onnx import helper

import mlcnn as package
from mlcnn.cli.options import parse_shape
from mlcnn.cli.output import print_json
from mlcnn.errors import InfeasibleError, InputError, PassError, UnsupportedError

Call = Callable[..., Any]


def raising(error: BaseException) -> Callable[..., NoReturn]:
    def raise_it(*_args: object, **_options: object) -> NoReturn:
        raise error

    return raise_it


@pytest.mark.parametrize("kind", [InputError, UnsupportedError, InfeasibleError])
def test_the_users_errors_are_one_line_and_code_2(
    mlcnn: Call, monkeypatch: pytest.MonkeyPatch, kind: type[Exception]
) -> None:
    monkeypatch.setattr(package.api, "count", raising(kind("two\n  lines")))
    result = mlcnn("count", "lenet5")
    assert result.code == 2
    assert result.error == "two lines"


@pytest.mark.parametrize("error", [PassError("wrong"), RuntimeError("wrong"), KeyError("wrong")])
def test_defects_are_code_1_without_a_traceback(
    mlcnn: Call, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(package.api, "count", raising(error))
    result = mlcnn("count", "lenet5")
    assert result.code == 1
    assert len(result.err.splitlines()) == 1
    assert f"internal error: {type(error).__name__}" in result.err
    assert "--debug" in result.err


@pytest.mark.parametrize("how", ["option", "variable"])
def test_debug_shows_the_traceback(mlcnn: Call, monkeypatch: pytest.MonkeyPatch, how: str) -> None:
    monkeypatch.setattr(package.api, "count", raising(RuntimeError("wrong")))
    if how == "variable":
        monkeypatch.setenv("MLCNN_DEBUG", "1")
    result = mlcnn("count", "lenet5", *(["--debug"] if how == "option" else []))
    assert result.code == 1
    assert "Traceback" in result.err


def test_an_interruption_is_one_line(mlcnn: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(package.api, "count", raising(KeyboardInterrupt()))
    result = mlcnn("count", "lenet5")
    assert (result.code, result.out, result.err) == (130, "", "mlcnn: interrupted\n")


def test_own_warnings_are_one_line_and_others_are_dropped(
    mlcnn: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    def warn(*_args: object, **_options: object) -> NoReturn:
        warnings.warn_explicit("weight w holds NaN", UserWarning, "x.py", 1, module="mlcnn.graph")
        warnings.warn_explicit("old", UserWarning, "y.py", 1, module="somewhere")
        raise InputError("stop")

    monkeypatch.setattr(package.api, "count", warn)
    result = mlcnn("count", "lenet5")
    assert result.err.splitlines() == [
        "mlcnn: warning: weight w holds NaN",
        "mlcnn: error: stop",
    ]


def test_help_and_version(mlcnn: Call) -> None:
    assert mlcnn("--version").out == f"{package.__version__}\n"
    for arguments in ([], ["--help"]):
        result = mlcnn(*arguments)
        assert result.code == 0
        for command in ("run", "optimize", "count", "bench", "reproduce"):
            assert command in result.out
    for command in ("run", "optimize", "count", "bench", "reproduce"):
        result = mlcnn(command, "--help")
        assert result.code == 0
        assert "--json" in result.out


COMMANDS = (["--help"], ["--version"], ["count", "--help"], ["count", "lenet5"])
EVERY_COMMAND = pytest.mark.parametrize(
    "arguments", [*COMMANDS, ["count", "lenet5", "--json"]], ids=" ".join
)


def command(
    tmp_path: Path, arguments: list[str], redirection: str = "", **environment: str
) -> subprocess.CompletedProcess[str]:
    """One command in a process of its own, as a shell starts it."""
    given = shlex.join([sys.executable, "-m", "mlcnn", *arguments])
    return subprocess.run(
        ["/bin/sh", "-c", f"{given} {redirection}"],
        cwd=tmp_path, env={**os.environ, **environment}, capture_output=True, text=True,
        timeout=120, check=False,
    )  # fmt: skip


@EVERY_COMMAND
def test_a_closed_pipe_is_no_error(tmp_path: Path, arguments: list[str]) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "mlcnn", *arguments],
            stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert result.returncode == 141
    assert result.stderr == b""


@EVERY_COMMAND
def test_a_full_device_is_one_line_and_code_2(tmp_path: Path, arguments: list[str]) -> None:
    result = command(tmp_path, arguments, "> /dev/full")
    assert result.returncode == 2
    assert result.stderr == (
        "mlcnn: error: standard output cannot be written: No space left on device; give it a "
        "place that can take the result\n"
    )


@EVERY_COMMAND
def test_a_closed_standard_output_is_one_line_and_code_2(
    tmp_path: Path, arguments: list[str]
) -> None:
    result = command(tmp_path, arguments, ">&-")
    assert result.returncode == 2
    assert result.stderr == (
        "mlcnn: error: standard output is closed, so no result could be printed; redirect it to a "
        "file or to /dev/null\n"
    )


@pytest.mark.parametrize("redirection", ["2>&-", "2> /dev/full"])
def test_without_a_standard_error_the_code_still_tells(tmp_path: Path, redirection: str) -> None:
    wrong = command(tmp_path, ["count", "no-such-network"], redirection)
    assert (wrong.returncode, wrong.stdout, wrong.stderr) == (2, "", "")
    right = command(tmp_path, ["--version"], redirection)
    assert (right.returncode, right.stdout) == (0, f"{package.__version__}\n")


@pytest.mark.parametrize("form", [["--json"], []])
def test_names_that_the_encoding_lacks_are_escaped(
    tmp_path: Path, network: Call, form: list[str]
) -> None:
    name = "sch\N{LATIN SMALL LETTER O WITH DIAERESIS}n\N{SNOWMAN}"
    conv = helper.make_node("Conv", ["x", f"{name}.weight"], ["y"], name=name)
    weight = np.ones((4, 3, 3, 3), np.float32)
    onnx.save(network(conv, weights={f"{name}.weight": weight}), tmp_path / "odd.onnx")
    result = command(tmp_path, ["count", "odd.onnx", *form], PYTHONIOENCODING="ascii")
    assert (result.returncode, result.stderr) == (0, "")
    if form:
        assert json.loads(result.stdout)["layers"][0]["name"] == name
    else:
        assert r"sch\xf6n\u2603" in result.stdout


@pytest.mark.parametrize("module", ["cyclopts", "rich.console", "numpy", "torch", "mlcnn.report"])
def test_an_interruption_while_modules_load_is_one_line(tmp_path: Path, module: str) -> None:
    # Interrupts when the module's import begins, wherever in the start of a command that is.
    script = f"""
import importlib.abc, os, signal, sys

class Interrupting(importlib.abc.MetaPathFinder):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupting())
sys.argv = ["mlcnn", "count", "lenet5"]
from mlcnn.cli import main
sys.exit(main())
"""
    result = subprocess.run(
        [sys.executable, "-c", script],
        cwd=tmp_path, capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert (result.returncode, result.stdout, result.stderr) == (130, "", "mlcnn: interrupted\n")


def test_json_has_no_values_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": (1, float("inf")), "c": {"d": 0.5}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1, None], "c": {"d": 0.5}}


def test_shapes() -> None:
    assert parse_shape("1x3X224x224") == (1, 3, 224, 224)
    for text in ("", "x", "1x", "1x-3", "1x3.0", "²x3"):
        with pytest.raises(InputError, match="--input-shape"):
            parse_shape(text)
