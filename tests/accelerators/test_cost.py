"""What a layer costs, and what its parts come to."""

from dataclasses import fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.accelerators import Energy, LayerCost, LayerTask, Traffic
from mlcnn.accelerators.cost import together
from mlcnn.workload import ConvLayer, Layer, Pool

AMOUNTS = st.integers(0, 2**40)


@st.composite
def costs(draw):
    return LayerCost(
        name=draw(st.text(max_size=3)),
        execution=draw(st.sampled_from(["plain", "own"])),
        cycles=draw(st.integers(1, 2**30)),
        bound=draw(st.sampled_from(["DRAM", "multipliers"])),
        utilisation=draw(st.floats(0, 1)),
        multiplications=draw(AMOUNTS),
        additions=draw(AMOUNTS),
        traffic=Traffic(*(float(draw(AMOUNTS)) for _ in fields(Traffic))),
        energy=Energy(*(float(draw(AMOUNTS)) for _ in fields(Energy))),
    )


def test_energy_by_part():
    spent = Energy(dram=1.0, buffer=2.0, mac=4.0, static=8.0)
    assert spent.total == 15.0
    assert spent.to_json() == {"dram": 1.0, "buffer": 2.0, "mac": 4.0, "static": 8.0}
    assert spent + Energy(static=0.5) == Energy(1.0, 2.0, 4.0, 8.5)
    assert Energy().total == 0


def test_traffic_by_level_and_operand():
    moved = Traffic(1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    assert moved.dram == 7.0
    assert moved.parts == (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
    assert moved.to_json() == {
        "dram": {"weight": 1.0, "input": 2.0, "output": 4.0},
        "buffer": {"weight": 8.0, "input": 16.0, "partial_sum": 32.0},
    }


@given(parts=st.lists(costs(), min_size=1, max_size=4))
def test_parts_add_up(parts):
    whole = together("whole", parts)
    assert whole.name == "whole"
    assert whole.cycles == sum(part.cycles for part in parts)
    assert whole.multiplications == sum(part.multiplications for part in parts)
    assert whole.additions == sum(part.additions for part in parts)
    assert whole.energy.total == sum(part.energy.total for part in parts)
    assert whole.traffic.dram == sum(part.traffic.dram for part in parts)
    busy = sum(part.utilisation * part.cycles for part in parts)
    assert whole.utilisation == pytest.approx(busy / whole.cycles)
    lowest, highest = (f(part.utilisation for part in parts) for f in (min, max))
    assert lowest * (1 - 1e-9) <= whole.utilisation <= highest * (1 + 1e-9)


@given(one=costs(), two=costs())
def test_the_longest_part_gives_the_words(one, two):
    two = replace(two, cycles=one.cycles + 1)
    for order in ([one, two], [two, one]):
        whole = together("whole", order)
        assert (whole.bound, whole.execution) == (two.bound, two.execution)


def test_each_part_shows_how_it_lies_on_the_machine():
    base = LayerCost("a", "own", 1, "DRAM", 1.0, 0, 0, Traffic(), Energy(), mapping={"banks": 3})
    whole = together("whole", [base, replace(base, name="b", mapping={"banks": 5})])
    assert whole.mapping == {"parts": {"a": {"banks": 3}, "b": {"banks": 5}}}
    assert not whole.fused


def test_another_nest_leaves_the_rest_of_a_task_alone():
    nest = ConvLayer("l", N=1, K=4, C=3, H=8, W=8, R=3, S=3, pool=Pool((2, 2), (2, 2)))
    task = LayerTask(Layer(nest, operator="Gemm", form="box"), scaled=True, sole_consumer=True)
    larger = task.with_nest(replace(nest, name="m", N=7))
    assert larger.nest == replace(nest, name="m", N=7)
    assert larger.layer.name == "m"
    assert (larger.layer.operator, larger.layer.form) == ("Gemm", "box")
    assert (larger.scaled, larger.sole_consumer) == (True, True)
    assert task.nest is nest
