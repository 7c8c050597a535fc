"""The mapper: against all mappings of tiny layers, and what it says of large ones."""

import math

import numpy as np
import pytest
from codesign.random_mappings import random_nest
from codesign.test_bounds import random_machine

from mlcnn.codesign import (
    EXACT_BOX,
    Architecture,
    Batch,
    Level,
    Objective,
    Operand,
    best_of_all,
    check_factors,
    find_mapping,
    fits,
    load_architecture,
    mapper,
    score,
)
from mlcnn.errors import InfeasibleError
from mlcnn.workload import ConvLayer, loop_nest


@pytest.mark.parametrize("objective", Objective)
def test_small_spaces_are_proven(objective):
    for seed in range(12):
        generator = np.random.default_rng(seed)
        nest = random_nest(generator, most=16)
        machine = random_machine(generator, 2)
        try:
            best = best_of_all(nest, machine, objective)
        except InfeasibleError:
            continue
        found = find_mapping(nest, machine, objective)
        assert found.optimal
        assert found.value == best.value
        assert found.gap == 0


def test_the_search_finds_the_best_of_small_spaces(monkeypatch):
    monkeypatch.setattr(mapper, "_WHOLE", 0)
    for seed in range(12):
        generator = np.random.default_rng(seed)
        nest = random_nest(generator, most=16)
        machine = random_machine(generator, 2)
        try:
            best = best_of_all(nest, machine, Objective.EDP)
        except InfeasibleError:
            continue
        found = find_mapping(nest, machine, Objective.EDP)
        assert found.value == pytest.approx(best.value, rel=1e-12)
        assert found.bound <= best.value * (1 + 1e-12)


@pytest.fixture(scope="module")
def layer1():
    # The 3x3 layer of ResNet-18's first stage.
    return loop_nest(ConvLayer("layer1", 1, 64, 64, 56, 56, 3, 3, pads=(1, 1, 1, 1)))


def test_a_layer_that_others_have_mapped(layer1):
    # Another mapper proved 226.21 uJ and 451,584 cycles on this machine, boxes counted.
    found = find_mapping(layer1, load_architecture("gemmini"), Objective.EDP, EXACT_BOX)
    check_factors(found.mapping, layer1)
    assert found.score.latency_cycles[0] == 451584
    assert found.score.energy_pj[0] / 1e6 == pytest.approx(226.21, abs=0.005)
    assert 0 < found.gap < 0.05
    assert not found.optimal


def test_what_meets_the_bound_is_proven(layer1):
    found = find_mapping(layer1, load_architecture("gemmini"), Objective.LATENCY)
    assert found.optimal
    assert found.value == found.bound == layer1.macs / 256


def test_what_is_found_fits_and_is_scored(layer1):
    machine = load_architecture("gemmini")
    found = find_mapping(layer1, machine, Objective.ENERGY, budget_s=1)
    batch = Batch.of([found.mapping], layer1)
    assert fits(layer1, machine, batch)[0]
    assert score(layer1, machine, batch).energy_pj[0] == found.value


def test_a_budget_ends_the_search(layer1):
    machine = load_architecture("gemmini")
    short = find_mapping(layer1, machine, Objective.EDP, budget_s=0.2)
    assert short.scored < find_mapping(layer1, machine, Objective.EDP, budget_s=20).scored
    assert math.isfinite(short.value)


def test_where_nothing_fits_it_is_told():
    machine = Architecture("m", (Level("a", tuple(Operand), 8, 3),), 1.0)
    nest = loop_nest(ConvLayer("c", 1, 2, 3, 1, 1, 1, 1))
    with pytest.raises(InfeasibleError, match="none of the 2 mappings looked at fits its memories"):
        find_mapping(nest, machine)
