"""Tables: their names and their memories."""

import csv
import importlib.resources
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.accelerators import DEFAULT_TECHNOLOGY, load_technology
from mlcnn.errors import InputError


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


@pytest.mark.parametrize(
    ("row", "what", "part"),
    [("selector", "multiplexers", "selecting"), ("full_adder", "full adders", "adding")],
)
def test_a_table_without_what_a_machine_needs(row, what, part):
    bare = replace(load_technology(DEFAULT_TECHNOLOGY), **{row: None})
    with pytest.raises(InputError, match=f"no {what}, .* add a row {row}, as horowitz-45nm has it"):
        getattr(bare, part)()
