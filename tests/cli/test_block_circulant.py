"""``block-circulant`` on the command line: what it refuses, and what a saved file is."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import helper

Call = Callable[..., object]


@pytest.fixture
def network(tmp_path: Path, network: Callable[..., onnx.ModelProto]) -> Path:
    """Convolutions of 3 to 4, 4 to 12, 12 to 12 in two groups, and 12 to 5 channels."""
    generator = np.random.default_rng(1)
    shapes = {"body": (12, 4, 3, 3), "groups": (12, 6, 1, 1), "last": (5, 12, 1, 1)}
    weights = {
        f"{name}.weight": generator.standard_normal(shape).astype(np.float32)
        for name, shape in shapes.items()
    }
    nodes = [
        helper.make_node("Conv", ["x", "conv.weight"], ["a"], pads=[1] * 4, name="conv"),
        helper.make_node("Conv", ["a", "body.weight"], ["b"], pads=[1] * 4, name="body"),
        helper.make_node("Conv", ["b", "groups.weight"], ["c"], group=2, name="groups"),
        helper.make_node("Conv", ["c", "last.weight"], ["y"], name="last"),
    ]
    path = tmp_path / "net.onnx"
    onnx.save(network(*nodes, weights=weights), path)
    return path


INTEGER = (
    "block-circulant: block {!r}: a positive integer is required, as in block=8 or "
    "block=8+classifier.1=64"
)
REFUSED = {
    "block=0": INTEGER.format("0"),
    "block=-1": INTEGER.format("-1"),
    "block=2.5": INTEGER.format("2.5"),
    "block=x": INTEGER.format("x"),
    "block=4+body=0": INTEGER.format("body=0"),
    "block=4+body=": INTEGER.format("body="),
    "block=4+boddy=2": (
        "block-circulant: block=boddy=...: there is no such layer; did you mean 'body'?"
    ),
    "block=4+zzz=2": "block-circulant: block=zzz=...: there is no such layer",
    "block=4+body=8": (
        "block-circulant: block=body=8: blocks of 8 are larger than its 4 inputs or 12 outputs; "
        "4 is the largest that pads less than half"
    ),
    "block=2+groups=4": (
        "block-circulant: block=groups=4: blocks of 4 do not divide its 2 groups of 6 inputs and "
        "6 outputs"
    ),
    "block=512": (
        "block-circulant: no layer takes blocks of 512: the largest that one takes is 6 (groups)"
    ),
}


@pytest.mark.parametrize("options", REFUSED)
def test_one_clear_message(mlcnn: Call, network: Path, options: str) -> None:
    out = network.with_name("out.onnx")
    found = mlcnn("optimize", network, "--passes", f"block-circulant{{{options}}}", "-o", out)
    assert (found.code, found.out) == (2, "")
    assert found.error == REFUSED[options]
    assert not out.exists()


def rewritten(mlcnn: Call, network: Path, passes: str, *words: str) -> Path:
    out = network.with_name("out.onnx")
    found = mlcnn("optimize", network, "--passes", passes, "--no-measure", "-o", out, *words)
    assert found.code == 0, found.err
    return out


def test_groups_that_blocks_do_not_divide_are_skipped(mlcnn: Call, network: Path) -> None:
    found = mlcnn(
        "optimize", network, "--passes", "block-circulant{block=4}", "--dry-run", "--json"
    )
    assert found.code == 0
    reasons = {item["node"]: item["reason"] for item in found.json["skipped"]}
    assert reasons["groups"] == ("blocks of 4 do not divide its 2 groups of 6 inputs and 6 outputs")


@pytest.mark.parametrize(("first", "second"), [(4, 2), (2, 3)])
def test_a_loaded_network_takes_multiples_only(
    mlcnn: Call, network: Path, first: int, second: int
) -> None:
    out = rewritten(mlcnn, network, f"block-circulant{{block=body={first}}}")
    found = mlcnn("optimize", out, "--passes", f"block-circulant{{block={second}}}", "-o", "b.onnx")
    assert found.code == 2
    assert found.error == (
        f"block-circulant: body has blocks of {first} already: a multiple of that is required, "
        f"got {second}"
    )


def test_a_loaded_network_takes_larger_blocks(mlcnn: Call, network: Path) -> None:
    out = rewritten(mlcnn, network, "block-circulant{block=body=2}")
    again = mlcnn("optimize", out, "--passes", "block-circulant{block=body=4}", "--no-measure",
                  "-o", "b.onnx")  # fmt: skip
    assert again.code == 0, again.err
    rows = mlcnn("count", "b.onnx", "--passes", "", "--json").json["layers"]
    (row,) = (row for row in rows if row["name"] == "body")
    assert row["weights"] == "block-circulant(block=4)"


@pytest.mark.parametrize("passes", [
    "block-circulant{block=body=4}", "block-circulant{block=body=4},choose{form=spectral}",
])  # fmt: skip
def test_a_record_that_contradicts_its_nodes(mlcnn: Call, network: Path, passes: str) -> None:
    """Another tool changed the file: it warns, and the nodes are counted as they are."""
    out = rewritten(mlcnn, network, passes)
    model = onnx.load(out)
    changed = 0
    for node in model.graph.node:
        for entry in node.metadata_props:
            if entry.key == "mlcnn.layer" and "block-circulant" in entry.value:
                record = json.loads(entry.value)
                record["geometry"]["C"] = 7
                entry.value = json.dumps(record)
                changed += 1
    assert changed
    onnx.save(model, out)
    found = mlcnn("count", out, "--passes", "", "--json")
    assert found.code == 0, found.err
    assert "they read 4 channels, and the record says 7" in found.err
    assert all(row["weights"] != "block-circulant(block=4)" for row in found.json["layers"])


UNTRAINED = (
    "the accuracy is gone until the network is trained: block-circulant projected the weights of 1 "
    "layer, and of their energy they keep: body "
)


def test_without_training_it_warns(mlcnn: Call, network: Path) -> None:
    """By how much, and what to do; as long as nobody trained what was projected."""
    passes = "block-circulant{block=body=2}"
    found = mlcnn("optimize", network, "--passes", passes, "--no-measure", "-o", "out.onnx")
    assert found.code == 0, found.err
    told = " ".join(found.out.split())
    assert f"warning: {UNTRAINED}" in told
    options = f'{network} --data IMAGES --passes "{passes}"'
    for command in ("finetune", "train"):
        assert f"`mlcnn {command} {options}`" in told
    document = mlcnn("optimize", network, "--passes", passes, "--dry-run", "--json").json
    (warning,) = document["warnings"]
    (change,) = document["changes"]
    assert f"{UNTRAINED}{100 * change['kept']:.1f} %. " in warning
    assert 0.4 < change["kept"] < 0.6  # random weights keep about one half of it


def test_what_loses_nothing_does_not_warn(mlcnn: Call, network: Path) -> None:
    """A network in blocks is in blocks: choosing a form, or the same projection, costs nothing."""
    out = rewritten(mlcnn, network, "block-circulant{block=body=2}")
    for passes in ("choose", "block-circulant{block=body=2}", "exact"):
        found = mlcnn("optimize", out, "--passes", passes, "--dry-run", "--json", "--no-measure")
        assert found.json["warnings"] == [], passes
