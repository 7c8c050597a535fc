"""Along which path most is saved for least harm, and how far along it a budget allows to go."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.frontier.shares import Path, farthest, path

LEVELS = (0.2, 0.5, 0.8)


def _rising(draw, count):
    steps = draw(st.lists(st.floats(0.01, 1), min_size=count, max_size=count))
    return list(itertools.accumulate(steps))


@st.composite
def parts(draw):
    """Harm and savings of two or three parts at each level; more of both at higher ones."""
    count = draw(st.integers(1, 3))
    return tuple([_rising(draw, len(LEVELS)) for _ in range(count)] for _ in range(2))


@given(parts())
def test_no_setting_saves_more_at_less_harm_than_the_path(found):
    """By brute force over all settings: every point of the path is one of their front."""
    harms, saved = found
    shares = (0.0, *LEVELS)

    def of(table, setting):
        return sum(
            0.0 if not share else table[part][LEVELS.index(share)]
            for part, share in enumerate(setting)
        )

    every = [*itertools.product(shares, repeat=len(harms))]
    made = path(LEVELS, harms, saved)
    for point in made.points:
        harm, gain = of(harms, point), of(saved, point)
        assert not any(of(harms, s) < harm - 1e-9 and of(saved, s) > gain + 1e-9 for s in every)
    assert made.points[0] == (0.0,) * len(harms)
    assert made.points[-1] == (LEVELS[-1],) * len(harms)
    for first, second in itertools.pairwise(made.points):
        assert all(a <= b for a, b in zip(first, second, strict=True))


def test_between_two_points_lies_what_is_between_them():
    way = Path(((0.0, 0.0), (0.0, 0.4), (0.2, 0.4)))
    assert way.length == 2
    assert way.at(0.5) == pytest.approx((0.0, 0.2))
    assert way.at(1.25) == pytest.approx((0.05, 0.4))
    assert way.at(-1) == (0.0, 0.0)
    assert way.at(9) == (0.2, 0.4)


def test_a_level_that_gains_less_than_a_further_one_is_left_out():
    made = path((0.2, 0.5), [[1.0, 1.1]], [[1.0, 5.0]])
    assert made.points == ((0.0,), (0.5,))


@given(st.floats(0.01, 3), st.floats(0.01, 3), st.floats(0.0, 2.0))
def test_the_farthest_stays_within_the_budget_on_both_parts(first, second, budget):
    found = farthest(lambda way: first * way, lambda way: second * way, budget, 4.0, steps=12)
    assert first * found <= budget + 1e-9
    assert second * found <= budget + 1e-9
    if second <= first:
        assert found == pytest.approx(min(budget / first, 4.0), abs=0.01)


def test_nothing_is_left_out_where_everything_loses_more():
    assert farthest(lambda _: 1.0, lambda _: 1.0, 0.0, 4.0) == 0.0
    assert farthest(lambda _: 0.0, lambda _: 1.0, 0.1, 4.0) == 0.0


def test_where_a_network_was_trained_less_may_be_lost_than_before():
    """Nothing left out loses more than what it was trained for."""

    def lost(way):
        return 0.5 * abs(way - 3)

    assert farthest(lost, lost, 0.25, 8.0) < 0.2
    assert farthest(lost, lost, 0.25, 8.0, start=3.0, steps=12) == pytest.approx(3.5, abs=0.01)


def test_what_was_trained_is_stepped_back_from_where_it_loses_more_on_other_images():
    """Less is lost near there than with all positions kept, so nothing between is bisected."""

    def choose(way):
        return 0.05 if way < 2 else 0.01 + 0.001 * (way - 3)

    assert farthest(choose, lambda way: 0.016 if way > 2.8 else 0.012, 0.015, 8.0, start=3.0) == (
        pytest.approx(2.7)
    )
