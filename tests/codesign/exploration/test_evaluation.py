"""A network on a design: against every choice of all mappings, and its parts."""

import itertools
from dataclasses import replace

import numpy as np
import pytest
from codesign.random_mappings import random_nest
from codesign.test_bounds import random_machine
from codesign.test_mapped_network import every_point

from mlcnn.codesign import load_architecture
from mlcnn.codesign.conventions import EXACT
from mlcnn.codesign.exploration import Evaluation, Unfinished, evaluate_network
from mlcnn.codesign.exploration.evaluation import _Work
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.errors import InfeasibleError


def drawn(seed):
    """Layers and a machine on which each has a mapping."""
    generator = np.random.default_rng(seed)
    while True:
        machine = random_machine(generator, 2)
        nests = [random_nest(generator, most=24) for _ in range(2)]
        points = [every_point(nest, machine) for nest in nests]
        if all(len(one) for one in points):
            return machine, nests, points


@pytest.mark.parametrize("seed", range(6))
def test_no_choice_of_mappings_has_a_smaller_product(seed):
    machine, nests, points = drawn(seed)
    groups = [LayerGroup(nests[0], ("a", "b")), LayerGroup(nests[1], ("c",))]
    found = evaluate_network(groups, machine)
    least = min(
        (2 * one[0] + other[0]) * (2 * one[1] + other[1])
        for one, other in itertools.product(*points)
    )
    assert found.edp_bound <= least * (1 + 1e-9)
    assert found.edp >= least * (1 - 1e-9)
    if found.edp > least * (1 + 1e-9):
        # What is left is between the tangent's point and the bound, and is told.
        assert found.edp_bound < least
    assert found.energy_pj == pytest.approx(
        2 * found.layers[0].energy_pj + found.layers[1].energy_pj
    )
    assert set(found.mappings) == {"a", "b", "c"}
    assert Evaluation.from_json(found.to_json()) == found


@pytest.mark.parametrize("seed", range(6))
def test_what_is_kept_for_one_weight_is_the_best_for_others(seed):
    machine, nests, points = drawn(seed)
    work = _Work([LayerGroup(nests[0], ("a",))], machine, EXACT, (), lambda: np.inf)
    for weight in (2.0, 2.0, 2.001, 1.99, 2.1, 1.0, 40.0):
        known = work.pools[0][work._best(0, weight)]
        best = min(energy + weight * latency for energy, latency in points[0])
        assert known.energy_pj + weight * known.latency_cycles == pytest.approx(best, rel=1e-9)
    assert len({one.mapping for one in work.pools[0]}) == len(work.pools[0])


@pytest.mark.parametrize("seed", range(4))
def test_machines_alike_change_nothing(seed):
    machine, nests, points = drawn(seed)
    groups = [LayerGroup(one, (name,)) for one, name in zip(nests, "ab", strict=True)]
    alike = evaluate_network(groups, replace(machine, mac_energy_pj=50.0))
    found = evaluate_network(groups, machine, like=[alike])
    weight = found.energy_pj / found.latency_cycles
    least = sum(min(energy + weight * latency for energy, latency in one) for one in points)
    assert 2 * found.energy_pj == pytest.approx(least, rel=1e-9)


def test_power_is_energy_by_time():
    machine, nests, _ = drawn(1)
    found = evaluate_network([LayerGroup(nests[0], ("a",))], machine)
    seconds = found.latency_cycles / (machine.clock_mhz * 1e6)
    assert found.power_w == pytest.approx(found.energy_pj * 1e-12 / seconds)


def test_no_time():
    machine, nests, _ = drawn(1)
    with pytest.raises(Unfinished):
        evaluate_network([LayerGroup(nests[0], ("a",))], machine, seconds=lambda: 0.0)


def test_a_layer_that_fits_in_no_way():
    _, nests, _ = drawn(1)
    small = load_architecture("gemmini").with_levels({"dram": {"capacity": 1}})
    with pytest.raises(InfeasibleError, match="no mapping fits its memories"):
        evaluate_network([LayerGroup(nests[0], ("a",))], small)
