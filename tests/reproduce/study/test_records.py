"""Records of runs: written, read, refused."""

import json

import numpy as np
import pytest
from reproduce.study.toy_runs import toy_run

from mlcnn.errors import InputError
from mlcnn.reproduce.study import read_run, read_runs, recorded_runs, write_run
from mlcnn.reproduce.study.plan import load_study


def test_there_and_back(tmp_path):
    run = toy_run("all-conv", 3, 0.37)
    path = write_run(run, tmp_path)
    assert path.name == "lenet5-all-conv-cifar10-fp32-3.json"
    again = read_run(path)
    np.testing.assert_array_equal(again.right, run.right)
    assert (again.cell, again.seed, again.recipe, again.epochs, again.top5, again.where) == (
        run.cell, run.seed, run.recipe, run.epochs, run.top5, run.where
    )  # fmt: skip
    assert [one.name for one in read_runs(tmp_path)] == [run.name]


def broken(change):
    def apply(text):
        record = json.loads(text)
        change(record)
        return json.dumps(record)

    return apply


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (lambda text: text[:200], "a damaged record of a run"),
        (lambda _: "", "a damaged record"),
        (lambda _: "[]", "a damaged record"),
        (lambda text: text.replace('"seed"', '"sead"'), "lacks 'seed'"),
        (broken(lambda r: r["test"].update(top1=0.9)), "top1 is 0.9, its bits say 0."),
        (broken(lambda r: r["test"].update(images=50)), "its bits are not those of 50 images"),
        (broken(lambda r: r["test"].update(right="?")), "a damaged record"),
        (broken(lambda r: r.update(format=2)), "a record of format 2, this version reads 1"),
    ],
)
def test_a_damaged_record(tmp_path, damage, message):
    path = write_run(toy_run(), tmp_path)
    path.write_text(damage(path.read_text()))
    with pytest.raises(InputError) as caught:
        read_runs(tmp_path)
    assert str(path) in str(caught.value)
    assert message in str(caught.value)


def test_no_folder_and_a_copy(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        read_runs(tmp_path / "none")
    path = write_run(toy_run(), tmp_path)
    path.with_name("copy.json").write_bytes(path.read_bytes())
    with pytest.raises(InputError, match="two records of lenet5-original-cifar10-fp32-0"):
        read_runs(tmp_path)


def test_the_packages_own_records_are_of_the_study():
    study = load_study()
    for run in recorded_runs():
        network = study.network(run.cell.network)
        assert run.cell.form in network.forms
        assert len(run.right) == 10_000
        assert run.where["commit"]
        if run.cell.precision == "fp32":
            assert len(run.epochs) == run.recipe["epochs"]
