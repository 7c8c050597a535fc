"""Sparse machines from files, and what is wrong with them."""

import pytest

from mlcnn.accelerators import load_accelerator, load_technology, machine_types
from mlcnn.accelerators.sparse import SparseArray, SparseFile, sparse_area
from mlcnn.cli import main

NAMES = ("sparse-fp32", "sparse-basis-fp32")


def test_the_type_is_known():
    assert machine_types()["sparse"] is SparseFile


@pytest.mark.parametrize("name", NAMES)
def test_none_is_larger_than_the_dense_machine(name, dense, technology):
    machine = load_accelerator(name)
    assert isinstance(machine, SparseArray)
    assert machine.precision is dense.precision
    assert 0.95 * dense.area(technology) < machine.area(technology) <= dense.area(technology)
    assert machine.array.on_chip_bytes <= dense.on_chip_bytes
    assert machine.array.dram_bytes_per_cycle == dense.dram_bytes_per_cycle


def test_area_by_hand(machine, technology):
    found = sparse_area(machine.sparsity, machine.array, technology)
    slices = machine.array.slices
    assert found.selectors == pytest.approx(slices * 8 * 35 * 32 * 1.862)
    assert found.weights == pytest.approx(2 * slices * 36 * 38 * 4.522)
    assert found.windows == pytest.approx(2 * 5 * 36 * 32 * 4.522)
    assert found.basis == pytest.approx(90 * (7700 + 4184 + 64 * 4.522))


@pytest.fixture
def edited(library, tmp_path):
    """The path of a copy of ``sparse-basis-fp32`` with something else in one place."""

    def edit(old, new):
        text = (library / "sparse-basis-fp32.yaml").read_text()
        assert old in text
        path = tmp_path / "mine.yaml"
        path.write_text(text.replace(old, new))
        return path

    return edit


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        ("index_bits: 6", "index_bits: 5", "index_bits is 5, and a place in a window of 36 words"),
        (
            "port_words: 36",
            "port_words: 100",
            "windows take 6400 bits a cycle of the memory of inputs",
        ),
        ("row_buffer_bytes: 4608", "row_buffer_bytes: 0", "its basis unit needs rows of inputs"),
        ("basis_multipliers: 90", "basis_multipliers: -1", "sparsity.basis_multipliers is -1"),
        ("window_words: 36", "windows: 36", "unknown key 'sparsity.windows'; did you mean"),
    ],
)
def test_what_is_wrong_is_said(edited, capsys, old, new, told):
    path = edited(old, new)
    assert main(["evaluate", "lenet5", "--on", str(path)]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert told in line
    assert str(path) in line


def test_a_table_without_multiplexers(library, tmp_path, capsys):
    table = library.parent / "technology" / "horowitz-45nm.yaml"
    rows = "\n".join(
        f"  {line}" for line in table.read_text().split("# Multiplexers")[0].splitlines()
    )
    path = tmp_path / "mine.yaml"
    path.write_text(f"operations:\n{rows}\n".replace("horowitz-45nm\n", "mine\n", 1))
    assert load_technology(path).selector is None
    arguments = ["evaluate", "lenet5", "--on", "sparse-fp32", "--technology", str(path)]
    assert main(arguments) == 2
    assert "table mine has no multiplexers" in capsys.readouterr().err
