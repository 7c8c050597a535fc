"""The simulated hardware beside the integer model and the closed form: bits and cycles."""

import functools
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from rtl.layers import BUILDS, Case, random_cases

from mlcnn.rtl.build import Build
from mlcnn.rtl.integer import run_layer
from mlcnn.rtl.program import Program, write_program
from mlcnn.rtl.simulator import Chip, Simulated, Simulator
from mlcnn.rtl.timing import Ready, layer_cycles, walk

pytest.importorskip("amaranth")
pytest.importorskip("pyosys")

IN_SUITE, LONG = 50, 2500
"""Random layers of each build; four of them."""


@functools.cache
def simulator(build: Build) -> Simulator:
    """Compiled once, and not again while it is in the cache."""
    return Simulator(build)


@pytest.fixture(params=range(len(BUILDS)), ids=[f"{one.slices}-slices" for one in BUILDS])
def chip(request: pytest.FixtureRequest) -> Iterator[tuple[Build, Chip]]:
    """A piece of hardware of each size."""
    build = BUILDS[request.param]
    with simulator(build).power_on(seed=7) as one:
        yield build, one


def started(case: Case) -> tuple[Program, np.ndarray]:
    """A program of the case's layer, and the memory with its input."""
    program = write_program([case.layer], [case.tiling], case.build)
    memory = program.image.copy()
    program.write_input(memory, 0, case.inputs)
    return program, memory


def run(chip: Chip, case: Case, **options: int | None) -> tuple[Program, Simulated]:
    """The case on the hardware."""
    program, memory = started(case)
    latencies = {"dram_latency": case.dram_latency, "write_latency": case.write_latency}
    return program, chip.run(program, memory, **latencies, **options)


def compare(chip: Chip, case: Case, told: str) -> None:
    """Bits and cycles of a case, without stalls and under its own."""
    hardware = case.build.hardware(case.dram_latency, case.write_latency)
    expected = run_layer(case.layer, case.inputs)
    program, found = run(chip, case)
    configuration = program.configurations[0]
    np.testing.assert_array_equal(program.read_output(found.memory, 0), expected, told)
    assert found.layers[0].cycles == layer_cycles(configuration, hardware), told
    program, stalled = run(chip, case, stalls=case.stalls, trace=case.trace)
    np.testing.assert_array_equal(program.read_output(stalled.memory, 0), expected, told)
    end = walk(configuration, hardware, Ready(case.trace, case.stalls)).end
    assert stalled.layers[0].cycles == end, told


def test_random_layers_are_exact(chip: tuple[Build, Chip]) -> None:
    """One after the other on the same chip, so that each finds what the last has left."""
    build, one = chip
    for number, case in enumerate(random_cases(11, range(IN_SUITE), (build,))):
        compare(one, case, f"seed 11, case {number}")


@pytest.mark.long
def test_ten_thousand_random_layers_are_exact(chip: tuple[Build, Chip]) -> None:
    build, one = chip
    for number, case in enumerate(random_cases(12, range(LONG), (build,))):
        compare(one, case, f"seed 12, case {number}")


def test_steps_take_what_the_closed_form_says(chip: tuple[Build, Chip]) -> None:
    build, one = chip
    for case in random_cases(13, range(5), (build,)):
        hardware = build.hardware(case.dram_latency, case.write_latency)
        program, found = run(one, case)
        begins = walk(program.configurations[0], hardware, Ready()).steps
        steps = found.layers[0].steps
        assert list(np.cumsum(steps)[:-1] + begins[0]) == list(begins[1:])


@pytest.mark.parametrize("share", [0.0, 0.07, 0.3, 0.5, 0.72, 0.96, 1.0])
def test_reset_in_any_cycle_leaves_no_trace(chip: tuple[Build, Chip], share: float) -> None:
    build, one = chip
    for case in random_cases(14, range(3), (build,)):
        program, first = run(one, case, stalls=case.stalls, trace=case.trace)
        at = int(share * (first.cycles - 1))
        _, again = run(one, case, stalls=case.stalls, trace=case.trace, reset_at=at)
        assert again.layers == first.layers
        assert again.cycles > first.cycles
        for found in (first, again):
            np.testing.assert_array_equal(
                program.read_output(found.memory, 0), run_layer(case.layer, case.inputs)
            )


def test_what_memories_hold_at_power_on_does_not_matter() -> None:
    (case,) = random_cases(15, range(1), BUILDS[1:2])
    found: list[Simulated] = []
    for seed in (1, 2):
        with simulator(case.build).power_on(seed) as chip:
            found.append(run(chip, case)[1])
    assert found[0].layers == found[1].layers
    np.testing.assert_array_equal(found[0].memory, found[1].memory)


def test_signals_of_a_layer_are_written_down(tmp_path: Path) -> None:
    (case,) = random_cases(16, range(1), BUILDS[1:2])
    program, memory = started(case)
    with simulator(case.build).power_on() as chip:
        found = chip.run(program, memory, wave=(0, tmp_path / "layer.vcd"))
    lines = (tmp_path / "layer.vcd").read_text(encoding="utf-8").splitlines()
    assert any("core compute" in line or " compute" in line for line in lines)
    times = [int(line[1:]) for line in lines if line.startswith("#")]
    assert max(times) <= found.layers[0].cycles - 1
