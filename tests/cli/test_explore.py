"""``mlcnn explore``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from mlcnn.codesign import load_architecture
from mlcnn.codesign.exploration import load_template

Call = Callable[..., Any]

FEW = ("--range", "pe=2..4", "--range", "scratchpad_kb=1..2", "--range", "accumulator_kb=1")


def test_the_front_of_few_designs_is_that_of_all(mlcnn: Call, fusable: Path) -> None:
    document = mlcnn("explore", fusable, *FEW, "--json").json
    values = [(2, 1), (2, 2), (4, 1), (4, 2)]
    rows = []
    for pe, scratchpad in values:
        hardware = {"pe": pe, "scratchpad_kb": scratchpad, "accumulator_kb": 1}
        machine = load_template("gemmini").make(hardware)
        rows.append(mapped_alone(mlcnn, fusable, machine))
    better = [
        row
        for row in rows
        if not any(other != row and all(b <= a for a, b in zip(row, other, strict=True))
                   for other in rows)
    ]  # fmt: skip
    mine = [(one["latency_cycles"], one["power_w"], one["area_um2"]) for one in document["pareto"]]
    assert len(mine) == len(better)
    for one, other in zip(sorted(mine), sorted(better), strict=True):
        assert one == pytest.approx(other)
    assert document["scored"] <= 4
    assert document["objectives"] == ["latency", "power", "area"]
    assert set(document["pareto"][0]["mappings"]) == {"conv"}


def mapped_alone(mlcnn: Call, network: Path, machine: Any) -> tuple[float, float, float]:
    """What ``mlcnn map`` says of a design."""
    sizes = {level.name: level for level in machine.levels}
    text = Path("src.yaml")
    scratchpad, accumulator = sizes["scratchpad"], sizes["accumulator"]
    side = scratchpad.fan_out.size
    text.write_text(
        f"""name: other
clock_mhz: 1000
mac_energy_pj: 0.5608
levels:
  dram: {{keeps: [weight, input, output], word_bits: 8, block_words: 64, shared_bandwidth: 8,
    energy: {{pj: 100}}}}
  scratchpad: {{keeps: [weight, input], word_bits: 8, capacity: {scratchpad.capacity},
    block_words: {side}, shared_bandwidth: {2 * side}, energy: {{pj: 0.49, pj_per_kb: 0.02513}},
    fan_out: {{size: {side}, dims: [K]}}}}
  accumulator: {{keeps: [output], word_bits: 32, capacity: {accumulator.capacity},
    shared_bandwidth: 2, energy: {{pj: 1.94, pj_per_kb: 0.1005}},
    fan_out: {{size: {side}, dims: [C]}}}}
  register: {{keeps: [weight], word_bits: 8, capacity: 1, energy: {{pj: 0.48746}}}}
""",
        encoding="utf-8",
    )
    found = mlcnn("map", network, "--on", text, "--json").json
    power = found["energy_pj"] * 1e-12 / (found["latency_cycles"] * 1e-9)
    return found["latency_cycles"], power, machine.area_um2


def test_files_that_map_and_evaluate_take(mlcnn: Call, fusable: Path) -> None:
    document = mlcnn("explore", fusable, *FEW, "-o", "out", "--json").json
    *designs, picture = document["files"]
    assert len(designs) == len(document["pareto"])
    assert Path(picture).read_text(encoding="utf-8").startswith("<svg")
    for path, one in zip(designs, document["pareto"], strict=True):
        machine = load_architecture(path)
        made = load_template("gemmini").make(one["hardware"])
        assert machine.levels == made.levels
        assert machine.area_um2 == one["area_um2"]
        mapped = mlcnn("map", fusable, "--on", path, "--json").json
        evaluated = mlcnn("evaluate", fusable, "--on", path, "--batch", 1, "--passes", "",
                          "--json").json["network"]  # fmt: skip
        for cycles, energy in (
            (mapped["latency_cycles"], mapped["energy_pj"]),
            (evaluated["cycles"], evaluated["energy_pj"]),
        ):
            assert cycles == one["latency_cycles"]
            assert energy == pytest.approx(one["energy_pj"], rel=1e-12)


def test_improving_a_design(mlcnn: Call, fusable: Path) -> None:
    mlcnn("explore", fusable, "--range", "pe=2", "--range", "scratchpad_kb=4",
          "--range", "accumulator_kb=4", "-o", "first")  # fmt: skip
    options = (*FEW, "--objectives", "edp", "--start-from", "first/design-01.yaml", "--json")
    document = mlcnn("explore", fusable, *options).json
    start, best = document["start"], document["pareto"][0]
    assert start["name"] == "design-01"
    assert start["area_um2"] > best["area_um2"]
    ratio = start["latency_cycles"] / best["latency_cycles"]
    assert f"latency / {ratio:.3g}" in document["start"]["bought"][0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            ("--area", "0.001"),
            (
                "no design of template gemmini has an area of at most 0.001 mm2: the least area is "
                "0.010094 mm2, with pe=2 scratchpad_kb=1 accumulator_kb=1; "
                "raise the bound on area to "
                "that or more"
            ),
        ),
        (("--area", "-1"), "--area -1: it must be positive, in mm2"),
        (
            ("--at-most", "power"),
            "--at-most power: a quantity and its bound are required, as power=0.5W",
        ),
        (
            ("--at-most", "power=0.5Watt"),
            "--at-most power=0.5Watt: a positive number and w or mw is required behind power=",
        ),
        (
            ("--at-most", "powr=1"),
            (
                "--at-most powr=1: unknown quantity 'powr'; did you mean 'power'?; known: latency, "
                "energy, power, area, edp"
            ),
        ),
        (
            ("--at-most", "area=1mm2", "--area", "2"),
            "two bounds on area are given: give one",
        ),
        (
            ("--objectives", "latency,latency"),
            "--objectives latency,latency: one to 3 different ones are required",
        ),
        (
            ("--objectives", "latency,power,area,edp"),
            "--objectives latency,power,area,edp: one to 3 different ones are required",
        ),
        (("--range", "pe=64..8"), "--range pe=64..8: an empty range; give the lower end first"),
        (("--budget", "soon"), "--budget soon: a positive time is required, as 60s, 500ms or 2m"),
        (("--processes", "0"), "--processes 0: it must be 1 or more"),
        (("--seed", "-1"), "--seed -1: it must be 0 or more"),
        (
            ("--address", "10.0.0.7:6379"),
            "--address 10.0.0.7:6379: it is of --engine ray; give that, too",
        ),
        (
            ("--engine", "ray", "--address", "auto", "--processes", "3"),
            (
                "--processes 3: they are of this machine, and the cluster at --address auto has "
                "its own; leave one of the two out"
            ),
        ),
        (
            ("--template", "eyeriss", "--area", "1"),
            (
                "template eyeriss: its area is not known (its architecture "
                "eyeriss has no area_um2), "
                "so designs can be neither bounded nor compared by it; leave out --area and the "
                "objective area, as --objectives latency,energy"
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


def test_a_gpu_that_is_not_there(
    mlcnn: Call, fusable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    result = mlcnn("explore", fusable, "--search", "relaxed", "--device", "cuda")
    assert result.error == (
        "--device cuda: torch sees no CUDA device here; leave --device out to search on the CPU"
    )
    assert result.code == 2


def test_relaxed(mlcnn: Call, fusable: Path) -> None:
    document = mlcnn(
        "explore", fusable, *FEW, "--search", "relaxed", "--objectives", "edp", "--json"
    ).json
    best = mlcnn("explore", fusable, *FEW, "--search", "proof", "--objectives", "edp", "--json")
    assert document["search"] == "relaxed"
    assert document["pareto"][0]["edp"] == pytest.approx(best.json["pareto"][0]["edp"], rel=0.01)
    assert document["lower_bound"] <= document["pareto"][0]["edp"] * (1 + 1e-12)


def test_a_layer_that_no_size_can_run(mlcnn: Call) -> None:
    error = mlcnn("explore", "cmpnet").error
    assert error.startswith("layer ")
    assert " is no loop nest here: it has " in error


def test_a_start_that_is_no_design(mlcnn: Call, fusable: Path) -> None:
    Path("mine.yaml").write_text(
        "name: mine\nmac_energy_pj: 1\nlevels:\n  dram: {keeps: [weight, input, output], "
        "word_bits: 8, energy: {pj: 1}}\n",
        encoding="utf-8",
    )
    assert mlcnn("explore", fusable, "--start-from", "mine.yaml").error == (
        "--start-from mine.yaml: it does not say which design it is, and one of template gemmini "
        "is required, as mlcnn explore writes it: design: {template: gemmini, values: {pe: 16, "
        "scratchpad_kb: 128, accumulator_kb: 32}}"
    )
