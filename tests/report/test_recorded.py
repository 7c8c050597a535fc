"""The record of a test set: the interval of a difference on the same images."""

from dataclasses import replace

import numpy as np
import pytest

from mlcnn.report import RunSummary
from mlcnn.report.headline import Mood, facts
from mlcnn.report.recorded import record_sentences, recorded_difference, recorded_json
from mlcnn.zoo import TestedPair, TrainingRun

RUNS = (TrainingRun(0, 0.5, 0.6), TrainingRun(1, 0.4, 0.9))
PAIR = TestedPair("any", 1000, 900, 880, 50, 30, RUNS, RUNS[:1])


def test_the_interval_is_that_of_a_mean_of_paired_differences():
    differences = np.zeros(1000)
    differences[:50], differences[50:80] = -1, 1
    half = 1.959964 * differences.std() / 1000**0.5
    found = recorded_difference(PAIR)
    assert found.top1 == pytest.approx(-0.02)
    assert found.interval == pytest.approx((-0.02 - half, -0.02 + half))


@pytest.mark.parametrize(
    ("pair", "mood"),
    [(PAIR, Mood.BAD), (replace(PAIR, reordered=890, only_reordered=40), Mood.PLAIN)],
)
def test_the_headline_is_the_whole_test_set(summary: RunSummary, pair, mood):
    found = facts(replace(summary, tested=pair))[-1]
    assert found.title == "Accuracy"
    assert found.mood is mood
    assert "1,000 images of any" in found.note
    # The fixture's own sample: 91.2 % before, 90.4 % after, of 1,000 images.
    assert (found.lines[-1].what, found.lines[-1].value) == ("1,000 here", "-0.80 points")


def test_the_record_in_words(summary: RunSummary):
    reached, spread = record_sentences(PAIR, None)
    assert "all 1,000 images of any" in reached
    assert "original 90.00 %" in reached
    assert "difference -2.00 points (" in reached
    assert spread == "over 2 seeds: original 60.00 to 90.00 %, result 60.00 to 60.00 %"
    assert len(record_sentences(PAIR, summary.accuracy)) == 3
    assert record_sentences(PAIR, ()) == (reached, spread)


def test_every_run_is_in_the_document():
    rows = recorded_json(PAIR)["rows"]
    assert isinstance(rows, list)
    assert [row["runs"] for row in rows] == [[0.6, 0.9], [0.6]]
