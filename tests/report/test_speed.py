"""Speed-ups, and when they say nothing."""

from dataclasses import replace

import pytest

from mlcnn.report import ORIGINAL, RESULT, Latency, RunSummary
from mlcnn.report.speed import Verdict, result_variant, settings, speedups


def row(variant: str, median: float, q1: float, q3: float, **more) -> Latency:
    return Latency("onnxruntime", variant, 1, 1, median, q1, q3, **more)


def only_speedup(summary: RunSummary, *rows: Latency):
    (found,) = speedups(replace(summary, latencies=rows), variant=RESULT)
    return found


def test_range_is_what_the_quartiles_allow(summary: RunSummary):
    found = only_speedup(summary, row(ORIGINAL, 6, 5, 8), row(RESULT, 3, 2, 4))
    assert (found.value, found.low, found.high) == (2, 5 / 4, 8 / 2)
    assert found.verdict is Verdict.FASTER
    assert not found.paired


@pytest.mark.parametrize(
    ("fused", "verdict"),
    [
        ((3, 2, 4), Verdict.FASTER),
        ((6, 5, 7), Verdict.WITHIN_NOISE),
        ((9, 8.5, 10), Verdict.SLOWER),
    ],
)
def test_verdict_follows_the_whole_range(summary: RunSummary, fused, verdict):
    found = only_speedup(summary, row(ORIGINAL, 6, 5, 8), row(RESULT, *fused))
    assert found.verdict is verdict


def test_rounds_are_compared_with_their_neighbours(summary: RunSummary):
    # The machine slows down threefold half-way; each round is still twice as fast.
    slow = tuple(2.0 if index < 10 else 6.0 for index in range(20))
    found = only_speedup(
        summary,
        row(ORIGINAL, 4, 2, 6, samples_ms=slow),
        row(RESULT, 2, 1, 3, samples_ms=tuple(ms / 2 for ms in slow)),
    )
    assert (found.value, found.low, found.high) == (2, 2, 2)
    assert found.verdict is Verdict.FASTER
    assert found.paired


def test_nothing_is_compared_across_batches_or_threads(summary: RunSummary):
    rows = (
        Latency("onnxruntime", ORIGINAL, 1, 1, 2, 2, 2),
        Latency("onnxruntime", RESULT, 8, 1, 1, 1, 1),
        Latency("onnxruntime", RESULT, 1, 2, 1, 1, 1),
    )
    assert speedups(replace(summary, latencies=rows), variant=RESULT) == ()


def test_settings_are_in_order_of_batch_then_engine_then_variant(summary: RunSummary):
    shuffled = replace(summary, latencies=tuple(reversed(summary.latencies)))
    assert [setting.batch for setting in settings(shuffled)] == [1, 8]
    first = settings(shuffled)[0].rows
    assert [r.variant for r in first[:3]] == [ORIGINAL, "max-to-average, reorder", RESULT]
    assert [r.engine for r in first[::3]] == ["torch", "openvino", "onnxruntime"]


def test_the_result_is_the_furthest_variant_measured(summary: RunSummary):
    assert result_variant(summary) == RESULT
    rows = tuple(r for r in summary.latencies if r.variant != RESULT)
    assert result_variant(replace(summary, latencies=rows)) == "max-to-average, reorder"
