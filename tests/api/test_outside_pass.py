"""A pass from outside, which leaves no record: everybody says of it what the saved file says."""

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest
from api.outside_pass import ShareFilters, repeated_filters

from mlcnn.cli import main
from mlcnn.passes import pipeline

# By hand: 8 filters of 3x3x3 at 64 positions; then 2 of them, and 8 outputs of 2 each.
BEFORE, ONCE, COPIES, HEAD = 8 * 27 * 64, 2 * 27 * 64, 8 * 2 * 64, 4 * 8 * 64
Call = Callable[..., Any]


@pytest.fixture
def call(
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> Call:
    """The command line, where the pass is installed; what it wrote to (out, err)."""
    registry = sys.modules[pipeline.pass_names.__module__]
    known = {**registry._registry(), "share-filters": ShareFilters}
    monkeypatch.setattr(registry, "_registry", lambda: known)
    monkeypatch.chdir(tmp_path)
    onnx.save(repeated_filters(), "net.onnx")

    def run(*arguments: str) -> tuple[str, str]:
        capsys.readouterr()
        code = main(arguments)
        captured = capsys.readouterr()
        assert code == 0, captured.err
        return captured.out, captured.err

    return run


@pytest.fixture(params=["false", "true"], ids=["own names", "keeps the name"])
def passes(request: pytest.FixtureRequest) -> tuple[str, str]:
    return "--passes", f"share-filters{{keep_name={request.param}}}"


def test_what_is_saved_is_told(call: Call, passes: tuple[str, str]) -> None:
    out, err = call("optimize", "net.onnx", *passes, "--no-measure", "-o", "out.onnx")
    assert "nothing to gain" not in err
    words = " ".join(out.split())
    gone = (BEFORE - ONCE - COPIES) / (BEFORE + HEAD)
    assert f"1 layer rewritten; {100 * gone:.1f} % of all multiplications are gone" in words
    assert "conv approximate 13.82 k to 4.480 k -67.6 %" in words
    counted = json.loads(call("count", "out.onnx", "--json")[0])["total"]["chosen"]
    assert counted["multiplications"] == ONCE + COPIES + HEAD


def test_every_reader_says_what_the_file_says(call: Call, passes: tuple[str, str]) -> None:
    call("optimize", "net.onnx", *passes, "--no-measure", "-o", "out.onnx")
    rewritten = json.loads(call("count", "net.onnx", *passes, "--json")[0])
    compared = json.loads(call("count", "out.onnx", "--against", "net.onnx", "--json")[0])
    assert rewritten == compared
    total = rewritten["total"]
    assert total["macs"] == {"original": BEFORE + HEAD, "result": ONCE + COPIES + HEAD}
    assert total["multiplications"]["fused"] == ONCE + COPIES + HEAD
    assert not any(row["fused"] for row in rewritten["layers"])
    assert {row["name"] for row in rewritten["layers"] if row["changed"]} >= {"conv", "conv/once"}
    file = json.loads(call("evaluate", "out.onnx", "--json")[0])
    memory = json.loads(call("evaluate", "net.onnx", *passes, "--json")[0])
    assert memory["network"] == file["network"]
    report = json.loads(
        call("run", "net.onnx", *passes, "--no-measure", "--on", "mlcnn-fp32", "--json")[0]
    )
    assert report["count"] == rewritten
    assert report["evaluate"][0]["network"] == file["network"]


def test_the_report_shows_the_layers_as_rewritten(call: Call, passes: tuple[str, str]) -> None:
    call("run", "net.onnx", *passes, "--no-measure", "--no-evaluate", "-o", "out")
    page = Path("out/report.html").read_text(encoding="utf-8")
    assert "1 layer rewritten" in page
    assert "share-filters" in page
    # [MLCNN]'s counts are of fused layers, and there is none.
    assert "Shared: box sums" not in page
