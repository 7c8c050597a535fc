"""The command that makes the cheapest network again is one that ``mlcnn stack`` takes."""

import shlex
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest
from outcomes import STACK, entry

from mlcnn.api import STACK_RECIPE, TrainOptions
from mlcnn.api.searching.leaving import Given
from mlcnn.cli.app import app


def lab(images: int, seed: int = 0, **changed: Any) -> Any:
    options = TrainOptions(recipe=replace(STACK_RECIPE, **changed), seed=seed)
    return SimpleNamespace(data=SimpleNamespace(training=range(images)), options=options)


@pytest.mark.parametrize(
    ("seen", "images", "options"),
    [
        (0, 40_000, ""),
        (9_000, 40_000, " --epochs 1 --limit 9000"),
        (40_000, 40_000, " --epochs 1"),
        (120_000, 40_000, " --epochs 3"),
    ],
)
def test_it_trains_as_long(seen: int, images: int, options: str) -> None:
    found = replace(entry("best stack", STACK, 0.5, -0.5), images=seen)
    told = Given("my net.onnx", "photos").replay(found, lab(images))
    assert told == f'mlcnn stack "my net.onnx" --data photos --steps "{STACK}"{options}'
    _, bound, _ = app.parse_args(shlex.split(told)[1:], exit_on_error=False, print_error=False)
    assert bound.arguments["steps"] == STACK


def test_it_trains_as_it_did() -> None:
    found = replace(entry("best stack", "int8", 0.5, -0.5), images=100)
    how = lab(100, seed=3, batch_size=64, learning_rate=0.005, crop=0, flip=not STACK_RECIPE.flip)
    told = Given("lenet5", "photos", "w.npz").replay(found, how)
    flip = "--no-flip" if STACK_RECIPE.flip else "--flip"
    assert told == (
        "mlcnn stack lenet5 --data photos --steps int8 --weights w.npz --epochs 1 --batch-size 64 "
        f"--learning-rate 0.005 --crop 0 {flip} --seed 3"
    )
    app.parse_args(shlex.split(told)[1:], exit_on_error=False, print_error=False)


def test_what_lives_in_this_process_has_a_word_that_stands_for_it() -> None:
    found = entry("int8 alone", "int8", 0.5, -0.5)
    told = Given(object(), object()).replay(found, lab(100))
    assert told == "mlcnn stack NETWORK --data DATA --steps int8"
    assert not Given("lenet5", "photos").replay(entry("original", "", 1.0, 0.0), lab(100))
