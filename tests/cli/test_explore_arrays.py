"""``mlcnn explore`` with templates of arrays."""

import json
import math
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from mlcnn.accelerators import load_accelerator, load_technology

Call = Callable[..., Any]

FEW = ("--range", "slices=8..32", "--range", "entries=32", "--range", "input_kb=16",
       "--range", "weight_kb=16..32")  # fmt: skip


@pytest.mark.parametrize("template", ["mlcnn", "dense"])
def test_the_files_evaluate_to_the_same(mlcnn: Call, fusable: Path, template: str) -> None:
    options = ("--template", template, *FEW, "-o", "out", "--json")
    document = mlcnn("explore", fusable, *options).json
    assert document["objectives"] == ["latency", "power", "area"]
    assert document["space"]["precision"] == ["fp32", "fp16", "int8"]
    designs = document["files"][:-1]
    assert len(designs) == len(document["pareto"]) > 1
    for path, one in zip(designs, document["pareto"], strict=True):
        found = mlcnn("evaluate", fusable, "--on", path, "--batch", 1, "--json").json
        assert found["network"]["cycles"] == one["latency_cycles"]
        assert found["network"]["energy_pj"] == pytest.approx(one["energy_pj"], rel=1e-12)
        assert found["area_um2"] == one["area_um2"]
        assert one["forms"] == {"conv": "fused" if template == "mlcnn" else "plain"}
        assert one["precisions"] == {"conv": one["hardware"]["precision"]}


def test_a_run_goes_on_and_a_design_is_improved(mlcnn: Call, fusable: Path) -> None:
    options = ("--template", "mlcnn", *FEW, "--objectives", "edp", "--search", "proof")
    first = mlcnn("explore", fusable, *options, "--journal", "j.db", "-o", "out", "--json").json
    again = mlcnn("explore", fusable, *options, "--journal", "j.db", "--processes", 2, "--json")
    assert first["optimal"]
    assert again.json["pareto"] == first["pareto"]
    small = ("--template", "mlcnn", "--range", "precision=fp32", *FEW, "--objectives", "edp")
    better = mlcnn("explore", fusable, *small, "--start-from", "out/design-01.yaml", "--json").json
    assert better["start"]["edp"] == first["pareto"][0]["edp"]
    text = mlcnn("explore", fusable, *small).out
    assert "precision  slices  entries  input_kb  weight_kb" in text
    assert any(line.split()[:2] == ["1", "fp32"] for line in text.splitlines())


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--template", "mlcnn", "--range", "precision=int7"),
            (
                "--range precision=int7: unknown precision 'int7'; did you mean 'int8'?; known: "
                "fp32, "
                "fp16, int8"
            ),
        ),
        (
            ("--template", "dense", "--convention", "timeloop-2023"),
            (
                "--convention timeloop-2023: template dense is one of arrays, which count in but "
                "one "
                "way; leave the option away"
            ),
        ),
    ],
)
def test_what_cannot_be_asked(
    mlcnn: Call, fusable: Path, options: tuple[str, ...], message: str
) -> None:
    result = mlcnn("explore", fusable, *options)
    assert result.error == message
    assert result.code == 2


def test_a_design_of_another_template(mlcnn: Call, fusable: Path) -> None:
    mlcnn("explore", fusable, "--template", "dense", *FEW, "--range", "precision=int8", "-o", "out")
    assert mlcnn("explore", fusable, "--template", "mlcnn", "--start-from", "out/design-01.yaml"
                 ).error == (
        "--start-from out/design-01.yaml: it is a design of template dense with precision, slices, "
        "entries, input_kb, weight_kb, and one of template mlcnn is required, as mlcnn explore "
        "writes it: design: {template: mlcnn, values: {precision: fp32, slices: 32, entries: 384, "
        "input_kb: 22, weight_kb: 48}}"
    )  # fmt: skip


def test_an_area_that_no_design_meets(mlcnn: Call, fusable: Path) -> None:
    base, tables = load_accelerator("mlcnn-int8"), load_technology()
    smallest = replace(base, slices=8, accumulator_entries=32, input_bytes=16 * 1024,
                       weight_bytes=16 * 1024)  # fmt: skip
    least = math.ceil(smallest.area(tables) / 10) / 1e5  # mm2, rounded up to five digits
    result = mlcnn("explore", fusable, "--template", "mlcnn", *FEW, "--area", "0.1")
    assert result.code == 2
    assert result.error == (
        "no design of template mlcnn has an area of at most 0.1 mm2: the least area is "
        f"{least:g} mm2, with precision=int8 slices=8 entries=32 input_kb=16 weight_kb=16; raise "
        "the bound on area to that or more"
    )


def test_json_alone(mlcnn: Call, fusable: Path) -> None:
    result = mlcnn("explore", fusable, "--template", "dense", *FEW, "--json")
    assert json.loads(result.out)["template"] == "dense"
