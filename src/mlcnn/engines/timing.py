"""Interleaved timing: what is compared runs in turn, so that drift of the machine meets all alike.

What it takes from the established tools: warm-up and blocks of calls from
``torch.utils.benchmark``, random interleaving from google-benchmark, a time budget and medians
from OpenVINO's ``benchmark_app``. Ratios are paired: each round gives one ratio of neighbours in
time, and the interval of their median needs no assumption about the noise.
"""

import gc
import math
import random
import time
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from statistics import median, quantiles

from mlcnn.errors import InputError

__all__ = ["Clock", "Ratio", "Timing", "interleave", "noise", "one_by_one", "ratio"]

_NS_PER_MS = 1e6
_CONFIDENCE = 0.95
_WARM_UP_CALLS = 3
_WARM_UP_MS = 10.0
# A slower call streams more data than the caches hold, so one more call would not warm them.
_SETTLE_BELOW_MS = 50.0
_NOISY_SPREAD = 0.25
_NOISY_INTERVAL = 1.1

Clock = Callable[[], int]
"""Monotonic nanoseconds."""


@dataclass(frozen=True, slots=True)
class Timing:
    """Time of one call, sampled once per round.

    Attributes:
        samples_ms: time of one call in each round, in the order of the rounds.
    """

    samples_ms: tuple[float, ...]

    def __post_init__(self) -> None:
        if not self.samples_ms:
            raise ValueError("a timing needs at least one sample")

    @property
    def median_ms(self) -> float:
        """Median over the rounds."""
        return median(self.samples_ms)

    @property
    def q1_ms(self) -> float:
        """First quartile."""
        return _quartiles(self.samples_ms)[0]

    @property
    def q3_ms(self) -> float:
        """Third quartile."""
        return _quartiles(self.samples_ms)[1]

    @property
    def spread(self) -> float:
        """Distance of the quartiles, relative to the median."""
        return (self.q3_ms - self.q1_ms) / self.median_ms if self.median_ms else 0.0


@dataclass(frozen=True, slots=True)
class Ratio:
    """Median of paired ratios, with its 95 % interval.

    Attributes:
        value: the median.
        low: lower end of the interval.
        high: upper end of the interval.
    """

    value: float
    low: float
    high: float

    @property
    def undecided(self) -> bool:
        """Whether the interval holds 1 and is too wide to call the two equal."""
        return self.low <= 1.0 <= self.high and self.high / self.low > _NOISY_INTERVAL


def _quartiles(values: tuple[float, ...]) -> tuple[float, float]:
    if len(values) == 1:
        return values[0], values[0]
    first, _, third = quantiles(values, n=4, method="inclusive")
    return first, third


def _rank(count: int) -> int:
    """Rank of the lower end of the median's interval among ``count`` sorted samples, from 0.

    The number of samples below the true median is binomial with probability 1/2. Below six
    samples even the whole range covers less than 95 %; it is what there is then.
    """
    rank, tail = 0, 1
    while rank < count // 2:
        following = tail + math.comb(count, rank + 1)
        if 2 * following / 2**count > 1 - _CONFIDENCE:
            break
        rank, tail = rank + 1, following
    return rank if 2 * tail / 2**count <= 1 - _CONFIDENCE else 0


def ratio(numerator: Timing, denominator: Timing) -> Ratio:
    """How many times longer ``numerator`` takes than ``denominator``, round by round.

    Args:
        numerator: of the same rounds as ``denominator``.
        denominator: the speed-up of this one is what the ratio says.

    Returns:
        The median of the rounds' ratios and the interval that holds the true median with 95 %
        confidence (order statistics; the whole range for fewer than six rounds).
    """
    pairs = zip(numerator.samples_ms, denominator.samples_ms, strict=True)
    ratios = sorted(above / below for above, below in pairs)
    rank = _rank(len(ratios))
    return Ratio(median(ratios), ratios[rank], ratios[-1 - rank])


def noise(timings: Mapping[str, Timing]) -> str | None:
    """Why the machine is too noisy to tell, or None if the timings can be trusted.

    Args:
        timings: of the same rounds; the first is what the others are compared with.
    """
    names = list(timings)
    wide = [name for name in names if timings[name].spread > _NOISY_SPREAD]
    if wide:
        spread = max(timings[name].spread for name in wide)
        return (
            f"the quartiles of {', '.join(wide)} lie up to {spread:.0%} of the median apart: "
            "the machine is too noisy to tell; stop other programs or give more time"
        )
    for name in names[1:]:
        found = ratio(timings[names[0]], timings[name])
        if found.undecided:
            return (
                f"{name} takes {1 / found.high:.2f} to {1 / found.low:.2f} times as long as "
                f"{names[0]}: the machine is too noisy to tell which is faster; stop other "
                "programs or give more time"
            )
    return None


@contextmanager
def _without_gc() -> Generator[None]:
    """Keep the garbage collector from running inside a sample."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


def _elapsed_ms(call: Callable[[], object], repeats: int, clock: Clock) -> float:
    start = clock()
    for _ in range(repeats):
        call()
    return (clock() - start) / _NS_PER_MS


def _warm_up(call: Callable[[], object], clock: Clock) -> float:
    """Call until caches and lazy set-up have settled; return the time of one call in ms."""
    total, fastest, calls = 0.0, math.inf, 0
    while calls < _WARM_UP_CALLS or total < _WARM_UP_MS:
        took = _elapsed_ms(call, 1, clock)
        total, fastest, calls = total + took, min(fastest, took), calls + 1
        if took == 0 and calls >= _WARM_UP_CALLS:
            break
        if total > _SETTLE_BELOW_MS * _WARM_UP_CALLS:
            break
    return fastest


def _repeats(sample_ms: float, once_ms: float, between: object) -> int:
    """Calls per sample."""
    return 1 if between is not None or not once_ms else max(1, math.ceil(sample_ms / once_ms))


def interleave(
    callables: Mapping[str, Callable[[], object]],
    *,
    budget_s: float = 2.0,
    sample_ms: float = 3.0,
    min_rounds: int = 7,
    max_rounds: int = 1000,
    seed: int = 0,
    clock: Clock = time.perf_counter_ns,
    between: Callable[[], object] | None = None,
) -> dict[str, Timing]:
    """Time several callables in turn, in a new random order each round.

    Each is warmed up first, and called once untimed before each of its samples, since what ran
    before it has left its own data in the caches. The garbage collector is off in between.

    Args:
        callables: what to time, by name.
        budget_s: seconds for all of them together; ``min_rounds`` rounds are run in any case.
        sample_ms: shortest time of one sample; quick callables are repeated inside a sample.
        min_rounds: rounds at least; seven give a 95 % interval of a ratio.
        max_rounds: rounds at most.
        seed: of the order.
        clock: nanoseconds; monotonic.
        between: called untimed before each sample in place of what the sample times, to leave the
            caches as it wants them; a sample is then a single call.

    Returns:
        The timings by name, in the order given; the same round has the same index in all.

    Raises:
        InputError: for nothing to time, or limits that are not positive.
    """
    if not callables or budget_s <= 0 or sample_ms <= 0 or not 1 <= min_rounds <= max_rounds:
        raise InputError(
            "timing needs at least one callable, a positive budget and 1 <= min_rounds <= "
            f"max_rounds, got {len(callables)} callables, budget_s={budget_s}, "
            f"sample_ms={sample_ms}, min_rounds={min_rounds}, max_rounds={max_rounds}"
        )
    order, generator = list(callables), random.Random(seed)  # noqa: S311 - no secret
    samples: dict[str, list[float]] = {name: [] for name in callables}
    stop = clock() + budget_s * 1e9
    once = {name: _warm_up(call, clock) for name, call in callables.items()}
    repeats = {name: _repeats(sample_ms, took, between) for name, took in once.items()}
    with _without_gc():
        for done in range(max_rounds):
            if done >= min_rounds and clock() >= stop:
                break
            generator.shuffle(order)
            for name in order:
                if between is not None:
                    between()
                elif once[name] < _SETTLE_BELOW_MS:
                    callables[name]()
                took = _elapsed_ms(callables[name], repeats[name], clock)
                samples[name].append(took / repeats[name])
    return {name: Timing(tuple(values)) for name, values in samples.items()}


def one_by_one(
    calls: Sequence[Callable[[int], object]], count: int, *, clock: Clock = time.perf_counter_ns
) -> list[tuple[float, ...]]:
    """Milliseconds of calls whose time depends on what they are given, in turn for each of it.

    Args:
        calls: take the number of what they are given.
        count: how many there are; each is given to every call twice, and the shorter time counts.
        clock: monotonic nanoseconds.

    Returns:
        For each call, a time for each number.
    """
    found: list[list[float]] = [[] for _ in calls]
    with _without_gc():
        for number in range(count):
            for times, call in zip(found, calls, strict=True):
                least = math.inf
                for _ in range(2):
                    start = clock()
                    call(number)
                    least = min(least, (clock() - start) / _NS_PER_MS)
                times.append(least)
    return [tuple(times) for times in found]
