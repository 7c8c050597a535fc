"""Figures from a set of toy records."""

import numpy as np
import pytest
from reproduce.study.toy_runs import toy_run, toy_study

from mlcnn.reproduce import reproduce
from mlcnn.reproduce.study import FIGURES, averages, reproduce_study, write_run


def table(result, word):
    (found,) = (one for one in result.beside if word in one.title)
    return found


def test_a_figure_of_toy_records():
    runs = toy_study({"original": 0.6, "reordered": 0.62, "all-conv": 0.5})
    result = reproduce_study("figure-3", runs)
    assert result.ok
    rows = {row[2]: row for row in table(result, "mean over the seeds").rows}
    assert list(rows) == ["original", "reordered", "all-conv"]
    mean = 100 * np.mean([run.top1 for run in runs[:5]])
    assert rows["original"][4] == pytest.approx(mean)
    assert rows["original"][7:] == (5, 12, "cpu")
    verdicts = {row[0]: row[2:4] for row in table(result, "what the paper says").rows}
    assert verdicts["reordered within 1.5 points of the original, CIFAR-10 (each)"] == (
        "not decided",
        "1 confirmed, 3 not run",
    )
    commands = [row[3] for row in table(result, "not run;").rows]
    assert commands[0] == (
        "mlcnn study lenet5 --data cifar100 --form original --form reordered --form all-conv"
    )
    assert len(commands) == 7


def test_precisions_start_from_floats():
    result = reproduce_study("figure-12", toy_study({"original": 0.6, "reordered": 0.6}))
    command = table(result, "not run;").rows[0][3]
    assert command.startswith("mlcnn study lenet5 --data cifar10 --form original --form reordered")
    assert command.endswith(
        "--precision fp32 --precision fp16 --precision int8 --precision w4a4 --precision w2a2"
    )


def test_networks_that_the_paper_has_not_are_shown_behind_its_own():
    rows = averages("figure-3", (toy_run(network="resnet20"),))
    shown = [row.cell for row in rows if row.cell.network == "resnet20"]
    assert rows[-1].cell.network == "resnet20"
    assert {cell.form for cell in shown} == {"original", "reordered"}  # it has no all-conv


@pytest.mark.parametrize("what", FIGURES)
def test_without_records_all_is_not_run(what, tmp_path):
    result = reproduce(what, runs=tmp_path)
    assert result.ok
    assert not [one for one in result.beside if "mean over" in one.title]
    assert {row[2] for row in table(result, "what the paper says").rows} == {"not run"}


def test_records_of_a_folder(tmp_path):
    for run in toy_study({"original": 0.6, "max": 0.5}, seeds=3):
        write_run(run, tmp_path)
    result = reproduce("figure-4", runs=tmp_path)
    (row,) = table(result, "differences of our runs").rows
    assert row[-1] == "confirmed"
