"""``mlcnn compare``: two searches side by side."""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from outcomes import STACK, made, tried

from mlcnn.frontier.outcome import Outcome

Call = Callable[..., Any]


def written(folder: Path, outcome: Outcome) -> Path:
    folder.mkdir(parents=True)
    (folder / "result.json").write_text(json.dumps(outcome.to_json()), encoding="utf-8")
    return folder


def other() -> Outcome:
    """A search of another budget that found no stack, and tried other things."""
    found = made()
    return replace(
        found, entries=(found.entries[0], replace(found.entries[1], what="int8 alone")), best=1,
        tried=(*found.tried[:3], tried("weights{share=0.5},exact", 0.9, 0.8, -0.4, 3000)),
        options={**found.options, "budget_s": 120.0, "recipe": {"epochs": 3}},
    )  # fmt: skip


@pytest.fixture
def runs(tmp_path: Path) -> tuple[Path, Path]:
    return written(tmp_path / "runs" / "a", made()), written(tmp_path / "runs" / "b", other())


def test_two_runs_side_by_side(mlcnn: Call, runs: tuple[Path, Path]) -> None:
    result = mlcnn("compare", *runs)
    assert result.code == 0
    lines = [" ".join(line.split()) for line in result.out.splitlines()]
    assert lines[0] == "a and b"
    assert lines[1] == "network what a b change"
    # The stack takes 1 of 4 ms, the codes alone 2: twice as much.
    assert lines[2] == "the cheapest latency 1 ms (4.00x) 2 ms (2.00x) +100.0 %"
    assert "top-1 on test images 89.20 % 89.70 % +0.50 points" in lines
    assert "best stack latency 1 ms (4.00x)" in lines
    assert "budget_s 60.0 120.0" in lines
    assert "recipe_epochs 3" in lines
    assert f"best stack {STACK}" in lines
    assert "Tried in a, not in b" in lines
    assert "focus no convolution can be focused" in lines
    assert lines.index("weights{share=0.5},exact 3,000 0.900 -0.40 (-0.90 to +0.10)") > lines.index(
        "Tried in b, not in a"
    )
    assert "latencies were measured at two times; compare each with its original's" in lines


def test_as_json(mlcnn: Call, runs: tuple[Path, Path]) -> None:
    document = mlcnn("compare", *runs, "--json").json
    assert document["names"] == ["a", "b"]
    assert document["options"] == [
        {"option": "budget_s", "first": "60.0", "second": "120.0"},
        {"option": "recipe_epochs", "first": "", "second": "3"},
    ]
    best, original, *_ = document["points"]
    assert best["difference"]["latency_ms"] == pytest.approx(2.0)
    assert best["difference"]["accuracy"] == pytest.approx(0.005)
    assert (original["what"], original["difference"]["latency_ms"]) == ("original", 1.0)
    stack = next(row for row in document["points"] if row["what"] == "best stack")
    assert (stack["second"], stack["difference"]) == (None, None)
    # Of the same steps trained twice, what was trained longest; what both tried is not there.
    assert [row["pipeline"] for row in document["tried_alone"]["first"]] == [
        "channels{share=0.5},exact", "focus", "channels{share=0.3},exact", STACK,
    ]  # fmt: skip
    assert document["tried_alone"]["first"][0]["images"] == 3000
    assert Outcome.from_json(document["runs"][0]) == made()


def test_a_run_beside_itself(mlcnn: Call, runs: tuple[Path, Path]) -> None:
    result = mlcnn("compare", runs[0], runs[0])
    lines = result.out.splitlines()
    assert lines[lines.index("What was asked otherwise") + 2] == "nothing"
    assert not any(line.startswith("Tried in") for line in lines)
    document = mlcnn("compare", runs[0], runs[0], "--json").json
    shares = {value for row in document["points"] for value in row["difference"].values()}
    assert shares == {1.0, 0.0}


def test_other_networks_and_processors_are_told(mlcnn: Call, tmp_path: Path) -> None:
    strange = replace(made(), name="house", where="another one", interrupted=True)
    result = mlcnn("compare", written(tmp_path / "a", made()), written(tmp_path / "b", strange))
    for told in (
        "two networks: shop and house",
        "two processors: a processor and another one; latencies are of each",
        "b was interrupted: it has no accuracy on test images",
    ):
        assert told in result.out.splitlines()


def test_the_page(mlcnn: Call, runs: tuple[Path, Path]) -> None:
    result = mlcnn("compare", *runs, "-o", "compare.html")
    assert result.out.splitlines()[-1] == "written: compare.html"
    text = Path("compare.html").read_text(encoding="utf-8")
    assert "<title>a and b: mlcnn report</title>" in text
    for told in ("best stack", STACK, "What was asked otherwise", "Tried in b, not in a"):
        assert told in text


def test_folders_of_one_name_are_told_apart(mlcnn: Call, tmp_path: Path) -> None:
    first = written(tmp_path / "one" / "shop", made())
    second = written(tmp_path / "two" / "shop", other())
    assert mlcnn("compare", first, second).out.splitlines()[0] == "one/shop and two/shop"


REQUIRED = "a folder that -o of `mlcnn cheapest` named is required"


BRACES = "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
LIST = "list indices must be integers or slices, not str"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, f"bad: there is no result.json in it; {REQUIRED}"),
        ("{", f"bad/result.json: cannot be read: {BRACES}; {REQUIRED}"),
        ('{"name": "net"}', f"bad/result.json: has no 'prediction'; {REQUIRED}"),
        ("[1]", f"bad/result.json: no result of `mlcnn cheapest`: {LIST}; {REQUIRED}"),
    ],
)
def test_what_is_no_run(
    mlcnn: Call, runs: tuple[Path, Path], content: str | None, message: str
) -> None:
    bad = Path("bad")
    bad.mkdir()
    if content is not None:
        (bad / "result.json").write_text(content, encoding="utf-8")
    result = mlcnn("compare", runs[0], bad, "-o", "compare.html")
    assert (result.code, result.out, result.error) == (2, "", message)
    assert not Path("compare.html").exists()


def test_no_folder_and_no_page(mlcnn: Call, runs: tuple[Path, Path]) -> None:
    result = mlcnn("compare", runs[0], "nowhere")
    assert (result.code, result.error) == (2, f"nowhere: there is no such folder; {REQUIRED}")
    result = mlcnn("compare", *runs, "-o", "compare.txt")
    assert (result.code, result.error) == (
        2, "-o compare.txt: the page is an .html file; give it this suffix"
    )  # fmt: skip
