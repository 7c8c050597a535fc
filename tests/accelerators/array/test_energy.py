"""Energy of a layer on an array."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask, evaluate_layer, load_technology
from mlcnn.accelerators.array import static_power_mw
from mlcnn.errors import InfeasibleError
from mlcnn.workload import ConvLayer, Layer

# A share of the profile's examples: each one searches all tilings of a layer.
SOME = settings(max_examples=settings.default.max_examples // 6)


@SOME
@given(data=st.data())
def test_energy_parts(data, small_layers, machines, technology):
    layer, machine = data.draw(small_layers), data.draw(machines)
    machine = replace(machine, buffer_bytes=32768, accumulator_entries=2048)
    try:
        cost = evaluate_layer(LayerTask(Layer(layer)), machine, technology)
    except InfeasibleError:
        assume(False)
    spent = cost.energy
    assert spent.total == pytest.approx(spent.dram + spent.buffer + spent.mac + spent.static)
    assert min(spent.dram, spent.buffer, spent.mac, spent.static) > 0
    assert spent.dram == pytest.approx(cost.traffic.dram * 8 * 3.92)
    seconds = cost.cycles / (machine.clock_mhz * 1e6)
    assert spent.static == pytest.approx(static_power_mw(machine, technology) * seconds * 1e9)


def test_mac_energy_by_hand(dense, technology):
    """A 3x3 layer of one channel: each output has 9 products, 8 tree additions, 1 accumulation,
    and one addition for bias."""
    layer = ConvLayer("l", N=1, K=32, C=1, H=10, W=10, R=3, S=3)
    cost = evaluate_layer(LayerTask(Layer(layer)), dense, technology)
    outputs = 32 * 64
    assert cost.energy.mac == pytest.approx(outputs * (9 * 3.7 + 8 * 0.9 + 0.9 + 0.9))


def test_leaky_memories_cost_more_static_energy(dense):
    lop, hp = (load_technology(f"horowitz-45nm+cacti-45nm-{c}+hbm2") for c in ("lop", "hp"))
    assert static_power_mw(dense, hp) > 20 * static_power_mw(dense, lop)
