"""Energy of a layer on an array."""

from dataclasses import replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import LayerTask, evaluate_layer, load_accelerator, load_technology
from mlcnn.accelerators.array import ArrayOperations, Transfers, static_power_mw
from mlcnn.accelerators.array.area import memories
from mlcnn.accelerators.array.energy import energy
from mlcnn.errors import InfeasibleError
from mlcnn.workload import ConvLayer, Layer

# A share of the profile's examples: each one searches all tilings of a layer.
SOME = settings(max_examples=settings.default.max_examples // 6)


@SOME
@given(data=st.data())
def test_energy_parts(data, small_layers, machines, technology):
    layer, machine = data.draw(small_layers), data.draw(machines)
    machine = replace(machine, input_bytes=32768, accumulator_entries=2048)
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


def _energy(machine, technology, moved, done, cycles=0.0):
    return energy(machine, technology, Transfers(**NOTHING | moved), ArrayOperations(**NONE | done),
                  cycles)  # fmt: skip


NOTHING = dict.fromkeys(Transfers.__slots__, 0.0)
NONE = dict.fromkeys(ArrayOperations.__slots__, 0)


def test_nothing_costs_nothing(mlcnn, technology):
    assert _energy(mlcnn, technology, {}, {}).total == 0


@pytest.mark.parametrize(
    ("operation", "pj"),
    [
        ("multiplications", 3.7),
        ("tree_additions", 0.9),
        ("accumulations", 0.9),
        ("input_additions", 0.9),
        ("output_additions", 0.9),
        ("scalings", 3.7 + 0.9),
    ],
)
def test_each_operation_costs_what_the_table_says(operation, pj, dense, technology):
    """[Horowitz 2014], 45 nm, FP32."""
    found = _energy(dense, technology, {}, {operation: 1000})
    assert found.mac == pytest.approx(1000 * pj)
    assert found.total == found.mac


@pytest.mark.parametrize("name", ["dram_weight", "dram_input", "dram_output"])
def test_a_byte_of_dram_is_eight_bits(name, dense, technology):
    found = _energy(dense, technology, {name: 100.0}, {})
    assert found.dram == pytest.approx(100 * 8 * 3.92)
    assert found.total == found.dram


def test_each_byte_on_the_chip_costs_its_share_of_a_port(mlcnn, technology):
    held, bit = memories(mlcnn, technology), technology.register.energy_pj_per_bit
    inputs, weights = held.inputs[0], held.weights[0]
    sums, row = held.accumulators[0], held.row_buffer[0]
    expected = {
        "weight_written": weights.write_pj / 32,
        "input_written": inputs.write_pj / 32,
        "weight_read": weights.read_pj / 32 + 8 * bit,
        "input_read": inputs.read_pj / 32 + 8 * bit,
        "partial_sum_written": sums.write_pj / 32,
        "partial_sum_read": sums.read_pj / 32,
        "row_buffer": (row.read_pj + row.write_pj) / 64,
    }
    for name, pj in expected.items():
        found = _energy(mlcnn, technology, {name: 64.0}, {})
        assert found.buffer == pytest.approx(64 * pj), name
        assert found.total == found.buffer


def test_leakage_grows_with_time_alone(dense, technology):
    one, two = (_energy(dense, technology, {}, {}, cycles) for cycles in (1e6, 2e6))
    # 1e6 cycles at 1 GHz are a millisecond: mW times that are 1e6 pJ.
    assert one.static == pytest.approx(static_power_mw(dense, technology) * 1e6)
    assert two.static == pytest.approx(2 * one.static)
    slow = replace(dense, clock_mhz=500)
    assert _energy(slow, technology, {}, {}, 1e6).static == pytest.approx(two.static)


def test_wide_multipliers_cost_a_quarter_more():
    technology = load_technology()
    wide = load_accelerator("mlcnn-int8")
    one = _energy(wide, technology, {}, {"multiplications": 100}).mac
    narrow = _energy(replace(wide, wide_bits=8), technology, {}, {"multiplications": 100}).mac
    assert one == pytest.approx(1.25 * narrow)
    dense = _energy(load_accelerator("dcnn-int8"), technology, {}, {"multiplications": 100}).mac
    assert narrow == pytest.approx(dense)
    additions = [
        _energy(replace(wide, wide_bits=bits), technology, {}, {"input_additions": 10}).mac
        for bits in (8, 10)
    ]
    assert additions[0] == additions[1]


@pytest.mark.parametrize(("dram", "pj"), [("hbm2", 3.92), ("gddr5", 14.0)])
def test_another_dram_changes_its_part_alone(dram, pj, dense):
    layer = Layer(ConvLayer("l", N=1, K=16, C=16, H=8, W=8, R=3, S=3))
    usual, other = (
        evaluate_layer(LayerTask(layer), dense, load_technology(name)) for name in ("hbm2", dram)
    )
    assert other.energy.dram == pytest.approx(other.traffic.dram * 8 * pj)
    assert replace(other.energy, dram=0.0) == replace(usual.energy, dram=0.0)
