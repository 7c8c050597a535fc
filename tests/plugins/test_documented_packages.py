"""The packages that docs/extending.md shows do what it says."""

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import mlcnn

PAGE = Path(__file__).parents[2] / "docs" / "extending.md"
PACKAGES = ("clip_activations", "crossbars", "paired_filters")
ROOT = PAGE.parents[1]


def test_the_pass(add_package: Any) -> None:
    add_package("clip_activations")
    optimized = mlcnn.optimize("lenet5", passes="clip-activations{ceiling=4},mlcnn")
    clipped = [one for one in optimized.changes if one.pass_name == "clip-activations"]
    assert len(clipped) == 4  # LeNet-5 has a ReLU behind each layer but the last
    assert {one.exact for one in clipped} == {False}
    nodes = [node for node in optimized.model.graph if node.op_type == "Clip"]
    for node in nodes:
        low, high = (value.const_value.numpy() for value in node.inputs[1:])
        assert (float(low), float(high)) == (0.0, 4.0)
    assert optimized.pipeline.startswith("clip-activations{ceiling=4")


def test_the_machine(add_package: Any) -> None:
    mine = add_package("crossbars") / "mine.yaml"
    found = mlcnn.evaluate("lenet5", on=mine, against="dcnn-fp32", batch=1)
    assert found.accelerator.name == "mine"
    # Positions of the convolutions, and one for each dense layer.
    assert [row.cost.cycles for row in found.layers] == [784, 100, 1, 1, 1]
    # 75, 150, 400, 120 and 84 weights a filter by 128; 6, 16, 120, 84 and 10 filters by 64.
    assert [row["crossbars"] for row in found.to_json()["layers"]] == [1, 2, 8, 2, 1]
    assert found.accelerator.area(found.technology) == 64 * 400
    # Inputs of 8 bits: 3 x 32 x 32 of the first layer.
    assert found.layers[0].cost.energy.dram == pytest.approx(
        8 * 3 * 32 * 32 * found.technology.dram.pj_per_bit
    )


def test_the_machine_refuses_with_what_to_change(add_package: Any, tmp_path: Path) -> None:
    text = (add_package("crossbars") / "mine.yaml").read_text()
    (tmp_path / "small.yaml").write_text(text.replace("crossbars: 64", "crossbars: 7"))
    with pytest.raises(mlcnn.errors.InfeasibleError) as caught:
        mlcnn.evaluate("lenet5", on=tmp_path / "small.yaml", against="dcnn-fp32", batch=1)
    assert "fc1 fills 8 crossbars and mine has 7; raise crossbars" in str(caught.value)


def test_the_method(paired: None) -> None:
    counts = mlcnn.optimize("lenet5", passes="pair,choose{form=paired-halves}").counts()
    (first, *_) = counts.layers
    # 3 of 6 filters with 75 weights at 28 x 28 positions, and a factor for each output of the rest.
    assert first.chosen.multiplications == 3 * 784 * (75 + 1)
    assert np.isclose(first.before.multiplications, 6 * 784 * 75)


@pytest.mark.parametrize("name", PACKAGES)
def test_the_page_shows_the_files_that_are_tested(name: str) -> None:
    shown = re.findall(rf"\.\./examples/plugins/{name}/(\S+)", PAGE.read_text(encoding="utf-8"))
    folder = ROOT / "examples" / "plugins" / name
    files = {
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert set(shown) == files


@pytest.mark.long
@pytest.mark.parametrize(
    ("name", "command"),
    [
        ("clip_activations", ["optimize", "lenet5", "--passes", "clip-activations,mlcnn"]),
        ("crossbars", ["evaluate", "lenet5", "--on", "mine.yaml"]),
        ("paired_filters", ["optimize", "lenet5", "--passes", "pair,choose"]),
    ],
)
def test_pip_installs_it(name: str, command: list[str], tmp_path: Path) -> None:
    folder = ROOT / "examples" / "plugins" / name
    site = tmp_path / "site"
    install = [
        sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index",
        "--no-build-isolation", "--target", str(site), str(folder),
    ]  # fmt: skip
    subprocess.run(install, cwd=tmp_path, check=True, capture_output=True)
    if (folder / "mine.yaml").exists():
        (tmp_path / "mine.yaml").write_bytes((folder / "mine.yaml").read_bytes())
    path = os.pathsep.join([str(site), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-m", "mlcnn", *command], cwd=tmp_path, capture_output=True, text=True,
        env={**os.environ, "PYTHONPATH": path}, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
