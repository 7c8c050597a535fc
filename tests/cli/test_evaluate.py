"""``mlcnn evaluate``."""

import importlib.resources
from collections.abc import Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from mlcnn.accelerators import (
    compare,
    load_accelerator,
    load_technology,
    with_equal_precision,
)
from mlcnn.reproduce.paper_networks import paper_tasks

Call = Callable[..., Any]

LIBRARY = importlib.resources.files("mlcnn.accelerators") / "library"


@pytest.fixture
def own_machine(tmp_path: Path) -> Callable[..., Path]:
    """A copy of mlcnn-fp32 with one line replaced."""

    def make(old: str = "", new: str = "") -> Path:
        text = (LIBRARY / "mlcnn-fp32.yaml").read_text()
        assert old in text
        path = tmp_path / "own.yaml"
        path.write_text(text.replace("name: mlcnn-fp32", "name: own").replace(old, new))
        return path

    return make


def test_a_network_of_the_zoo_is_evaluated_as_the_papers_layers(mlcnn: Call) -> None:
    result = mlcnn(
        "evaluate", "lenet5", "--on", "mlcnn-fp16", "--against", "winograd-f2-fp32", "--batch", "4",
        "--technology", "horowitz-45nm+gddr5", "--json",
    )  # fmt: skip
    assert result.code == 0
    technology = "horowitz-45nm+cacti-45nm-lop+gddr5"
    machines = map(load_accelerator, ("mlcnn-fp16", "winograd-f2-fp32"))
    tables = load_technology(technology)
    found = compare(paper_tasks("lenet5", 4), *machines, tables, batch=4)
    # There is no Winograd machine of 16 bits: the dense one stands in.
    expected = with_equal_precision(found, load_accelerator("dcnn-fp16"))
    assert result.json == expected.to_json()
    assert result.json["technology"] == technology
    assert [(row["name"], row["fused"], row["execution"]) for row in result.json["layers"]] == [
        ("conv1", True, "fused"),
        ("conv2", True, "fused"),
        ("fc1", False, "plain"),
        ("fc2", False, "plain"),
        ("fc3", False, "plain"),
    ]


@pytest.fixture
def wide(monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of 100 columns."""
    monkeypatch.setenv("COLUMNS", "100")


@pytest.mark.usefixtures("wide")
def test_the_tables_name_machines_and_technology_and_hold_every_figure(
    mlcnn: Call, reorderable: Path
) -> None:
    text = mlcnn("evaluate", reorderable, "--approximate").out
    document = mlcnn("evaluate", reorderable, "--approximate", "--json").json
    assert "reorderable on mlcnn-fp32 against dcnn-fp32, 16 images" in text
    assert "horowitz-45nm+cacti-45nm-lop+hbm2" in text
    fused, network = document["mean_rewritten"], document["network"]
    assert document["mean_fused"] == fused
    for row in document["layers"]:
        assert f"{row['cycles']:,.0f}" in text
        assert f"{row['against_cycles']:,.0f}" in text
        assert row["bound"] in text
    for value in (
        fused["speedup"], fused["geometric_speedup"], fused["total_speedup"],
        fused["worst_speedup"], fused["energy_ratio"], fused["total_energy_ratio"],
        network["speedup"], network["energy_ratio"],
    ):  # fmt: skip
        assert f"{value:.2f}x" in text
    assert f"{network['images_per_s']:,.0f}" in text
    assert f"{network['against_images_per_s']:,.0f}" in text
    assert f"{document['area_um2'] / 1e6:.2f}" in text


@pytest.mark.usefixtures("wide")
def test_lines_fit_100_columns_and_a_pipe_gets_no_colour(mlcnn: Call, fusable: Path) -> None:
    text = mlcnn("evaluate", fusable, "--against", "winograd-f4-fp32").out
    assert max(map(len, text.splitlines())) <= 100
    assert "\x1b" not in text


def test_a_network_without_pools_is_evaluated_as_it_is(mlcnn: Call, hopeless: Path) -> None:
    told = mlcnn("evaluate", hopeless)
    assert told.code == 0
    assert "No layer of the network is fused with a pool: mlcnn-fp32 runs it as it is." in told.out
    assert "rewritten layers" not in told.out
    assert "whole network" in told.out
    document = mlcnn("evaluate", hopeless, "--json").json
    assert document["mean_rewritten"] is document["mean_fused"] is None
    assert [row["execution"] for row in document["layers"]] == ["plain"]
    # 4 filters of 3x3 over 3 channels at 6x6 outputs, 16 images.
    assert document["layers"][0]["multiplications"] == 16 * 4 * 3 * 9 * 36


def test_a_network_of_ones_own_is_fused_exactly_or_on_demand(
    mlcnn: Call, fusable: Path, reorderable: Path
) -> None:
    def fused(*arguments: object) -> list[bool]:
        return [row["fused"] for row in mlcnn("evaluate", *arguments, "--json").json["layers"]]

    assert fused(fusable) == [True]
    assert fused(reorderable) == [False]
    assert fused(reorderable, "--approximate") == [True]


def test_own_machine_and_tables(
    mlcnn: Call, fusable: Path, own_machine: Call, tmp_path: Path
) -> None:
    slow = own_machine("clock_mhz: 1000", "clock_mhz: 500")
    tables = tmp_path / "tables.yaml"
    tables.write_text("dram: {name: slow-dram, pj_per_bit: 8, source: a data sheet}\n")
    options = ("--batch", "2", "--json")
    own = mlcnn("evaluate", fusable, "--on", slow, "--technology", tables, *options).json
    base = mlcnn("evaluate", fusable, *options).json
    assert own["accelerator"] == "own"
    assert own["technology"] == "horowitz-45nm+cacti-45nm-lop+slow-dram"
    assert own["network"]["latency_s"] == pytest.approx(2 * base["network"]["latency_s"])
    assert own["network"]["speedup"] == pytest.approx(base["network"]["speedup"] / 2)
    for row in own["layers"]:
        assert row["energy_pj"]["dram"] == pytest.approx(row["dram_bytes"] * 8 * 8)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--on", "mlcn-fp32"], "unknown accelerator 'mlcn-fp32', did you mean 'mlcnn-fp32'?"),
        (["--against", "dense"], "unknown accelerator 'dense'"),
        (["--technology", "horowitz-46nm"], "unknown technology 'horowitz-46nm', did you mean"),
        (["--on", "none.yaml"], "accelerator none.yaml: cannot be read"),
        (["--batch", "0"], "evaluating at batch 0: it must be 1 or more"),
        (["--batch", "-3"], "evaluating at batch -3: it must be 1 or more"),
        (["--only", "cnov"], "did you mean 'conv'?"),
    ],
)
def test_bad_options(mlcnn: Call, fusable: Path, options: list[str], message: str) -> None:
    result = mlcnn("evaluate", fusable, *options)
    assert result.code == 2
    assert message in result.error
    assert result.out == ""


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (("clock_mhz:", "clok_mhz:"), "own.yaml:5: unknown key 'clok_mhz'; did you mean"),
        (("slices: 32", "slices: many"), "own.yaml:7: array.slices is 'many'"),
        (("slices: 32", "slices: -32"), "slices is -32"),
        (("kind: mlcnn", "kind: [mlcnn"), "own.yaml:4: not valid YAML"),
    ],
)
def test_bad_machines(
    mlcnn: Call, fusable: Path, own_machine: Call, edit: tuple[str, str], message: str
) -> None:
    result = mlcnn("evaluate", fusable, "--on", own_machine(*edit))
    assert result.code == 2
    assert message in result.error


def test_a_layer_that_does_not_fit_names_itself_and_what_helps(
    mlcnn: Call, fusable: Path, own_machine: Call
) -> None:
    tiny = own_machine("bytes: 22528", "bytes: 64")
    result = mlcnn("evaluate", fusable, "--on", tiny)
    assert result.code == 2
    assert result.error == (
        "accelerator own cannot run conv (3x3, 3 to 4 channels, 8x8, fused): its smallest tile "
        "takes 576 bytes of the memory of inputs and there are 64; make it 576 or more "
        "(input_buffer bytes)"
    )


def test_memories_that_no_table_covers_are_refused_before_the_network_is_loaded(
    mlcnn: Call, own_machine: Call
) -> None:
    large = own_machine("bytes: 22528", "bytes: 225280000")
    result = mlcnn("evaluate", "missing.onnx", "--on", large)
    assert result.code == 2
    assert "covers banks of 1024 to 1048576 bytes at 256 bits" in result.error


def test_a_fixed_batch_stays(mlcnn: Call, fusable: Path, tmp_path: Path) -> None:
    model = onnx.load(fusable)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2
    onnx.save(model, tmp_path / "fixed.onnx")
    assert mlcnn("evaluate", "fixed.onnx", "--json").json["batch"] == 2
    refused = mlcnn("evaluate", "fixed.onnx", "--batch", "16")
    assert refused.code == 2
    assert "evaluating at batch 16: the network is fixed to a batch of 2" in refused.error


def test_dynamic_sizes_need_a_shape(mlcnn: Call, dynamic: Path) -> None:
    refused = mlcnn("evaluate", dynamic)
    assert refused.code == 2
    assert "give the network's input a shape in numbers" in refused.error
    given = mlcnn("evaluate", dynamic, "--input-shape", "1x3x16x16", "--json").json
    assert given["layers"][0]["against_multiplications"] == 16 * 4 * 3 * 9 * 256


def test_an_architecture_stands_beside_the_machines(mlcnn: Call, fusable: Path) -> None:
    options = ("--on", "gemmini", "--against", "dcnn-int8", "--batch", "1")
    document = mlcnn("evaluate", fusable, *options, "--json").json
    assert (document["accelerator"], document["against"]) == ("gemmini", "dcnn-int8")
    (layer,) = document["layers"]
    # Four filters on three channels: at most 12 of the 256 units work.
    assert (layer["execution"], layer["fused"]) == ("expanded", True)
    assert layer["multiplications"] == 12 * 16 * 16
    assert layer["cycles"] >= 16 * 16
    assert layer["utilisation"] <= 12 / 256
    assert layer["mapping"].startswith("dram[WIO]")
    # The law of its table: 256 units, 32 kB of accumulators, 128 kB of scratchpad.
    square_mm = 256 * 4.34223226e-4 + 32768 * 5.547277e-6 + 131072 * 2.61332274e-6
    assert document["area_um2"] == pytest.approx(square_mm * 1e6)
    (note,) = document["notes"]
    text = " ".join(mlcnn("evaluate", fusable, *options).out.split())
    assert note in text
    assert "bound by" in text


def test_an_architecture_without_an_area_says_so(
    mlcnn: Call, fusable: Path, tmp_path: Path
) -> None:
    path = tmp_path / "flat.yaml"
    path.write_text(
        "type: loop-nest\nname: flat\nmac_energy_pj: 1\nlevels:\n"
        "  dram: {keeps: [weight, input, output], word_bits: 8, energy: {pj: 1}}\n"
    )
    assert mlcnn("evaluate", fusable, "--on", path, "--json").json["area_um2"] is None
    assert "unknown" in mlcnn("evaluate", fusable, "--on", path).out
