"""The sign test behind ``mlcnn check --not-slower``: its interval, its looks, its errors."""

import itertools
import math
import random
from statistics import median

import pytest

from mlcnn.engines.slowdown import LOOKS, Slowdown, Verdict, slowdown


@pytest.mark.parametrize("count", [8, 10, 12])
def test_the_interval_is_as_wide_as_chance_demands(count: int) -> None:
    """All ways in which trials can lie above or below the true median, each as likely."""
    ordered = Slowdown(tuple(map(float, range(count))), 1.0).interval
    rank = int(ordered[0])
    assert ordered == (rank, count - 1 - rank)

    def share(rank: int) -> float:
        """Of all signs, those where more than that rank's trials lie above: it misses then."""
        signs = itertools.product((False, True), repeat=count)
        return sum(count - sum(each) <= rank for each in signs) / 2**count

    assert share(rank) <= 0.004 < share(rank + 1)


def test_verdicts() -> None:
    assert Slowdown((1.1,) * 8, 1.02).verdict is Verdict.SLOWER
    assert Slowdown((1.1,) * 7 + (1.0,), 1.02).verdict is Verdict.UNDECIDED
    assert Slowdown((1.02,) * 8, 1.02).verdict is Verdict.WITHIN
    assert Slowdown((1.0,) * 7 + (1.1,), 1.02).verdict is Verdict.UNDECIDED
    assert Slowdown((1.0, 3.0, 2.0), 1.0).value == median((1.0, 3.0, 2.0))


@pytest.mark.parametrize(
    ("ratio", "trials", "verdict"),
    [(0.9, LOOKS[0], Verdict.WITHIN), (1.3, LOOKS[0], Verdict.SLOWER)],
)
def test_it_ends_as_soon_as_it_can_tell(ratio: float, trials: int, verdict: Verdict) -> None:
    numbers: list[int] = []

    def trial(number: int) -> float:
        numbers.append(number)
        return ratio

    found = slowdown(trial, 1.02)
    assert found.verdict is verdict
    assert numbers == list(range(trials))


def test_what_it_cannot_tell_ends_at_the_last_look() -> None:
    found = slowdown(lambda number: 0.9 if number % 2 else 1.2, 1.02)
    assert found.verdict is Verdict.UNDECIDED
    assert len(found.ratios) == LOOKS[-1]


def alarms(ratio: float, spread: float, runs: int = 1500) -> float:
    """Share of runs that say slower, of trials whose logarithm is normal around the true ratio."""
    generator = random.Random(0)
    found = (
        slowdown(lambda _: ratio * math.exp(generator.gauss(0, spread)), 1.02) for _ in range(runs)
    )
    return sum(each.verdict is Verdict.SLOWER for each in found) / runs


def test_false_alarms_are_rare_even_at_the_limit() -> None:
    # By the signs alone: 1/256 + 137/65536 + 0.35 % for the looks, so at most 1 %.
    assert alarms(1.02, 0.05) < 0.015
    assert alarms(1.0, 0.01) == 0
    assert alarms(1.0, 0.5) < 0.015  # however much noise there is


def test_a_real_slowdown_is_found() -> None:
    assert alarms(1.1, 0.02) == 1
    assert alarms(1.1, 0.05) > 0.9
