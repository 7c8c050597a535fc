"""Whole networks through programs, with a machine that can be wrong in known ways."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from rtl.machine import Machine
from rtl.networks import quantised_lenet5, quantised_residual, sample
from training.quantisation.networks import images_of_classes

from mlcnn.rtl.build import Build
from mlcnn.rtl.choice import choose
from mlcnn.rtl.lowering import lower
from mlcnn.rtl.network import IntegerNetwork, run_network
from mlcnn.rtl.simulation import NetworkRun, Setting, parts_of, simulate
from mlcnn.rtl.tiling import LayerTiling


def _run(
    network: IntegerNetwork,
    images: np.ndarray,
    machine: Machine,
    setting: Setting = Setting(Build()),  # noqa: B008 - it is frozen
    **tiles: LayerTiling,
) -> NetworkRun:
    tilings = {
        step.name: choose(step.layer, setting.build, setting.hardware) for step in network.layers
    }
    return simulate(network, images, machine, setting, tilings | tiles)


@pytest.fixture(scope="module")
def lenet5() -> IntegerNetwork:
    return lower(quantised_lenet5(), sample()[0][300:340])


@pytest.fixture(scope="module")
def residual() -> IntegerNetwork:
    return lower(quantised_residual(), images_of_classes(64, seed=2)[0])


@pytest.mark.parametrize("stalls", [0, 30])
def test_layers_that_are_right_are_told_so(lenet5: IntegerNetwork, stalls: int) -> None:
    images = sample()[0][:3]
    machine = Machine()
    run = _run(lenet5, images, machine, Setting(Build(), stalls=stalls, seed=5))
    assert machine.programs == 3 * [("conv1", "conv2"), ("fc1", "fc2", "fc3")]
    assert run.outputs.tolist() == run_network(lenet5, images).outputs.tolist()
    for layer in run.layers:
        assert layer.bit_exact
        assert (layer.most_apart, layer.first_step) == (0, None)
        assert layer.cycles == layer.model_cycles > 0
        assert sum(layer.set_by.values()) == pytest.approx(1)


def test_host_layers_stand_between_programs(residual: IntegerNetwork) -> None:
    names = [
        tuple(step.name for step in part) if isinstance(part, tuple) else part.operator
        for part in parts_of(residual)
    ]
    assert names == [
        ("stem",), "MaxPool", ("inner",), "Add", ("side",), "Concat", ("last",), "ReduceMean",
        "Flatten", ("head",),
    ]  # fmt: skip
    images = images_of_classes(2, seed=8)[0]
    run = _run(residual, images, Machine())
    assert run.outputs.tolist() == run_network(residual, images).outputs.tolist()


def test_first_code_that_differs_is_told_with_tile_and_step(lenet5: IntegerNetwork) -> None:
    """Tiles of 2x3 outputs in 16 channels: row 3, column 4 is of the second of lines and columns.

    Steps: one loads, then each tile takes one, and leaves in the step behind its own.
    """
    tiling = LayerTiling(lines=2, line=3, filters=16, channels=6)
    machine = Machine(wrong=("conv2", (9, 3, 4)))
    run = _run(lenet5, sample()[0][:2], machine, conv2=tiling)
    (found,) = [layer for layer in run.layers if not layer.bit_exact]
    apart = found.apart
    assert found.name == "conv2"
    assert apart is not None
    assert (apart.image, apart.index, apart.tile, apart.step) == (0, (9, 3, 4), 3, 5)
    assert abs(apart.hardware - apart.model) == 1
    assert str(apart) == (
        f"image 0, channel 9, row 3, column 4: the hardware has {apart.hardware}, the integer "
        f"model {apart.model}; tile 3, step 5"
    )


def test_cycles_that_differ_are_told_with_the_step(lenet5: IntegerNetwork) -> None:
    run = _run(lenet5, sample()[0][:2], Machine(slow="fc2"))
    for layer in run.layers:
        slow = layer.name == "fc2"
        assert layer.bit_exact
        assert layer.cycles - layer.model_cycles == layer.most_apart == (3 if slow else 0)
        assert (layer.first_step is not None) == slow
    (step,) = [layer.first_step for layer in run.layers if layer.first_step]
    assert step[0] == 1
    assert step[1] - step[2] == 3


def test_signals_are_of_one_layer_and_image(lenet5: IntegerNetwork) -> None:
    setting, machine = Setting(Build()), Machine()
    tilings = {
        step.name: choose(step.layer, setting.build, setting.hardware) for step in lenet5.layers
    }
    wave = (1, "fc2", Path("fc2.vcd"))
    simulate(lenet5, sample()[0][:3], machine, setting, tilings, wave=wave)
    assert machine.waves == [(1, Path("fc2.vcd"))]


def test_codes_of_another_sign_go_by_the_host(lenet5: IntegerNetwork) -> None:
    """What a layer writes as signed codes, the next cannot read as others where it stands."""
    first, second = lenet5.layers[:2]
    signed = replace(second, layer=replace(second.layer, signed=True))
    network = replace(lenet5, steps=(first, signed))
    assert [len(part) for part in parts_of(network) if isinstance(part, tuple)] == [1, 1]
