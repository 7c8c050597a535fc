"""Interleaved timing on a clock that the test turns, so that every figure is known."""

import gc
import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.engines import Ratio, Timing, interleave, noise, ratio
from mlcnn.errors import InputError

MS = 1_000_000


class Machine:
    """A clock, and callables that take a known time on it."""

    def __init__(self) -> None:
        self.now = 0
        self.calls: list[str] = []

    def clock(self) -> int:
        return self.now

    def callable(self, name: str, *milliseconds: float):
        turns = itertools.cycle(milliseconds)

        def call() -> None:
            self.calls.append(name)
            self.now += round(next(turns) * MS)

        return call


def test_each_callable_gets_its_own_time() -> None:
    machine = Machine()
    timings = interleave(
        {"slow": machine.callable("slow", 8), "quick": machine.callable("quick", 0.5)},
        budget_s=1,
        clock=machine.clock,
    )
    assert list(timings) == ["slow", "quick"]
    assert timings["slow"].median_ms == pytest.approx(8)
    assert timings["quick"].median_ms == pytest.approx(0.5)
    assert len(timings["slow"].samples_ms) == len(timings["quick"].samples_ms)


def test_the_budget_ends_the_rounds() -> None:
    machine = Machine()
    interleave({"a": machine.callable("a", 10)}, budget_s=0.5, clock=machine.clock)
    assert 500 <= machine.now / MS <= 500 + 2 * 10


def test_slow_callables_still_get_the_least_number_of_rounds() -> None:
    machine = Machine()
    timings = interleave(
        {"a": machine.callable("a", 900)}, budget_s=0.1, min_rounds=4, clock=machine.clock
    )
    assert len(timings["a"].samples_ms) == 4


def test_quick_callables_fill_a_sample() -> None:
    machine = Machine()
    interleave(
        {"a": machine.callable("a", 0.25)},
        budget_s=0.001,
        sample_ms=3,
        min_rounds=1,
        max_rounds=1,
        clock=machine.clock,
    )
    warm_up, settle, sample = 40, 1, 12
    assert len(machine.calls) == warm_up + settle + sample


def test_every_round_runs_all_in_changing_order() -> None:
    machine = Machine()
    callables = {name: machine.callable(name, 60) for name in "abc"}
    timings = interleave(callables, budget_s=0.01, min_rounds=30, clock=machine.clock)
    timed = machine.calls[-90:]  # 60 ms is above the limit for an untimed call in between
    rounds = [tuple(timed[i : i + 3]) for i in range(0, 90, 3)]
    assert all(sorted(names) == ["a", "b", "c"] for names in rounds)
    assert len(set(rounds)) == 6
    assert {len(timing.samples_ms) for timing in timings.values()} == {30}


def test_what_runs_between_replaces_the_settling_call() -> None:
    machine = Machine()
    timings = interleave(
        {"a": machine.callable("a", 0.5)},
        budget_s=0.001,
        min_rounds=2,
        max_rounds=2,
        clock=machine.clock,
        between=machine.callable("flush", 7),
    )
    assert machine.calls[-4:] == ["flush", "a"] * 2
    assert timings["a"].samples_ms == pytest.approx((0.5, 0.5))


def test_the_garbage_collector_rests_and_comes_back() -> None:
    machine = Machine()
    seen: list[bool] = []

    def call() -> None:
        seen.append(gc.isenabled())
        machine.now += 60 * MS

    interleave({"a": call}, budget_s=0.01, min_rounds=3, clock=machine.clock)
    assert seen[-3:] == [False] * 3
    assert gc.isenabled()


def test_the_garbage_collector_comes_back_after_a_failure() -> None:
    machine = Machine()
    calls = itertools.count()

    def call() -> None:
        machine.now += 60 * MS
        if next(calls) == 5:
            raise RuntimeError("stop")

    with pytest.raises(RuntimeError, match="stop"):
        interleave({"a": call}, budget_s=10, clock=machine.clock)
    assert gc.isenabled()


def test_a_clock_that_stands_still_ends() -> None:
    timings = interleave({"a": lambda: None}, min_rounds=5, max_rounds=5, clock=lambda: 0)
    assert timings["a"].samples_ms == (0.0,) * 5


@pytest.mark.parametrize(
    "options", [{"budget_s": 0}, {"sample_ms": 0}, {"min_rounds": 0}, {"max_rounds": 3}]
)
def test_limits_that_make_no_sense_are_refused(options: dict[str, int]) -> None:
    with pytest.raises(InputError, match="a positive budget and 1 <= min_rounds <= max_rounds"):
        interleave({"a": lambda: None}, **options)


def test_nothing_to_time_is_refused() -> None:
    with pytest.raises(InputError, match="got 0 callables"):
        interleave({})


@given(st.lists(st.floats(0.001, 1000), min_size=1, max_size=40))
def test_quartiles_are_those_of_numpy(samples: list[float]) -> None:
    timing = Timing(tuple(samples))
    expected = np.percentile(samples, [25, 50, 75])
    assert [timing.q1_ms, timing.median_ms, timing.q3_ms] == pytest.approx(list(expected))


def test_a_ratio_is_free_of_drift() -> None:
    drift = np.linspace(1, 5, 25)  # the machine gets five times slower
    found = ratio(Timing(tuple(3.0 * drift)), Timing(tuple(2.0 * drift)))
    assert (found.value, found.low, found.high) == pytest.approx((1.5, 1.5, 1.5))


def test_a_ratio_needs_the_same_rounds() -> None:
    with pytest.raises(ValueError, match="argument 2 is shorter"):
        ratio(Timing((1.0, 2.0)), Timing((1.0,)))


@pytest.mark.parametrize("count", range(1, 15))
def test_the_interval_covers_the_median_as_often_as_it_says(count: int) -> None:
    """Count over all 2^n ways in which samples fall above or below the true median."""
    samples = Timing(tuple(float(i) for i in range(1, count + 1)))
    found = ratio(samples, Timing((1.0,) * count))
    low, high = int(found.low), int(found.high)  # ranks, from 1

    def covered(low: int, high: int) -> float:
        hits = sum(
            low <= below < high for below in map(sum, itertools.product((0, 1), repeat=count))
        )
        return hits / 2**count

    assert low + high == count + 1
    if count < 6:
        assert (low, high) == (1, count)
    else:
        assert covered(low, high) >= 0.95
        assert covered(low + 1, high - 1) < 0.95


def test_the_interval_of_many_samples_is_narrow() -> None:
    generator = np.random.default_rng(0)
    hits = 0
    for _ in range(400):
        samples = Timing(tuple(generator.lognormal(0, 0.2, 51)))
        found = ratio(samples, Timing((1.0,) * 51))
        hits += found.low <= 1.0 <= found.high
        assert found.high / found.low < 1.35
    assert hits / 400 > 0.93


def test_quiet_timings_are_trusted() -> None:
    quiet = Timing((10.0, 10.1, 10.2, 10.0, 10.1, 10.1, 10.2))
    assert (
        noise({"original": quiet, "fused": Timing(tuple(s / 2 for s in quiet.samples_ms))}) is None
    )
    assert noise({"original": quiet, "same": quiet}) is None


def test_far_quartiles_are_told() -> None:
    quiet, wild = Timing((10.0,) * 7), Timing((10.0, 20.0, 10.0, 20.0, 11.0, 19.0, 15.0))
    assert noise({"original": quiet, "fused": wild}) == (
        "the quartiles of fused lie up to 60% of the median apart: the machine is too noisy to "
        "tell; stop other programs or give more time"
    )


def test_an_undecided_ratio_is_told() -> None:
    old = Timing((10.0, 10.0, 10.0, 10.0, 10.0, 10.0, 10.0))
    new = Timing((9.0, 10.8, 9.2, 10.9, 9.4, 10.5, 10.0))
    assert noise({"original": old, "fused": new}) == (
        "fused takes 0.90 to 1.09 times as long as original: the machine is too noisy to tell "
        "which is faster; stop other programs or give more time"
    )


def test_an_even_ratio_is_no_noise() -> None:
    assert not Ratio(1.0, 0.98, 1.02).undecided
    assert Ratio(1.0, 0.9, 1.2).undecided
    assert not Ratio(2.0, 1.5, 2.5).undecided


def test_the_order_repeats_with_its_seed() -> None:
    def order(seed: int) -> list[str]:
        machine = Machine()
        callables = {name: machine.callable(name, 60) for name in "abcd"}
        interleave(callables, budget_s=0.01, min_rounds=9, seed=seed, clock=machine.clock)
        return machine.calls

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert set(Counter(order(1)).values()) == {3 + 9}


def test_a_timing_has_samples() -> None:
    with pytest.raises(ValueError, match="at least one sample"):
        Timing(())
    assert math.isclose(Timing((2.0,)).spread, 0)
