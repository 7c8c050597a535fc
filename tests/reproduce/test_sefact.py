"""SeFAct's published savings beside the recorded runs: the table follows from the record."""

import pytest

from mlcnn.report.charts.saving import draw_saving, saving_chart
from mlcnn.reproduce import reproduce, sefact
from mlcnn.reproduce.sefact import reproduce_sefact, saved_points

PUBLISHED = [20, 25, 30]


def _run(budget, lost, after, packed=0.9, wide=2.5):
    def cost(before, share):
        return {"before": before, "after": {"mean": before * share}}

    return {
        "budget": budget,
        "method": "bits+exit",
        "run": "given",
        "accuracy": {"change": {"top1": -lost / 100, "interval": [-0.02, 0.01]}},
        "cost": {
            "energy_pj": cost(8.0, after),
            "energy_pj dcnn-int8-packed": cost(8.0, packed),
            "energy_pj dcnn-int16": cost(8.0 * wide, 1.0),
        },
    }


def _with(monkeypatch, *runs):
    monkeypatch.setattr(sefact, "_runs", lambda _: runs)
    return reproduce_sefact("sefact", lambda *_: None)


def test_published_numbers_are_floors():
    rows = reproduce("sefact").rows
    assert [row.published for row in rows] == PUBLISHED
    assert {row.relation.value for row in rows} == {"at least"}


def test_savings_are_those_of_the_best_run_that_lost_no_more(monkeypatch):
    runs = (_run(1, 0.8, 0.64), _run(5, 4.9, 0.5), _run(20, 12.0, 0.2))
    found = _with(monkeypatch, *runs)
    assert [row.computed for row in found.rows] == pytest.approx([50, 50, 36])
    assert [row.ok for row in found.rows] == [True, True, True]


def test_a_saving_that_falls_short_is_no_success(monkeypatch):
    found = _with(monkeypatch, _run(1, 0.8, 0.78))
    assert [row.ok for row in found.rows] == [True, False, False]
    assert not found.ok


def test_both_kinds_of_machine_and_the_one_of_16_bits(monkeypatch):
    (row,) = _with(monkeypatch, _run(1, 0.8, 0.6, packed=0.85, wide=2.0)).beside[0].rows
    assert row[5:] == pytest.approx((60, 85, 30))


def test_a_budget_that_no_run_kept(monkeypatch):
    with pytest.raises(ValueError, match="no recorded run lost 1 points or less"):
        _with(monkeypatch, _run(5, 4.0, 0.5))


def test_the_picture_has_what_is_published_as_it_is_and_every_run(monkeypatch, tmp_path):
    """A range is an area, and each run stands there for three baselines."""
    monkeypatch.setattr(sefact, "_runs", lambda _: (_run(1, 0.8, 0.6, packed=0.85, wide=2.0),))
    points = saved_points()
    published = {p.series: (p.loss, p.saved) for p in points if "published" in p.series}
    assert published == {
        "SeFAct, published": ((5, 10), (20, 25)), "SeFAct2, published": ((1, 1), (30, 30))
    }  # fmt: skip
    ours = [p for p in points if "published" not in p.series]
    assert [p.saved[0] for p in ours] == pytest.approx([40, 15, 70])
    assert {p.loss for p in ours} == {(0.8, 0.8)}
    assert saving_chart("sefact", points)["layer"]
    draw_saving("sefact", points, tmp_path / "sefact.svg")
    text = (tmp_path / "sefact.svg").read_text()
    assert "SeFAct2, published" in text
