"""The exercises of Timeloop: their own files against what Timeloop wrote for them."""

import csv
import os
import re
from pathlib import Path

import pytest
from codesign.timeloop.files import (
    AREAS,
    ENERGIES,
    FLAT,
    FLAT_MAPPING,
    KEPT,
    OLD_ENERGIES,
    PROBLEM,
    TREE,
    TREE_MAPPING,
    write,
)
from ruamel.yaml import YAML

from mlcnn.codesign.timeloop import load_timeloop, read_timeloop, statistics_text

_GOLDEN = Path(__file__).parents[2] / "golden"
_DATA = Path(os.environ.get("MLCNN_DATA", Path(__file__).parents[4] / "shared" / "data"))
_EXERCISES = _DATA / "timeloop" / "exercises"
_LEAK = re.compile(r"Leakage energy \(total\) *: ([\d.]+) pJ")
_SAID = {
    "Utilized capacity": "utilized_capacity",
    "Scalar reads (per-instance)": "reads",
    "Scalar fills (per-instance)": "fills",
    "Scalar updates (per-instance)": "updates",
    "Energy (total)": "energy_pj",
}
_MAPS = {
    "00": {"": "conv1d-1level"},
    "01": {"os": "conv1d-2level-os", "ws": "conv1d-2level-ws"},
    "02": {"no-tiling": "conv1d+oc-2level-os", "tiling": "conv1d+oc-2level-os-tiled"},
    "03": {"no-bypass": "conv1d+oc-3level", "bypass": "conv1d+oc-3level-bypass"},
    "04": {
        "kp": "conv1d+oc+ic-3levelspatial-kp-ws",
        "cp": "conv1d+oc+ic-3levelspatial-cp-ws",
    },
}
_CASES = [(number, run) for number, runs in _MAPS.items() for run in runs]


def _stats(read):
    text = statistics_text(read.mapping, read.machine, read.problem)
    return YAML(typ="safe", pure=True).load(text)


def _check_golden(found, exercise):
    with (_GOLDEN / "timeloop_exercises.csv").open(encoding="utf-8") as file:
        rows = [row for row in csv.DictReader(file) if row["exercise"] == exercise]
    assert len(rows) == 9
    names = {"weight": "Weights", "input": "Inputs", "output": "Outputs"}
    for row in rows:
        level = found["levels"][row["level"]]
        space = level[names[row["operand"]]]
        assert [space[key] for key in ("utilized_capacity", "reads", "fills", "updates")] == [
            int(row[key]) for key in ("capacity", "reads", "fills", "updates")
        ]
        assert level["utilized_instances"] == int(row["instances"])
        assert found["cycles"] == int(row["cycles"])


@pytest.mark.parametrize(
    "texts",
    [
        {"arch": FLAT, "ert": ENERGIES, "prob": PROBLEM, "map": FLAT_MAPPING},
        {"arch": TREE, "ert": OLD_ENERGIES, "prob": PROBLEM, "map": TREE_MAPPING},
        {"all": FLAT + ENERGIES + PROBLEM + FLAT_MAPPING},
    ],
    ids=["nodes", "subtree", "one file"],
)
def test_both_forms_count_what_timeloop_counts(tmp_path, texts):
    paths = write(tmp_path, **texts)
    read = read_timeloop(*paths)
    machine, nest, mapping, constraints = load_timeloop(*reversed(paths))
    assert mapping.text(machine) == KEPT
    assert (machine, mapping) == (read.machine.architecture, read.mapping)
    assert nest.macs == 32 * 32 * 3 * 16
    assert constraints.rules == ()
    found = _stats(read)
    _check_golden(found, "04-conv1d+oc-3levelspatial/kp")
    # timeloop-model.stats.txt of that exercise, pJ of all instances; shown to a hundredth.
    levels, energies = found["levels"], {"Weights": 28504.84, "Inputs": 135457.23}
    for name, energy in (energies | {"Outputs": 149251.20}).items():
        assert levels["GlobalBuffer"][name]["energy_pj"] == pytest.approx(energy, abs=0.006)
    assert levels["MainMemory"]["Inputs"]["energy_pj"] == 36864.0
    assert levels["RegisterFile"]["Outputs"]["energy_pj"] == pytest.approx(48379.94, abs=0.006)
    assert found["arithmetic_energy_pj"] == pytest.approx(41533.44, abs=0.006)


def test_areas_are_of_all_instances(tmp_path):
    # The exercise: 5316.00 um2 of 16 multipliers.
    paths = write(tmp_path, arch=FLAT, ert=ENERGIES, art=AREAS)
    read = read_timeloop(*paths)
    assert read.area_um2["MACC"] * 16 == 5316.0
    assert read.total_area_um2 == pytest.approx(16 * (707084.0 + 887.84 + 332.25))
    assert (read.problem, read.mapping, read.constraints) == (None, None, None)


def _told(path):
    """What ``stats.txt`` says of each level and data space, cycles, and pJ in all."""
    levels, level, space, cycles, joules = {}, None, None, 0, 0.0
    text = path.read_text(encoding="utf-8")
    for line in text.split("Networks\n")[0].splitlines():
        if found := re.fullmatch(r"=== (\S+) ===", line):
            level, space = levels.setdefault(found[1], {}), None
        elif found := re.fullmatch(r"    (\w+):", line):
            space = level.setdefault(found[1], {})
        elif (found := re.match(r"\s+(.+?) *: ([\d.]+)", line)) and level is not None:
            (level if space is None else space)[found[1]] = float(found[2])
    cycles = int(re.search(r"^Cycles: (\d+)", text, re.MULTILINE)[1])
    per_compute = float(re.search(r"^    Total +(?:=) ([\d.]+)", text, re.MULTILINE)[1])
    joules = per_compute * int(re.search(r"^Computes = (\d+)", text, re.MULTILINE)[1]) / 1000
    return levels, cycles, joules, sum(map(float, _LEAK.findall(text)))


def _check_told(read, path):
    levels, cycles, joules, leaked = _told(path)
    found = _stats(read)
    assert found["cycles"] == cycles
    checked = 0
    for name, level in found["levels"].items():
        for space, numbers in level.items():
            if space == "utilized_instances":
                continue
            for said, key in _SAID.items():
                limit = 0.006 if key == "energy_pj" else 0
                assert numbers[key] == pytest.approx(levels[name][space][said], abs=limit)
                checked += 1
    assert checked >= 15
    arithmetic = levels["MACC"]["Energy (total)"]
    assert found["arithmetic_energy_pj"] == pytest.approx(arithmetic, abs=0.006)
    # Timeloop adds leakage, shown to a hundredth, and shows fJ of a computation to a hundredth.
    assert found["energy_pj"] + leaked == pytest.approx(joules, abs=0.02 + 1e-6 * joules)


def _exercise(number):
    if not _EXERCISES.is_dir():
        pytest.skip(f"the exercises are not in {_EXERCISES}; MLCNN_DATA names the folder")
    return next(_EXERCISES.glob(f"{number}-*"))


@pytest.mark.parametrize(("number", "run"), _CASES)
def test_what_timeloop_was_given_costs_what_it_says(number, run):
    folder = _exercise(number) / "ref-output" / run
    given = folder / "parsed-processed-input.yaml", folder / "timeloop-model.ERT.yaml"
    _check_told(read_timeloop(*given), folder / "timeloop-model.stats.txt")


@pytest.mark.parametrize(("number", "run"), _CASES)
def test_the_files_of_each_exercise_cost_what_timeloop_says(number, run, tmp_path):
    exercise = _exercise(number)
    (arch,), (prob,) = exercise.glob("arch/*"), exercise.glob("prob/*")
    mapping = exercise / "map" / f"{_MAPS[number][run]}.map.yaml"
    folder = exercise / "ref-output" / run
    if number == "04":
        # The file was changed after the outputs were made: the elements were outside the buffer.
        text = arch.read_text(encoding="utf-8")
        inside = "  - !Container\n    name: PE\n    spatial: {meshX: 16}\n\n"
        buffer = "  - !Component\n    name: GlobalBuffer\n"
        assert inside in text
        arch = tmp_path / arch.name
        arch.write_text(text.replace(inside, "").replace(buffer, inside + buffer))
    read = read_timeloop(arch, prob, mapping, folder / "timeloop-model.ERT.yaml")
    _check_told(read, folder / "timeloop-model.stats.txt")
