"""Searches that `explore` is compared with: their mappings are valid, and none beats the truth."""

import math
from dataclasses import replace

import numpy as np
import pytest
from codesign.random_mappings import random_nest
from codesign.test_bounds import random_machine

from benchmarks.exploration.curves import Curve, append, at_work, merged, read, to_reach
from benchmarks.exploration.genetic import Evolution, children, evolve
from benchmarks.exploration.mappings import MappingSpace
from benchmarks.exploration.peers import PEERS
from benchmarks.exploration.runs import Point, Problem, Run
from benchmarks.exploring_peers import main
from mlcnn.codesign import Objective, check_factors, find_mapping, fits, load_architecture
from mlcnn.codesign.architecture import Architecture, EnergyLaw, FanOut, Level, Operand
from mlcnn.codesign.conventions import EXACT
from mlcnn.codesign.counts import tile_words
from mlcnn.codesign.enumeration import every_mapping
from mlcnn.codesign.exploration import evaluate_network, load_template
from mlcnn.codesign.layer_searches import LayerGroup
from mlcnn.errors import InfeasibleError
from mlcnn.workload import ConvLayer, loop_nest

ALL = tuple(Operand)
TINY = LayerGroup(loop_nest(ConvLayer("a", 1, 4, 6, 5, 4, 3, 1)), ("a", "b"))
SMALL = LayerGroup(loop_nest(ConvLayer("c", 1, 6, 4, 3, 3, 1, 1)), ("c",))


def space(seed, nest=TINY.nest, machine=None):
    machine = load_architecture("gemmini") if machine is None else machine
    return MappingSpace(nest, machine, np.random.default_rng(seed))


def check(mappings, genes):
    """They fit, by the scorer in numpy, and their factors make up the layer."""
    for index, batch in mappings.batches(genes):
        assert fits(mappings.nest, mappings.machine, batch).all()
        for number in range(len(index)):
            check_factors(batch.mapping(number), mappings.nest)


@pytest.mark.parametrize("seed", range(12))
def test_drawn_mappings_fit_any_machine(seed):
    generator = np.random.default_rng(seed)
    nest, machine = random_nest(generator), random_machine(generator, 1 + seed % 4)
    mappings = MappingSpace(nest, machine, generator)
    genes = mappings.drawn(
        200,
    )
    check(mappings, genes)
    words = mappings.words(mappings.factors(genes))
    for index, batch in mappings.batches(genes):
        assert (words[:, :, index] == tile_words(nest, batch, EXACT)).all()


@pytest.mark.parametrize("name", ["gemmini", "eyeriss", "simba", "systolic"])
def test_drawn_mappings_fit_the_templates(name):
    layer = ConvLayer("c", 1, 64, 48, 57, 57, 3, 3, strides=(2, 2))
    mappings = space(0, loop_nest(layer), load_architecture(name))
    genes = mappings.drawn(300)
    check(mappings, genes)
    assert genes.keep[0].all()


def tiny_machine():
    """Two levels and arithmetic: what fits and what does not are both many."""
    levels = (
        Level("dram", ALL, 8, energy=EnergyLaw(10.0), fan_out=FanOut(2, ("K", "P"))),
        Level("buffer", (Operand.WEIGHT, Operand.OUTPUT), 8, 4, EnergyLaw(1.0)),
    )
    return Architecture("tiny", levels, 1.0)


def test_every_mapping_that_fits_is_drawn_and_no_other():
    nest, machine = loop_nest(ConvLayer("c", 1, 2, 2, 2, 1, 1, 1)), tiny_machine()
    wanted, many = set(), 0
    for batch in every_mapping(nest, machine):
        many += len(batch)
        wanted |= {batch.mapping(int(n)) for n in np.flatnonzero(fits(nest, machine, batch))}
    mappings = space(0, nest, machine)
    drawn = {
        batch.mapping(number)
        for index, batch in mappings.batches(mappings.drawn(30_000))
        for number in range(len(index))
    }
    assert drawn == wanted
    assert 100 < len(wanted) < many


def test_what_fits_is_left_as_it_is():
    mappings = space(1)
    genes = mappings.drawn(100)
    repaired = mappings.repaired(genes)
    for name in ("places", "order", "keep"):
        assert (getattr(repaired, name) == getattr(genes, name)).all()


def test_an_outermost_level_that_is_too_small_is_told():
    machine = tiny_machine()
    levels = (replace(machine.levels[0], capacity=5), machine.levels[1])
    with pytest.raises(InfeasibleError) as told:
        space(0, SMALL.nest, replace(machine, levels=levels)).drawn(3)
    assert str(told.value) == "c on tiny: the outermost level dram cannot hold all operands"


@pytest.mark.parametrize("seed", range(5))
def test_children_are_valid_mappings(seed):
    mappings = space(seed, loop_nest(ConvLayer("c", 1, 64, 48, 57, 57, 3, 3, strides=(2, 2))))
    genes = mappings.drawn(40)
    for _ in range(3):
        genes = children(mappings, genes, Evolution(60, moves=4.0, flipped=0.3))
        check(mappings, genes)
        assert (np.sort(genes.order, 1) == np.arange(len(mappings.nest.dims))[:, None]).all()


def test_a_child_has_all_of_its_parents():
    """Without mutations each dimension, order and choice of a child is that of some parent."""
    mappings = space(0)
    parents = mappings.drawn(5)
    born = children(mappings, parents, Evolution(200, moves=0.0, swapped=0.0, flipped=0.0))
    for level in range(mappings.depth):
        for name in ("order", "keep"):
            rows = {tuple(column) for column in getattr(parents, name)[level].T}
            assert {tuple(column) for column in getattr(born, name)[level].T} <= rows


def test_evolution_finds_the_optimum_of_a_small_layer_and_nothing_below():
    truth = find_mapping(TINY.nest, load_architecture("gemmini"), Objective.EDP)
    assert truth.optimal
    ends = []
    for seed in range(3):
        found, scored = evolve(space(seed), Objective.EDP.worth, Evolution(60, 20))
        ends.append(found.energy_pj[0] * found.latency_cycles[0])
        assert scored == 60 * 21
    assert min(ends) == pytest.approx(truth.value, rel=1e-12)
    assert all(end >= truth.value * (1 - 1e-12) for end in ends)


@pytest.fixture(scope="module")
def small_problem():
    ranges = ("pe=2,4", "scratchpad_kb=1,2", "accumulator_kb=1")
    return Problem(load_template("gemmini").space(ranges=ranges), (TINY, SMALL), 1e6)


@pytest.fixture(scope="module")
def least(small_problem):
    designs = [small_problem.space.architecture(one) for one in small_problem.allowed]
    return min(evaluate_network(small_problem.groups, one).edp for one in designs)


@pytest.mark.parametrize("peer", PEERS)
def test_no_peer_is_below_what_is_proven(peer, small_problem, least):
    ends = peer in {"descent", "guided", "relaxed"}
    run = Run(0, math.inf if ends else 0.3)
    PEERS[peer](small_problem, run)
    *curve, end = run.ended()
    values = [one.edp for one in curve]
    assert values == sorted(values, reverse=True)
    assert end.edp >= least * (1 - 1e-12)
    assert end.designs >= len(curve) > 0
    assert end.evaluations > 0
    if ends:
        assert end.edp == pytest.approx(least, rel=1e-12)


def test_an_area_that_no_design_has_is_told(small_problem):
    with pytest.raises(InfeasibleError) as told:
        _ = Problem(small_problem.space, (SMALL,), 1000.0).allowed
    assert str(told.value) == (
        "an area of at most 0.001 mm2: the smallest design has 0.0101 mm2; give a larger --areas"
    )


def curve(peer, seed, *points, finished=False):
    return Curve(peer, 1.0, seed, tuple(Point(*one) for one in points), finished, "a processor")


def test_curves_are_read_as_they_were_written(tmp_path):
    first = curve("one", 0, (0.5, 10, 1, math.pi), (2.0, 30, 4, math.pi))
    second = curve("one", 1, (0.25, 10, 1, 1 / 3), finished=True)
    for one in (first, second):
        append(tmp_path / "curves.csv", one)
    assert read(tmp_path / "curves.csv") == (first, second)
    again = replace(first, points=second.points)
    assert merged([[first, second], [again]]) == (again, second)


def test_tables_say_what_was_best_at_equal_work():
    curves = [
        curve("one", 0, (1.0, 10, 1, 8.0), (3.0, 30, 3, 4.0), (5.0, 50, 5, 4.0)),
        curve("one", 1, (2.0, 10, 1, 6.0), (5.0, 50, 5, 6.0)),
        curve("one", 2, (2.5, 10, 1, 2.0), (2.6, 50, 5, 2.0), finished=True),
    ]
    by_time = at_work(curves, 2.0, (0.5, 1.0, 2.0, 3.0, 6.0), lambda one: one.cpu_seconds)
    assert by_time == ["-", "-", "4.000 [3.500, -]", "2.000 [1.500, 2.500]", ""]
    assert at_work(curves, 2.0, (50,), lambda one: one.designs * 10) == ["2.000 [1.500, 2.500]"]


def test_work_until_the_value_of_another_search():
    ours = [curve("ours", 0, (1.0, 1, 1, 9.0), (2.0, 1, 3, 5.0)), curve("ours", 1, (1.0, 1, 1, 9))]
    others = [
        curve("other", 0, (1.0, 1, 2, 6.0), (4.0, 1, 8, 6.0)),
        curve("other", 1, (3.0, 1, 5, 8.0)),
        curve("other", 2, (3.0, 1, 5, 8.0)),
    ]
    assert to_reach(ours, others, lambda one: one.designs) == ([3, math.inf], [2, 5])


def test_a_file_of_curves_is_gone_on_with_and_shown(tmp_path, capsys):
    path = tmp_path / "curves.csv"
    command = ["run", str(path), "--peers", "random", "--areas", "1", "--seconds", "0.01"]
    command += ["--range", "pe=8", "--range", "scratchpad_kb=64", "--seeds"]
    main([*command, "1"])
    before = path.read_text()
    main([*command, "2"])
    assert path.read_text().startswith(before)
    assert [one.seed for one in read(path)] == [0, 1]
    capsys.readouterr()
    best = min(one.final for one in read(path))
    main(["tables", str(path), "--at-seconds", "1e-6", "99", "--at-evaluations", "1000"])
    told = capsys.readouterr().out.splitlines()
    assert told[2] == f"1 mm2: EDP over {best:.5e} pJ x cycles, by CPU-seconds"
    assert told[6] == "| random | 2 | - |  |"
