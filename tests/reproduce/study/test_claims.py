"""Claims judged by intervals."""

from dataclasses import replace

import numpy as np
import pytest
from reproduce.study.toy_runs import toy_run, toy_study

from mlcnn.errors import InputError
from mlcnn.reproduce.study import FIGURES, Verdict, judge, judged_claims, load_study
from mlcnn.reproduce.study.claims import claims_of, overall
from mlcnn.reproduce.study.statistics import Estimate

YES, NO, OPEN, NONE = (
    Verdict.CONFIRMED,
    Verdict.CONTRADICTED,
    Verdict.UNDECIDED,
    Verdict.NOT_RUN,
)


@pytest.mark.parametrize(
    ("low", "high", "runs", "verdict"),
    [
        (-1.5, -0.2, 5, YES),
        (-1.51, -0.2, 5, OPEN),
        (-3.0, -1.5, 5, OPEN),
        (-3.0, -1.51, 5, NO),
        (0.0, 2.0, 3, YES),
        (0.0, 2.0, 2, OPEN),  # two seeds say nothing of a third
        (-3.0, -2.0, 1, OPEN),
    ],
)
def test_an_interval_and_a_bound(low, high, runs, verdict):
    assert judge(Estimate((low + high) / 2, low, high, runs), -1.5) is verdict


def test_without_runs():
    assert judge(None, 0) is NONE


@pytest.mark.parametrize(
    ("scope", "verdicts", "verdict"),
    [
        ("each", [YES, YES], YES),
        ("each", [YES, NONE], OPEN),
        ("each", [YES, NONE, NO], NO),
        ("each", [NONE, NONE], NONE),
        ("most", [YES, YES, NO], YES),
        ("most", [YES, YES, NO, NO], NO),  # half is not most
        ("most", [YES, NONE, NONE, NO], OPEN),
        ("most", [YES, OPEN], OPEN),
    ],
)
def test_networks_together(scope, verdicts, verdict):
    assert overall(scope, verdicts) is verdict


def verdict_of(what, item, runs, network="lenet5"):
    (found,) = (
        one for claim, ours in judged_claims(what, runs) for one in ours
        if claim.item == item and one.network == network
    )  # fmt: skip
    return found


WITHIN = "reordered within 1.5 points of the original, CIFAR-10"


@pytest.mark.parametrize(("reordered", "verdict"), [(0.62, YES), (0.50, NO), (0.585, OPEN)])
def test_a_claim_is_the_difference_of_the_runs(reordered, verdict):
    runs = toy_study({"original": 0.6, "reordered": reordered})
    found = verdict_of("figure-3", WITHIN, runs)
    by_hand = np.mean(
        [100 * (runs[5 + seed].right.mean() - runs[seed].right.mean()) for seed in range(5)]
    )
    assert found.difference.value == pytest.approx(by_hand)
    assert found.verdict is verdict
    assert verdict_of("figure-3", WITHIN, runs, "vgg16").verdict is NONE


def test_only_seeds_that_both_have_are_compared():
    runs = toy_study({"original": 0.6, "reordered": 0.7})[:8]  # reordered has three
    found = verdict_of("figure-3", WITHIN, runs)
    assert found.difference.runs == 3
    by_hand = 100 * np.mean([runs[5 + s].top1 - runs[s].top1 for s in range(3)])
    assert found.difference.value == pytest.approx(by_hand)
    assert verdict_of("figure-3", WITHIN, runs[:5]).verdict is NONE


def test_the_five_likeliest():
    item = "reordered ahead of all-conv, CIFAR-100, top 5"
    shares = {"reordered": 0.91, "all-conv": 0.88}
    runs = [
        toy_run(form, seed, 0.6, dataset="cifar100", top5=top5 + seed / 1000 * (form == "all-conv"))
        for form, top5 in shares.items()
        for seed in range(4)
    ]
    found = verdict_of("figure-3", item, runs)
    assert found.difference.value == pytest.approx(100 * (0.03 - 0.0015))
    assert found.verdict is YES
    unknown = [replace(run, top5=None) for run in runs]
    assert verdict_of("figure-3", item, unknown).verdict is NONE


def test_other_recipes_are_not_compared():
    runs = (toy_run("original"), toy_run("reordered", epochs=3))
    with pytest.raises(InputError, match="trained by different recipes"):
        judged_claims("figure-3", runs)
    short = replace(toy_run("reordered"), right=np.ones(10, bool))
    with pytest.raises(InputError, match="tested on 10 and 1003 images"):
        judged_claims("figure-3", (toy_run("original"), short))


@pytest.mark.parametrize("what", FIGURES)
def test_claims_are_about_what_the_study_has(what):
    study = load_study()
    for claim in claims_of(what):
        assert claim.scope in {"each", "most"}
        assert claim.source.startswith("[MLCNN] Sec. ")
        for network in claim.networks:
            assert {claim.form, claim.against} <= set(study.network(network).forms)
        study.precision(claim.precision)
        study.precision(claim.against_precision)
