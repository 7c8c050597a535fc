"""The numbers of an array, and those that fit no array."""

from dataclasses import FrozenInstanceError, fields, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.accelerators import Machine, accelerator_names, load_accelerator
from mlcnn.accelerators.array import Array, DenseArray, MlcnnArray, WinogradArray, load_array
from mlcnn.accelerators.array.parameters import Parameters
from mlcnn.errors import InputError

ARRAYS = [name for name in accelerator_names() if isinstance(load_accelerator(name), Array)]
KINDS = {"mlcnn": MlcnnArray, "dcnn": DenseArray, "winograd": WinogradArray}


@pytest.mark.parametrize("name", ARRAYS)
def test_each_kind_has_its_class(name):
    machine = load_array(name)
    assert type(machine) is KINDS[name.split("-")[0]]
    assert isinstance(machine, Array)
    assert isinstance(machine, Machine)
    assert machine.kind == name.split("-")[0].replace("dcnn", "dense")


@pytest.mark.parametrize("name", ARRAYS)
def test_sizes_together(name):
    machine = load_array(name)
    assert machine.multiplications_per_cycle == machine.slices * machine.multipliers
    assert machine.accumulator_bytes == 4 * machine.slices * machine.accumulator_entries
    assert machine.on_chip_bytes == (
        machine.buffer_bytes + machine.accumulator_bytes + machine.row_buffer_bytes
    )
    latencies = machine.multiplier_latency, machine.tree_latency, machine.accumulator_latency
    assert machine.pipeline_depth == sum(latencies)


def test_a_machine_does_not_change(mlcnn):
    with pytest.raises(FrozenInstanceError):
        mlcnn.slices = 3
    assert hash(replace(mlcnn)) == hash(mlcnn)
    assert replace(mlcnn, slices=3) != mlcnn


def test_the_same_numbers_in_another_kind_are_another_machine(dense):
    numbers = {field.name: getattr(dense, field.name) for field in fields(dense)}
    other = MlcnnArray(**numbers | {"input_adders": 16})
    assert other != replace(dense, input_adders=16)


@pytest.mark.parametrize(
    "name", [field.name for field in fields(MlcnnArray) if field.name not in {"name", "precision"}]
)
@pytest.mark.parametrize("value", [-1, float("nan"), 2e9])
def test_every_number_is_checked(name, value, mlcnn):
    with pytest.raises(InputError, match=f"accelerator mlcnn-fp32: {name} is .* and must be "):
        replace(mlcnn, **{name: value})


@pytest.mark.parametrize(
    "name", ["input_scalers", "row_buffer_bytes", "dram_latency", "write_latency"]
)
def test_parts_that_a_machine_may_lack(name, mlcnn):
    assert getattr(replace(mlcnn, **{name: 0}), name) == 0


@pytest.mark.parametrize(("ways", "near"), [(3, "2 or 4"), (5, "4 or 8"), (12, "8 or 16")])
def test_ways_are_a_power_of_two(ways, near, dense):
    with pytest.raises(InputError) as caught:
        replace(dense, most_ways=ways)
    assert str(caught.value) == (
        f"accelerator dcnn-fp32: ways is {ways} and must be 1 or a power of two: {near}"
    )


def test_a_beat_has_the_words_of_a_slice(dense):
    assert replace(dense, beat_bytes=32).lanes == dense.multipliers
    with pytest.raises(InputError) as caught:
        replace(dense, multipliers=17)
    assert str(caught.value) == (
        "accelerator dcnn-fp32: a beat of 64 bytes has 16 words of fp32 and a slice takes 17 "
        "(multipliers): give it as many or fewer, or a longer beat (beat_bytes)"
    )


def test_a_beat_takes_a_cycle_or_more(dense):
    assert [replace(dense, dram_bytes_per_cycle=one).beat_cycles for one in (16, 64, 128)] == [
        4, 1, 1,
    ]  # fmt: skip


def test_an_accumulator_bank_has_two_halves(dense):
    assert replace(dense, accumulator_entries=2)
    with pytest.raises(InputError, match=r"accumulator_entries is 1 and must be 2 or more"):
        replace(dense, accumulator_entries=1)


def test_a_file_of_another_type_is_no_array(crossbars):
    assert load_accelerator(crossbars).name == "bars"
    with pytest.raises(InputError) as caught:
        load_array(crossbars)
    assert str(caught.value) == (
        "accelerator bars is a machine of the class Crossbars; this needs an array: give a file "
        "without a type, or one of the type array"
    )


@given(slices=st.lists(st.integers(1, 200), min_size=1, max_size=5))
def test_numbers_of_several_machines_stand_below_each_other(slices):
    base = load_array("dcnn-fp32")
    machines = [replace(base, slices=count) for count in slices]
    found = Parameters.of(machines)
    for name in Parameters.__slots__:
        column = getattr(found, name)
        assert column.shape == (len(machines), 1)
        expected = [getattr(machine, name) for machine in machines]
        assert column[:, 0].tolist() == expected
