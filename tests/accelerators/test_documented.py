"""The machine that the documentation shows works as it stands there."""

import re
from pathlib import Path

import pytest

import mlcnn

PAGE = Path(__file__).parents[2] / "docs" / "accelerators.md"


def _block(language, word):
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text(), re.DOTALL)
    (found,) = [block for block in blocks if word in block]
    return found


@pytest.fixture
def documented(tmp_path, monkeypatch):
    """The documented package on the path, and the path of the documented file."""
    site = tmp_path / "site"
    metadata = site / "documented-1.0.dist-info"
    metadata.mkdir(parents=True)
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: documented\nVersion: 1.0\n")
    name, value = re.search(r'(\w+) = "(\S+)"', _block("toml", "mlcnn.machines")).groups()
    (metadata / "entry_points.txt").write_text(f"[mlcnn.machines]\n{name} = {value}\n")
    (site / f"{value.split(':')[0]}.py").write_text(_block("python", "class Crossbars"))
    monkeypatch.syspath_prepend(site)
    path = tmp_path / "mine.yaml"
    path.write_text(_block("yaml", "type: crossbars"))
    return path


def test_the_documented_machine_runs(documented):
    found = mlcnn.evaluate("lenet5", on=documented, against="dcnn-fp32", batch=1)
    assert found.accelerator.name == "mine"
    # Positions of the convolutions, and one for each dense layer.
    assert [row.cost.cycles for row in found.layers] == [784, 100, 1, 1, 1]
    # 75, 150, 400, 120 and 84 weights a filter by 128; 6, 16, 120, 84 and 10 filters by 64.
    assert [row["crossbars"] for row in found.to_json()["layers"]] == [1, 2, 8, 2, 1]
    assert found.accelerator.area(found.technology) == 64 * 400
