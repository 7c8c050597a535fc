"""Fronts by bounds: which points weighted sums reach, volumes, and the command on few designs."""

import re
from pathlib import Path

import numpy as np
import pytest
from codesign.exploration.made_up import GROUPS
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import exploring, exploring_fronts
from benchmarks.exploring_fronts import dominated, on_hull
from mlcnn.codesign.exploration import front_of
from mlcnn.errors import InputError

POINTS = st.lists(
    st.tuples(st.integers(1, 30), st.integers(1, 30)), min_size=1, max_size=12, unique=True
)


@given(POINTS, st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), max_size=20))
def test_hull_points_are_those_that_a_weighted_sum_finds(
    points: list[tuple[int, int]], drawn: list[tuple[int, int]]
) -> None:
    values = np.array(points, float)
    front = values[front_of(values)]
    # A point that some weights find is found by the two ends of their range, too: these are the
    # axes and the normals of lines through two points. Whole numbers: no rounding.
    normals = [(abs(a[1] - b[1]), abs(a[0] - b[0])) for a in front for b in front if (a != b).any()]
    found = np.zeros(len(front), bool)
    for weights in [(0, 1), (1, 0), *normals, *drawn]:
        sums = front @ np.array(weights, float)
        found |= sums == sums.min()
    assert (on_hull(front) == found).all()


@given(POINTS, st.integers(1, 31), st.integers(1, 31))
def test_the_volume_is_that_of_the_cells(
    points: list[tuple[int, int]], right: int, top: int
) -> None:
    cells = {
        (x, y)
        for x in range(right)
        for y in range(top)
        if any(one[0] <= x and one[1] <= y for one in points)
    }
    scale = 0.1
    volume = dominated(np.exp(scale * np.array(points)), np.exp(scale * np.array([right, top])))
    assert volume == pytest.approx(len(cells) * scale**2, abs=1e-12)


RANGES = ("--range", "pe=2..8", "--range", "scratchpad_kb=2..4", "--range", "accumulator_kb=2")


def test_the_command(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    for module in (exploring, exploring_fronts):
        monkeypatch.setattr(module, "resnet18", lambda: GROUPS[1:])
    path = tmp_path / "yardstick.csv"
    exploring.main(["yardstick", str(path), *RANGES])
    exploring_fronts.main([str(path), "--areas", "1", *RANGES, "--bounds", "2"])
    out = capsys.readouterr().out
    rows = [line.split(",") for line in path.read_text().splitlines()[1:]]
    values = {(float(row[5]), float(row[4]) / float(row[5])) for row in rows}
    better = [
        one
        for one in values
        if not any(a <= one[0] and b <= one[1] for a, b in values if (a, b) != one)
    ]
    assert f"area <= 1 mm2: 6 designs, {len(better)} on the front, " in out
    worst = re.findall(r"up to ([\d.e+]+) cycles, ([\d.e+]+) W", out)
    assert [float(one) for one in worst[0]] == pytest.approx(
        [1.1 * max(better)[0], 1.1e-3 * min(better)[1]], rel=1e-3
    )
    shares = re.findall(r"(front|bounds), seed 0: ([\d.]+)% of the volume with (\d+) designs", out)
    assert [name for name, _, _ in shares] == ["front", "bounds"]
    for _, share, designs in shares:
        assert 90 < float(share) <= 100
        assert int(designs) <= 6


def test_a_yardstick_that_lacks_designs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(exploring_fronts, "resnet18", lambda: GROUPS[1:])
    path = tmp_path / "yardstick.csv"
    path.write_text("area_um2,energy_pj,latency_cycles\n1,1,1\n")
    with pytest.raises(InputError) as error:
        exploring_fronts.main([str(path), "--areas", "1", *RANGES])
    assert str(error.value) == (
        f"{path}: it has 1 designs of at most 1 mm2, and the space 6; finish it with python -m "
        "benchmarks.exploring yardstick, or give its --range"
    )
