"""``mlcnn reproduce``."""

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

import mlcnn as package
from mlcnn.reproduce import Relation

Call = Callable[..., Any]


def test_a_table(mlcnn: Call) -> None:
    result = mlcnn("reproduce", "table-2", "--json")
    assert result.code == 0
    assert result.json["what"] == "table-2"
    assert result.json["ok"] is True
    published = {row["item"]: row["published"] for row in result.json["rows"]}
    assert published["filter 11x11: additions with LAR"] == 373
    assert all(
        row.keys() >= {"item", "published", "computed", "tolerance", "ok"}
        for row in result.json["rows"]
    )


def test_the_table_in_words(mlcnn: Call) -> None:
    result = mlcnn("reproduce", "table-3")
    assert result.code == 0
    assert "384" in result.out
    assert "DIFFERS" not in result.out


def test_a_difference_is_exit_code_1(mlcnn: Call, monkeypatch: pytest.MonkeyPatch) -> None:
    true = package.api.reproduce("table-2")
    wrong = replace(true, rows=(replace(true.rows[0], computed=0), *true.rows[1:]))
    monkeypatch.setattr(package.api, "reproduce", lambda *_: wrong)
    result = mlcnn("reproduce", "table-2")
    assert result.code == 1
    assert "DIFFERS" in result.out
    assert mlcnn("reproduce", "table-2", "--json").json["ok"] is False


def test_unknown(mlcnn: Call) -> None:
    result = mlcnn("reproduce", "tabel-1")
    assert result.code == 2
    assert "did you mean 'table-1'?" in result.error


def test_a_documented_difference_is_no_failure(
    mlcnn: Call, monkeypatch: pytest.MonkeyPatch
) -> None:
    true = package.api.reproduce("table-2")
    known = replace(true.rows[0], computed=0, difference="counted otherwise")
    result = replace(true, rows=(known,))
    monkeypatch.setattr(package.api, "reproduce", lambda *_: result)
    printed = mlcnn("reproduce", "table-2")
    assert printed.code == 0
    assert "differs: counted otherwise" in printed.out


def test_a_figure_and_what_stands_beside_it(mlcnn: Call) -> None:
    result = mlcnn("reproduce", "figure-14")
    assert result.code == 0
    assert "98.44" in result.out
    assert "beside it: every fused layer" in result.out


@pytest.mark.parametrize(("computed", "verdict", "code"), [(373, "reached", 0), (372, "SHORT", 1)])
def test_a_floor(
    mlcnn: Call, monkeypatch: pytest.MonkeyPatch, computed: int, verdict: str, code: int
) -> None:
    true = package.api.reproduce("table-2")
    row = replace(true.rows[1], computed=computed, relation=Relation.AT_LEAST)
    result = replace(true, rows=(row,))
    monkeypatch.setattr(package.api, "reproduce", lambda *_: result)
    printed = mlcnn("reproduce", "table-2")
    assert printed.code == code
    assert verdict in printed.out
    assert mlcnn("reproduce", "table-2", "--json").json["rows"][0]["relation"] == "at least"
