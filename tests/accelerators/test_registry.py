"""Types of machines from packages: found, and every mistake that such a package can make."""

import logging

import pytest

from mlcnn.accelerators import load_accelerator, machine_types
from mlcnn.accelerators.array import ArrayFile, MlcnnArray
from mlcnn.accelerators.fft import FftFile
from mlcnn.accelerators.in_memory import InMemoryFile
from mlcnn.accelerators.sparse import SparseFile
from mlcnn.codesign import LoopNestFile
from mlcnn.errors import InputError

LIBRARY_FILE = "mlcnn-fp32.yaml"


def _message(path):
    with pytest.raises(InputError) as caught:
        load_accelerator(path)
    return str(caught.value)


def _file(tmp_path, text):
    path = tmp_path / "own.yaml"
    path.write_text(text)
    return path


def test_built_in_types_need_no_metadata(monkeypatch):
    monkeypatch.setattr("mlcnn.accelerators.registry.entry_points", lambda **_: ())
    assert machine_types() == {
        "array": ArrayFile, "fft": FftFile, "in-memory": InMemoryFile, "loop-nest": LoopNestFile,
        "sparse": SparseFile,
    }  # fmt: skip
    assert isinstance(load_accelerator("mlcnn-fp32"), MlcnnArray)


def test_a_file_without_a_type_is_an_array_and_looks_at_no_package(monkeypatch, library, tmp_path):
    def refuse(group):
        raise AssertionError(group)

    monkeypatch.setattr("mlcnn.accelerators.registry.entry_points", refuse)
    text = (library / LIBRARY_FILE).read_text()
    assert load_accelerator(_file(tmp_path, text)) == load_accelerator("mlcnn-fp32")


def test_a_file_may_say_that_it_is_an_array(library, tmp_path):
    text = (library / LIBRARY_FILE).read_text()
    path = _file(tmp_path, f"type: array\n{text}")
    assert load_accelerator(path) == load_accelerator("mlcnn-fp32")


def test_lines_in_messages_count_the_type(library, tmp_path):
    text = (library / LIBRARY_FILE).read_text().replace("  slices:", "  slice:")
    path = _file(tmp_path, f"type: array\n{text}")
    line = next(i for i, row in enumerate(path.read_text().splitlines(), 1) if "slice:" in row)
    assert _message(path) == (
        f"accelerator {path}:{line}: unknown key 'array.slice'; did you mean 'slices'?"
    )


def test_a_type_of_another_package_is_found(crossbars):
    machine = load_accelerator(crossbars)
    assert type(machine).__name__ == "Crossbars"
    assert (machine.name, machine.clock_mhz, machine.crossbars) == ("bars", 250, 40)
    assert list(machine_types()) == [
        "array", "comparators", "crossbars", "fft", "in-memory", "loop-nest", "sparse",
        "transforms",
    ]  # fmt: skip


def test_mistakes_in_its_file_have_a_line_too(crossbars):
    crossbars.write_text(crossbars.read_text().replace("columns:", "colums:"))
    assert _message(crossbars) == (
        f"accelerator {crossbars}:6: unknown key 'colums'; did you mean 'columns'?"
    )


def test_an_unknown_type_names_the_nearest_and_what_installs_it(crossbars):
    crossbars.write_text(crossbars.read_text().replace("type: crossbars", "type: crosbar"))
    assert _message(crossbars) == (
        f"accelerator {crossbars}:1: unknown machine type 'crosbar', did you mean 'crossbars'? "
        "Known: array, comparators, crossbars, fft, in-memory, loop-nest, sparse, transforms; any "
        "other comes with a package that has an entry point 'crosbar' of the group mlcnn.machines: "
        "install that"
    )


@pytest.mark.parametrize("value", ["[1]", "3", "true", "null", "{a: 1}"])
def test_a_type_that_is_no_name(tmp_path, value):
    path = _file(tmp_path, f"name: x\ntype: {value}\n")
    message = _message(path)
    assert message.startswith(f"accelerator {path}:2: type is ")
    assert message.endswith("must be the name of a type of machine")


def test_two_packages_with_one_name(crossbars, install):
    install("rival", "2.5", "rival_machines", crossbars="Transforms")
    message = _message(crossbars)
    assert message.startswith(
        f"accelerator {crossbars}:1: 2 packages provide a machine type 'crossbars': "
    )
    assert "outside_machines:Crossbars of outside 1.0" in message
    assert "rival_machines:Transforms of rival 2.5" in message
    assert message.endswith("uninstall all but one")


def test_a_package_cannot_replace_the_array(install, library, tmp_path):
    install(array="Crossbars")
    text = (library / LIBRARY_FILE).read_text()
    assert "2 packages provide a machine type 'array'" in _message(
        _file(tmp_path, f"type: array\n{text}")
    )
    # Files that name no type, and the library, go on as before.
    assert isinstance(load_accelerator(_file(tmp_path, text)), MlcnnArray)


def test_a_class_that_is_no_machine(install, tmp_path):
    install(broken="NoMachine")
    path = _file(tmp_path, "type: broken\n")
    assert _message(path) == (
        f"accelerator {path}:1: machine type 'broken' (outside_machines:NoMachine of outside 1.0) "
        "is no machine: it has no from_description; see mlcnn.accelerators.MachineType"
    )


def test_a_class_that_makes_no_machine(install, tmp_path):
    install(half="MakesNoMachine")
    path = _file(tmp_path, "type: half\n")
    assert _message(path) == (
        f"accelerator {path}:1: machine type 'half' (outside_machines:MakesNoMachine of outside "
        "1.0) makes no machine: MakesNoMachine has no cost; see mlcnn.accelerators.Machine"
    )


def test_a_class_that_raises_anything(install, tmp_path):
    install(careless="Careless")
    path = _file(tmp_path, "type: careless\n")
    assert _message(path) == (
        f"accelerator {path}: machine type 'careless' (outside_machines:Careless of outside 1.0) "
        "could not read it, KeyError: 'missing'"
    )


def test_a_broken_package_hurts_nobody_else(crossbars, install, tmp_path, caplog):
    install("broken", "0.1", "broken_machines", broken="Gone")
    assert load_accelerator(crossbars).name == "bars"
    with caplog.at_level(logging.WARNING):
        assert "broken" not in machine_types()
    (warning,) = caplog.messages
    assert "machine type 'broken' (broken_machines:Gone of broken 0.1) cannot be loaded" in warning
    message = _message(_file(tmp_path, "type: broken\n"))
    assert "cannot be loaded, AttributeError: module 'broken_machines' has no attribute" in message
    assert message.endswith("repair or uninstall it")
