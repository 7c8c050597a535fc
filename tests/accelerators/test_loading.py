"""Accelerators and technologies from files, and every mistake in them."""

import importlib.resources
from dataclasses import replace
from pathlib import Path

import pytest

from mlcnn.accelerators import (
    accelerator_names,
    load_accelerator,
    load_technology,
    technology_names,
)
from mlcnn.codesign import LoopNestMachine
from mlcnn.errors import InputError

LIBRARY = Path(str(importlib.resources.files("mlcnn.accelerators") / "library"))


def _edited(tmp_path, old, new, name="mlcnn-fp32"):
    text = (LIBRARY / f"{name}.yaml").read_text()
    assert old in text
    path = tmp_path / "mine.yaml"
    path.write_text(text.replace(old, new))
    return path


def _line(path, text):
    return next(i for i, line in enumerate(path.read_text().splitlines(), 1) if text in line)


def _message(path, load=load_accelerator):
    with pytest.raises(InputError) as caught:
        load(path)
    return str(caught.value)


def test_table_vii_and_its_memory():
    slices = {"mlcnn-fp32": 32, "mlcnn-fp16": 64, "mlcnn-int8": 128, "dcnn-fp32": 32}
    assert {name: load_accelerator(name).slices for name in slices} == slices
    for name in accelerator_names():
        machine = load_accelerator(name)
        assert machine.name == name
        if isinstance(machine, LoopNestMachine):  # sized as others published it
            continue
        array = getattr(machine, "array", machine)
        # Of memory that computes, what stands beside it.
        held = array.on_chip_bytes if hasattr(array, "on_chip_bytes") else array.buffer_bytes
        assert held <= 134 * 1024


def test_a_copy_can_be_edited(tmp_path):
    path = _edited(tmp_path, "slices: 32", "slices: 48")
    assert load_accelerator(path).slices == 48
    assert load_accelerator(path).kind == "mlcnn"


def test_a_file_of_the_arrays_as_they_were(tmp_path):
    path = _edited(tmp_path, "input_buffer: # inputs or box sums", "buffer: # inputs")
    text = path.read_text().replace(
        "output_unit:", "output_unit:\n  pooling_adders: 16\n  lanes: 16"
    )
    path.write_text(text)
    assert _message(path) == (
        f"accelerator {path}:{_line(path, 'buffer: # inputs')}: a file of an array as it was "
        "before: buffer is now input_buffer (bytes, banks, width_bits) and weight_buffer (bytes); "
        "output_unit lanes is now dram beat_bytes: a beat has as many lanes as words; output_unit "
        "pooling_adders is now nothing: a pool accumulates in the array; array ways, input_unit "
        "stages, output_unit stages, dram latency_cycles and write_latency_cycles are new; a slice "
        "takes multipliers channels at one tap: copy a file of the library, such as mlcnn-fp32.yaml"
    )


def test_unknown_key(tmp_path):
    path = _edited(tmp_path, "  slices:", "  slice:")
    assert _message(path) == (
        f"accelerator {path}:{_line(path, 'slice:')}: unknown key 'array.slice'; "
        "did you mean 'slices'?"
    )


def test_unknown_key_at_the_top(tmp_path):
    path = _edited(tmp_path, "clock_mhz:", "clock_ghz:")
    line = _line(path, "clock_ghz")
    assert _message(path) == (
        f"accelerator {path}:{line}: unknown key 'clock_ghz'; did you mean 'clock_mhz'?"
    )


def test_a_missing_key(tmp_path):
    path = _edited(tmp_path, "precision: fp32\n", "")
    assert "key 'precision' is missing" in _message(path)


@pytest.mark.parametrize("value", ["0", "-3"])
def test_sizes_must_be_positive(tmp_path, value):
    path = _edited(tmp_path, "slices: 32", f"slices: {value}")
    assert _message(path) == (
        f"accelerator {path}:{_line(path, 'slices:')}: array.slices is {value}: input should be "
        "greater than 0"
    )


@pytest.mark.parametrize("field", ["slices", "input_bytes", "dram_bytes_per_cycle", "clock_mhz"])
@pytest.mark.parametrize("value", [0, -3, float("nan"), 1e12])
def test_sizes_must_be_positive_without_a_file_too(field, value):
    with pytest.raises(InputError, match=f"accelerator mlcnn-fp32: {field} is .*must be positive"):
        replace(load_accelerator("mlcnn-fp32"), **{field: value})


@pytest.mark.parametrize("value", ["many", "1.5", "true", "[1]", "null"])
def test_sizes_must_be_whole_numbers(tmp_path, value):
    path = _edited(tmp_path, "slices: 32", f"slices: {value}")
    message = _message(path)
    assert message.startswith(f"accelerator {path}:{_line(path, 'slices:')}: array.slices is ")
    assert "valid integer" in message


@pytest.mark.parametrize("value", ["0", "-1", ".nan", ".inf"])
def test_bandwidth_must_be_positive_and_finite(tmp_path, value):
    path = _edited(tmp_path, "bytes_per_cycle: 64", f"bytes_per_cycle: {value}")
    message = _message(path)
    assert "bytes_per_cycle is " in message
    assert str(path) in message


def test_a_kind_without_its_unit(tmp_path):
    path = _edited(tmp_path, "  adders: 32", "  adders: 0")
    assert "needs input_adders, got 0" in _message(path)


@pytest.mark.parametrize("text", ["a: [", "- 1\n- 2\n", "", "{", "a: 1\na: 2\n", "!!python/x y"])
def test_no_valid_document(tmp_path, text):
    path = tmp_path / "bad.yaml"
    path.write_text(text)
    assert str(path) in _message(path)


def test_a_missing_file(tmp_path):
    assert "cannot be read" in _message(tmp_path / "none.yaml")


def test_unknown_names():
    assert "did you mean 'mlcnn-fp32'" in _message("mlcnn-fp23")
    assert "horowitz-45nm+cacti-45nm-lop+hbm2" in _message("7nm", load_technology)


def test_every_technology_names_its_parts_and_sources():
    for name in technology_names():
        technology = load_technology(name)
        assert technology.name == name
        sources = (
            technology.operations_source, technology.register.source, technology.memory.source,
            technology.dram.source,
        )  # fmt: skip
        assert all(sources)


def test_a_users_technology(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("dram:\n  name: lpddr9\n  pj_per_bit: 2.5\n  source: a data sheet\n")
    technology = load_technology(path)
    assert technology.dram.pj_per_bit == 2.5
    assert technology.name == "horowitz-45nm+cacti-45nm-lop+lpddr9"


def test_a_users_technology_with_a_mistake(tmp_path):
    path = tmp_path / "mine.yaml"
    path.write_text("dram:\n  name: lpddr9\n  pj_per_bits: 2.5\n  source: a data sheet\n")
    assert f"{path}:3: unknown key 'dram.pj_per_bits'; did you mean 'pj_per_bit'?" in _message(
        path, load_technology
    )


def test_a_users_memory_table(tmp_path):
    (tmp_path / "table.csv").write_text(
        "cell,size_bytes,banks,width_bits,read_pj,write_pj,leakage_mw_per_bank,area_mm2\n"
        "x,1000,1,64,1,2,0.5,0.01\nx,4000,1,64,2,4,1,0.04\n"
    )
    path = tmp_path / "mine.yaml"
    path.write_text("memory: {name: mine, table: table.csv, cell: x, source: measured}\n")
    macro = load_technology(path).memory.macro(2000, 64)
    assert macro.read_pj == pytest.approx(2**0.5)
    assert macro.area_um2 == pytest.approx(20_000)
