"""The statements at the top: right, and never better than what was found."""

from dataclasses import replace

import pytest

from mlcnn.passes import Change
from mlcnn.report import ORIGINAL, RESULT, Exactness, Latency, Potential, RunSummary
from mlcnn.report.headline import Fact, Mood, facts, potential_sentence, sentence
from mlcnn.training.intervals import Accuracy


def fact(summary: RunSummary, title: str) -> Fact:
    return next(fact for fact in facts(summary) if fact.title == title)


def slower(summary: RunSummary) -> RunSummary:
    rows = [
        replace(r, median_ms=9.0, q1_ms=8.9, q3_ms=9.1)
        if (r.engine, r.variant, r.batch) == ("torch", RESULT, 1)
        else r
        for r in summary.latencies
    ]
    original = Latency("torch", ORIGINAL, 1, 1, 6, 5.9, 6.1)
    rows = [
        original if (r.engine, r.variant, r.batch) == ("torch", "original", 1) else r for r in rows
    ]
    return replace(summary, latencies=tuple(rows))


def test_figures_of_the_network_stand_at_the_top(summary: RunSummary):
    assert fact(summary, "Speed").value == "1.46x"
    assert fact(summary, "Speed").mood is Mood.GOOD
    assert fact(summary, "Multiplications").value == "-36.5 %"
    assert fact(summary, "Layers rewritten").value == "5"
    assert fact(summary, "Exactness").value == "4.4e-15"
    assert fact(summary, "Accuracy").value == "-0.80 points"
    assert sentence(summary) == (
        "5 layers rewritten; 36.5 % of all multiplications are gone; "
        "1.46x the speed of the original network."
    )


def test_one_slow_engine_is_not_hidden(summary: RunSummary):
    speed = fact(slower(summary), "Speed")
    assert speed.value == "0.67 to 1.46x"
    assert speed.mood is Mood.BAD
    assert [(line.what, line.value) for line in speed.lines][-1] == ("torch", "0.67 to 1.46x")


@pytest.mark.parametrize(
    ("check", "value", "mood"),
    [
        (Exactness(), "not checked", Mood.MISSING),
        (Exactness(0.0, vacuous=True, sites=2), "vacuous", Mood.WARN),
        (Exactness(1e-3, sites=2), "1.0e-03", Mood.BAD),
        (Exactness(0.0, sites=2), "0", Mood.GOOD),
    ],
)
def test_exactness_is_good_only_if_shown(summary: RunSummary, check, value, mood):
    found = fact(replace(summary, exactness=check), "Exactness")
    assert (found.value, found.mood) == (value, mood)


def test_accuracy_lost_beyond_chance_is_bad(summary: RunSummary):
    rows = (
        Accuracy(ORIGINAL, "any", 10_000, 0.93),
        Accuracy(RESULT, "any", 10_000, 0.90),
    )
    found = fact(replace(summary, accuracy=rows), "Accuracy")
    assert (found.value, found.mood) == ("-3.00 points", Mood.BAD)


def test_outputs_that_differ_unmeasured_are_said_to(summary: RunSummary):
    text = sentence(replace(summary, accuracy=None))
    assert text.endswith("the outputs differ; the accuracy was not measured.")


@pytest.mark.parametrize("summary", ["densenet121"], indirect=True)
def test_exact_rewrites_need_no_such_remark(summary: RunSummary):
    assert "accuracy" not in sentence(summary)


@pytest.mark.parametrize("summary", ["untouched"], indirect=True)
def test_nothing_gained_is_said_plainly_with_what_fine_tuning_would_gain(summary: RunSummary):
    assert sentence(summary).startswith("Nothing was rewritten")
    assert fact(summary, "Speed").mood is Mood.MISSING
    assert potential_sentence(summary) == (
        "With fine-tuning, the approximate passes could fuse 1 layer more and remove 27.65 k "
        "further multiplications (-54.5 %)."
    )


def test_no_potential_is_no_sentence(summary: RunSummary):
    assert potential_sentence(summary) == ""
    assert potential_sentence(replace(summary, potential=Potential(0, 0))) == ""


def test_a_network_without_layers_has_no_percentage():
    empty = RunSummary("empty", "empty", "", "", 0)
    assert fact(empty, "Multiplications").value == "none"


def noisy(summary: RunSummary, *engines: str) -> RunSummary:
    """The quartiles of these engines lie so far apart that they say nothing."""
    return replace(
        summary,
        latencies=tuple(
            replace(row, q1_ms=row.median_ms / 3, q3_ms=row.median_ms * 3)
            if row.engine in engines
            else row
            for row in summary.latencies
        ),
    )


def test_a_gain_within_noise_everywhere_is_no_headline(summary: RunSummary):
    summary = noisy(summary, "onnxruntime", "openvino", "torch")
    found = fact(summary, "Speed")
    assert (found.value, found.mood) == ("no difference", Mood.WARN)
    assert found.note == "result against original: all within noise"
    assert [line.value for line in found.lines] == ["1.46x (noise)"] * 3
    assert sentence(summary) == (
        "5 layers rewritten; 36.5 % of all multiplications are gone; "
        "no measurable gain in speed (1.46x, all within noise)."
    )


def test_noise_in_some_places_is_counted(summary: RunSummary):
    summary = noisy(summary, "torch")
    assert fact(summary, "Speed").note == "result against original; 2 of 6 within noise"
    assert sentence(summary).endswith(
        "1.46x the speed of the original network (2 of 6 within noise)."
    )


def test_what_was_only_tidied_up_is_said_so_throughout():
    changes = tuple(
        Change("fold-batch-norm", (f"conv{i}", f"bn{i}"), exact=True) for i in range(13)
    )
    tidied = RunSummary(
        "plain", "plain", "fold-batch-norm", "", 0,
        changes=changes, exactness=Exactness(8.1e-15, sites=13),
    )  # fmt: skip
    assert sentence(tidied) == (
        "No layer was rewritten: the network has no site where these passes gain anything. "
        "fold-batch-norm tidied up 13 places, which takes no multiplication away from a layer."
    )
    assert fact(tidied, "Layers rewritten").value == "0"
    assert fact(tidied, "Exactness").note == (
        "largest relative error at 13 places, float64, of fold-batch-norm"
    )
