"""Files of engines, cells and tables of sub-arrays."""

import shutil
from pathlib import Path

import pytest

from mlcnn.accelerators import accelerator_text, load_accelerator
from mlcnn.accelerators.in_memory import cell_names, load_cells
from mlcnn.accelerators.in_memory import cells as cells_module
from mlcnn.errors import InputError

_FOLDER = Path(cells_module.__file__).parent / "cells"


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """An engine with cells and a table of its own."""
    for name in ("nvsim-45nm-stt.yaml", "nvsim-45nm.csv"):
        shutil.copy(_FOLDER / name, tmp_path / name)
    text = accelerator_text("imce-stt").replace("cell: nvsim-45nm-stt", "cell: nvsim-45nm-stt.yaml")
    (tmp_path / "engine.yaml").write_text(text, encoding="utf-8")
    return tmp_path


def _change(path: Path, old: str, new: str) -> None:
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new), encoding="utf-8")


def _error(folder: Path) -> str:
    with pytest.raises(InputError) as caught:
        load_accelerator(folder / "engine.yaml")
    return str(caught.value)


def test_copied_files_give_the_engine(files):
    assert load_accelerator(files / "engine.yaml") == load_accelerator("imce-stt")


@pytest.mark.parametrize("name", cell_names())
def test_tables_hold_what_nvsim_gave(name):
    """Rows of 512 cells and columns of 256, of the table of NVSim."""
    published = {
        "nvsim-45nm-stt": (1.454, 10.641, 78.528 + 24.763, 522.249),
        "nvsim-45nm-stt-aggressive": (1.275, 5.461, 73.037 + 19.351, 137.719),
        "nvsim-45nm-sram-lop": (0.8258, 0.8258, 1.8 * 4.535, 3.84),
        "nvsim-45nm-sram-hp": (0.5106, 0.5106, 1.8 * 9.17, 7.776),
    }
    found = load_cells(name, Path()).sub_array(256, 512)
    read_ns, write_ns, both, write = published[name]
    assert (found.read_ns, found.write_ns) == (read_ns, write_ns)
    assert found.both_pj == pytest.approx(both)
    assert found.write_pj * 512 == pytest.approx(write)


def test_a_size_outside_the_table(files):
    _change(files / "engine.yaml", "rows: 256", "rows: 300")
    told = _error(files)
    assert "engine.yaml:7" in told
    assert "no sub-array of 300 rows and 512 columns" in told
    assert "128 to 512 rows and 128 to 1024 columns, the nearest 256 and 512" in told


def test_a_cell_that_there_is_not(files):
    _change(files / "engine.yaml", "cell: nvsim-45nm-stt.yaml", "cell: nvsim-45nm-sot")
    told = _error(files)
    assert "unknown memory cell 'nvsim-45nm-sot'" in told
    assert "nvsim-45nm-stt" in told


@pytest.mark.parametrize(
    ("old", "new", "line"),
    [("on_ohm: 3000", "on_ohm: 0", 10), ("write_pulse_ns: 10", "write_pulse_ns: -1", 12)],
)
def test_a_device_that_cannot_be(files, old, new, line):
    _change(files / "nvsim-45nm-stt.yaml", old, new)
    told = _error(files)
    assert f"nvsim-45nm-stt.yaml:{line}: device.{new.split(':')[0]}" in told
    assert "greater than 0" in told


def test_resistances_that_cannot_be_told_apart(files):
    _change(files / "nvsim-45nm-stt.yaml", "off_ohm: 6000", "off_ohm: 3000")
    assert "off_ohm is 3000 and must be more than on_ohm, 3000" in _error(files)


def test_a_pulse_longer_than_a_write_of_the_table(files):
    _change(files / "nvsim-45nm-stt.yaml", "write_pulse_ns: 10", "write_pulse_ns: 20")
    told = _error(files)
    assert "nvsim-45nm-stt.yaml:12: write_pulse_ns is 20" in told
    assert "give the table that was computed for this device" in told


def test_a_number_of_the_table_that_cannot_be(files):
    _change(files / "nvsim-45nm.csv", "1.454,10.641", "-1.454,10.641")
    told = _error(files)
    assert "nvsim-45nm.csv:8: read_ns is '-1.454' and must be a positive number" in told


def test_a_table_without_the_cell(files):
    _change(files / "nvsim-45nm-stt.yaml", "cell: sample_STTRAM.cell", "cell: sot.cell")
    assert "has no line of the cell 'sot.cell' and the roadmap 'LOP'" in _error(files)


def test_a_bus_wider_than_the_buffer(files):
    _change(files / "engine.yaml", "bus_bits: 1024", "bus_bits: 2048")
    assert "bus bits is 2048 and the banks of the buffer deliver 1024" in _error(files)
