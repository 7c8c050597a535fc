"""Short tables and frames of results."""

import sys
from types import ModuleType
from typing import Any

import pytest

import mlcnn
from mlcnn.engines import Bench, BenchResult, BenchSkipped, Timing
from mlcnn.errors import InputError
from mlcnn.table import Shown, Tabular, flat


class Rows(Tabular):
    """Rows with something in them that a page or a terminal would take for its own."""

    def __init__(self, number: int = 1, name: str = "<b>conv\x1b[31m") -> None:
        self.number, self.name = number, name

    def shown(self) -> Shown:
        rows = tuple((f"{self.name}{index}", f"{index:,}") for index in range(self.number))
        return Shown("title", ("layer", "cycles"), rows, ("a note",))

    def records(self) -> list[dict[str, Any]]:
        return [{"name": f"layer{index}", "cycles": index} for index in range(self.number)]


def test_columns_of_numbers_stand_to_the_right() -> None:
    assert repr(Rows(2, "c")).splitlines() == [
        "title",
        "layer  cycles",
        "c0          0",
        "c1          1",
        "a note",
    ]


def test_what_comes_from_outside_stays_text() -> None:
    found = Rows()
    assert "\x1b" not in repr(found)
    assert "&lt;b&gt;conv" in found._repr_html_()
    assert "<b>" not in found._repr_html_()
    assert "<caption>title</caption>" in found._repr_html_()


@pytest.mark.parametrize(("number", "lines"), [(20, 20), (21, 21), (22, 21), (500, 21)])
def test_many_rows_are_left_out_in_the_middle(number: int, lines: int) -> None:
    text = repr(Rows(number, "c"))
    assert len(text.splitlines()) == lines + 3
    assert f"c{number - 1}" in text
    assert (f"... {number - 20} more" in text) == (number > 21)


def test_a_table_without_rows() -> None:
    assert repr(Rows(0)).splitlines() == ["title", "layer  cycles", "a note"]


def test_nested_values_are_one_row() -> None:
    assert flat({"a": {"b": {"c": 1}, "d": 2}, "e": [3]}) == {"a_b_c": 1, "a_d": 2, "e": [3]}


@pytest.fixture
def frames(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Says which of the two libraries are installed; a frame is (library, rows)."""

    def install(*names: str) -> None:
        for name in ("pandas", "polars"):
            module: Any = ModuleType(name)
            module.DataFrame = lambda rows, name=name: (name, rows)
            monkeypatch.setitem(sys.modules, name, module if name in names else None)

    return install


@pytest.mark.parametrize(
    ("installed", "asked", "expected"),
    [
        (("pandas", "polars"), None, "pandas"),
        (("polars",), None, "polars"),
        (("pandas", "polars"), "polars", "polars"),
    ],
)
def test_a_frame_of_the_library_that_is_there(
    frames: Any, installed: tuple[str, ...], asked: str | None, expected: str
) -> None:
    frames(*installed)
    assert Rows(2).to_frame(asked) == (expected, Rows(2).records())


@pytest.mark.parametrize(
    ("asked", "told"),
    [
        (None, "to_frame: neither pandas nor polars is installed; run `pip install pandas`, or"),
        ("polars", "to_frame: polars is not installed; run `pip install polars`, or"),
        ("numpy", "to_frame: 'numpy' makes no frames here; give pandas or polars"),
    ],
)
def test_without_a_library_one_message(frames: Any, asked: str | None, told: str) -> None:
    frames()
    with pytest.raises(InputError) as caught:
        Rows().to_frame(asked)
    assert str(caught.value).startswith(told)


def test_the_results_are_tables() -> None:
    optimized = mlcnn.optimize("lenet5", form="box")
    assert repr(optimized).splitlines()[-1] == optimized.verified
    assert "conv1  fuse            box   exact" in repr(optimized)
    counts = optimized.counts()
    # 352,800 = 28 x 28 x 6 x 75, a quarter of which is left.
    assert any(
        line.split() == ["conv1", "box", "352,800", "88,200", "351,624", "95,673"]
        for line in repr(counts).splitlines()
    )
    assert [row["macs_result"] for row in counts.records()] == [88_200, 60_000, 48_000, 10_080, 840]
    found = mlcnn.evaluate(optimized, on="mlcnn-fp32", against="dcnn-fp32")
    assert repr(found).startswith("mlcnn-fp32 against dcnn-fp32, 16 images")
    assert len(found.records()) == len(found.layers) == 5
    assert found.records()[0]["energy_pj_dram"] == found.layers[0].cost.energy.dram


def test_a_bench_is_a_table_with_what_it_skipped() -> None:
    results = (
        BenchResult("torch", "before", 1, 1, Timing((2.0, 4.0, 6.0))),
        BenchResult("torch", "after", 1, 1, Timing((1.0, 2.0, 3.0))),
    )
    found = Bench(results, (BenchSkipped("native", "after", 1, "no compiler"),), ("noisy",))
    lines = repr(found).splitlines()
    assert lines[1].split("  ")[-1] == "over before"
    assert lines[3].split() == ["torch", "fp32", "1", "after", "2", "1.5", "to", "2.5", "2.00x"]
    assert lines[4:] == ["skipped: native, after, batch 1: no compiler", "noisy"]
    assert [row["median_ms"] for row in found.records()] == [4.0, 2.0]


def test_the_same_piece_shows_all_of_them() -> None:
    for kind in (mlcnn.Optimized, mlcnn.counting.CountReport, Bench, mlcnn.accelerators.Evaluation):
        assert kind.__repr__ is Tabular.__repr__
