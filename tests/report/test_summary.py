"""What a summary adds up, and what it refuses."""

import pytest

from mlcnn.report import RESULT, Exactness, Latency, RunSummary
from mlcnn.training.intervals import Accuracy


def test_totals_are_those_of_vgg16(summary: RunSummary):
    # 313.20 M multiply-accumulates in the convolutions and 5,120 in the classifier: the
    # published count of this network for 32x32 images.
    assert summary.before.multiplications == 313_196_544 + 5_120
    assert summary.images == 1


def test_a_chosen_form_counts_in_the_total(summary: RunSummary):
    gone = summary.before.multiplications - summary.after.multiplications
    # Three sites of 37.7 M lose 3/4 by their box. At 4x4 the expanded kernel has 16 taps in
    # the place of 4 x 9; at 2x2 its used taps are the 4 inputs, in the place of 4 x 9.
    box = 3 * 37_748_736 * 3 // 4
    assert gone == box + 37_748_736 * 20 // 36 + 9_437_184 * 32 // 36


def test_an_empty_network_counts_nothing():
    summary = RunSummary("empty", "empty", "", "", 0)
    assert (summary.before.multiplications, summary.after.additions, summary.images) == (0, 0, 1)


@pytest.mark.parametrize(
    ("images", "top1", "low", "high"),
    [(10, 0.8, 0.4902, 0.9433), (100, 0.5, 0.4038, 0.5962), (20, 0.0, 0.0, 0.1611)],
)
def test_accuracy_interval_is_wilsons(images, top1, low, high):
    # Values of the Wilson score interval as statistics texts tabulate them.
    found = Accuracy(RESULT, "any", images, top1).interval
    assert found == pytest.approx((low, high), abs=1e-4)


@pytest.mark.parametrize(("images", "top1"), [(0, 0.5), (10, 1.1), (10, -0.1)])
def test_impossible_accuracy_is_refused(images, top1):
    with pytest.raises(ValueError, match="at least one image and 0 <= top1 <= 1"):
        Accuracy(RESULT, "any", images, top1)


@pytest.mark.parametrize("times", [(2, 1, 3), (1, 2, 1.5), (0, 0, 1), (1, 1, float("inf"))])
def test_impossible_latency_is_refused(times):
    q1, median, q3 = times
    with pytest.raises(ValueError, match="latency needs 0 < q1_ms <= median_ms <= q3_ms"):
        Latency("onnxruntime", RESULT, 1, 1, median, q1, q3)


@pytest.mark.parametrize(
    ("check", "ok"),
    [
        (Exactness(1e-13, 1e-12), True),
        (Exactness(1e-11, 1e-12), False),
        (Exactness(0.0, 1e-12, vacuous=True), False),
        (Exactness(), False),
    ],
)
def test_only_a_check_that_could_fail_passes(check, ok):
    assert check.ok is ok
