"""``mlcnn stack`` on the images of the package."""

import json
from pathlib import Path

import onnx
import pytest


def test_two_steps_and_again(mlcnn, photos):
    command = ("stack", "lenet5", "--data", photos, "--steps", "weights{share=0.6},int8",
               "--epochs", "1", "--limit", "500", "--no-measure", "-o", "small.onnx",
               "--json")  # fmt: skip
    result = mlcnn(*command)
    assert result.code == 0, result.err
    document = result.json
    assert document["pipeline"] == "weights{share=0.6},int8"
    assert [row["steps"] for row in document["steps"]] == [
        "", "weights{share=0.6}", "weights{share=0.6},int8",
    ]  # fmt: skip
    sizes = [row["bytes"] for row in document["steps"]]
    assert sizes[2] < 0.4 * sizes[1]
    saved = onnx.load("small.onnx")
    kinds = {node.op_type for node in saved.graph.node}
    assert {"QuantizeLinear", "DequantizeLinear"} <= kinds
    assert {node.domain for node in saved.graph.node} == {""}
    kept = {path: path.stat().st_mtime_ns for path in Path("small").glob("*.onnx")}
    assert len(kept) == 2
    assert json.loads(Path("small/result.json").read_text())["recipe"]["epochs"] == 1
    again = mlcnn(*command)
    assert again.json == document
    assert {path: path.stat().st_mtime_ns for path in Path("small").glob("*.onnx")} == kept


@pytest.mark.parametrize(
    ("steps", "message"),
    [
        (
            "int8,weights",
            "weights goes before int8: codes are made of the weights that stay, and",
        ),
        ("int9", "--steps: unknown method 'int9'; did you mean 'int8'?; known: average-pools, "),
        ("", "--steps: no step is given; known: average-pools, "),
    ],
)
def test_what_does_not_go_is_said_in_a_line(mlcnn, photos, steps, message):
    result = mlcnn("stack", "lenet5", "--data", photos, "--steps", steps)
    assert result.code == 2
    assert message in result.error
    assert not list(Path().glob("lenet5*"))


def test_steps_are_listed(mlcnn):
    entries = mlcnn("list", "steps", "--json").json["entries"]
    assert {"average-pools", "channels", "int8", "exits"} <= {entry["name"] for entry in entries}
    told = mlcnn("list", "steps", "--describe", "channels", "--json").json
    assert told["options"] == {"share": "0.5 (0.01 to 1)"}
