"""Architectures of both forms as levels, and what is wrong with those that are not read."""

import pytest
from codesign.timeloop.files import ENERGIES, FLAT, OLD_ENERGIES, TREE, write

from mlcnn.codesign import FanOut, Operand, load_architecture, load_timeloop
from mlcnn.codesign.timeloop import read_timeloop
from mlcnn.errors import InputError


def test_both_forms_are_the_same_levels(tmp_path):
    flat, _, _, _ = load_timeloop(*write(tmp_path, arch=FLAT, ert=ENERGIES))
    tree, _, _, _ = load_timeloop(*write(tmp_path, arch=TREE, ert=OLD_ENERGIES))
    assert flat.levels == tree.levels
    assert flat.mac_energy_pj == tree.mac_energy_pj == 0.845
    memory, buffer, register = flat.levels
    assert (memory.capacity, memory.block_words, memory.fan_out) == (None, 32, FanOut(16))
    assert (buffer.capacity, buffer.block_words, buffer.word_bits) == (262144, 8, 8)
    assert (buffer.read_pj * 8, buffer.write_pj * 8) == (43.353054, 30.878292)
    assert register.capacity == 64
    assert [flat.instances(number) for number in range(4)] == [1, 16, 16, 16]
    assert "leakage is not counted" in flat.source


def test_an_architecture_with_its_energies_is_one_file(tmp_path):
    (path,) = write(tmp_path, arch=FLAT + ENERGIES)
    machine = load_architecture(path)
    assert [level.name for level in machine.levels] == [
        "MainMemory",
        "GlobalBuffer",
        "RegisterFile",
    ]


def test_without_energies_it_says_what_to_give(tmp_path):
    (path,) = write(tmp_path, arch=FLAT)
    with pytest.raises(InputError) as told:
        load_architecture(path)
    assert str(told.value) == (
        f"Timeloop file {path}:7: component 'MainMemory' has no energy: give the energy reference "
        "table of the architecture too (the file with the key ERT), or vector_access_energy among "
        "its attributes"
    )


def _levels(folder, arch, energies):
    return load_timeloop(*write(folder, arch=arch, ert=energies))[0].levels


_OWN = "attributes: {vector_access_energy: 12, "


def test_attributes_of_a_storage(tmp_path):
    arch = FLAT.replace("attributes: {depth: 64, width: 8", f"{_OWN}sizeKB: 2, n_words: 4, "
                        "bandwidth: 6, multiple_buffering: 2, shared_bandwidth: 1.5")  # fmt: skip
    register = _levels(tmp_path, arch, ENERGIES)[2]
    assert register.capacity == 2 * 1024 // 2
    assert (register.block_words, register.read_pj, register.write_pj) == (4, 3.0, 3.0)
    bounds = register.read_bandwidth, register.write_bandwidth, register.shared_bandwidth
    assert bounds == (3.0, 3.0, 1.5)


def test_a_line_is_shared_by_a_cluster(tmp_path):
    arch = FLAT.replace("width: 8, datawidth: 8}", "width: 64, datawidth: 8, cluster_size: 4}")
    register = _levels(tmp_path, arch, ENERGIES)[2]
    assert (register.block_words, register.capacity) == (2, 128)
    assert register.read_pj * 8 == 0.42564


def test_two_axes_are_two_levels(tmp_path):
    arch = FLAT.replace("meshX: 16", "meshX: 8, meshY: 2")
    read = read_timeloop(*write(tmp_path, arch=arch, ert=ENERGIES))
    names = [(level.name, level.fan_out.size) for level in read.machine.architecture.levels]
    assert names == [("MainMemory", 8), ("MainMemory.y", 2), ("GlobalBuffer", 1),
                     ("RegisterFile", 1)]  # fmt: skip
    assert (read.machine.targets["PE"].x, read.machine.targets["PE"].y) == (0, 1)


def test_one_container_after_another_is_a_level_that_keeps_nothing(tmp_path):
    inner = "  - !Container\n    name: lane\n    spatial: {meshY: 4}\n"
    arch = FLAT.replace("  - !Component\n    name: GlobalBuffer", inner +
                        "  - !Component\n    name: GlobalBuffer")  # fmt: skip
    machine = load_timeloop(*write(tmp_path, arch=arch, ert=ENERGIES))[0]
    assert [(level.name, level.fan_out.size, level.keeps) for level in machine.levels[:2]] == [
        ("MainMemory", 16, tuple(Operand)),
        ("lane", 4, ()),
    ]
    assert machine.instances(2) == 64


_SIDE = """\
  - !Parallel
    nodes:
    - !Component
      name: Left
      class: regfile
      attributes: {vector_access_energy: 1}
      constraints: {dataspace: {keep: [Weights]}}
    - !Component
      name: Right
      class: regfile
      attributes: {vector_access_energy: 2}
      constraints: {dataspace: {keep_only: [Outputs]}}
    - !Nothing {constraints: {dataspace: {keep: [Inputs]}}}
"""


def test_branches_side_by_side_hold_what_they_say(tmp_path):
    arch = FLAT.replace("  - !Component\n    name: MACC", f"{_SIDE}  - !Component\n    name: MACC")
    arch = arch.replace("meshX: 16}\n", "meshX: 16}\n", 1).replace(
        "class: SRAM\n", "class: SRAM\n    constraints: {dataspace: {bypass: [Outputs]}}\n"
    )
    levels = _levels(tmp_path, arch, ENERGIES)
    assert {level.name: level.keeps for level in levels[1:]} == {
        "GlobalBuffer": (Operand.WEIGHT, Operand.INPUT),
        "RegisterFile": tuple(Operand),
        "Left": (Operand.WEIGHT,),
        "Right": (Operand.OUTPUT,),
    }


def test_levels_that_cost_nothing_and_networks(tmp_path):
    more = """\
      - name: Spread[0..15]
        class: dummy_storage
        attributes: {meshX: 16}
      - name: Wires
        class: XY_NoC
"""
    arch = TREE.replace("      - name: RegisterFile", more + "      - name: RegisterFile")
    arch = arch.replace("PE[0..15]", "PE").replace(
        "word-bits: 8, meshX: 16}\n      - name: Spread", "word-bits: 8}\n      - name: Spread"
    )
    arch = arch.replace("name: RegisterFile", "name: RegisterFile[0..63]")
    arch = arch.replace("name: MACC", "name: MACC[0..63]")
    machine = load_timeloop(*write(tmp_path, arch=arch, ert=OLD_ENERGIES))[0]
    assert [(level.name, level.keeps == (), level.fan_out.size) for level in machine.levels] == [
        ("MainMemory", False, 1),
        ("GlobalBuffer", False, 16),
        ("Spread", True, 4),
        ("RegisterFile", False, 1),
    ]
    assert machine.source.endswith("networks are not counted: Wires")
