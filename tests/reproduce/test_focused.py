"""Focused convolution beside what a mask leaves out, recorded runs, and a user's."""

import json

import pytest

from mlcnn.cli.app import main
from mlcnn.reproduce import reproduce
from mlcnn.zoo import describe


def test_the_published_mask_leaves_out_more_multiplications_than_time_was_gained():
    (row,) = reproduce("focused").rows
    assert row.published == 21.8
    # By hand: of VGG-16's 15.47 G the first two convolutions have 87 M and 1850 M.
    widths = [(3, 64, 224), (64, 64, 224), (64, 128, 112), (128, 128, 112), (128, 256, 56),
              (256, 256, 56), (256, 256, 56), (256, 512, 28), (512, 512, 28), (512, 512, 28),
              (512, 512, 14), (512, 512, 14), (512, 512, 14)]  # fmt: skip
    macs = [9 * c * k * size * size for c, k, size in widths]
    dense = 512 * 49 * 4096 + 4096 * 4096 + 4096 * describe("vgg16-224").classes
    assert row.computed == pytest.approx(37.6 * sum(macs[2:]) / (sum(macs) + dense), abs=0.05)
    assert row.ok


def test_recorded_runs_stand_beside_it():
    published, recorded, recipe = reproduce("focused").beside
    assert published.title == "published, and not run here"
    assert {row[1] for row in published.rows} == {"25 %", "22 %", "48 %", "45 %"}
    chosen = [row for row in recorded.rows if "yardstick" not in str(row[1])]
    assert chosen
    assert all(0 < row[2] < 100 for row in recorded.rows)
    assert any("mlcnn skip" in str(row[0]) for row in recipe.rows)


RUN = {
    "name": "shop", "method": "focus contrast",
    "accuracy": {"before": 0.8, "after": 0.79, "images": 500,
                 "change": {"top1": -0.01, "interval": [-0.02, 0.0]}},
    "cost": {"multiplications": {"before": 200, "after": {"mean": 150, "sd": 1}},
             "latency_ms onnxruntime": {"before": 4.0, "after": {"mean": 3.0, "sd": 1}}},
}  # fmt: skip


def test_runs_of_a_user_are_read(tmp_path, capsys):
    (tmp_path / "result.json").write_text(json.dumps(RUN))
    found = reproduce("focused", runs=tmp_path).beside[-1]
    expected = ("shop", "focus contrast", 25.0, 25.0, -1.0, "-2.00 to +0.00", 80.0, 79.0, 500)
    assert found.rows == (expected,)
    (tmp_path / "result.json").write_text("{}")
    assert main(["reproduce", "focused", "--runs", str(tmp_path)]) == 2
    assert "no result of `mlcnn skip`" in capsys.readouterr().err
    assert main(["reproduce", "focused", "--runs", str(tmp_path / "none")]) == 2
    assert "`mlcnn reproduce focused`" in capsys.readouterr().err
