"""Designs within bounds: what is bounded, and what is said where nothing is left."""

import numpy as np
import pytest
from codesign.exploration.made_up import GROUPS, QUICK, area_limit, candidates

from mlcnn.codesign import lower_bound
from mlcnn.codesign.exploration import Candidates, Limit, LoopNests, Quantity, load_template
from mlcnn.errors import InfeasibleError, UnsupportedError


@pytest.mark.parametrize("name", ["gemmini", "eyeriss"])
def test_bounds_of_many_machines_are_those_of_each(name):
    found = candidates(ranges=(), name=name)
    generator = np.random.default_rng(0)
    for number in generator.choice(len(found), 12, replace=False):
        machine = found.space.architecture(found.designs[number])
        each = [(lower_bound(one.nest, machine), len(one.names)) for one in GROUPS]
        energy = sum(count * one.energy_pj for one, count in each)
        assert found.energy_pj[number] == pytest.approx(energy, rel=1e-11)
        assert found.energy_pj[number] <= energy
        assert found.latency_cycles[number] == sum(
            count * one.latency_cycles for one, count in each
        )


def test_an_area_leaves_the_designs_that_are_not_larger():
    everything = candidates(ranges=())
    some = candidates([area_limit(0.1)], ranges=())
    assert len(everything) == 1008
    assert set(some.designs) == {
        design
        for design, area in zip(everything.designs, everything.area_um2, strict=True)
        if area <= 0.1e6
    }


def told(limits, ranges=()):
    with pytest.raises(InfeasibleError) as error:
        candidates(limits, ranges)
    return str(error.value)


def test_an_area_that_no_design_meets():
    # 4 units, 1 kB of each memory: 4 * 4.34223226e-4 + 1024 * (5.547277e-6 + 2.61332274e-6) mm2.
    assert told([area_limit(0.005)]) == (
        "no design of template gemmini has an area of at most 0.005 mm2: the least area is "
        "0.010094 mm2, with pe=2 scratchpad_kb=1 accumulator_kb=1; raise the bound on area to that "
        "or more"
    )
    assert len(candidates([area_limit(0.010094)], ranges=())) == 1


def test_a_latency_that_no_design_meets():
    message = told([Limit(Quantity.LATENCY, 10.0)], QUICK)
    least = candidates().latency_cycles.min()
    assert message == (
        "no design of template gemmini has a latency of at most 10 cycles: the least latency is "
        f"not below {least:,.0f} cycles, with pe=16 scratchpad_kb=2 accumulator_kb=1; raise the "
        "bound on latency to that or more"
    )


def test_which_of_two_bounds_binds():
    fast = candidates(ranges=()).latency_cycles.min()
    message = told([area_limit(0.02), Limit(Quantity.LATENCY, fast)])
    small = candidates([area_limit(0.02)], ranges=()).latency_cycles.min()
    assert message == (
        f"no design of template gemmini has a latency of at most {fast:,.0f} cycles and an area of "
        f"at most 0.02 mm2: the least latency is not below {small:,.0f} cycles, with pe=4 "
        "scratchpad_kb=1 accumulator_kb=1; it is the bound on area that binds: without it pe=32 "
        f"scratchpad_kb=1 accumulator_kb=1 may come down to {fast:,.0f} cycles"
    )


@pytest.mark.parametrize("limits", [[area_limit(1.0)], []])
def test_an_area_that_is_not_known(limits):
    space = load_template("eyeriss").space()
    with pytest.raises(UnsupportedError) as error:
        Candidates.of(space, LoopNests(GROUPS), limits, wants_area=not limits)
    assert str(error.value) == (
        "template eyeriss: its area is not known (its architecture eyeriss has no area_um2), so "
        "designs can be neither bounded nor compared by it; leave out --area and the objective "
        "area, as --objectives latency,energy"
    )
