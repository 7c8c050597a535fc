"""Two machines beside each other: ratios, means, and what a result holds."""

import json
import math
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.accelerators import (
    Energy,
    Evaluation,
    LayerComparison,
    LayerCost,
    LayerTask,
    Precision,
    Summary,
    Traffic,
    compare,
    equal_precision,
    load_accelerator,
    load_technology,
    with_equal_precision,
)
from mlcnn.workload import ConvLayer, Layer, Pool

HALVE = Pool((2, 2), (2, 2))
NEST = ConvLayer("conv", N=2, K=8, C=4, H=10, W=10, R=3, S=3)
TASKS = [LayerTask(Layer(NEST)), LayerTask(Layer(replace(NEST, name="pooled", pool=HALVE)))]


def _cost(cycles, energy, **more):
    spent = Energy(dram=energy / 2, static=energy / 2)
    return LayerCost("l", "own", cycles, "it", 0.5, 1, 2, Traffic(), spent, **more)


def _row(name, cycles, other, energy=1.0, other_energy=1.0, *, ratio=1.0):
    task = LayerTask(Layer(replace(NEST, name=name)))
    return LayerComparison(task, _cost(cycles, energy), _cost(other, other_energy), ratio)


NUMBERS = st.lists(st.tuples(*[st.floats(1, 1e6)] * 4), min_size=1, max_size=6)


@given(numbers=NUMBERS, clock=st.sampled_from([0.25, 1.0, 3.0]))
def test_means_and_totals(numbers, clock):
    rows = [_row(f"l{i}", *values, ratio=clock) for i, values in enumerate(numbers)]
    found = Summary.of(rows)
    mine, other, energy, other_energy = np.array(numbers).T
    speedups, ratios = other / mine * clock, other_energy / energy
    assert found.layers == len(numbers)
    assert found.speedup == pytest.approx(speedups.mean())
    assert found.energy_ratio == pytest.approx(ratios.mean())
    assert found.geometric_speedup == pytest.approx(math.exp(np.log(speedups).mean()))
    assert found.geometric_energy_ratio == pytest.approx(math.exp(np.log(ratios).mean()))
    assert found.total_speedup == pytest.approx(other.sum() / mine.sum() * clock)
    assert found.total_energy_ratio == pytest.approx(other_energy.sum() / energy.sum())
    assert found.worst_speedup == pytest.approx(speedups.min())
    assert found.worst_energy_ratio == pytest.approx(ratios.min())
    assert speedups[int(found.worst[1:])] == pytest.approx(speedups.min())
    # A total lies between the least and the largest of its parts.
    assert found.worst_speedup * (1 - 1e-9) <= found.total_speedup <= speedups.max() * (1 + 1e-9)
    assert found.geometric_speedup <= found.speedup * (1 + 1e-9)


def test_a_slower_clock_counts():
    assert _row("l", 100, 100, ratio=0.5).speedup == 0.5
    assert _row("l", 100, 300, ratio=0.5).speedup == 1.5


def test_a_machine_against_itself_gains_nothing(mlcnn, technology):
    found = compare(TASKS, mlcnn, mlcnn, technology, batch=2)
    for summary in (found.network, found.fused):
        assert summary.speedup == summary.total_speedup == summary.worst_speedup == 1
        assert summary.energy_ratio == summary.total_energy_ratio == 1
    assert found.equal_precision is found
    assert found.seconds == found.against_seconds


def test_there_and_back(mlcnn, dense, technology):
    there = compare(TASKS, mlcnn, dense, technology, batch=2)
    back = compare(TASKS, dense, mlcnn, technology, batch=2)
    for one, other in zip(there.layers, back.layers, strict=True):
        assert one.speedup == pytest.approx(1 / other.speedup)
        assert (one.cost, one.against) == (other.against, other.cost)
    assert there.network.total_speedup == pytest.approx(1 / back.network.total_speedup)


def test_half_the_clock_takes_twice_the_time(mlcnn, dense, technology):
    slow = replace(mlcnn, name="slow", clock_mhz=mlcnn.clock_mhz / 2)
    usual, half = (compare(TASKS, m, dense, technology, batch=2) for m in (mlcnn, slow))
    assert half.cycles == usual.cycles
    assert half.seconds == 2 * usual.seconds
    assert half.images_per_second == usual.images_per_second / 2
    for one, other in zip(half.layers, usual.layers, strict=True):
        assert one.speedup == other.speedup / 2
    assert half.energy.static == pytest.approx(2 * usual.energy.static)
    assert half.energy.dram == usual.energy.dram


def test_only_layers_with_a_pool_are_among_the_fused(mlcnn, dense, technology):
    found = compare(TASKS, mlcnn, dense, technology, batch=2)
    assert [row.fused for row in found.layers] == [False, True]
    assert found.fused.layers == 1
    assert found.fused.speedup == found.layers[1].speedup
    assert compare(TASKS[:1], mlcnn, dense, technology, batch=2).fused is None


def test_equal_precision_stands_beside_and_changes_nothing(dense, technology):
    machine = load_accelerator("mlcnn-int8")
    found = compare(TASKS, machine, dense, technology, batch=2)
    assert found.equal_precision is None
    assert found.to_json()["equal_precision"] is None
    both = with_equal_precision(found, load_accelerator("dcnn-int8"))
    assert both.layers == found.layers
    again = compare(TASKS, machine, load_accelerator("dcnn-int8"), technology, batch=2)
    assert both.equal_precision.network == again.network
    assert both.to_json()["equal_precision"]["network"] == {
        "speedup": again.network.total_speedup,
        "energy_ratio": again.network.total_energy_ratio,
    }
    assert {k: v for k, v in both.to_json().items() if k != "equal_precision"} == {
        k: v for k, v in found.to_json().items() if k != "equal_precision"
    }


@pytest.mark.parametrize(
    ("name", "precision", "expected"),
    [
        ("dcnn-fp32", Precision.INT8, "dcnn-int8"),
        ("mlcnn-int8", Precision.FP16, "mlcnn-fp16"),
        ("winograd-f4-fp32", Precision.FP32, "winograd-f4-fp32"),
        ("winograd-f4-fp32", Precision.FP16, "dcnn-fp16"),
    ],
)
def test_the_machine_of_another_precision(name, precision, expected):
    assert equal_precision(load_accelerator(name), precision).name == expected


def test_of_a_machine_of_ones_own_it_is_the_dense_one(mlcnn):
    own = replace(mlcnn, name="own")
    assert equal_precision(own, Precision.FP16).name == "dcnn-fp16"


def _evaluation(rows):
    machine = load_accelerator("mlcnn-fp32")
    return Evaluation(machine, machine, load_technology(), 1, tuple(rows))


def test_a_mapping_hides_no_figure_of_a_layer():
    row = _row("l", 100, 200)
    shown = {"cycles": "hidden", "banks": [1, 2], "name": "hidden"}
    row = replace(row, cost=replace(row.cost, mapping=shown))
    (document,) = _evaluation([row]).to_json()["layers"]
    assert (document["cycles"], document["name"]) == (100, "l")
    assert document["banks"] == [1, 2]
    assert json.loads(json.dumps(document)) == document


def test_the_document_of_an_array_ends_in_its_tiling(mlcnn, dense, technology):
    (document, _) = compare(TASKS, mlcnn, dense, technology, batch=2).to_json()["layers"]
    assert list(document)[-1] == "tiling"
    assert document["execution"] == "plain"
    tiling = document["tiling"]
    sizes = ["images", "rows", "columns", "output_channels", "input_channels"]
    assert list(tiling) == [*sizes, "ways", "slices"]
    assert 1 <= tiling["rows"] <= 8
    assert 1 <= tiling["input_channels"] <= 4


def test_energies_add_up_over_the_network(mlcnn, dense, technology):
    found = compare(TASKS, mlcnn, dense, technology, batch=2)
    for part in ("dram", "buffer", "mac", "static"):
        mine = sum(getattr(row.cost.energy, part) for row in found.layers)
        other = sum(getattr(row.against.energy, part) for row in found.layers)
        assert getattr(found.energy, part) == pytest.approx(mine)
        assert getattr(found.against_energy, part) == pytest.approx(other)
    network = found.to_json()["network"]
    assert network["energy_pj"] == pytest.approx(sum(network["energy_parts_pj"].values()))
