"""``mlcnn map``."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from cli.conftest import make_network
from onnx import helper

from mlcnn.cli.map import parse_seconds
from mlcnn.codesign import (
    CONVENTIONS,
    Batch,
    Mapping,
    check_factors,
    fits,
    load_architecture,
    parse_layer,
    score,
)
from mlcnn.errors import InputError
from mlcnn.workload import loop_nest

Call = Callable[..., Any]

SIZES = "K=64,C=64,H=56,W=56,R=3,S=3,pad=1"
LARGE = "dram[WIO] K4 - scratchpad[WI] P56 K16X - accumulator[O] Q56 C4 R3 S3 C16X - register[W]"
FITTING = LARGE.replace("K4 - scratchpad[WI] P56", "K4 P56 - scratchpad[WI]")
QUICK = ("--budget", "500ms")


def test_a_layer_of_sizes(mlcnn: Call) -> None:
    document = mlcnn("map", "--layer", SIZES, "--objective", "latency", *QUICK, "--json").json
    nest, machine = loop_nest(parse_layer(SIZES)), load_architecture("gemmini")
    mapping = Mapping.parse(document["mapping"])
    check_factors(mapping, nest)
    batch = Batch.of([mapping], nest)
    assert fits(nest, machine, batch)[0]
    scored = score(nest, machine, batch)
    assert document["latency_cycles"] == scored.latency_cycles[0]
    assert document["energy_pj"] == scored.energy_pj[0]
    assert document["lower_bound"]["latency"] <= document["latency_cycles"]
    # 256 units cannot do it in fewer cycles.
    assert document["latency_cycles"] >= nest.macs / 256
    assert document["gap"] >= 0
    assert document["optimal"] == (document["gap"] == 0)
    accesses = document["accesses"]
    assert set(accesses) <= {"dram", "scratchpad", "accumulator", "register"}
    assert accesses["dram"]["output"]["updates"] >= 64 * 56 * 56
    parts = sum(one["energy_pj"] for level in accesses.values() for one in level.values())
    assert parts + nest.macs * 0.5608 == pytest.approx(document["energy_pj"])


def test_a_layer_of_a_network_is_the_one_of_its_sizes(mlcnn: Call) -> None:
    options = ("--objective", "energy", *QUICK, "--json")
    named = mlcnn("map", "lenet5:conv1", *options).json
    assert named["layer"] == "conv1"
    assert named["sizes"] == {
        "N": 1, "K": 6, "C": 3, "P": 28, "Q": 28, "R": 5, "S": 5,
    }  # fmt: skip
    assert mlcnn("map", "lenet5:conv1", "--batch", "3", *options).json["sizes"]["N"] == 3


def test_a_layer_of_a_file_and_of_a_callable(
    mlcnn: Call, fusable: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    options = ("--objective", "latency", *QUICK, "--json")
    of_file = mlcnn("map", f"{fusable}:conv", *options).json
    assert (of_file["layer"], of_file["sizes"]["P"]) == ("conv", 8)
    (tmp_path / "nets_to_map.py").write_text(
        "import torch\nfrom torch import nn\n\n\ndef build():\n"
        "    return nn.Sequential(nn.Conv2d(3, 4, 3)), torch.zeros(2, 3, 8, 8)\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    of_callable = mlcnn("map", "nets_to_map:build:0", *options)
    assert of_callable.json["sizes"]["P"] == 6


@pytest.mark.parametrize(("form", "macs"), [("box", 4 * 3 * 9 * 16), ("expanded", 4 * 3 * 16 * 16)])
def test_a_fused_layer_in_its_forms(mlcnn: Call, fusable: Path, form: str, macs: int) -> None:
    found = mlcnn("map", f"{fusable}:conv", "--form", form, "--objective", "latency", *QUICK,
                  "--json").json  # fmt: skip
    assert found["macs"] == macs
    sized = mlcnn("map", "--layer", "K=4,C=3,H=8,W=8,R=3,S=3,pad=1,pool=2", "--form", form,
                  "--objective", "latency", *QUICK, "--json").json  # fmt: skip
    assert sized["sizes"] == found["sizes"]


def test_a_network(mlcnn: Call) -> None:
    document = mlcnn("map", "lenet5", "--budget", "4s", "--json").json
    assert document["network"] == "lenet5"
    assert [row["names"] for row in document["layers"]] == [
        ["conv1"], ["conv2"], ["fc1"], ["fc2"], ["fc3"],
    ]  # fmt: skip
    energy = sum(row["count"] * row["energy_pj"] for row in document["layers"])
    cycles = sum(row["count"] * row["latency_cycles"] for row in document["layers"])
    assert document["energy_pj"] == pytest.approx(energy)
    assert document["latency_cycles"] == pytest.approx(cycles)
    assert document["edp"] == pytest.approx(energy * cycles)
    assert document["lower_bound"]["edp"] <= document["edp"] <= document["own_optima"]["edp"]


def test_a_network_is_shown(mlcnn: Call) -> None:
    text = mlcnn("map", "lenet5", "--budget", "2s", "--objective", "latency").out
    assert "lenet5 on gemmini, 5 layers, 5 of them different" in text
    assert "sum of energies times sum of cycles" in text
    assert "all factors that multiply to their dimensions, all orders of loops" in " ".join(
        text.split()
    )


def test_a_mapping_is_shown_as_loops(mlcnn: Call) -> None:
    text = mlcnn("map", "--layer", SIZES, "--check", FITTING).out
    for line in (
        "layer on gemmini",
        "N1 K64 C64 P56 Q56 R3 S3, 115.6 M multiply-accumulates",
        "dram: keeps weight 36,864, input 215,296, output 200,704 words",
        "  for K in 4",
        "scratchpad: keeps weight 9,216, input 11,136 of 131,072 words (15.5%)",
        "              for S in 3",
        "                side by side C in 16",
        FITTING,
        "Words over all instances of a level (exact)",
        "It fits.",
    ):
        assert line in map(str.rstrip, text.splitlines()), line
    # Each product reads its weight anew from the scratchpad, through 32 words a cycle.
    assert "bound by scratchpad's bandwidth of 32 words a cycle, read and written" in text
    assert "Energy goes to scratchpad " in text


def test_a_given_mapping_that_does_not_fit(mlcnn: Call) -> None:
    result = mlcnn("map", "--layer", SIZES, "--check", LARGE)
    assert result.code == 1
    text = " ".join(result.out.split())
    assert (
        "warning: it does not fit: level scratchpad has 131,072 words, and weight 9,216 + input "
        "215,296 = 224,512 are needed move a factor of 2 of P from the loops of scratchpad to the "
        "loops of dram: "
    ) in text
    document = mlcnn("map", "--layer", SIZES, "--check", LARGE, "--json").json
    assert document["fits"] is False
    change = document["change"]
    assert (change["dim"], change["factor"], change["from"], change["to"]) == (
        "P", 2, "scratchpad", "dram",
    )  # fmt: skip
    assert mlcnn("map", "--layer", SIZES, "--check", change["mapping"]).code == 0


def test_a_found_mapping_can_be_given_again(mlcnn: Call, tmp_path: Path) -> None:
    found = mlcnn("map", "--layer", SIZES, *QUICK, "--json").json
    path = tmp_path / "mapping.yaml"
    path.write_text(json.dumps({"levels": found["levels"]}))
    again = mlcnn("map", "--layer", SIZES, "--check", path, "--json")
    assert again.code == 0
    assert again.json["fits"] is True
    assert again.json["mapping"] == found["mapping"]
    assert again.json["energy_pj"] == found["energy_pj"]
    assert again.json["accesses"] == found["accesses"]


def test_a_count_is_explained(mlcnn: Call) -> None:
    arguments = ("map", "--layer", SIZES, "--check", FITTING, "--explain", "scratchpad.weight")
    text = mlcnn(*arguments).out
    assert "  tile = K16 x C64 x R3 x S3 = 9,216 words" in text
    assert "  x 1: P56 of dram moves nothing, nor does a loop inside it, so the tile stays" in text
    assert "  x 4: K4 of dram" in text
    assert "not walked: the nest has 115,605,504 multiply-accumulates" in text
    told = mlcnn(*arguments, "--json").json["explained"]
    assert set(told["conventions"]) == set(CONVENTIONS)
    assert told["conventions"]["exact"]["fills"] == 4 * 9216
    assert told["walked"] is None
    small = mlcnn("map", "--layer", "K=4,C=3,H=8,W=8,R=3,S=3,pad=1", *QUICK,
                  "--explain", "dram.input", "--json").json["explained"]  # fmt: skip
    assert small["walked"] == small["conventions"]["exact"]


@pytest.mark.parametrize(
    ("text", "seconds"), [("60s", 60), ("60", 60), ("500ms", 0.5), ("2m", 120), ("1.5h", 5400)]
)
def test_budgets(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "0s", "-5s", "5 parsecs", "1e3", "nan", "inf"])
def test_budgets_that_are_none(text: str) -> None:
    with pytest.raises(InputError) as told:
        parse_seconds(text)
    assert str(told.value) == (f"--budget {text}: a positive time is required, as 60s, 500ms or 2m")


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            (),
            (
                "a network (as resnet18-224, or with a layer as resnet18-224:layer1.0.conv1) or "
                "--layer with sizes is required, and neither is given"
            ),
        ),
        (
            ("lenet5", "--layer", "K=4"),
            (
                "a network (as resnet18-224, or with a layer as resnet18-224:layer1.0.conv1) or "
                "--layer with sizes is required, and both are given"
            ),
        ),
        (("lenet5:conv3",), "lenet5 has no layer 'conv3'; did you mean 'conv2'?"),
        (
            ("lenet5:zzz",),
            "lenet5 has no layer 'zzz'; its layers are conv1, conv2, fc1, fc2, fc3",
        ),
        (
            ("--layer", "conv1"),
            (
                "--layer conv1: sizes are required, as N=1,K=64,C=64,H=56,W=56,R=3,S=3; a layer of "
                "a network is given as NETWORK:conv1"
            ),
        ),
        (
            ("--layer", "K=4,strid=2"),
            (
                "--layer K=4,strid=2: 'strid' is no size of a layer; did you mean 'stride'? (as "
                "N=1,K=64,C=64,H=56,W=56,R=3,S=3,pad=1,stride=2)"
            ),
        ),
        (
            ("lenet5", "--budget", "soon"),
            "--budget soon: a positive time is required, as 60s, 500ms or 2m",
        ),
        (("lenet5", "--batch", "0"), "--batch 0: it must be 1 or more"),
        (
            ("lenet5:conv1", "--on", "geminni"),
            (
                "unknown architecture 'geminni', did you mean 'gemmini'? Known: eyeriss, "
                "gemmini, simba, systolic; or give the path of a .yaml file"
            ),
        ),
        (
            ("lenet5:conv1", "--convention", "exakt"),
            (
                "unknown convention 'exakt'; did you mean 'exact'?; known: exact, exact-box, "
                "timeloop-2023, timeloop-2024"
            ),
        ),
        (
            ("lenet5", "--explain", "dram.input"),
            (
                "--check, --explain and --timeloop are of one layer, and lenet5 is a network: give "
                "the layer behind a colon, as lenet5:conv1"
            ),
        ),
        (
            ("lenet5:conv1", "--form", "box", "--passes", "fuse{only=fc1}"),
            "layer conv1: the form box fuses a pool, and the layer has none; use the form plain",
        ),
        (
            ("--layer", "K=4,C=2,H=5,W=5", "--form", "box"),
            "layer layer: the form box fuses a pool, and the layer has none; use the form plain",
        ),
        (
            ("--layer", "N=1000000,K=1000000,C=1000000"),
            (
                "nest layer: a count of 1e+18 words or operations is beyond what float64 holds "
                "exactly; split the layer or its batch"
            ),
        ),
        (
            ("--layer", SIZES, "--check", LARGE.replace("K4", "K3")),
            (
                "mapping of layer: the factors of K are 3 x 16 x 1 x 1 = 48, and K has 64 "
                "iterations: 48 does not divide 64, the remainder is 16"
            ),
        ),
        (
            ("--layer", SIZES, "--check", LARGE.replace("K4", "K4 D2")),
            (
                "mapping of layer: loop D2 of level 0: a loop is one of N K C P Q R S and a "
                "positive number"
            ),
        ),
        (
            ("--layer", SIZES, "--check", "dram[WIO]"),
            (
                "--check: the mapping has 1 levels, and gemmini has 4: dram - scratchpad - "
                "accumulator - register"
            ),
        ),
        (
            ("--layer", SIZES, "--check", FITTING, "--explain", "scratchpad.inputs"),
            (
                "--explain scratchpad.inputs: there is no operand 'inputs'; did you mean 'input'?; "
                "operands: weight, input, output"
            ),
        ),
        (
            ("--layer", SIZES, "--check", FITTING, "--explain", "scratchpd.input"),
            (
                "--explain scratchpd.input: gemmini has no level 'scratchpd'; did you mean "
                "'scratchpad'?; levels: dram, scratchpad, accumulator, register"
            ),
        ),
    ],
)
def test_bad_input_is_one_line(mlcnn: Call, arguments: tuple[str, ...], message: str) -> None:
    result = mlcnn("map", *arguments)
    assert (result.code, result.out) == (2, "")
    assert result.error == message


def test_a_network_that_is_not_known(mlcnn: Call) -> None:
    error = mlcnn("map", "resnet18-225:conv1").error
    assert error.startswith("unknown network 'resnet18-225', did you mean 'resnet18-224'?")
    assert error.endswith(
        "There is no module 'resnet18-225' either; a layer stands behind a network as "
        "resnet18-224:layer1.0.conv1, net.onnx:conv1 or package.module:callable:conv1"
    )


def test_an_architecture_where_nothing_fits(mlcnn: Call, tmp_path: Path) -> None:
    path = tmp_path / "small.yaml"
    path.write_text(
        "name: small\nmac_energy_pj: 1\nlevels:\n"
        "  buffer: {keeps: [weight, input, output], word_bits: 8, energy: {pj: 1}, capacity: 99}\n"
    )
    result = mlcnn("map", "lenet5:fc3", "--on", path)
    assert result.code == 2
    assert result.error == (
        "fc3 on small: no mapping fits, since the outermost level holds every operand whole: level "
        "buffer has 99 words, and weight 840 + input 84 + output 10 = 934 are needed; give buffer "
        "a capacity of 934"
    )


def test_a_layer_that_is_no_loop_nest(mlcnn: Call, tmp_path: Path) -> None:
    transposed = helper.make_node("ConvTranspose", ["x", "up.weight"], ["y"], name="up")
    path = tmp_path / "up.onnx"
    weights = {"up.weight": np.ones((3, 4, 3, 3), np.float32)}
    onnx.save(make_network(transposed, weights=weights), path)
    result = mlcnn("map", f"{path}:up")
    assert result.code == 2
    assert result.error == (
        "layer up of up is no loop nest here: it is a ConvTranspose, and convolutions and dense "
        "layers are mapped"
    )
    assert mlcnn("map", path).error == "the network has no convolution and no dense layer to map"


def test_a_layer_with_weights_of_a_structure(mlcnn: Call) -> None:
    result = mlcnn("map", "lenet5:fc1", "--passes", "block-circulant{block=2}", *QUICK)
    assert result.code == 2
    assert result.error == (
        "layer fc1 is no loop nest here: it has block-circulant(block=2) weights, and "
        "multiply-accumulates with dense weights are mapped; mlcnn evaluate runs it on a machine "
        "that takes it"
    )


_PROBLEM = """\
problem:
  shape: cnn-layer
  instance: {N: 1, K: 4, C: 2, P: 4, Q: 4, R: 1, S: 1}
"""
_TIMELOOP = """\
mapping:
- {target: memory, type: temporal, factors: K=4 C=2 P=4 Q=4, permutation: CKPQ}
"""
_ONE_LEVEL = """\
name: one
mac_energy_pj: 1
levels:
  memory: {keeps: [weight, input, output], word_bits: 8, energy: {pj: 1}}
"""


def test_timeloops_problems_and_mappings(mlcnn: Call, tmp_path: Path) -> None:
    files = {"problem.yaml": _PROBLEM, "mapping.yaml": _TIMELOOP, "one.yaml": _ONE_LEVEL}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    found = mlcnn("map", "--layer", "problem.yaml", "--on", "one.yaml", "--json").json
    # Each of 128 products reads both operands and updates its output; half of them read it first.
    assert found["sizes"] == {"N": 1, "K": 4, "C": 2, "P": 4, "Q": 4, "R": 1, "S": 1}
    assert found["latency_cycles"] == 128
    assert found["energy_pj"] == 128 * (1 + 3) + 64
    assert found["optimal"] is True
    given = mlcnn("map", "--layer", "problem.yaml", "--on", "one.yaml", "--check", "mapping.yaml",
                  "--json").json  # fmt: skip
    assert given["fits"] is True
    assert given["energy_pj"] == found["energy_pj"]


_RULES = """\
constraints:
- {target: memory, type: temporal, factors: "K=4", permutation: QP}
"""
_MACHINE = """\
architecture:
  version: 0.4
  nodes:
  - !Container
    name: system
    attributes: {technology: 45nm, global_cycle_seconds: 1e-9}
  - !Component
    name: memory
    class: DRAM
    attributes: {width: 8, datawidth: 8}
  - !Component
    name: mac
    class: intmac
    attributes: {width: 8}
"""
_ENERGIES = """\
ERT:
  version: 0.4
  tables:
  - name: system.memory
    actions: [{name: read, energy: 2}, {name: write, energy: 2}, {name: update, energy: 2}]
  - {name: system.mac, actions: [{name: compute, energy: 1}]}
"""


def _refused(mlcnn: Call, *arguments: str) -> str:
    result = mlcnn(*arguments)
    assert result.code == 2
    return str(result.error)


def test_constraints_of_a_layer(mlcnn: Call, tmp_path: Path) -> None:
    files = {"problem.yaml": _PROBLEM, "one.yaml": _ONE_LEVEL, "rules.yaml": _RULES}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    asked = ("map", "--layer", "problem.yaml", "--on", "one.yaml", "--constraints", "rules.yaml")
    found = mlcnn(*asked, "--json").json
    # Q and then P stand innermost.
    assert found["mapping"].endswith("P4 Q4")
    (tmp_path / "rules.yaml").write_text(_RULES.replace("K=4", "K=2"))
    told = _refused(mlcnn, *asked)
    assert "the constraints exclude every mapping; what binds: rules.yaml:2" in told
    assert "temporal K=2" in told
    told = _refused(mlcnn, "map", "lenet5", "--constraints", "rules.yaml")
    assert "rules.yaml: constraints are of one layer" in told


def test_a_machine_of_several_files_of_timeloops(mlcnn: Call, tmp_path: Path) -> None:
    files = {"problem.yaml": _PROBLEM, "machine.yaml": _MACHINE, "energies.yaml": _ENERGIES}
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    asked = ("map", "--layer", "problem.yaml", "--on", "machine.yaml,energies.yaml")
    found = mlcnn(*asked, "--timeloop", "out", "--json").json
    assert found["energy_pj"] == 128 * (1 + 2 * 3) + 2 * 64
    assert (tmp_path / "out" / "statistics.yaml").read_text().startswith("convention: exact\n")
    again = mlcnn(*asked, "--check", "out/mapping.yaml", "--json").json
    assert again["mapping"] == found["mapping"]
    assert again["energy_pj"] == found["energy_pj"]
    (tmp_path / "file").write_text("")
    told = _refused(mlcnn, *asked, "--timeloop", "file")
    assert "file: it cannot be written: File exists" in told
    told = _refused(mlcnn, "map", "--layer", "K=2", "--on", "machine.yaml,gemmini")
    assert "gemmini: of several files for the machine each must be Timeloop's" in told
