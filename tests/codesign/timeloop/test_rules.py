"""Constraints of both forms as rules."""

import pytest
from codesign.timeloop.files import (
    ENERGIES,
    FLAT,
    FLAT_MAPPING,
    OLD_ENERGIES,
    PROBLEM,
    TREE,
    write,
)

from mlcnn.codesign import Batch, Operand, load_architecture
from mlcnn.codesign.constraints import Allowed, FactorRule, KeepRule, OrderRule
from mlcnn.codesign.timeloop import read_constraints_file, read_timeloop
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.workload import ConvLayer, loop_nest

_LIST = """\
architecture_constraints:
  version: 0.3
  targets:
  - {target: MainMemory, type: spatial, factors: "C<=8, R=1", permutation: KC, split: 2}
  - {target: GlobalBuffer, type: temporal, factors: R=0 P=1, permutation: RC_K}
mapspace_constraints:
- {target: GlobalBuffer, type: bypass, keep: [Inputs], bypass: [Weights]}
- {target: RegisterFile, type: temporal, default_max_factor: 4, factors: "C>=2"}
"""


def _tree(folder, rules, name="rules"):
    texts = {"arch": TREE, "ert": OLD_ENERGIES, "prob": PROBLEM, name: rules}
    return read_timeloop(*write(folder, **texts))


def test_lists_of_constraints(tmp_path):
    read = _tree(tmp_path, _LIST)
    where = {n: f"{tmp_path / 'rules.yaml'}:{n}" for n in range(1, 9)}
    outer, buffer, register = (where[4], "MainMemory"), (where[5], "GlobalBuffer"), where[8]
    spatial, temporal = (f"{a} ({b})" for a, b in (outer, buffer))
    assert read.constraints.rules == (
        FactorRule(spatial, 0, True, "C", None, 1, 8),
        FactorRule(f"{spatial} split", 0, True, "R", exact=1),
        FactorRule(f"{spatial} split", 0, True, "P", exact=1),
        FactorRule(temporal, 1, False, "R", exact=0),
        FactorRule(temporal, 1, False, "P", exact=1),
        OrderRule(temporal, 1, ("R", "C"), ("K",)),
        KeepRule(f"{where[7]} (GlobalBuffer)", 1, Operand.INPUT, keep=True),
        KeepRule(f"{where[7]} (GlobalBuffer)", 1, Operand.WEIGHT, keep=False),
        FactorRule(f"{register} (RegisterFile)", 2, False, "C", None, 2, 4),
        FactorRule(f"{register} (RegisterFile)", 2, False, "K", None, 1, 4),
        FactorRule(f"{register} (RegisterFile)", 2, False, "R", None, 1, 4),
        FactorRule(f"{register} (RegisterFile)", 2, False, "P", None, 1, 4),
    )
    assert read.constraints.factors_allowed(1, "R", spatial=False) == Allowed(3)


_INSIDE = """\
    constraints:
      temporal: {factors_only: [C<=4], permutation: [C, K]}
      dataspace: {keep_only: [Weights, Outputs]}
"""


def test_constraints_inside_an_architecture(tmp_path):
    arch = FLAT.replace("class: regfile\n", f"class: regfile\n{_INSIDE}").replace(
        "spatial: {meshX: 16}\n",
        "spatial: {meshX: 4, meshY: 4}\n    constraints: {spatial: {split: 1, permutation: [C, K], "
        "factors: [P=1], no_link_transfer: [Weights]}}\n",
    )
    read = read_timeloop(*write(tmp_path, arch=arch, ert=ENERGIES, prob=PROBLEM))
    constraints = read.constraints

    def allowed(level, dim, *, spatial=False):
        return constraints.factors_allowed(level, dim, spatial=spatial)

    # Along the first axis stands C alone, along the second what else there is.
    assert [allowed(0, dim, spatial=True).exact for dim in "CKRP"] == [None, 1, 1, 1]
    assert [allowed(1, dim, spatial=True).exact for dim in "CKRP"] == [1, None, None, 1]
    # The second axis is a level that no name means: it has no loops in turn.
    assert {allowed(1, dim) for dim in "CKRP"} == {Allowed(1)}
    assert [allowed(3, dim) for dim in "CKRP"] == [Allowed(None, 1, 4), *[Allowed(1)] * 3]
    assert constraints.order_allowed(3, ("P", "K", "C"))
    assert not constraints.order_allowed(3, ("C", "K"))
    assert read.machine.architecture.levels[3].keeps == (Operand.WEIGHT, Operand.OUTPUT)


def test_a_mapping_is_held_to_them(tmp_path):
    arch = FLAT.replace(
        "spatial: {meshX: 16}\n",
        "spatial: {meshX: 16}\n    constraints: {spatial: {factors: [{}]}}\n",
    )
    found = []
    for factors in ("K=16", "C=16", "K=0", "K<=8"):
        texts = {"arch": arch.replace("{}", factors), "ert": ENERGIES, "prob": PROBLEM}
        read = read_timeloop(*write(tmp_path, **texts, map=FLAT_MAPPING))
        found.append(bool(read.constraints.allows(Batch.of([read.mapping], read.problem.nest))[0]))
    assert found == [True, False, False, False]


def test_dimensions_of_a_data_space_that_do_not_iterate(tmp_path):
    arch = FLAT.replace(
        "class: regfile\n",
        "class: regfile\n    constraints: {temporal: {no_iteration_over_dataspaces: [Inputs]}}\n",
    )
    read = read_timeloop(*write(tmp_path, arch=arch, ert=ENERGIES, prob=PROBLEM))
    assert {rule.dim for rule in read.constraints.rules} == {"C", "R", "P"}


def test_a_factor_beyond_the_dimension_says_nothing(tmp_path):
    # As in Timeloop, which warns and goes on.
    rules = "constraints:\n- {target: GlobalBuffer, type: temporal, factors: R=5}\n"
    assert _tree(tmp_path, rules).constraints.rules == ()


def test_constraints_for_a_machine_that_is_no_file_of_timeloops(tmp_path):
    nest = loop_nest(ConvLayer("c", 1, 16, 16, 8, 8, 3, 3))
    (path,) = write(
        tmp_path, rules="constraints:\n- {target: scratchpad, type: spatial, factors: K=16}\n"
    )
    constraints = read_constraints_file(path, load_architecture("gemmini"), nest)
    assert constraints.rules == (FactorRule(f"{path}:2 (scratchpad)", 1, True, "K", exact=16),)


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("target: GlobalBufer, type: temporal", ":2: constraints[0].target: 'GlobalBufer' is no "
         "level of the architecture; did you mean 'GlobalBuffer'?; known: MainMemory, "
         "GlobalBuffer, RegisterFile"),
        ("target: GlobalBuffer, type: temporal, factor: R=1", ":2: unknown key 'constraints[0]."
         "factor'; did you mean 'factors'?"),
        ("target: GlobalBuffer, type: temporal, factors: R<1", ":2: constraints[0].factors: R<1 "
         "lets no factor be; the least is 1"),
        ("target: MainMemory, type: bypass, bypass: [Inputs]", ":2: constraints[0]: 'MainMemory' "
         "is the outermost level and keeps everything"),
        ("target: MainMemory, type: spatial, factors: K=4, split: 0", ":2: constraints[0]: K=4: "
         "there are no instances along its axis"),
    ],
)  # fmt: skip
def test_wrong_constraints_are_told(tmp_path, rule, message):
    with pytest.raises(InputError) as told:
        _tree(tmp_path, f"constraints:\n- {{{rule}}}\n")
    assert str(told.value).startswith(f"Timeloop file {tmp_path / 'rules.yaml'}{message}")


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("target: GlobalBuffer, type: temporal, no_temporal_reuse: [Inputs]", ":2: constraints[0]."
         "no_temporal_reuse: reuse cannot be switched off here; what several instances need in one "
         "step is read once"),
        ("target: GlobalBuffer, type: utilization, min: 0.5", ":2: constraints[0].type: "
         "utilization is not read"),
        ("target: GlobalBuffer, type: temporal, default_min_factor: 2", ":2: a least factor of "
         "every dimension is not read"),
    ],
)  # fmt: skip
def test_what_mappings_cannot_be_held_to_is_refused(tmp_path, rule, message):
    with pytest.raises(UnsupportedError) as told:
        _tree(tmp_path, f"constraints:\n- {{{rule}}}\n")
    assert str(told.value) == f"Timeloop file {tmp_path / 'rules.yaml'}{message}"


def test_two_axes_without_a_split_are_refused(tmp_path):
    arch = FLAT.replace(
        "spatial: {meshX: 16}\n",
        "spatial: {meshX: 4, meshY: 4}\n    constraints: {spatial: {factors: [K=4]}}\n",
    )
    with pytest.raises(UnsupportedError) as told:
        read_timeloop(*write(tmp_path, arch=arch, ert=ENERGIES, prob=PROBLEM))
    assert str(told.value).endswith(
        "architecture.nodes[2].constraints.spatial: two axes need a split that says which "
        "dimensions stand along the first"
    )
