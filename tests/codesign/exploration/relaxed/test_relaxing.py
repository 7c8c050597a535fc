"""Designs from relaxed sizes: within the bounds, near the best; and runs that are cut."""

import itertools

import numpy as np
import pytest
import torch
from codesign.exploration.made_up import GROUPS, area_limit

from mlcnn.codesign.exploration import (
    Archive,
    Candidates,
    Here,
    LoopNests,
    Quantity,
    Question,
    Relaxing,
    Strategy,
    Work,
    batches,
    load_template,
)
from mlcnn.codesign.exploration.workers import Unfinished
from mlcnn.errors import InputError
from mlcnn.journal import Journal

EDP = (Quantity.EDP,)
THREE = (Quantity.LATENCY, Quantity.POWER, Quantity.AREA)
LIMIT = area_limit(0.1)
FEW = ("pe=4..16", "scratchpad_kb=4..16", "accumulator_kb=2..8")
RUN = {"seed": 0}


@pytest.fixture(scope="module")
def found():
    """The designs of 0.1 mm2 and less."""
    return Candidates.of(load_template("gemmini").space(ranges=FEW), LoopNests(GROUPS), [LIMIT])


class Counting(Here):
    """Maps exactly, each design once for all tests, and keeps count.

    Args:
        found: the candidates.
        after: so many designs after which the time is over.
    """

    known = {}  # noqa: RUF012

    def __init__(self, found, after=None):
        super().__init__(LoopNests(GROUPS))
        self.candidates, self.after, self.mapped = found, after, []

    def map(self, jobs, deadline):
        for job in jobs:
            if self.after is not None and len(self.mapped) >= self.after:
                raise Unfinished
            self.mapped.append(job.number)
            if job.number not in self.known:
                self.known[job.number] = next(iter(super().map([job], deadline)))
            yield self.known[job.number]


class Once(Relaxing):
    """A search that remembers what it found, in the same order: see the test of that."""

    known = {}  # noqa: RUF012

    def ranked(self, archive, seed):
        key = archive.objectives, seed
        if key not in self.known:
            self.known[key] = Relaxing(self.groups, starts=self.starts).ranked(archive, seed)
        return self.known[key]


def explored(workers, objectives=EDP, journal=None, seed=0):
    space = workers.candidates.space
    question = Question(space, objectives, (LIMIT,), Strategy.RELAXED, seed)
    with Journal(journal, RUN) as written:
        relaxing = Once(GROUPS, starts=8)
        work = Work(
            question, workers.candidates, written, workers, lambda _: None, relaxing=relaxing
        )
        return work.explored("net")


@pytest.mark.parametrize("objectives", [EDP, pytest.param(THREE, marks=pytest.mark.long)])
def test_ranked_designs_are_candidates_each_once_and_the_same_again(found, objectives):
    archive = Archive(found, objectives, (LIMIT,))
    search = Once(GROUPS, starts=8)
    ranked = search.ranked(archive, 0)
    if objectives == EDP:
        assert ranked == Relaxing(GROUPS, starts=8).ranked(archive, 0)
    numbers = [number for number, _ in ranked]
    assert len(numbers) == len(set(numbers)) > 4
    assert all(found.area_um2[number] <= LIMIT.most for number in numbers)
    assert np.isfinite([worth for _, worth in ranked]).all()


@pytest.mark.parametrize("seed", [0, pytest.param(1, marks=pytest.mark.long)])
def test_the_best_design_is_found_among_few(found, seed):
    workers = Counting(found)
    mine = explored(workers, seed=seed)
    proof = Question(found.space, EDP, (LIMIT,), Strategy.PROOF)
    with Journal(None, {}) as journal:
        best = Work(proof, found, journal, Counting(found), lambda _: None).explored("net")
    assert best.ending.proven
    assert mine.front[0].found.edp == pytest.approx(best.front[0].found.edp, rel=0.01)
    assert mine.scored == len(workers.mapped) <= len(found) / 2
    assert all(one.found.area_um2 <= LIMIT.most for one in mine.front)


@pytest.mark.long
def test_several_objectives_reach_both_ends(found):
    mine = explored(Counting(found), THREE)
    latency = min(one.found.latency_cycles for one in mine.front)
    assert latency == pytest.approx(found.latency_cycles.min(), rel=0.05)
    assert min(one.found.area_um2 for one in mine.front) == pytest.approx(
        found.area_um2.min(), rel=0.5
    )


def test_a_run_that_is_cut_goes_on_to_the_same_end(found, tmp_path):
    whole = Counting(found)
    expected = explored(whole)
    mapped = []
    for after in itertools.repeat(3):
        part = Counting(found, after)
        mine = explored(part, journal=tmp_path / "j.db")
        mapped += part.mapped
        if mine.ending.exhausted:
            break
    assert mapped == whole.mapped
    assert mine.front == expected.front


def test_it_needs_a_gradient_search(found):
    with pytest.raises(ValueError, match="the strategy relaxed needs a gradient search"):
        next(batches(Strategy.RELAXED, Archive(found, EDP, ()), 0))


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is one")
def test_a_device_that_is_not_there():
    from mlcnn.api import ExploreOptions

    with pytest.raises(InputError) as error:
        ExploreOptions(search="relaxed", device="cuda").question()
    assert str(error.value) == (
        "--device cuda: torch sees no CUDA device here; leave --device out to search on the CPU"
    )


def test_devices_that_are_wrong(monkeypatch):
    from mlcnn.api import ExploreOptions

    with pytest.raises(InputError) as error:
        ExploreOptions(search="relaxed", device="tpu").question()
    assert str(error.value) == "unknown device 'tpu'; known: cpu, cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    with pytest.raises(InputError) as error:
        ExploreOptions(device="cuda").question()
    assert str(error.value) == (
        "--device cuda: it is of --search relaxed; give that, or leave it out"
    )


@pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
def test_a_gpu_finds_the_same_designs(found):
    archive = Archive(found, EDP, (LIMIT,))
    here, there = (Relaxing(GROUPS, device).ranked(archive, 0) for device in ("cpu", "cuda"))
    assert there == Relaxing(GROUPS, "cuda").ranked(archive, 0)
    assert {number for number, _ in here[:3]} & {number for number, _ in there[:3]}
    assert there[0][1] == pytest.approx(here[0][1], abs=0.05)
