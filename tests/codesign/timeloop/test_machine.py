"""Architectures of both forms as levels, and what is wrong with those that are not read."""

import pytest
from codesign.timeloop.files import ENERGIES, FLAT, OLD_ENERGIES, PROBLEM, TREE, write

from mlcnn.codesign import FanOut, Operand, load_architecture, load_timeloop
from mlcnn.codesign.timeloop import read_timeloop
from mlcnn.errors import InputError, UnsupportedError


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
    arch = FLAT.replace("attributes: {depth: 64, width: 8", f"{_OWN}sizeKB: 2, n_words: 4, bandwidth: 6, "
                        "multiple_buffering: 2, shared_bandwidth: 1.5")  # fmt: skip
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


_ARCH, _ERT = "arch", "ert"


@pytest.mark.parametrize(
    ("old", "new", "file", "message"),
    [
        ("version: 0.4", "version: 0.3", _ARCH, ":2: architecture.version: version 0.3 is not "
         "read; known: 0.4"),
        ("nodes:", "node:", _ARCH, ":1: architecture: it must have the key 'nodes' (v4) or "
         "'subtree' (v3); did you mean 'node'?"),
        ("    class: DRAM", "    clas: DRAM", _ARCH, ":9: unknown key 'architecture.nodes[1].clas'; "
         "did you mean 'class'?"),
        ("class: SRAM", "class: SRMA", _ARCH, ":16: architecture.nodes[3].class: component "
         "'GlobalBuffer' is of the class 'SRMA', which is no storage and no arithmetic that is "
         "known; did you mean 'SRAM'?; known: DRAM, SRAM, regfile, smartbuffer, storage, intmac, "
         "fpmac, mac, compute"),
        ("depth: 64", "detph: 64", _ARCH, ":21: unknown key 'architecture.nodes[4].attributes."
         "detph'; did you mean 'depth'?"),
        ("32*kilo", "32*klio", _ARCH, ":17: architecture.nodes[3].attributes.depth: unknown name "
         "'klio' in '32*klio'; did you mean 'kilo'?"),
        ("width: 64, datawidth: 8", "width: 60, datawidth: 8", _ARCH, ":17: architecture.nodes[3]."
         "attributes.width: a line of 60 bits is no whole number of blocks of 1 words of 8 bits "
         "for clusters of 1"),
        ("meshX: 16", "meshZ: 16", _ARCH, ":13: unknown key 'architecture.nodes[2].spatial.meshZ';"
         " did you mean 'meshY'?"),
        ("name: PE\n", "name: PE[0..3]\n", _ARCH, ":11: architecture.nodes[2]: 'PE': write its "
         "instances as spatial: {meshX: 4}"),
        ("- !Container\n    name: PE", "- name: PE", _ARCH, ":11: architecture.nodes[2]: it needs "
         "a tag, as !Component or !Container"),
        ("name: RegisterFile", "name: GlobalBuffer", _ARCH, ":1: architecture: two components have "
         "one name: MainMemory, PE, GlobalBuffer, GlobalBuffer, MACC"),
        ("  - !Component\n    name: MACC\n    class: intmac\n", "", _ARCH, ":1: architecture: its "
         "innermost component must be arithmetic, as of the class intmac"),
        ("class: DRAM\n", "class: DRAM\n    constraints: {dataspace: {bypass: [Weights]}}\n", _ARCH,
         ":7: architecture.nodes[1]: the outermost storage 'MainMemory' must keep everything; "
         "weight bypasses it"),
        ("class: DRAM\n", "class: DRAM\n    constraints: {dataspace: {keep: [Weigths]}}\n", _ARCH,
         ":10: architecture.nodes[1].constraints.dataspace.keep[0]: 'Weigths' is no data space of "
         "the problem; did you mean 'Weights'?; it has Weights, Inputs, Outputs"),
        ("version: 0.4", "version: 0.7", _ERT, ":2: ERT.version: version 0.7 is not read; known: "
         "0.2, 0.3, 0.4"),
        ("system.GlobalBuffer[1..16]", "system.GlobalBufer[1..16]", _ERT, None),
        ("{name: read, arguments: {}, energy: 43", "{name: raed, arguments: {}, energy: 43", _ERT,
         ":10: component 'GlobalBuffer' has no energy of the action 'read'; did you mean 'raed'?; "
         "its actions: raed, write, update, leak"),
        ("{name: compute, arguments: {}, energy: 0.845}", "{name: leak, energy: 0}", _ERT,
         ":21: component 'MACC' has no energy of the action 'compute'; its actions: leak"),
        ("energy: 0.845", "energy: -1", _ERT, ":22: ERT.tables[3].actions[0].energy: an energy is "
         "no less than 0, got -1.0"),
        ("energy: 0.845", "enrgy: 1", _ERT, ":22: unknown key 'ERT.tables[3].actions[0].enrgy'; did "
         "you mean 'energy'?"),
    ],
)  # fmt: skip
def test_wrong_architectures_are_told(tmp_path, old, new, file, message):
    texts = {_ARCH: FLAT, _ERT: ENERGIES}
    assert old in texts[file]
    texts[file] = texts[file].replace(old, new, 1)
    paths = write(tmp_path, **texts)
    with pytest.raises(InputError) as told:
        load_timeloop(*paths)
    if message is None:
        file, message = (
            _ARCH,
            (
                ":14: component 'GlobalBuffer' has no energy in the table; did you mean "
                "'GlobalBufer'?; the ERT has MainMemory, GlobalBufer, RegisterFile, MACC"
            ),
        )
    assert str(told.value) == f"Timeloop file {tmp_path / file}.yaml{message}"


@pytest.mark.parametrize(
    ("old", "new", "file", "message"),
    [
        ("{name: update, arguments: {}, energy: 30", "{name: update, arguments: {}, energy: 40",
         _ERT, ":10: component 'GlobalBuffer': an update has 40.878292 pJ and a write 30.878292 "
         "pJ; a level has one energy for both here"),
        ("depth: 64", "depth: 64, min_utilization: 0.5", _ARCH, ":21: architecture.nodes[4]."
         "attributes.min_utilization is 0.5: only 0 is scored"),
        ("class: SRAM\n", "class: SRAM\n    sparse_optimizations: {x: 1}\n", _ARCH,
         ":17: architecture.nodes[3].sparse_optimizations: gating and compression are not scored"),
        ("class: SRAM\n", "class: SRAM\n    energy_scale: 2\n", _ARCH, ":17: architecture.nodes[3]."
         "energy_scale is not read; scale the ERT"),
    ],
)  # fmt: skip
def test_what_is_not_scored_is_refused(tmp_path, old, new, file, message):
    texts = {_ARCH: FLAT, _ERT: ENERGIES}
    texts[file] = texts[file].replace(old, new, 1)
    paths = write(tmp_path, **texts)
    with pytest.raises(UnsupportedError) as told:
        load_timeloop(*paths)
    assert str(told.value) == f"Timeloop file {tmp_path / file}.yaml{message}"


def test_instances_that_do_not_fit_are_told(tmp_path):
    arch = TREE.replace("word-bits: 8, meshX: 16}\n      - name: MACC", "word-bits: 8, instances: "
                        "24, meshX: 24}\n      - name: MACC")  # fmt: skip
    with pytest.raises(InputError) as told:
        load_timeloop(*write(tmp_path, arch=arch, ert=OLD_ENERGIES))
    assert str(told.value).endswith(
        "'RegisterFile' has 24 x 1 instances, no multiple of the 16 x 1 of 'GlobalBuffer' "
        "outside it"
    )


@pytest.mark.parametrize(
    ("texts", "message"),
    [
        ({"prob": PROBLEM}, "Timeloop files {prob}: none has the key 'architecture'"),
        ({"arch": FLAT, "ert": ENERGIES, "map": "mapping:\n- {}\n"}, "Timeloop file {map}:1: "
         "mapping: it needs a problem, whose dimensions it names; give its file"),
        ({"arch": FLAT, "two": FLAT, "ert": ENERGIES}, "Timeloop file {two}:1: architecture: it "
         "stands in Timeloop file {arch}:1 too; give one"),
        ({"arch": FLAT, "ert": ENERGIES, "art": "ART: {version: 0.4, tables: [{name: a.MACCS, "
          "area: 1}]}\n"}, "Timeloop file {art}:1: ART: component 'MainMemory' has no area"),
    ],
)  # fmt: skip
def test_files_that_do_not_go_together_are_told(tmp_path, texts, message):
    paths = dict(zip(texts, write(tmp_path, **texts), strict=True))
    with pytest.raises(InputError) as told:
        load_timeloop(*paths.values())
    assert str(told.value) == message.format(**paths)
