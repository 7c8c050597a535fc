"""Area of an array, part by part, and arrays that fill one."""

import math
from dataclasses import fields, replace

import pytest

from mlcnn.accelerators import accelerator_names, load_accelerator, load_technology
from mlcnn.accelerators.array import Array, area, filling, static_power_mw
from mlcnn.accelerators.array.area import memories
from mlcnn.errors import InfeasibleError


def test_array_area_by_hand(dense, technology):
    """256 multipliers and adders of Horowitz's table."""
    found = area(dense, technology)
    assert found.multipliers == 256 * 7700
    assert found.adders == 256 * 4184
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


def test_every_part_by_hand(mlcnn, technology):
    """Horowitz's 45 nm table, FP32; flip-flops of 4.522 um2 a bit."""
    found = area(mlcnn, technology)
    assert found.multipliers == 32 * 8 * 7700
    # Two weights and one input of 32 bits a multiplier.
    bits = 3 * 256 * 32
    assert found.registers == pytest.approx(technology.register.area_um2_per_bit * bits)
    add, multiply = 4184, 7700
    assert found.input_unit == 32 * add + 8 * (multiply + add)
    assert found.output_unit == 16 * add
    assert found.logic == pytest.approx(
        found.multipliers + found.adders + found.registers + found.input_unit + found.output_unit
    )


def test_the_machines_area_is_that_of_its_parts(technology):
    for name in accelerator_names():
        machine = load_accelerator(name)
        if not isinstance(machine, Array):
            continue
        assert machine.area(technology) == area(machine, technology).total


def test_memories_by_hand(mlcnn, technology):
    """Each in two halves: inputs in two banks of 256 bits, weights in two macros of 256 bits side
    by side, accumulators of eight slices side by side; the row buffer is a beat wide."""
    held, macro = memories(mlcnn, technology), technology.memory.macro
    assert held.inputs == (macro(22528 / 4, 256), 4)
    assert held.weights == (macro(49152 / 4, 256), 4)
    assert held.accumulators == (macro(8 * 384 * 4 / 2, 256), 8)
    assert held.row_buffer == (macro(2304 / 2, 256), 2)
    found = area(mlcnn, technology)
    parts = {one: getattr(held, one) for one in ("accumulators", "row_buffer")}
    for part, (one, count) in parts.items():
        assert getattr(found, part) == one.area_um2 * count
    assert found.buffer == sum(one.area_um2 * count for one, count in (held.inputs, held.weights))


def test_a_bank_that_no_macro_is_as_narrow_as():
    """A word of eight box sums of 10 bits takes a port of 128."""
    technology = load_technology()
    held = memories(load_accelerator("mlcnn-int8"), technology)
    assert held.inputs == (technology.memory.macro(40960 / 16, 128), 16)


@pytest.mark.parametrize(("slices", "together", "macros"), [(4, 4, 2), (1, 1, 2), (3, 1, 6)])
def test_accumulators_of_few_slices(slices, together, macros, dense, technology):
    """Four lie side by side at 128 bits; three have no memory of 96 bits and lie apart. Each in two
    halves."""
    machine = replace(dense, slices=slices)
    bank = machine.accumulator_entries * 4 * together / 2
    macro, count = memories(machine, technology).accumulators
    assert macro == technology.memory.small(bank, 32 * together, technology.register)
    assert count == macros


def test_a_machine_without_a_row_buffer_pays_for_none(mlcnn, technology):
    without = replace(mlcnn, row_buffer_bytes=0)
    assert memories(without, technology).row_buffer is None
    assert area(without, technology).row_buffer == 0
    assert area(without, technology).total < area(mlcnn, technology).total


def test_wider_operands_take_more_area():
    """8 x 10 bits are a quarter more than 8 x 8."""
    technology = load_technology()
    wide = load_accelerator("mlcnn-int8")
    narrow = replace(wide, wide_bits=8)
    ratio = area(wide, technology).multipliers / area(narrow, technology).multipliers
    assert ratio == pytest.approx(1.25)
    as_wide_as_fp32 = replace(load_accelerator("mlcnn-fp32"), wide_bits=40)
    assert area(as_wide_as_fp32, technology).multipliers == 32 * 8 * 7700


@pytest.mark.parametrize(
    "field", ["slices", "input_adders", "input_scalers", "input_bytes", "weight_bytes",
              "row_buffer_bytes", "accumulator_entries"]
)  # fmt: skip
@pytest.mark.parametrize("name", ["mlcnn-fp32", "dcnn-int8", "winograd-f4-fp32"])
def test_more_of_anything_takes_no_less_area(name, field, technology):
    machine = load_accelerator(name)
    more = replace(
        machine, **{field: 2 * getattr(machine, field) + 8 * (not field.endswith("bytes"))}
    )
    assert area(more, technology).total >= area(machine, technology).total


def test_leakage_is_the_memories_and_as_much_by_area_for_logic(mlcnn, technology):
    held, found = memories(mlcnn, technology), area(mlcnn, technology)
    macros = (held.inputs, held.weights, held.accumulators, held.row_buffer)
    memory = sum(macro.leakage_mw * count for macro, count in macros)
    logic = found.logic * technology.memory.leakage_mw_per_um2
    assert static_power_mw(mlcnn, technology) == pytest.approx(memory + logic)
