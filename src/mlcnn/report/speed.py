"""Speed-ups from measured latencies, with the range that their spread allows."""

from dataclasses import dataclass
from enum import StrEnum

from mlcnn.engines import Timing, ratio
from mlcnn.report.summary import ORIGINAL, RESULT, Latency, RunSummary, ordered

__all__ = [
    "Setting",
    "Speedup",
    "Verdict",
    "measured_variants",
    "result_variant",
    "settings",
    "speedups",
]


class Verdict(StrEnum):
    """What the spread says about a speed-up."""

    FASTER = "faster"
    WITHIN_NOISE = "within noise"
    SLOWER = "slower"


@dataclass(frozen=True, slots=True)
class Speedup:
    """How much faster a variant is than another, in one engine.

    Attributes:
        engine: the engine's name.
        batch: images per run.
        threads: threads that the engine may use.
        variant: the faster one, hopefully.
        against: the variant it is compared with.
        value: how many times faster.
        low: its lower end.
        high: its upper end.
        paired: whether value and ends come from ratios of neighbouring runs, and the ends hold
            the true ratio with 95 % confidence; else they are what the quartiles allow.
    """

    engine: str
    batch: int
    threads: int
    variant: str
    against: str
    value: float
    low: float
    high: float
    paired: bool

    @property
    def verdict(self) -> Verdict:
        """Whether the whole range is on one side of 1."""
        if self.low > 1:
            return Verdict.FASTER
        return Verdict.SLOWER if self.high < 1 else Verdict.WITHIN_NOISE


@dataclass(frozen=True, slots=True)
class Setting:
    """The latencies measured at one batch size and number of threads."""

    batch: int
    threads: int
    rows: tuple[Latency, ...]


def measured_variants(summary: RunSummary) -> tuple[str, ...]:
    """The states of the network that were timed, in order."""
    return ordered(row.variant for row in summary.latencies)


def result_variant(summary: RunSummary) -> str:
    """The variant that the run ends with: the furthest one that was measured."""
    return next(reversed(measured_variants(summary)), RESULT)


def settings(summary: RunSummary) -> tuple[Setting, ...]:
    """The latencies by batch and threads; inside, by engine and then by variant."""
    engines = list(dict.fromkeys(row.engine for row in summary.latencies))

    variants = measured_variants(summary)

    def order(row: Latency) -> tuple[int, int]:
        return engines.index(row.engine), variants.index(row.variant)

    keys = sorted({(row.batch, row.threads) for row in summary.latencies})
    return tuple(
        Setting(
            batch,
            threads,
            tuple(
                sorted(
                    (r for r in summary.latencies if (r.batch, r.threads) == (batch, threads)),
                    key=order,
                )
            ),
        )
        for batch, threads in keys
    )


def _ratio(old: Latency, new: Latency) -> tuple[float, float, float, bool]:
    """(ratio, its lower end, its upper end, whether it is paired)."""
    if old.samples_ms and len(old.samples_ms) == len(new.samples_ms):
        paired = ratio(Timing(old.samples_ms), Timing(new.samples_ms))
        return paired.value, paired.low, paired.high, True
    value = old.median_ms / new.median_ms
    return value, old.q1_ms / new.q3_ms, old.q3_ms / new.q1_ms, False


def speedups(summary: RunSummary, *, variant: str, against: str = ORIGINAL) -> tuple[Speedup, ...]:
    """Speed-ups of ``variant`` over ``against``, wherever both were measured."""
    found: list[Speedup] = []
    for setting in settings(summary):
        rows = {(row.engine, row.variant): row for row in setting.rows}
        for engine in dict.fromkeys(row.engine for row in setting.rows):
            new, old = rows.get((engine, variant)), rows.get((engine, against))
            if new is None or old is None or new is old:
                continue
            value, low, high, paired = _ratio(old, new)
            where = engine, setting.batch, setting.threads
            found.append(Speedup(*where, variant, against, value, low, high, paired))
    return tuple(found)
