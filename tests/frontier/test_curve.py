"""Points, the front, and the best within a budget."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.errors import InputError
from mlcnn.frontier import Budget, Cost, Frontier, Point, bisect, smallest
from mlcnn.training.intervals import Accuracy, Difference


def point(top1: float, cost: float, method: str = "weights") -> Point:
    change = Difference(top1 - 0.9, (top1 - 0.91, top1 - 0.89))
    accuracy = Accuracy(method, "any", 1000, top1)
    return Point(method, {"share": cost / 100}, {"parameters": Cost.fixed(cost)}, accuracy, change)


ORIGINAL = point(0.9, 100, "original")

pairs = st.lists(st.tuples(st.integers(0, 1000), st.integers(1, 100)), min_size=1, max_size=12)


@given(pairs)
def test_the_front_is_what_no_other_point_beats(found):
    curve = Frontier(ORIGINAL, tuple(point(a / 1000, c) for a, c in found), "parameters")
    front = curve.front()
    for mine in curve:
        beaten = any(
            other.accuracy.top1 >= mine.accuracy.top1
            and other.costs["parameters"].mean <= mine.costs["parameters"].mean
            and (other.accuracy.top1, -other.costs["parameters"].mean)
            != (mine.accuracy.top1, -mine.costs["parameters"].mean)
            for other in curve
        )
        assert (mine in front) is not beaten
    costs = [p.costs["parameters"].mean for p in front]
    assert costs == sorted(costs)
    levels = [p.accuracy.top1 for p in front]
    assert levels == sorted(levels)


def test_the_best_is_the_cheapest_within_the_budget():
    points = (point(0.895, 50), point(0.89, 30), point(0.7, 10))
    curve = Frontier(ORIGINAL, points, "parameters")
    assert curve.best(Budget(0.5)) is points[0]
    assert curve.best(Budget(1.001)) is points[1]
    assert curve.best(Budget(0.4)) is None
    assert curve.best(Budget(100)) is points[2]
    assert curve.nearest() is points[0]


def test_a_budget_is_sure_to_be_exceeded_only_with_the_whole_interval():
    budget = Budget(1)
    assert budget.allows(Difference(-0.009, (-0.02, 0.001)))
    assert not budget.allows(Difference(-0.011, (-0.02, -0.002)))
    assert not budget.exceeded(Difference(-0.011, (-0.02, -0.002)))
    assert budget.exceeded(Difference(-0.03, (-0.04, -0.02)))


def test_costs_are_distributions():
    each = np.arange(1.0, 101.0)
    cost = Cost.over(each, worst=120)
    assert cost.mean == pytest.approx(50.5)
    assert cost.sd == pytest.approx(each.std())
    assert cost.p95 == pytest.approx(np.quantile(each, 0.95))
    assert (cost.worst, Cost.over(each).worst) == (120, 100)
    assert not cost.is_fixed
    assert Cost.fixed(3).to_json() == 3
    assert cost.to_json() == {"mean": 50.5, "sd": each.std(), "p95": 95.05, "worst": 120}
    with pytest.raises(InputError, match="at least one image"):
        Cost.over(np.empty(0))


def test_the_table_and_the_record_have_every_point():
    curve = Frontier(ORIGINAL, (point(0.895, 50), point(0.8, 60)), "parameters")
    text = curve.shown().text()
    assert "weights share=0.5" in text
    assert text.splitlines()[-1].split() == ["on", "the", "front", "yes", "yes"]
    assert "-0.50 points (-1.50 to +0.50)" in text
    rows = curve.to_json()["points"]
    assert [row["on_front"] for row in rows] == [True, True, False]
    assert rows[1]["costs"] == {"parameters": 50}
    with pytest.raises(InputError, match="its energy is not known"):
        Frontier(ORIGINAL, (), "energy")


@given(st.floats(0.02, 1), st.integers(1, 8))
def test_the_search_closes_in_on_the_smallest_share(edge, attempts):
    tried: list[float] = []

    def attempt(share: float) -> Difference:
        tried.append(share)
        value = 0.0 if share >= edge else -0.5
        return Difference(value, (value, value))

    bisect(attempt, Budget(1), start=0.3, least=0.01, attempts=attempts)
    assert tried[0] == 0.3
    assert len(tried) <= attempts
    assert all(0.01 <= share <= 1 for share in tried)
    within = [share for share in (*tried, 1.0) if share >= edge]
    below = [share for share in (*tried, 0.01) if share < edge]
    ratio = min(within) / max(below)
    assert len(tried) == attempts or ratio < 1.1
    assert ratio <= 100 ** (0.5 ** (len(tried) - 1)) + 1e-9


@given(st.floats(0.02, 1))
def test_about_the_smallest_share_is_found_by_bisection(edge):
    found = smallest(lambda share: share >= edge, least=0.01, steps=10)
    assert edge <= found
    assert found <= max(edge * 1.01, 0.0101)
