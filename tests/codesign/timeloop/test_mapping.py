"""Mappings: what is read, what is wrong, and that what is written is read back."""

import numpy as np
import pytest
from codesign.random_mappings import random_mapping
from codesign.timeloop.files import (
    ENERGIES,
    FLAT,
    FLAT_MAPPING,
    OLD_ENERGIES,
    PROBLEM,
    TREE,
    TREE_MAPPING,
    write,
)

from mlcnn.codesign import Mapping, Operand, architecture_names, load_architecture
from mlcnn.codesign.timeloop import (
    DEFAULT_SPACES,
    Problem,
    mapping_text,
    plain_machine,
    read_mapping_file,
    read_timeloop,
    statistics_text,
)
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.workload import ConvLayer, loop_nest

_FORMS = {
    "v4": {"arch": FLAT, "ert": ENERGIES, "prob": PROBLEM, "map": FLAT_MAPPING},
    "v3": {"arch": TREE, "ert": OLD_ENERGIES, "prob": PROBLEM, "map": TREE_MAPPING},
}


def _read(folder, form, old="", new=""):
    texts = dict(_FORMS[form])
    assert old in texts["map"]
    texts["map"] = texts["map"].replace(old, new, 1)
    return read_timeloop(*write(folder, **texts))


def test_what_is_not_said_is_kept_and_one(tmp_path):
    read = _read(tmp_path, "v4", "{target: RegisterFile, type: temporal, factors: [P=16], "
                 "permutation: [R, P, K, C]}", "{target: RegisterFile, type: temporal, factors: "
                 "[P=16]}\n- {target: RegisterFile, type: dataspace, bypass: [Inputs]}")  # fmt: skip
    keeps = [level.keep for level in read.mapping.levels]
    assert keeps == [tuple(Operand), tuple(Operand), (Operand.WEIGHT, Operand.OUTPUT)]


def test_orders_are_from_the_innermost_outwards(tmp_path):
    # What a permutation does not name stands outside what it names.
    read = _read(tmp_path, "v4", "permutation: [P, R, K, C]}\n- {target: RegisterFile",
                 "permutation: [K]}\n- {target: RegisterFile")  # fmt: skip
    assert read.mapping.levels[1].temporal == (("R", 3), ("C", 32), ("K", 2))


def test_an_axis_by_the_split(tmp_path):
    texts = dict(_FORMS["v4"], arch=FLAT.replace("meshX: 16", "meshX: 4, meshY: 4"))
    texts["map"] = FLAT_MAPPING.replace(
        "factors: [K=16], permutation: [K]", "factors: [K=4, C=4], permutation: [C, K], split: 1"
    ).replace("K=2, C=32", "K=8, C=8")
    read = read_timeloop(*write(tmp_path, **texts))
    levels = read.mapping.levels
    assert (levels[0].spatial, levels[1].spatial) == ((("C", 4),), (("K", 4),))


@pytest.mark.parametrize(
    ("form", "old", "new", "message"),
    [
        ("v4", "target: GlobalBuffer", "target: GlobalBufer", ":4: mapping[2].target: "
         "'GlobalBufer' is no level of the architecture; did you mean 'GlobalBuffer'?; known: "
         "MainMemory, PE, GlobalBuffer, RegisterFile"),
        ("v4", "type: spatial", "type: spacial", ":3: mapping[1].type: type 'spacial' is not read;"
         " did you mean 'spatial'?"),
        ("v4", "permutation: [K]", "permutaton: [K]", ":3: unknown key 'mapping[1].permutaton'; "
         "did you mean 'permutation'?"),
        ("v4", "target: PE, ", "", ":3: mapping[1]: key 'target' is missing"),
        ("v4", "[K=16]", "[K=8]", ":1: mapping: mapping of Line: the factors of K are 8 x 2 x 1 = "
         "16, and K has 32 iterations: a factor of 2 is missing"),
        ("v4", "R=3, K=2", "R=2, K=2", ":1: mapping: mapping of Line: the factors of R are 1 x 2 x "
         "1 = 2, and R has 3 iterations: 2 does not divide 3, the remainder is 1"),
        ("v4", "[K=16]", "[k=16]", ":3: mapping[1].factors: 'k' is no dimension of the problem; "
         "it has C K R P"),
        ("v4", "[K=16]", "[K=sixteen]", ":3: mapping[1].factors: 'K=sixteen' is no factor; write "
         "them as 'K=4 C<=2'"),
        ("v4", "[K=16]", "[K=16, K=2]", ":3: mapping[1].factors: K stands twice; give one factor"),
        ("v4", "[K=16]", "[K<=16]", ":3: mapping[1].factors: K: a mapping has factors, not bounds "
         "of them"),
        ("v4", "permutation: [K]", "permutation: [K, K]", ":3: mapping[1].permutation: K stands "
         "twice in the permutation 'KK'"),
        ("v4", "permutation: [K]", "permutation: [K], split: 0", ":3: mapping[1]: 'PE' has no "
         "instances for K=16 along the axis Y"),
        ("v4", "target: PE, type: spatial", "target: PE, type: temporal", ":3: mapping[1]: 'PE' "
         "only spreads over instances and holds nothing"),
        ("v4", "target: PE, type: spatial", "target: GlobalBuffer, type: spatial", ":3: "
         "mapping[1]: 'GlobalBuffer' has no instances for K=16 along the axis X"),
        ("v3", "keep: [Weights, Inputs, Outputs]", "keep: [Weights, Output]", ":6: mapping[4].keep"
         "[1]: 'Output' is no data space of the problem; did you mean 'Outputs'?; it has Weights, "
         "Inputs, Outputs"),
        ("v3", "bypass: []", "bypass: [Weights]", ":6: mapping[4].bypass[0]: 'Weights' is kept "
         "and bypasses"),
        ("v3", "type: datatype", "type: temporal", ":6: mapping[4]: 'GlobalBuffer' has two "
         "directives of the type temporal; give one"),
        ("v3", "R3 K2 C32", "R3 K2 C32 P3", ":5: mapping[3]: P=0: the other factors of P are 3 "
         "together, and P has 16 iterations: the remainder is 1"),
    ],
)  # fmt: skip
def test_wrong_mappings_are_told(tmp_path, form, old, new, message):
    with pytest.raises(InputError) as told:
        _read(tmp_path, form, old, new)
    assert str(told.value) == f"Timeloop file {tmp_path / 'map.yaml'}{message}"


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("K16,R1 P1 C1", "K16,8 R1", "the factor of K has 8 last iterations; only factors that "
         "are whole are read"),
        ("split: 4", "split: 4, no_reuse: [Inputs]", "mapping[1].no_reuse: reuse cannot be "
         "switched off here; what several instances need in one step is read once"),
    ],
)  # fmt: skip
def test_what_is_not_scored_is_refused(tmp_path, old, new, message):
    with pytest.raises(UnsupportedError) as told:
        _read(tmp_path, "v3", old, new)
    assert str(told.value) == f"Timeloop file {tmp_path / 'map.yaml'}:3: {message}"


@pytest.mark.parametrize("form", _FORMS)
@pytest.mark.parametrize("version", ["0.3", "0.4"])
def test_what_is_written_is_read_back(tmp_path, form, version):
    read = _read(tmp_path, form)
    text = mapping_text(read.mapping, read.machine, read.problem, version)
    assert ("dataspace" in text) == (version == "0.4")
    (path,) = write(tmp_path, again=text)
    assert read_mapping_file(path, read.machine, read.problem) == read.mapping


@pytest.mark.parametrize("version", ["0.3", "0.4"])
@pytest.mark.parametrize("name", architecture_names())
def test_mappings_of_the_templates_are_read_back(tmp_path, name, version):
    machine = load_architecture(name)
    nest = loop_nest(ConvLayer("c", 2, 4, 6, 7, 7, 3, 2, strides=(2, 1)))
    problem = Problem(nest, dict(DEFAULT_SPACES))
    for seed in range(20):
        generator = np.random.default_rng(seed)
        takes = [level.keeps for level in machine.levels]
        masks = [
            takes[0],
            *(tuple(o for o in one if generator.random() < 0.6) for one in takes[1:]),
        ]
        drawn = random_mapping(generator, nest, masks)
        wanted = _canonical(drawn, machine, nest)
        text = mapping_text(wanted, plain_machine(machine), problem, version)
        (path,) = write(tmp_path, again=text)
        assert read_mapping_file(path, machine, nest) == wanted


def _canonical(mapping, machine, nest):
    """Without loops of one iteration; side by side in the order of the dimensions, where it can."""
    levels = []
    for level, of in zip(mapping.levels, machine.levels, strict=True):
        temporal, spatial = (
            [(dim, n) for dim, n in loops if n > 1] for loops in (level.temporal, level.spatial)
        )
        if of.fan_out.size == 1:
            moved = dict(temporal)
            for dim, n in spatial:
                moved[dim] = moved.get(dim, 1) * n
            temporal, spatial = list(moved.items()), []
        spatial.sort(key=lambda loop: nest.dims.index(loop[0]))
        levels.append(type(level)(tuple(temporal), tuple(spatial), level.keep))
    return Mapping(tuple(levels))


def test_loops_that_timeloop_has_no_place_for_are_refused(tmp_path):
    texts = dict(_FORMS["v4"], arch=FLAT.replace("meshX: 16", "meshX: 4, meshY: 4"))
    texts.pop("map")
    read = read_timeloop(*write(tmp_path, **texts))
    rest = "[WIO] R3 C32 - [WIO] P16"
    with pytest.raises(UnsupportedError) as told:
        mapping_text(Mapping.parse(f"m[WIO] K4X - [] K8 - {rest}"), read.machine, read.problem)
    assert str(told.value) == (
        "mapping: MainMemory.y has the loops K8, and it only spreads over instances: Timeloop has "
        "no loops in turn there; move them to the level outside or inside"
    )
    with pytest.raises(UnsupportedError) as told:
        mapping_text(Mapping.parse(f"m[WIO] K8 K2X - [] K2X - {rest}"), read.machine, read.problem)
    assert str(told.value) == (
        "mapping: K is spread along both axes at PE, and Timeloop has one factor of a dimension "
        "there; spread it along one"
    )


def test_statistics_say_by_which_convention(tmp_path):
    read = _read(tmp_path, "v4")
    text = statistics_text(read.mapping, read.machine, read.problem)
    assert text.startswith("convention: timeloop-2024\narchitecture: arch\nproblem: Line\n")
