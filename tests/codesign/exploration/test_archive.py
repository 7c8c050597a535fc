"""Fronts against comparing everything with everything; what is still open."""

import itertools

import numpy as np
import pytest
from codesign.exploration.made_up import Formula, candidates

from mlcnn.codesign.exploration import Archive, Limit, Quantity, front_of


@pytest.mark.parametrize("objectives", [1, 2, 3])
def test_fronts(objectives):
    generator = np.random.default_rng(objectives)
    for _ in range(50):
        values = generator.integers(0, 6, (20, objectives)).astype(float)
        front = {tuple(values[n]) for n in front_of(values)}
        rows = {tuple(row) for row in values}
        better = {
            one
            for one, other in itertools.product(rows, rows)
            if other != one and all(b <= a for a, b in zip(one, other, strict=True))
        }
        assert front == rows - better
        assert len(front) == len(front_of(values))


def test_what_is_open_can_still_be_better():
    found = candidates()
    archive = Archive(found, (Quantity.EDP,), ())
    assert archive.open().all()
    assert archive.bound() == (found.energy_pj * found.latency_cycles).min()
    everything = Formula(found).all()
    for number, one in everything.items():
        archive.found[number] = one
        best = min(each.edp for each in archive.found.values())
        left = archive.open()
        for other, later in everything.items():
            if other not in archive.found and later.edp < best:
                assert left[other]
        assert archive.bound() <= min(each.edp for each in everything.values())
    assert archive.bound() == min(each.edp for each in everything.values())


def test_designs_beyond_a_bound_are_not_on_the_front():
    found = candidates()
    everything = Formula(found).all()
    powers = sorted(one.power_w for one in everything.values())
    limit = Limit(Quantity.POWER, powers[len(powers) // 3])
    archive = Archive(found, (Quantity.LATENCY, Quantity.AREA), (limit,), dict(everything))
    front = archive.front()
    assert front
    assert all(everything[number].power_w <= limit.most for number in front)
