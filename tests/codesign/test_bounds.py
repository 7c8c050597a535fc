"""Bounds against the best of all mappings, on tiny layers and random machines."""

import math

import numpy as np
import pytest
from codesign.random_mappings import random_nest

from mlcnn.codesign import (
    CONVENTIONS,
    Architecture,
    EnergyLaw,
    FanOut,
    Level,
    Operand,
    check_factors,
)
from mlcnn.codesign.bounds import lower_bound
from mlcnn.codesign.enumeration import Objective, best_of_all, every_mapping
from mlcnn.errors import InfeasibleError
from mlcnn.workload import ConvLayer, loop_nest

_ALL = tuple(Operand)
_SPREAD = (None, ("K", "C", "P"))


def random_machine(generator, depth):
    def bound(most):
        return None if generator.random() < 0.5 else float(generator.uniform(0.1, most))

    levels = [
        Level(
            f"level{number}",
            _ALL if number == 0 else tuple(o for o in _ALL if generator.random() < 0.7),
            8,
            None if number == 0 else [None, 12, 40][generator.integers(3)],
            EnergyLaw(generator.uniform(0.1, 9)),
            None if generator.random() < 0.5 else EnergyLaw(generator.uniform(0.1, 9)),
            int(generator.choice([1, 1, 4])), bound(3), bound(3), bound(5),
            FanOut(int(generator.choice([1, 1, 2, 4])), _SPREAD[generator.integers(2)]),
        )
        for number in range(depth)
    ]  # fmt: skip
    return Architecture("random", tuple(levels), float(generator.uniform(0.1, 2)))


def _check(seeds, most):
    reached = 0
    for seed in seeds:
        generator = np.random.default_rng(seed)
        nest = random_nest(generator, most=most)
        machine = random_machine(generator, int(generator.integers(1, 4)))
        bound = lower_bound(nest, machine)
        for objective in Objective:
            rule = list(CONVENTIONS.values())[seed % len(CONVENTIONS)]
            try:
                best = best_of_all(nest, machine, objective, rule)
            except InfeasibleError:
                continue
            check_factors(best.mapping, nest)
            assert bound.of(objective) <= best.value * (1 + 1e-12), (seed, objective)
            reached += math.isclose(bound.of(objective), best.value)
    assert reached > 0


def test_no_mapping_is_below_the_bound():
    _check(range(60), most=16)


@pytest.mark.long
def test_no_mapping_is_below_the_bound_on_hundreds_of_machines():
    _check(range(1000, 1300), most=36)


def test_every_mapping_is_there_once():
    # 4 = 1*4 = 2*2 = 4*1 over two temporal places and one spatial of two: 6 ways less those with
    # 4 side by side (1); one loop at most stands at a level, so there is one order of each.
    machine = Architecture(
        "m", (Level("a", _ALL, 8, fan_out=FanOut(2)), Level("b", (Operand.INPUT,), 8)), 1.0
    )
    nest = loop_nest(ConvLayer("c", 1, 4, 1, 1, 1, 1, 1))
    found = [batch.mapping(n) for batch in every_mapping(nest, machine) for n in range(len(batch))]
    # Two masks: the inner level keeps the input or nothing.
    assert len(found) == len(set(found)) == 5 * 2


def test_orders_of_loops_are_all_there():
    machine = Architecture("m", (Level("a", _ALL, 8),), 1.0)
    nest = loop_nest(ConvLayer("c", 1, 2, 3, 1, 1, 1, 1))
    (batch,) = every_mapping(nest, machine)
    orders = {batch.mapping(number).levels[0].temporal for number in range(len(batch))}
    assert orders == {(("K", 2), ("C", 3)), (("C", 3), ("K", 2))}


def test_where_nothing_fits_it_is_told():
    machine = Architecture("m", (Level("a", _ALL, 8, 3),), 1.0)
    nest = loop_nest(ConvLayer("c", 1, 2, 3, 1, 1, 1, 1))
    with pytest.raises(InfeasibleError) as told:
        best_of_all(nest, machine, Objective.EDP)
    assert str(told.value) == "c on m: none of 2 mappings fits its memories"
