"""``mlcnn skip`` on the images of the package."""

import json
from pathlib import Path

import onnx
import pytest


def test_skip(mlcnn, photos):
    result = mlcnn("skip", "lenet5", "--data", photos, "--max-drop", "20", "-o", "dynamic.onnx",
                   "--choose-on", "validation", "--json")  # fmt: skip
    assert result.code == 0, result.err
    document = result.json
    assert document["output"] == "dynamic.onnx"
    saved = onnx.load("dynamic.onnx")
    assert "If" in {node.op_type for node in saved.graph.node}
    assert {node.domain for node in saved.graph.node} == {""}
    assert document["cost"].keys() == {"multiplications", "energy_pj", "latency_ms onnxruntime"}
    after = document["cost"]["multiplications"]["after"]
    assert after.keys() == {"mean", "sd", "p95", "worst"}
    assert after["mean"] < document["cost"]["multiplications"]["before"] < after["worst"]
    assert json.loads(Path("dynamic/result.json").read_text())["skip"]["max_drop"] == 20
    assert "How to repeat this" in Path("dynamic/report.html").read_text()
    counted = mlcnn("count", "dynamic.onnx", "--json")
    assert counted.json["least"]["multiplications"] < after["mean"]
    assert counted.json["total"]["macs"]["result"] == after["worst"]
    each = mlcnn("count", "dynamic.onnx", "--data", photos, "--scale", "0.004", "--json").json
    cost = each["per_image"]["costs"]["multiplications"]
    assert counted.json["least"]["multiplications"] < cost["mean"] < cost["worst"] == after["worst"]
    same = mlcnn("count", "lenet5", "--data", photos)
    assert same.code == 2
    assert "in lenet5 every image costs the same" in same.error
    again = mlcnn("skip", "dynamic.onnx", "--data", photos, "--scale", "0.004")
    assert again.code == 2
    assert "depends on the image already" in again.error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--max-drop", "101"), "--max-drop 101"),
        (("--exits", "4"), "--exits 4: 1 or 2"),
        (("--on", "none"), "none"),
    ],
)
def test_what_cannot_be_is_said_in_a_line(mlcnn, photos, options, message):
    result = mlcnn("skip", "lenet5", "--data", photos, *options)
    assert result.code == 2
    assert message in result.error
    assert not Path("lenet5-dynamic").exists()
    assert not Path("lenet5-dynamic.onnx").exists()
