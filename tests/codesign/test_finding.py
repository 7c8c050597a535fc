"""What is asked of the mapper, and what is told where nothing fits."""

import pytest

from mlcnn.codesign import (
    Architecture,
    Found,
    Level,
    Objective,
    Operand,
    Search,
    check_factors,
    find,
    load_architecture,
)
from mlcnn.errors import InfeasibleError, InputError
from mlcnn.workload import ConvLayer, loop_nest

_SMALL = loop_nest(ConvLayer("c", 1, 4, 2, 4, 4, 1, 1))


def test_what_is_found_is_scored_and_told():
    found = find(_SMALL, load_architecture("gemmini"), Search(Objective.LATENCY, budget_s=5))
    assert isinstance(found, Found)
    check_factors(found.mapping, _SMALL)
    # 128 products on 4 x 2 of the 16 x 16 units.
    assert found.latency_cycles == 16
    assert found.optimal
    assert found.gap == 0
    assert found.utilisation == 128 / (16 * 256)
    document = found.to_json()
    assert document["lower_bound"] == {"latency": 16}
    assert document["mapping"] == found.text
    assert document["accesses"]["dram"]["weight"]["reads"] >= 8
    assert "latency optimal" in repr(found)


@pytest.mark.parametrize(
    ("capacity", "message"),
    [
        (
            71,
            (
                "level one has 71 words, and weight 8 + input 32 + output 64 = 104 are needed; "
                "give one a capacity of 104"
            ),
        ),
        (
            {Operand.WEIGHT: 8, Operand.INPUT: 31, Operand.OUTPUT: 64},
            "level one has 31 words, and input 32 are needed; give one a capacity of 32 for input",
        ),
    ],
)
def test_where_nothing_fits_what_is_short_is_told(capacity, message):
    machine = Architecture("m", (Level("one", tuple(Operand), 8, capacity),), 1.0)
    with pytest.raises(InfeasibleError) as told:
        find(_SMALL, machine, Search(budget_s=5))
    assert str(told.value) == (
        "c on m: no mapping fits, since the outermost level holds every operand whole: " + message
    )


def test_the_least_capacity_that_is_told_suffices():
    machine = Architecture("m", (Level("one", tuple(Operand), 8, 104),), 1.0)
    assert find(_SMALL, machine, Search(budget_s=5)).energy_pj > 0


def test_counts_beyond_the_exact_range_are_told():
    nest = loop_nest(ConvLayer("huge", 10**6, 10**6, 10**6, 1, 1, 1, 1))
    with pytest.raises(InputError) as told:
        find(nest, load_architecture("gemmini"), Search())
    assert str(told.value) == (
        "nest huge: a count of 1e+18 words or operations is beyond what float64 holds exactly; "
        "split the layer or its batch"
    )
