"""What a search came to: a short table that fits, and a file that says the same."""

import json
import math
from dataclasses import replace

import pytest
from outcomes import STACK, change, made

from mlcnn.frontier.outcome import Outcome
from mlcnn.frontier.reasons import grouped


def test_the_short_table_fits_and_tells_what_is_gained() -> None:
    shown = made().shown()
    lines = shown.text().splitlines()
    assert lines[0] == "shop: latency, at most 1 points of accuracy lost"
    assert shown.columns == (
        "network", "engine", "latency", "size", "memory", "top-1, %", "change, points",
    )  # fmt: skip
    assert shown.rows[0] == ("original", "native", "4 ms", "1,000 kB", "500 kB", "90.00", "")
    # A quarter of 4 ms is 1 ms, four times less; the stack is the one that is marked.
    assert shown.rows[2] == (
        "best stack *", "native", "1 ms (4.00x)", "250 kB", "125 kB", "89.20",
        "-0.80 (-1.30 to -0.30)",
    )  # fmt: skip
    assert shown.rows[3][:2] == ("INT8 of another tool", "openvino")
    assert max(map(len, lines[:6])) <= 120
    assert f"* the cheapest: {STACK}" in lines
    assert "latency 4.00 times less" in lines
    assert "int8 alone: int8" in lines


def test_two_objectives_fit_too_and_both_gains_are_told() -> None:
    long = replace(made("latency_ms", "energy_pj"), name="n")
    entries = [
        replace(e, what=f"{e.what[:20]:x<20}", costs={**e.costs, "energy_pj": 123.4e6 / (i + 1)},
                engine="onnxruntime")
        for i, e in enumerate(long.entries)
    ]  # fmt: skip
    shown = replace(long, entries=tuple(entries)).shown()
    assert shown.columns[2:5] == ("latency", "energy", "size")
    assert "(4.00x)" in shown.rows[2][2]
    assert "(3.00x)" in shown.rows[2][3]
    assert max(map(len, shown.text().splitlines()[:6])) <= 120


def test_engines_are_no_column_where_nothing_was_timed() -> None:
    found = made("bytes")
    without = tuple(replace(e, engine="") for e in found.entries)
    shown = replace(found, entries=without).shown()
    assert shown.columns[:3] == ("network", "size", "memory")
    assert {len(row) for row in shown.rows} == {len(shown.columns)}


def test_an_interrupted_search_has_the_accuracy_that_it_chose_by() -> None:
    found = made()
    entries = tuple(replace(e, test=None, test_change=None) for e in found.entries)
    shown = replace(found, entries=entries, interrupted=True).shown()
    assert shown.columns[-1] == "change where chosen"
    assert [row[-1] for row in shown.rows[:3]] == [
        "", "-0.30 (-0.80 to +0.20)", "-0.80 (-1.30 to -0.30)",
    ]  # fmt: skip


def test_without_images_there_is_no_accuracy() -> None:
    found = made()
    entries = tuple(replace(e, test=None, test_change=None, chosen=None) for e in found.entries)
    bare = replace(found, entries=entries, tried=(), spent={}, prediction=None)
    assert bare.shown().columns == ("network", "engine", "latency", "size", "memory")
    assert Outcome.from_json(json.loads(json.dumps(bare.to_json()))) == bare


def test_reasons_that_differ_in_figures_are_told_once() -> None:
    assert [line for line in made().told if line.startswith("left out")] == [
        (
            "left out: weights{share=0.7}, bits{bits=4}: no cheaper: 0.99 to 1.78 of what it takes "
            "without"
        ),
        "left out: focus: no convolution can be focused",
    ]
    same = {"a": "3 layers leave 54.72%", "b": "3 layers leave 1,054.5%", "c": "3 layers leave 2%"}
    assert grouped(same) == [("a, b, c", "3 layers leave 2% to 1,054.5%")]
    assert grouped({}) == []


def test_the_file_says_the_same() -> None:
    found = made()
    text = json.dumps(found.to_json())
    again = Outcome.from_json(json.loads(text))
    assert again == found
    assert json.loads(text)["dropped"] == found.dropped
    assert json.loads(text)["pipeline"] == STACK


def test_a_time_that_is_not_known_is_not_told() -> None:
    found = made()
    costs = {**found.entries[1].costs, "latency_ms": math.nan}
    entries = (found.entries[0], replace(found.entries[1], costs=costs), *found.entries[2:])
    assert replace(found, entries=entries).shown().rows[1][2] == ""


@pytest.mark.parametrize(
    ("points", "allowed"), [(0.0, True), (-1.0, True), (-1.01, False), (None, False)]
)
def test_what_is_allowed(points: float | None, allowed: bool) -> None:
    found = made()
    told = None if points is None else change(points)
    assert found.allows(replace(found.tried[0], change=told)) is allowed
