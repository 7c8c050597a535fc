"""``mlcnn diff``: two networks node by node."""

import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnx
import pytest
from cli.conftest import CONV, make_network, pool
from onnx import helper

Call = Callable[..., Any]


@pytest.fixture
def rewritten(mlcnn: Call, fusable: Path) -> Path:
    path = fusable.with_name("rewritten.onnx")
    mlcnn("optimize", fusable, "--form", "box", "--no-measure", "-o", path)
    return path


def test_what_went_came_and_changed(mlcnn: Call, fusable: Path, rewritten: Path) -> None:
    result = mlcnn("diff", fusable, rewritten, "--json")
    assert result.code == 0
    document = result.json
    assert (document["before"], document["after"]) == ("fusable", "rewritten")
    assert not document["equal"]
    by_status = {
        status: [row for row in document["differences"] if row["status"] == status]
        for status in ("removed", "added", "changed")
    }
    # The pool behind the convolution goes, and a sum over the same window comes in front of it.
    (gone,) = by_status["removed"]
    assert (gone["operator"], gone["output"]) == ("AveragePool", "N x 4 x 4 x 4")
    assert {row["operator"] for row in by_status["added"]} == {"AveragePool"}
    (conv,) = by_status["changed"]
    assert conv["name"] == "conv"
    assert "strides none to 2x2" in conv["what"]
    assert "output N x 4 x 8 x 8 to N x 4 x 4 x 4" in conv["what"]
    total = document["count"]["total"]
    assert total["multiplications"]["original"] == 4 * 27 * 64
    assert total["chosen"]["multiplications"] == 4 * 27 * 16


def test_as_text(mlcnn: Call, fusable: Path, rewritten: Path) -> None:
    lines = mlcnn("diff", fusable, rewritten).out.splitlines()
    assert lines[
        0
    ] == "fusable and rewritten: 1 node went, 1 node came, 1 node changed; 0 nodes the same" or (
        lines[0].startswith("fusable and rewritten: nothing in common: 1 node went, 1 node came")
    )
    assert any(line.split()[:3] == ["-", "AveragePool", "pool"] for line in lines)
    assert "multiplications per image: 6.912 k to 1.728 k, -75 %" in lines


def test_equal_networks(mlcnn: Call, fusable: Path) -> None:
    result = mlcnn("diff", fusable, fusable)
    assert result.code == 0
    told = " ".join(result.out.split())  # a long path breaks the line
    assert ": no difference: 2 nodes of the same kind, wiring and weights" in told
    assert mlcnn("diff", fusable, fusable, "--json").json["equal"]


def test_nothing_in_common(mlcnn: Call, fusable: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    nodes = [
        helper.make_node("Sigmoid", ["x"], ["s"], name="s"),
        helper.make_node("Tanh", ["s"], ["y"], name="t"),
    ]
    onnx.save(make_network(*nodes), other)
    result = mlcnn("diff", fusable, other)
    assert result.code == 0
    assert result.out.startswith(
        "fusable and other: nothing in common: 2 nodes went, 2 nodes came, 1 node changed, and "
        "none is the same in both"
    )


def test_other_weights(mlcnn: Call, fusable: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.onnx"
    weights = {"conv.weight": np.ones((4, 3, 3, 3), np.float32)}
    onnx.save(make_network(CONV, pool("AveragePool", "c", "y"), weights=weights), other)
    (row,) = mlcnn("diff", fusable, other, "--json").json["differences"]
    assert (row["status"], row["name"], row["what"]) == ("changed", "conv", "other weights")


def test_a_page(mlcnn: Call, fusable: Path, rewritten: Path, tmp_path: Path) -> None:
    page = tmp_path / "out.html"
    result = mlcnn("diff", fusable, rewritten, "--html", page)
    assert result.out.splitlines()[-1] == f"written: {page}"
    text = page.read_text(encoding="utf-8")
    assert '<h2 id="places-title">Before and after, drawn</h2>' in text
    assert "netron --browse" in text
    mlcnn("diff", fusable, rewritten, "--html", tmp_path / "again.html")
    assert (tmp_path / "again.html").read_text(encoding="utf-8") == text


def test_counts_that_are_not_known_are_said(mlcnn: Call, dynamic: Path, fusable: Path) -> None:
    result = mlcnn("diff", dynamic, fusable)
    assert result.code == 0
    assert "warning: operations are not counted: " in result.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["missing.onnx"], "missing.onnx: no such file"),
        (["lenet"], "did you mean 'lenet5'?"),
        (["fusable.onnx", "--html", "no/out.html"], "there is no directory no; create it first"),
        (["fusable.onnx", "--html", "."], ".: is a directory; give the name of a file in it"),
        (
            ["fusable.onnx", "--netron"],
            (
                "Netron is not installed, so fusable.onnx and fusable.onnx cannot be shown: run "
                "`pip install netron`, or open the file where there is one"
            ),
        ),
    ],
)
def test_bad_input(
    mlcnn: Call, fusable: Path, monkeypatch: pytest.MonkeyPatch, arguments: list[str], message: str
) -> None:
    monkeypatch.setitem(sys.modules, "netron", None)
    result = mlcnn("diff", fusable.name, *arguments)
    assert (result.code, result.out) == (2, "")
    assert message in result.error


@pytest.fixture
def netron(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A viewer that notes what it is asked for."""
    asked: list[str] = []
    module = SimpleNamespace(start=asked.append, wait=lambda: asked.append("wait"))
    monkeypatch.setitem(sys.modules, "netron", module)
    return asked


def test_both_files_are_opened(mlcnn: Call, fusable: Path, netron: list[str]) -> None:
    assert mlcnn("diff", fusable, fusable, "--netron").code == 0
    assert netron == [str(fusable), str(fusable), "wait"]


def test_what_is_no_file_cannot_be_opened(mlcnn: Call, fusable: Path, netron: list[str]) -> None:
    result = mlcnn("diff", fusable, "lenet5", "--netron")
    assert result.code == 2
    assert result.error == (
        "--netron: lenet5 is no file, and Netron opens files; write it first with `mlcnn optimize`"
    )


def test_run_opens_what_it_wrote(mlcnn: Call, fusable: Path, netron: list[str]) -> None:
    quick = ("--no-measure", "--no-evaluate", "-o", "out")
    assert mlcnn("run", fusable, "--netron", *quick).code == 0
    assert netron == ["out/fusable.onnx", "wait"]
    assert "netron --browse fusable.onnx" in Path("out/report.html").read_text(encoding="utf-8")
