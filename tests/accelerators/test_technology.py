"""Memories, area and energy."""

import csv
import importlib.resources
import math
from dataclasses import fields, replace

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import (
    LayerTask,
    area,
    evaluate_layer,
    filling,
    load_accelerator,
    load_technology,
    static_power_mw,
)
from mlcnn.errors import InfeasibleError, InputError
from mlcnn.workload import ConvLayer

# A share of the profile's examples: each one searches all tilings of a layer.
SOME = settings(max_examples=settings.default.max_examples // 6)


def _table():
    path = importlib.resources.files("mlcnn.accelerators.technology") / "cacti-45nm.csv"
    with path.open(newline="") as file:
        return [r for r in csv.DictReader(file) if r["cell"] == "itrs-lop" and r["banks"] == "1"]


@pytest.mark.parametrize(
    ("parts", "whole"),
    [
        ("horowitz-45nm", "horowitz-45nm+cacti-45nm-lop+hbm2"),
        ("gddr5", "horowitz-45nm+cacti-45nm-lop+gddr5"),
        ("horowitz-45nm+cacti-45nm-hp", "horowitz-45nm+cacti-45nm-hp+hbm2"),
    ],
)
def test_parts_of_a_name_are_completed(parts, whole):
    assert load_technology(parts).name == whole


@pytest.mark.parametrize("name", ["horowitz-46nm", "hbm2+gddr5", "hbm2+hbm2", "hbm2+", ""])
def test_names_that_are_no_technology(name):
    with pytest.raises(InputError, match="unknown technology"):
        load_technology(name)


@pytest.mark.parametrize("row", _table()[::7], ids=lambda r: f"{r['size_bytes']}x{r['width_bits']}")
def test_memories_of_the_table_are_exact(row, technology):
    macro = technology.memory.macro(float(row["size_bytes"]), int(row["width_bits"]))
    assert macro.read_pj == pytest.approx(float(row["read_pj"]))
    assert macro.area_um2 == pytest.approx(float(row["area_mm2"]) * 1e6)


@given(size=st.floats(1024, 1048576))
def test_memories_between_rows_lie_between_them(size):
    memory = load_technology().memory
    rows = memory.rows[64]
    below = max((r for r in rows if r.size_bytes <= size), key=lambda r: r.size_bytes)
    above = min((r for r in rows if r.size_bytes >= size), key=lambda r: r.size_bytes)
    found = memory.macro(size, 64).area_um2
    assert below.area_um2 * (1 - 1e-9) <= found <= above.area_um2 * (1 + 1e-9)


def test_memories_outside_the_table_are_refused(technology):
    with pytest.raises(InputError, match="covers banks of 1024 to 1048576 bytes"):
        technology.memory.macro(2**21, 64)
    with pytest.raises(InputError, match="no port of 48 bits, only 32, 64, 128, 256"):
        technology.memory.macro(4096, 48)


def test_small_memories_are_flip_flops(technology):
    macro = technology.memory.small(64, 32, technology.register)
    assert macro.area_um2 == pytest.approx(64 * 8 * 4.522)


def test_array_area_by_hand(dense, technology):
    """288 multipliers and adders of Horowitz's table."""
    found = area(dense, technology)
    assert found.multipliers == 288 * 7700
    assert found.adders == 288 * 4184
    assert found.total == pytest.approx(
        math.fsum(getattr(found, field.name) for field in fields(found))
    )


@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_mlcnn_takes_no_more_area_than_its_baselines(precision, technology):
    mlcnn = area(load_accelerator(f"mlcnn-{precision}"), technology).total
    assert mlcnn <= area(load_accelerator(f"dcnn-{precision}"), technology).total
    assert mlcnn <= area(load_accelerator("dcnn-fp32"), technology).total


@pytest.mark.parametrize("name", ["dcnn-fp32", "mlcnn-fp32", "mlcnn-fp16", "mlcnn-int8"])
def test_filling_the_papers_area(name, technology):
    machine = filling(load_accelerator(name), 1.52e6, technology)
    assert area(machine, technology).total <= 1.52e6
    more = replace(machine, slices=machine.slices + 1)
    assert area(more, technology).total > 1.50e6


def test_an_area_too_small_for_one_slice(dense, technology):
    with pytest.raises(InfeasibleError, match="with a single slice"):
        filling(dense, 1e5, technology)


@SOME
@given(data=st.data())
def test_energy_parts(data, small_layers, machines, technology):
    layer, machine = data.draw(small_layers), data.draw(machines)
    machine = replace(machine, buffer_bytes=32768, accumulator_entries=2048)
    try:
        cost = evaluate_layer(LayerTask(layer), machine, technology)
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
    cost = evaluate_layer(LayerTask(layer), dense, technology)
    outputs = 32 * 64
    assert cost.energy.mac == pytest.approx(outputs * (9 * 3.7 + 8 * 0.9 + 0.9 + 0.9))


def test_leaky_memories_cost_more_static_energy(dense):
    lop, hp = (load_technology(f"horowitz-45nm+cacti-45nm-{c}+hbm2") for c in ("lop", "hp"))
    assert static_power_mw(dense, hp) > 20 * static_power_mw(dense, lop)
