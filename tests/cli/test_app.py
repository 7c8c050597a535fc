"""Exit codes, and what an error, an interruption and a closed pipe look like."""

import json
import os
import subprocess
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NoReturn

import pytest

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


def test_a_closed_pipe_is_no_error(tmp_path: Path) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        result = subprocess.run(
            [sys.executable, "-m", "mlcnn", "--help"],
            stdout=write, stderr=subprocess.PIPE, cwd=tmp_path, timeout=60, check=False,
        )  # fmt: skip
    finally:
        os.close(write)
    assert result.returncode == 141
    assert result.stderr == b""


def test_json_has_no_values_that_json_lacks(capsys: pytest.CaptureFixture[str]) -> None:
    print_json({"a": float("nan"), "b": (1, float("inf")), "c": {"d": 0.5}})
    assert json.loads(capsys.readouterr().out) == {"a": None, "b": [1, None], "c": {"d": 0.5}}


def test_shapes() -> None:
    assert parse_shape("1x3X224x224") == (1, 3, 224, 224)
    for text in ("", "x", "1x", "1x-3", "1x3.0", "²x3"):
        with pytest.raises(InputError, match="--input-shape"):
            parse_shape(text)
