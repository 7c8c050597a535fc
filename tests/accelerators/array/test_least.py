"""Energy that nothing is below, against every way and tiling; the way by what a cycle counts."""

from dataclasses import replace

import numpy as np
import pytest
from accelerators.array.walk import every, splits
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask, load_accelerator
from mlcnn.accelerators.array import (
    array_document,
    best,
    costs_of,
    least_energy,
    operations,
    preferred,
    sweep_cycles,
    transfers,
)
from mlcnn.accelerators.array.cutting import tilings
from mlcnn.accelerators.array.energy import energy
from mlcnn.errors import InputError
from mlcnn.workload import ConvLayer, Layer, Pool

SOME = settings(max_examples=settings.default.max_examples // 5)
SITE = ConvLayer("site", 1, 16, 8, 12, 12, 3, 3, pool=Pool((2, 2), (2, 2)))


@SOME
@given(data=st.data())
def test_no_tiling_of_any_way_has_less(data, small_layers, machines, technology):
    task, machine = LayerTask(Layer(data.draw(small_layers))), data.draw(machines)
    cycles = sweep_cycles([task], [machine])[:, 0]
    bound = least_energy([(task, 1)], [machine], cycles, technology)[0]
    if np.isinf(cycles[0]):
        assert np.isinf(bound)
        return
    number = data.draw(st.integers(0, 10**6))
    for work in machine.ways(task):
        _, some, plan = every(work, machine)
        fitting = np.flatnonzero(np.isfinite(plan.cycles))
        if not len(fitting):
            continue
        index, tiling, ways, side = splits(plan, some, fitting, number)
        arguments = work, tilings(work).choices[tiling], machine, ways, side
        moved, done = transfers(*arguments), operations(*arguments)
        found = energy(machine, technology, moved, done, float(plan.cycles[index]))
        assert bound <= found.total


def test_layers_add_up(mlcnn, technology):
    first, second = (LayerTask(Layer(replace(SITE, K=k))) for k in (16, 32))
    cycles = sweep_cycles([first, second], [mlcnn])[0]
    alone = [
        least_energy([(task, 1)], [mlcnn], cycles[n : n + 1], technology)[0]
        for n, task in enumerate((first, second))
    ]
    both = least_energy([(first, 3), (second, 1)], [mlcnn], cycles[None] @ [3, 1], technology)[0]
    assert both == pytest.approx(3 * alone[0] + alone[1])


@pytest.mark.parametrize("weight", [1e-3, 1e3, 1e8])
def test_a_cycle_that_counts_chooses_the_way(mlcnn, technology, weight):
    task = LayerTask(Layer(SITE))
    costs = costs_of(task, mlcnn, technology)
    assert [cost.execution for cost in costs] == ["fused", "plain"]
    chosen = replace(mlcnn, mapping_pj_per_cycle=weight).cost(task, technology)
    assert chosen == min(costs, key=lambda one: one.energy.total + weight * one.cycles)
    assert chosen == preferred(costs, weight)


def test_without_one_the_fastest_way_is_taken(mlcnn, technology):
    task = LayerTask(Layer(SITE))
    assert mlcnn.cost(task, technology).cycles == best(task, mlcnn).cycles


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan")])
def test_a_cycle_that_counts_nothing(mlcnn, value):
    with pytest.raises(InputError) as error:
        replace(mlcnn, mapping_pj_per_cycle=value)
    assert str(error.value) == (
        f"accelerator mlcnn-fp32: mapping_pj_per_cycle is {value} and must be positive"
    )


@pytest.mark.parametrize(
    "name", ["mlcnn-fp32", "mlcnn-int8", "dcnn-fp16", "dcnn-int8-scaled", "winograd-f4-fp32"]
)
def test_the_document_of_an_array_is_that_of_its_file(name, library, tmp_path):
    machine = replace(load_accelerator(name), mapping_pj_per_cycle=2.5)
    lines: list[str] = []
    for key, value in array_document(machine).items():
        parts = value.items() if isinstance(value, dict) else ()
        lines += [f"{key}:", *(f"  {k}: {v}" for k, v in parts)] if parts else [f"{key}: {value}"]
    path = tmp_path / "again.yaml"
    path.write_text("\n".join(lines))
    assert load_accelerator(path) == machine
    path.write_text((library / f"{name}.yaml").read_text())
    assert load_accelerator(path) == replace(machine, mapping_pj_per_cycle=None)
