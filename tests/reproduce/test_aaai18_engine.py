"""Ours beside the rows of [AAAI18]: which are computed, by what, and why the others are not."""

import math

import numpy as np
import pytest

from benchmarks.fixed_point import MEASURED
from benchmarks.results import read_rows
from benchmarks.structured_accuracy import CASES
from mlcnn.accelerators import LayerTask, load_accelerator, load_technology
from mlcnn.accelerators.fft import FftEngine
from mlcnn.errors import InfeasibleError
from mlcnn.ops.block_circulant import structure
from mlcnn.reproduce.aaai18_engine import (
    BATCH,
    NETWORKS,
    beside_published,
    fixed_point_accuracy,
    speed,
)
from mlcnn.reproduce.reproduction import Beside, published_rows
from mlcnn.workload import ConvLayer, Layer

LARGER, SMALLER = "mlp 256-128-128-10", "mlp 121-64-64-10"


@pytest.fixture(scope="module")
def beside() -> tuple[Beside, Beside]:
    return beside_published()


@pytest.fixture(scope="module")
def engine() -> FftEngine:
    found = load_accelerator("fft-12")
    assert isinstance(found, FftEngine)
    return found


def test_every_published_row_has_ours_or_the_reason(beside: tuple[Beside, Beside]) -> None:
    numbers, reasons = beside
    published = [(row["design"], row["data"]) for row in published_rows("aaai18-designs")]
    assert list(dict.fromkeys(row[:2] for row in reasons.rows)) == published
    computed = {row[0] for row in numbers.rows}
    for design, data, ours, why in reasons.rows:
        assert bool(ours) == (design == "proposed" and data in computed)
        assert ours or str(why).startswith("not computed: ")


def test_numbers_stand_beside_those_of_their_row(beside: tuple[Beside, Beside]) -> None:
    rows = {row["data"]: row for row in published_rows("aaai18-designs")[:6]}
    for row in beside[0].rows:
        published = rows[str(row[0])]
        keys = ("bits", "kfps", "kfps_per_watt", "accuracy")
        assert [row[place] for place in (1, 2, 4, 7)] == [published[key] for key in keys]
        assert all(isinstance(row[place], float) for place in (3, 5, 6))
        assert f", fft-{row[1]}, " in str(row[-1])
        assert (row[8] is None) == (row[9] is None)


@pytest.mark.parametrize("name", NETWORKS)
def test_layers_are_those_of_the_trained_networks(name: str) -> None:
    (case,) = (case for case in CASES if case.name == name)
    weights = [value for value in case.network().parameters() if value.ndim > 1]
    shapes = [(layer.K, layer.C, layer.R, layer.S) for layer in NETWORKS[name]]
    assert shapes == [(*value.shape, 1, 1)[:4] for value in weights]
    assert {layer.N for layer in NETWORKS[name]} == {BATCH}


def test_speed_by_hand(engine: FftEngine) -> None:
    """Cycles and energy of the layers one after the other, at the engine's clock."""
    technology = load_technology()
    costs = [
        engine.cost_in_blocks(
            LayerTask(Layer(layer, weights=structure(64), parts=(layer,))), technology
        )
        for layer in NETWORKS[LARGER]
    ]
    assert {cost.execution for cost in costs} == {"spectral"}
    seconds = math.fsum(cost.cycles for cost in costs) / (engine.clock_mhz * 1e6)
    joules = math.fsum(cost.energy.total for cost in costs) * 1e-12
    found = speed(LARGER, 64, engine, FftEngine.cost_in_blocks)
    assert found.kfps == pytest.approx(BATCH / seconds / 1e3)
    assert found.kfps_per_watt == pytest.approx(BATCH / joules / 1e3)
    assert found.kfps_per_watt_on_chip > found.kfps_per_watt
    # No slower than the faster way, and its blocks no faster than the core takes them.
    assert speed(LARGER, 64, engine, FftEngine.cost).kfps >= found.kfps
    blocks = BATCH * (4 + 2 + 2 + 2 + 2 + 1)
    passes = blocks * 64 / engine.core.words * engine.core.passes(64)
    assert seconds * engine.clock_mhz * 1e6 >= passes


def test_blocks_that_the_core_does_not_take_have_no_cost_in_blocks(engine: FftEngine) -> None:
    layer = ConvLayer("dense1", 1, 512, 512, 1, 1, 1, 1)
    task = LayerTask(Layer(layer, weights=structure(256), parts=(layer,)))
    with pytest.raises(InfeasibleError, match="dense1 on fft-12: no blocks of 256"):
        engine.cost_in_blocks(task, load_technology())


def test_an_accuracy_that_nobody_measured_is_left_out() -> None:
    assert fixed_point_accuracy("lenet5", 4, 12) is None


@pytest.mark.parametrize(("network", "block"), [(LARGER, 64), (SMALLER, 32)])
def test_accuracy_is_the_mean_of_what_was_measured(network: str, block: int) -> None:
    """Twelve bits within half a point of float, as the paper's sixteen and more."""
    rows = [
        row
        for row in read_rows(MEASURED)
        if (row["network"], row["block"], row["bits"]) == (network, block, 12)
    ]
    found = fixed_point_accuracy(network, block, 12)
    assert found is not None
    assert found.value == pytest.approx(np.mean([row["top1"] for row in rows]))
    assert found.runs == len(rows) == 5
    assert max(row["float"] - row["top1"] for row in rows) <= 0.005
