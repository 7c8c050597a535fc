"""The paper's evaluation on its 22 fused layers."""

import csv
from pathlib import Path

import pytest

from mlcnn.accelerators import load_technology
from mlcnn.accelerators.array import area
from mlcnn.counting import Reuse, fused, original
from mlcnn.reproduce.experiment import fused_layers_experiment, sensitivity
from mlcnn.reproduce.paper_networks import PAPER_NETWORKS, paper_tasks

GOLDEN = Path(__file__).parent.parent / "golden" / "layer_operations.csv"

# [MLCNN] section VII.B and VII.D: mean and C9, over DCNN.
PUBLISHED = {
    "mlcnn-fp32": (3.2, 2.9, 9.63, 9.0),
    "mlcnn-fp16": (6.2, 5.9, 19.2, 17.5),
    "mlcnn-int8": (12.8, 11.3, 42.3, 33.6),
}
C9 = "googlenet b5.b1.0"


@pytest.fixture(scope="module")
def results():
    return {r.accelerator: r for r in fused_layers_experiment(16, against=("dcnn-fp32",))}


def test_the_layers_are_those_of_the_golden_table():
    with GOLDEN.open(newline="") as file:
        rows = [
            r
            for r in csv.DictReader(file)
            if r["network"] in {"lenet5", "vgg16", "densenet_cifar", "googlenet AP2x2/2"}
        ]
    tasks = [t.nest for name in PAPER_NETWORKS for t in paper_tasks(name, 1, fused_only=True)]
    found = [(t.C, t.K, t.R, t.H, t.pads[0], t.pool.kernel[0], t.pool.strides[0]) for t in tasks]
    names = ("C", "K", "kernel", "size", "pads", "pool_kernel", "pool_strides")
    assert sorted(found) == sorted(tuple(int(r[n]) for n in names) for r in rows)
    assert len(found) == 22


@pytest.mark.parametrize(("network", "millions"), [
    ("lenet5", 0.593), ("vgg16", 313.20), ("googlenet", 1521.75), ("densenet_cifar", 125.34),
])  # fmt: skip
def test_whole_networks_have_the_published_multiplications(network, millions):
    layers = [task.nest for task in paper_tasks(network, 1)]
    convolutions = [layer for layer in layers if layer.H > 1]
    assert sum(layer.macs for layer in convolutions) / 1e6 == pytest.approx(millions, abs=0.005)


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_means_are_reached(results, name):
    speedup, energy, c9_speedup, c9_energy = PUBLISHED[name]
    summary = results[name].summary
    assert summary.layers == 22
    assert summary.speedup >= speedup
    assert summary.energy_ratio >= energy
    c9 = next(row for row in results[name].comparison.layers if row.name == C9)
    assert c9.speedup >= c9_speedup
    assert c9.energy_ratio >= c9_energy
    assert summary.worst_speedup >= 1.0
    assert summary.worst_energy_ratio >= 1.0


def test_multiplications_saved(results):
    """Figure 14: 75 % in three networks, 63/64 in GoogLeNet's C9 to C12."""
    for row in results["mlcnn-fp32"].comparison.layers:
        expected = 63 / 64 if " b5." in row.name else 3 / 4
        assert row.cost.fused
        assert 1 - row.cost.multiplications / row.against.multiplications == expected
        layer = row.task.nest
        assert row.cost.additions == fused(layer, Reuse.SHARED).additions
        assert row.against.additions == original(layer).additions


def test_whole_networks_stay_under_their_limits(results):
    """SPEC 1.5: the multiplications of the fused layers bound a network's speed-up."""
    limits = {"lenet5": 4.00, "vgg16": 1.62, "googlenet": 1.50, "densenet_cifar": 1.09}
    for name, whole in results["mlcnn-fp32"].networks.items():
        assert 1.0 < whole.network.total_speedup <= limits[name] + 0.01


def test_a_single_image_is_never_slower():
    for result in fused_layers_experiment(1, against=("dcnn-fp32",), networks=False):
        assert result.summary.worst_speedup >= 1.0


def test_sensitivity_has_a_point_for_every_value():
    values = {"batch": (1, 4), "dram_pj_per_bit": (4, 20), "multipliers": (4, 9)}
    points = sensitivity(("mlcnn-fp32",), values=values)
    assert [(p.parameter, p.value) for p in points] == [(n, v) for n in values for v in values[n]]
    cheap, dear = (p.energy_ratio for p in points if p.parameter == "dram_pj_per_bit")
    assert dear < cheap  # loads that both machines share weigh more


def test_a_unit_of_two_adders_starves_the_multipliers():
    """The paper's addition-reuse unit, in front of all slices: slower than the dense machine in
    places, and below the paper's mean."""
    few, usual = sensitivity(("mlcnn-fp32",), values={"input_adders_share": (0.125, 1)})
    assert few.speedup < PUBLISHED["mlcnn-fp32"][0] < usual.speedup
    assert few.worst_speedup < 1.0 < usual.worst_speedup


def test_equal_area_gives_lower_precisions_more_slices():
    technology = load_technology()
    names = ("mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8")
    results = fused_layers_experiment(
        16, names, ("dcnn-fp32",), networks=False, fill_area_um2=1.52e6
    )
    machines = [result.comparison.accelerator for result in results]
    assert all(area(machine, technology).total <= 1.52e6 for machine in machines)
    slices = [machine.slices for machine in machines]
    assert slices == sorted(set(slices))
    assert [m.name for m in machines] == [
        f"{n}-{m.slices}-slices" for n, m in zip(names, machines, strict=True)
    ]
