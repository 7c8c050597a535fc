"""Results in a notebook: each is a table, a report opens in the cell, Netron where it is."""

import sys
import typing
from pathlib import Path
from types import SimpleNamespace

import pytest

import mlcnn
from mlcnn.api import NetworkDiff, Page
from mlcnn.errors import InputError
from mlcnn.table import Tabular

VERBS = (
    "bench", "cheapest", "check_mapping", "compare", "compare_runs", "compress", "count", "diff",
    "energy_per_image",
    "evaluate", "explain_count", "explore", "finetune", "latency_per_image", "map_layer",
    "map_network", "optimize", "per_image", "quantize", "reproduce", "rewrite", "run",
    "simulate_rtl", "skip", "stack", "train", "check",
)  # fmt: skip


@pytest.fixture(scope="module")
def optimized() -> mlcnn.Optimized:
    return mlcnn.optimize("lenet5", form="box")


@pytest.mark.parametrize("verb", VERBS)
def test_what_a_verb_returns_is_a_table(verb: str) -> None:
    returned = getattr(mlcnn.api, verb).__annotations__["return"]
    kinds = [k for k in typing.get_args(returned) or (returned,) if k is not type(None)]
    assert kinds
    for kind in kinds:
        assert issubclass(kind, Tabular), f"{verb} returns a {kind.__name__}"
        assert kind.__repr__ is Tabular.__repr__
        assert kind._repr_html_ is Tabular._repr_html_


def test_a_report_opens_in_the_cell(optimized: mlcnn.Optimized, tmp_path: Path) -> None:
    page = optimized.report()
    assert isinstance(page, Page)
    shown = page._repr_html_()
    # Its own document: no style of the page is one of the notebook, and its scripts stay inside.
    assert shown.startswith('<iframe title="lenet5: mlcnn report" sandbox="allow-scripts" ')
    assert shown.count("<iframe") == 1
    assert "<style" not in shown
    assert "<script" not in shown
    assert (
        repr(page)
        == f"lenet5: mlcnn report: a page of {page.size / 1e3:.1f} kB; .save(path) writes it"
    )
    page.save(tmp_path / "report.html")
    assert (tmp_path / "report.html").stat().st_size == page.size
    with pytest.raises(InputError, match="there is no directory"):
        page.save(tmp_path / "no" / "report.html")


def test_a_run_is_a_table_and_has_a_page(optimized: mlcnn.Optimized, tmp_path: Path) -> None:
    result = mlcnn.run(optimized, measuring=None, evaluating=None, directory=tmp_path)
    lines = repr(result).splitlines()
    # 651,720 multiplications, of which the box leaves a quarter of 592,800.
    assert lines[0].startswith("lenet5: 2 layers rewritten; 68.2 % of all multiplications are gone")
    assert f"report: {tmp_path / 'report.html'}" in lines
    assert result.records() == []
    assert result.page.html == (tmp_path / "report.html").read_text(encoding="utf-8")


def test_what_the_passes_changed(optimized: mlcnn.Optimized) -> None:
    found = optimized.diff()
    assert isinstance(found, NetworkDiff)
    assert found.told == "4 nodes went, 2 nodes came, 2 nodes changed; 6 nodes the same"
    assert [(row["status"], row["operator"]) for row in found.records()] == [
        ("removed", "Conv"), ("changed", "Relu"), ("removed", "MaxPool"),
        ("added", "mlcnn.ConvPoolBox"),
    ] * 2  # fmt: skip
    assert found.counts is not None
    assert found.counts.after.multiplications == optimized.counts().after.multiplications
    assert "<td" in found._repr_html_()


def test_equal_networks_have_no_drawing(optimized: mlcnn.Optimized) -> None:
    found = mlcnn.diff(optimized.original, optimized.original)
    assert found.equal
    assert found.records() == []
    assert 'id="places"' not in found.report().html


def test_netron_shows_a_saved_network(
    optimized: mlcnn.Optimized, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "netron", None)
    path = tmp_path / "net.onnx"
    with pytest.raises(InputError, match="Netron is not installed"):
        optimized.show_netron(path)
    assert not path.exists()
    asked: list[str] = []
    monkeypatch.setitem(sys.modules, "netron", SimpleNamespace(start=asked.append))
    assert optimized.show_netron(path) == path
    assert asked == [str(path)]
    assert path.is_file()
    with pytest.raises(InputError, match=r"missing\.onnx: no such file"):
        mlcnn.api.show_in_netron(tmp_path / "missing.onnx")
