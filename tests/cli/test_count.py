"""``mlcnn count``."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import helper

Call = Callable[..., Any]


def test_counts_of_a_layer_by_hand(mlcnn: Call, fusable: Path) -> None:
    result = mlcnn("count", fusable, "--form", "box", "--json")
    assert result.code == 0
    (row,) = result.json["layers"]
    assert (row["name"], row["fused"]) == ("conv", True)
    # 4 filters, 3 channels, 3x3 taps, 8x8 outputs, of which 4x4 are left behind the pool.
    assert row["multiplications"]["original"] == 4 * 3 * 9 * 64
    assert row["multiplications"]["fused"] == 4 * 3 * 9 * 16
    # A convolution output sums 27 products, a pooled output four convolution outputs.
    assert row["additions"]["original"] == 4 * 64 * 26 + 4 * 16 * 3
    # Windows of 2x2 start at 9 rows and columns of the padded 10x10 input; 3 channels: 9x10 half
    # and 9x9 full sums; then 26 additions for each of 4x16 outputs.
    assert row["additions"]["shared"] == 3 * (9 * 10 + 9 * 9) + 4 * 16 * 26
    total = result.json["total"]
    assert total["multiplications"]["fused"] == row["multiplications"]["fused"]


def test_batch_multiplies(mlcnn: Call, fusable: Path) -> None:
    one = mlcnn("count", fusable, "--json").json["total"]
    eight = mlcnn("count", fusable, "--batch", "8", "--json").json["total"]
    assert eight["multiplications"]["original"] == 8 * one["multiplications"]["original"]


def test_dynamic_sizes_need_a_shape(mlcnn: Call, dynamic: Path) -> None:
    refused = mlcnn("count", dynamic)
    assert refused.code == 2
    assert "give the network's input a shape in numbers" in refused.error
    counted = mlcnn("count", dynamic, "--input-shape", "1x3x16x16", "--form", "box", "--json")
    assert counted.json["total"]["multiplications"]["original"] == 4 * 3 * 9 * 256


def test_table(mlcnn: Call, fusable: Path) -> None:
    result = mlcnn("count", fusable, "--form", "box")
    assert result.code == 0
    assert "6,912" in result.out
    assert "1,728" in result.out


@pytest.mark.parametrize(
    ("columns", "shown"),
    [(None, "313,201,664"), ("120", "313,201,664"), ("80", "313.202")],
    ids=["file", "wide", "narrow"],
)
def test_no_digit_is_cut_off(
    mlcnn: Call, monkeypatch: pytest.MonkeyPatch, columns: str | None, shown: str
) -> None:
    if columns is not None:
        monkeypatch.setenv("COLUMNS", columns)
    result = mlcnn("count", "vgg16")
    # VGG-16 multiplies 313,201,664 times (SPEC: 313.20 M), its 13 convolutions 313,196,544 times.
    assert shown in result.out
    assert "features.40" in result.out
    assert "\N{HORIZONTAL ELLIPSIS}" not in result.out


@pytest.mark.parametrize("verb", ["count", "evaluate", "optimize"])
def test_what_no_figure_includes_is_named(
    mlcnn: Call, network: Callable[..., onnx.ModelProto], tmp_path: Path, verb: str
) -> None:
    path = tmp_path / "upsampling.onnx"
    convolution = helper.make_node("Conv", ["x", "conv.weight"], ["c"], name="conv")
    up = helper.make_node("ConvTranspose", ["c", "up.weight"], ["y"], strides=[2, 2], name="up")
    weights = {"up.weight": np.ones((4, 2, 2, 2), np.float32)}
    onnx.save(network(convolution, up, weights=weights), path)
    told = mlcnn(verb, path, *(["--dry-run"] if verb == "optimize" else []))
    assert told.code == 0
    words = " ".join(told.out.split())
    assert "not in the figures, which are those of convolutions and dense layers: " in words
    assert "ConvTranspose (up)" in words
    if verb != "optimize":
        document = mlcnn(verb, path, "--json").json
        assert document["uncounted"] == [{"name": "up", "operator": "ConvTranspose"}]


def test_a_narrow_terminal_still_gets_the_layers_names(
    mlcnn: Call, fusable: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    lines = mlcnn("count", fusable).out.splitlines()
    assert "conv" in [line.strip() for line in lines]
    assert max(map(len, lines)) <= 40
