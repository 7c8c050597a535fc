"""Explorations of designs whose cost is a formula: the truth is known."""

import itertools

import numpy as np
import pytest
from codesign.exploration.made_up import Formula, candidates

from mlcnn.codesign.exploration import (
    Archive,
    Limit,
    Quantity,
    Question,
    Strategy,
    Work,
    front_of,
)
from mlcnn.errors import InfeasibleError
from mlcnn.journal import Journal

EDP = (Quantity.EDP,)
THREE = (Quantity.LATENCY, Quantity.POWER, Quantity.AREA)
RUN = {"seed": 0}
BY_FORMULA = [one for one in Strategy if one is not Strategy.RELAXED]
"""Strategies that ask for nothing but what designs come to."""


def explored(workers, objectives=EDP, limits=(), journal=None, run=RUN, **options):
    found = workers.candidates
    question = Question(found.space, objectives, tuple(limits), **options)
    with Journal(journal, run) as written:
        return Work(question, found, written, workers, lambda _: None).explored("net")


@pytest.mark.parametrize("strategy", BY_FORMULA)
@pytest.mark.parametrize("seed", range(5))
def test_the_best_of_all_is_found(strategy, seed):
    workers = Formula(candidates())
    found = explored(workers, strategy=strategy, seed=seed)
    best = min(one.edp for one in workers.all().values())
    assert found.front[0].found.edp == best
    assert found.ending.exhausted
    assert found.bound <= best
    assert len(workers.mapped) == found.scored == len(set(workers.mapped)) < len(found.space)


@pytest.mark.parametrize("seed", range(3))
def test_a_proof(seed):
    workers = Formula(candidates())
    found = explored(workers, strategy=Strategy.PROOF, seed=seed)
    best = min(one.edp for one in workers.all().values())
    assert found.ending.proven
    assert found.front[0].found.edp == found.bound == best
    assert found.gap == 0.0
    least = workers.candidates.least(Quantity.EDP)
    assert set(np.flatnonzero(least < best)) <= set(workers.mapped)


@pytest.mark.parametrize("seed", range(3))
def test_a_front_is_that_of_all_but_for_what_is_hardly_better(seed):
    workers = Formula(candidates())
    found = explored(workers, THREE, seed=seed)
    everything = Archive(workers.candidates, THREE, (), workers.all())
    truth = everything.values(everything.front())
    mine = everything.values(workers.candidates.designs.index(one.design) for one in found.front)
    for row in truth:  # each is there, or one that is within a per cent in everything
        assert (mine <= row * 1.01).all(1).any()
    assert len(front_of(mine)) == len(mine)


@pytest.mark.parametrize("strategy", BY_FORMULA)
def test_bounds_are_kept(strategy):
    workers = Formula(candidates())
    powers = sorted(one.power_w for one in workers.all().values())
    limit = Limit(Quantity.POWER, powers[12])
    found = explored(workers, limits=[limit], strategy=strategy)
    allowed = [one.edp for one in workers.all().values() if one.power_w <= limit.most]
    assert found.front[0].found.power_w <= limit.most
    assert found.front[0].found.edp == pytest.approx(min(allowed), rel=0.01)


def test_a_power_that_no_design_has():
    workers = Formula(candidates())
    with pytest.raises(InfeasibleError) as error:
        explored(workers, limits=[Limit(Quantity.POWER, 1e-6)])
    least = min(workers.all().items(), key=lambda one: one[1].power_w)
    message = str(error.value)
    space, designs = workers.candidates.space, workers.candidates.designs
    assert message == (
        f"none of the {len(workers.mapped)} designs of template gemmini that were mapped has a "
        f"power of at most 1e-06 W: the least is {Quantity.POWER.told(least[1].power_w, up=True)}, "
        f"with {space.told(designs[least[0]])}; raise the bound on power to that or more"
    )


def test_the_least_power():
    workers, told = Formula(candidates()), []
    question = Question(workers.candidates.space, (Quantity.POWER,))
    with Journal(None, RUN) as journal:
        work = Work(question, workers.candidates, journal, workers, told.append)
        found = work.explored("net")
    least = min(one.power_w for one in workers.all().values())
    assert found.front[0].found.power_w == pytest.approx(least, rel=0.01)
    assert found.gap is None
    assert found.to_json()["lower_bound"] == 0.0
    assert {one.gap for one in told} == {None}


def test_no_time_at_all():
    with pytest.raises(InfeasibleError) as error:
        explored(Formula(candidates(), after=0), budget_s=1.0)
    assert str(error.value) == (
        "no design of template gemmini was mapped within 1 s; allow a longer --budget, or more "
        "--processes"
    )


@pytest.mark.parametrize(
    ("objectives", "strategy"), [(EDP, "guided"), (THREE, "guided"), (THREE, "descent")]
)
def test_a_run_that_is_cut_goes_on_to_the_same_end(tmp_path, objectives, strategy):
    options = {"strategy": Strategy(strategy), "seed": 3}
    whole = Formula(candidates())
    expected = explored(whole, objectives, **options)
    mapped: list[int] = []
    for after in itertools.repeat(5):
        part = Formula(candidates(), after=after)
        found = explored(part, objectives, journal=tmp_path / "j.db", **options)
        mapped += part.mapped
        if found.ending.exhausted:
            break
    assert mapped == whole.mapped
    assert found.front == expected.front
    assert found.scored == expected.scored


class Backwards(Formula):
    """Finishes the designs of a batch in another order."""

    def map(self, jobs, deadline):
        return super().map(jobs[::-1], deadline)


def test_which_design_of_a_batch_is_first_changes_nothing(tmp_path):
    ends, rows = [], []
    for kind in (Formula, Backwards):
        path = tmp_path / kind.__name__
        ends.append(explored(kind(candidates()), THREE, journal=path))
        with Journal(path, RUN) as journal:
            rows.append(list(journal.known().items()))
    assert ends[0].front == ends[1].front
    assert rows[0] == rows[1]
