"""Options of commands that train and measure: each says which of the two it is of."""

import re
from collections.abc import Callable
from typing import Any

import pytest

import mlcnn
from mlcnn.cli import app as application

Call = Callable[..., Any]


class _SeenError(Exception):
    """What a command asked of the API."""

    def __init__(self, options: dict[str, Any]) -> None:
        super().__init__()
        self.options = options


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Callable[..., dict[str, Any]]:
    """Calls a command up to where the work begins."""

    def stop(*args: Any, **options: Any) -> None:
        raise _SeenError(dict(options) | {"positional": args})

    monkeypatch.setattr(mlcnn.api, "finetune", stop)
    monkeypatch.setattr(mlcnn, "quantize", stop)
    threads: list[int | None] = []
    monkeypatch.setattr(mlcnn.training, "set_threads", threads.append)

    def call(*words: str) -> dict[str, Any]:
        with pytest.raises(_SeenError) as seen:
            application.app(list(words), exit_on_error=False)
        return seen.value.options | {"threads": threads[-1]}

    return call


def test_finetune_has_each_of_its_own(asked: Callable[..., dict[str, Any]]) -> None:
    found = asked(
        "finetune", "lenet5", "--data", "x", "--threads", "2", "--precision", "bf16", "--seed", "7",
        "--measure-threads", "3", "--measure-precision", "fp32", "--measure-seed", "8",
    )  # fmt: skip
    training, measuring = found["options"], found["measuring"]
    assert (found["threads"], training.hardware.precision, training.seed) == (2, "bf16", 7)
    assert (measuring.threads, measuring.precision, measuring.seed) == (3, "fp32", 8)


def test_quantize_has_each_of_its_own(asked: Callable[..., dict[str, Any]]) -> None:
    found = asked(
        "quantize", "lenet5", "--data", "x", "--finetune", "1", "--measure", "-o", "q.onnx",
        "--precision", "int8", "--training-precision", "bf16", "--seed", "7", "--threads", "2",
    )  # fmt: skip
    options = found["positional"][2]
    assert options.tuning.hardware.precision == "bf16"
    assert options.measuring.precision == "int8"
    # A seed and threads count for both.
    assert options.tuning.seed == options.measuring.seed == 7
    assert found["threads"] == options.measuring.threads == options.threads == 2


@pytest.mark.parametrize("command", ["finetune", "quantize"])
def test_no_option_is_listed_twice(mlcnn: Call, command: str) -> None:
    lines = mlcnn(command, "--help").out.splitlines()
    found = [re.match(r"│ (?:\*  |   )?(--[a-z-]+)", line) for line in lines]
    options = [match[1] for match in found if match is not None]
    assert len(options) > 20
    assert len(options) == len(set(options))
