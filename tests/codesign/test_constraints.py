"""Constraints against every mapping of a tiny layer, each held to the rules one by one."""

import itertools

import numpy as np
import pytest

from mlcnn.codesign import (
    Architecture,
    Batch,
    Constraints,
    FanOut,
    Level,
    Mapping,
    Operand,
    binding_rules,
    every_mapping,
    excluded,
)
from mlcnn.codesign.constraints import Allowed, FactorRule, KeepRule, OrderRule
from mlcnn.errors import InfeasibleError, InputError
from mlcnn.workload import ConvLayer, loop_nest

_ALL = tuple(Operand)
_NEST = loop_nest(ConvLayer("tiny", 1, 4, 3, 2, 1, 1, 1))
_MACHINE = Architecture(
    "two",
    (Level("outer", _ALL, 8, fan_out=FanOut(2, ("K", "P"))), Level("inner", _ALL, 8)),
    1.0,
)


def _mappings():
    for batch in every_mapping(_NEST, _MACHINE):
        yield batch, [batch.mapping(number) for number in range(len(batch))]


def _factor(mapping, level, dim, *, spatial):
    loops = mapping.levels[level].spatial if spatial else mapping.levels[level].temporal
    return dict(loops).get(dim, 1)


def _is_in_order(mapping, level, inner, outer=()):
    """From the innermost outwards: the inner ones, any others, the outer ones."""
    found = [dim for dim, _ in reversed(mapping.levels[level].temporal)]
    others = [dim for dim in found if dim not in (*inner, *outer)]
    wanted = [dim for dim in inner if dim in found]
    return found == wanted + others + [dim for dim in outer if dim in found]


_CASES = {
    "exact": (
        FactorRule("here", 0, True, "K", exact=2),
        lambda one: _factor(one, 0, "K", spatial=True) == 2,
    ),
    "most": (
        FactorRule("here", 1, False, "K", most=2),
        lambda one: _factor(one, 1, "K", spatial=False) <= 2,
    ),
    "least": (
        FactorRule("here", 1, False, "C", least=2),
        lambda one: _factor(one, 1, "C", spatial=False) >= 2,
    ),
    "whole": (
        FactorRule("here", 1, False, "K", exact=0),
        lambda one: _factor(one, 1, "K", spatial=False) == 4,
    ),
    "inner": (OrderRule("here", 0, ("C", "K")), lambda one: _is_in_order(one, 0, "CK")),
    "outer": (
        OrderRule("here", 0, ("P",), ("K",)),
        lambda one: _is_in_order(one, 0, "P", "K"),
    ),
    "keep": (
        KeepRule("here", 1, Operand.WEIGHT, keep=True),
        lambda one: Operand.WEIGHT in one.levels[1].keep,
    ),
    "bypass": (
        KeepRule("here", 1, Operand.OUTPUT, keep=False),
        lambda one: Operand.OUTPUT not in one.levels[1].keep,
    ),
}


@pytest.mark.parametrize(
    "names", [*((name,) for name in _CASES), *itertools.combinations(_CASES, 2), tuple(_CASES)]
)
def test_allowed_is_what_keeps_to_every_rule(names):
    rules = tuple(_CASES[name][0] for name in names)
    constraints = Constraints(_NEST.dims, _NEST.sizes, rules)
    checks = [_CASES[name][1] for name in names]
    if {"exact", "whole"} <= set(names):
        # The remainder is what the other exact factors leave: 2 of 4.
        checks[names.index("whole")] = lambda one: _factor(one, 1, "K", spatial=False) == 2
    many = 0
    for batch, mappings in _mappings():
        wanted = [all(check(one) for check in checks) for one in mappings]
        assert constraints.allows(batch).tolist() == wanted
        many += sum(wanted)
    # Only 4 iterations and at most 2 of them exclude each other.
    assert (many > 0) == (set(names) != {"most", "whole"})


def test_no_rules_allow_all():
    constraints = Constraints.none(_NEST)
    assert all(constraints.allows(batch).all() for batch, _ in _mappings())


def test_what_may_stand_at_a_place():
    rules = (
        FactorRule("a", 1, False, "K", least=2),
        FactorRule("b", 1, False, "K", most=3),
        FactorRule("c", 0, True, "K", exact=2),
        FactorRule("d", 0, False, "K", exact=0),
        FactorRule("e", 0, False, "C", exact=0),
        FactorRule("f", 1, False, "C", exact=2),
    )
    constraints = Constraints(_NEST.dims, _NEST.sizes, rules)
    assert constraints.factors_allowed(1, "K", spatial=False) == Allowed(None, 2, 3)
    assert constraints.factors_allowed(0, "K", spatial=False) == Allowed(2)
    # 2 does not divide the 3 channels: nothing remains that may stand here.
    assert constraints.factors_allowed(0, "C", spatial=False) == Allowed(0)
    assert constraints.factors_allowed(0, "P", spatial=False) == Allowed()
    allowed = constraints.factors_allowed(1, "K", spatial=False)
    assert [allowed(factor) for factor in (1, 2, 3, 4)] == [False, True, True, False]
    without = constraints.without(rules[5])
    assert without.factors_allowed(0, "C", spatial=False) == Allowed(3)


def test_two_exact_factors_of_one_place_allow_none():
    rules = (FactorRule("a", 1, False, "K", exact=2), FactorRule("b", 1, False, "K", exact=4))
    constraints = Constraints(_NEST.dims, _NEST.sizes, rules)
    assert constraints.factors_allowed(1, "K", spatial=False).exact == 0
    batch = Batch.of([Mapping.parse("a[WIO] K2 C3 P2 - b[WIO] K2")], _NEST)
    assert not constraints.allows(batch).any()


def _feasible(constraints):
    return any(constraints.allows(batch).any() for batch, _ in _mappings())


def test_the_rule_that_excludes_all_is_found():
    rules = (
        KeepRule("map.yaml:3", 1, Operand.WEIGHT, keep=True),
        FactorRule("map.yaml:7", 0, True, "C", exact=3),  # only K and P may be side by side
        OrderRule("map.yaml:9", 0, ("P", "K")),
    )
    constraints = Constraints(_NEST.dims, _NEST.sizes, rules)
    assert not _feasible(constraints)
    found = binding_rules(constraints, _feasible)
    assert found == (rules[1],)
    assert str(excluded(found)) == (
        "the constraints exclude every mapping; what binds: map.yaml:7: spatial C=3 at level 0; "
        "leave it out or widen it"
    )


def test_rules_that_exclude_all_only_together_are_found():
    rules = (
        FactorRule("a:1", 0, True, "K", most=1),
        FactorRule("b:2", 0, False, "K", exact=2),
        KeepRule("c:3", 1, Operand.INPUT, keep=True),
        FactorRule("d:4", 1, False, "K", least=3),
    )
    constraints = Constraints(_NEST.dims, _NEST.sizes, rules)
    # K is 4: 2 outside leave 2 for the inner level, which must have 3.
    found = binding_rules(constraints, _feasible)
    assert found == (rules[1], rules[3])
    assert str(excluded(found)).endswith(
        "what binds: b:2: temporal K=2 at level 0; d:4: temporal K>=3 at level 1; leave out or "
        "widen one of them"
    )


def test_two_conflicts_at_once_give_one_of_them():
    rules = (
        FactorRule("a:1", 0, False, "K", exact=3),
        FactorRule("b:2", 0, False, "C", exact=2),
    )
    constraints = Constraints(_NEST.dims, _NEST.sizes, rules)
    assert binding_rules(constraints, _feasible) == (rules[1],)


def test_where_nothing_is_feasible_anyway_it_is_told():
    rules = (FactorRule("a:1", 0, False, "K", exact=3),)
    constraints = Constraints(_NEST.dims, _NEST.sizes, rules)
    with pytest.raises(InfeasibleError, match="no mapping is feasible without any of the constr"):
        binding_rules(constraints, lambda _: False)


def test_a_rule_of_a_dimension_that_is_none_is_told():
    with pytest.raises(InputError) as told:
        Constraints(("K",), (4,), (OrderRule("map.yaml:9", 0, ("P", "K")),))
    assert str(told.value) == (
        "map.yaml:9: permutation PK at level 0: P is no dimension of the nest, which has K"
    )


def test_a_mask_that_is_not_allowed():
    constraints = Constraints(
        _NEST.dims, _NEST.sizes, (KeepRule("a", 1, Operand.INPUT, keep=False),)
    )
    kept = np.ones((2, 3), bool)
    passed = kept.copy()
    passed[1, 1] = False
    assert (constraints.keep_allowed(kept), constraints.keep_allowed(passed)) == (False, True)
