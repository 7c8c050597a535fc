"""Networks: identical layers once, and the product of sums against every choice of mappings."""

import itertools
import signal
import time
from dataclasses import replace

import numpy as np
import pytest
from codesign.random_mappings import random_nest
from codesign.test_bounds import random_machine

from mlcnn.codesign import (
    EXACT,
    Objective,
    Search,
    best_of_all,
    every_mapping,
    find,
    layer_searches,
    load_architecture,
    map_nests,
    score_fast,
    scored_mapping,
)
from mlcnn.codesign.finding import Found
from mlcnn.codesign.interruption import interruptions
from mlcnn.errors import InfeasibleError, InputError
from mlcnn.workload import ConvLayer, loop_nest


def silent(*_told):
    pass


def every_point(nest, machine):
    """Energy and latency of every mapping that fits, those alone that no other beats in both."""
    rows = []
    for batch in every_mapping(nest, machine):
        fast = score_fast(nest, machine, batch, EXACT)
        rows.append(np.stack([fast.energy_pj, fast.latency_cycles], 1)[fast.fits])
    points = np.unique(np.concatenate(rows), axis=0)
    best, kept = np.inf, []
    for energy, latency in points:  # by energy
        if latency < best:
            best = latency
            kept.append((energy, latency))
    return np.array(kept)


def weighted_by_enumeration(nest, machine, search, weight):
    """Stands for a mapper of weighted sums: every mapping scored."""
    best = None
    for batch in every_mapping(nest, machine):
        fast = score_fast(nest, machine, batch, EXACT)
        values = np.where(fast.fits, weight.worth(fast.energy_pj, fast.latency_cycles), np.inf)
        index = int(values.argmin())
        if best is None or values[index] < best[0]:
            best = float(values[index]), batch.mapping(index)
    value, mapping = best
    one = scored_mapping(nest, machine, mapping, EXACT)
    return Found(
        nest, nest, machine, EXACT, mapping, one.batch, one.score, search, value, value, True, 1, 0
    )


def cases(count):
    seed = 0
    while count:
        seed += 1
        generator = np.random.default_rng(seed)
        machine = random_machine(generator, 2)
        nests = [
            replace(random_nest(generator, most=12), name=f"c{number}")
            for number in range(generator.integers(2, 4))
        ]
        nests.append(replace(nests[0], name="again"))
        try:
            for nest in nests:
                best_of_all(nest, machine, Objective.EDP)
        except InfeasibleError:
            continue
        count -= 1
        yield nests, machine


@pytest.mark.parametrize("judge", [False, True], ids=["the mapper", "every mapping"])
def test_the_product_of_sums_is_the_least_of_all_choices(monkeypatch, judge):
    if judge:
        monkeypatch.setattr(layer_searches, "find_weighted", weighted_by_enumeration)
    gained = 0
    for nests, machine in cases(12):
        groups = {}
        for nest in nests:
            groups.setdefault(replace(nest, name=""), []).append(nest)
        points = [
            every_point(nest, machine) * len(same)
            for nest, same in zip(groups, groups.values(), strict=True)
        ]
        least = min(np.sum(rows, axis=0).prod() for rows in itertools.product(*points))
        found = map_nests(nests, machine, Search(budget_s=100), silent)
        assert next(one.group.names for one in found.layers) == ("c0", "again")
        assert found.bound <= least * (1 + 1e-9)
        assert found.edp >= least * (1 - 1e-9)
        assert found.edp <= found.own.product
        assert found.edp == pytest.approx(least, rel=1e-9)
        assert found.optimal
        assert found.gap == 0
        gained += found.edp < found.own.product * (1 - 1e-9)
    assert gained


@pytest.mark.parametrize("objective", [Objective.ENERGY, Objective.LATENCY])
def test_energies_and_latencies_add_up(objective):
    for nests, machine in cases(4):
        found = map_nests(nests, machine, Search(objective, budget_s=100), silent)
        least = sum(best_of_all(nest, machine, objective).value for nest in nests)
        assert found.value == pytest.approx(least, rel=1e-12)
        assert found.bound == pytest.approx(least, rel=1e-12)
        assert found.optimal
        assert found.weights == ()


def test_a_layer_of_which_there_are_two_is_looked_for_once(monkeypatch):
    asked = []

    def counted(nest, *rest):
        asked.append(nest.name)
        return find(nest, *rest)

    monkeypatch.setattr(layer_searches, "find", counted)
    nests = [loop_nest(ConvLayer(name, 1, 4, 2, 4, 4, 1, 1)) for name in ("a", "b", "c")]
    search = Search(Objective.LATENCY, budget_s=9)
    found = map_nests(nests, load_architecture("gemmini"), search, silent)
    assert asked == ["a"]
    assert found.latency_cycles == 3 * 16
    assert [one.group.names for one in found.layers] == [("a", "b", "c")]
    document = found.to_json()
    assert document["layers"][0]["count"] == 3
    assert document["latency_cycles"] == 48
    assert found.records()[0]["own_latency_cycles"] == 16
    assert "latency optimal" in repr(found)


def test_an_interruption_ends_it_with_what_there_is(monkeypatch):
    def interrupted(*given):
        found = find(*given)
        try:  # as a mapper that returns the best so far
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            return found

    monkeypatch.setattr(layer_searches, "find", interrupted)
    nests = [loop_nest(ConvLayer("a", 1, 4, 2, 4, 4, 1, 1))]
    search = Search(Objective.EDP, budget_s=9)
    found = map_nests(nests, load_architecture("gemmini"), search, silent)
    assert found.interrupted
    assert len(found.weights) == 2
    assert found.bound <= found.edp


def test_interruptions_are_noticed_and_passed_on():
    before = signal.getsignal(signal.SIGINT)
    with interruptions() as noticed:
        assert not noticed()
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        assert noticed()
    assert signal.getsignal(signal.SIGINT) is before


def test_a_network_of_nothing_is_told():
    with pytest.raises(InputError) as told:
        map_nests([], load_architecture("gemmini"), Search(), silent)
    assert str(told.value) == "the network has no convolution and no dense layer to map"


def test_an_interruption_before_every_layer_has_a_mapping_leaves_nothing(monkeypatch):
    def interrupted(nest, *_rest):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise InfeasibleError(f"{nest.name}: none was found") from None

    monkeypatch.setattr(layer_searches, "find", interrupted)
    nests = [loop_nest(ConvLayer("a", 1, 4, 2, 4, 4, 1, 1))]
    with pytest.raises(KeyboardInterrupt):
        map_nests(nests, load_architecture("gemmini"), Search(budget_s=9), silent)


def test_a_search_that_is_too_short_is_followed_by_longer_ones(monkeypatch):
    asked = []

    def slow(nest, machine, search):
        asked.append(search.budget_s)
        if search.budget_s < 0.9:
            time.sleep(search.budget_s)
            raise InfeasibleError(f"{nest.name}: none was found in time")
        return find(nest, machine, search)

    monkeypatch.setattr(layer_searches, "find", slow)
    nests = [loop_nest(ConvLayer("a", 1, 4, 2, 4, 4, 1, 1))]
    search = Search(Objective.EDP, budget_s=2)
    found = map_nests(nests, load_architecture("gemmini"), search, silent)
    assert found.edp > 0
    assert asked[:2] == pytest.approx([0.25, 1.0], rel=0.1)
