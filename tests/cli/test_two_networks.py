"""``--against`` a network: two of any origin, layer by layer, and no pass runs."""

import csv
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

Call = Callable[..., Any]


def save(
    path: Path, kernel: int = 3, name: str = "conv", source: str = "x", channels: int = 3
) -> Path:
    """A convolution of 4 filters over ``channels`` x 8 x 8, and a 1x1 head of 2 filters."""
    generator = np.random.default_rng(0)
    weights = {
        f"{name}.weight": generator.standard_normal((4, channels, kernel, kernel)),
        "head.weight": generator.standard_normal((2, 4, 1, 1)),
    }
    pads = [kernel // 2] * 4
    nodes = [
        helper.make_node("Conv", [source, f"{name}.weight"], ["c"], pads=pads, name=name),
        helper.make_node("Relu", ["c"], ["r"], name="relu"),
        helper.make_node("Conv", ["r", "head.weight"], ["y"], name="head"),
    ]
    graph = helper.make_graph(
        nodes,
        "small",
        [helper.make_tensor_value_info(source, TensorProto.FLOAT, ["N", channels, 8, 8])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["N", 2, 8, 8])],
        [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    return path


@pytest.fixture
def before(tmp_path: Path) -> Path:
    """With a 5x5 convolution."""
    return save(tmp_path / "before.onnx", kernel=5)


@pytest.fixture
def after(tmp_path: Path) -> Path:
    """With a 3x3 convolution, and an input of another name."""
    return save(tmp_path / "after.onnx", kernel=3, source="image")


def test_counts_of_two_networks_by_hand(mlcnn: Call, before: Path, after: Path) -> None:
    result = mlcnn("count", after, "--against", before, "--json")
    assert result.code == 0
    conv, head = result.json["layers"]
    assert (conv["name"], conv["changed"], conv["fused"]) == ("conv", True, False)
    assert (head["name"], head["changed"]) == ("head", False)
    assert conv["macs"] == {"original": 4 * 3 * 25 * 64, "result": 4 * 3 * 9 * 64}
    assert conv["multiplications"]["original"] == 4 * 75 * 64
    assert conv["chosen"] == {
        "multiplications": 4 * 27 * 64, "additions": 4 * 26 * 64, "comparisons": 0,
    }  # fmt: skip
    stored = conv["stored"]
    assert [stored[key]["parameters"] for key in ("original", "result")] == [4 * 75, 4 * 27]
    assert [stored[key]["weight_bytes"] for key in ("original", "result")] == [1200, 432]
    assert [stored[key]["output_bytes"] for key in ("original", "result")] == [4 * 4 * 64] * 2


def test_a_fused_network_against_another_form_of_it(mlcnn: Call, fusable: Path) -> None:
    """Both sides are what is executed: 3x3 taps behind means, or 4x4 expanded ones."""
    for form in ("box", "expanded"):
        mlcnn("optimize", fusable, "--form", form, "--no-measure", "-o", f"{form}.onnx")
    row = mlcnn("count", "expanded.onnx", "--against", "box.onnx", "--json").json["layers"][0]
    assert row["multiplications"]["original"] == 4 * 27 * 16
    assert row["chosen"]["multiplications"] == 4 * 48 * 16
    assert (row["changed"], row["form"]) == (True, "expanded")
    same = mlcnn("count", "box.onnx", "--against", "box.onnx", "--json").json["layers"][0]
    assert not same["changed"]
    # And against the network before, the pool that stood behind the convolution is counted.
    plain = mlcnn("count", "box.onnx", "--against", fusable, "--json").json
    assert plain == mlcnn("count", fusable, "--form", "box", "--json").json
    back = mlcnn("count", fusable, "--against", "box.onnx", "--json").json["layers"][0]
    assert back["chosen"]["additions"] == plain["layers"][0]["additions"]["original"]


def test_evaluated_on_one_machine(mlcnn: Call, before: Path, after: Path) -> None:
    result = mlcnn("evaluate", after, "--against", before, "--on", "dcnn-fp32", "--json")
    assert result.code == 0
    found = result.json
    assert (found["name"], found["against"], found["accelerator"]) == (
        "after",
        "before",
        "dcnn-fp32",
    )
    for side, path in (("", after), ("against_", before)):
        alone = mlcnn("evaluate", path, "--on", "dcnn-fp32", "--json").json
        assert found["network"][f"{side}cycles"] == alone["network"]["cycles"]
        assert found["network"][f"{side}energy_pj"] == pytest.approx(alone["network"]["energy_pj"])
        for row, other in zip(found["layers"], alone["layers"], strict=True):
            assert row["name"] == other["name"]
            assert row[f"{side}cycles"] == other["cycles"]
            assert row[f"{side}multiplications"] == other["multiplications"]
    conv = found["layers"][0]
    assert conv["speedup"] == conv["against_cycles"] / conv["cycles"] > 1
    assert found["layers"][1]["speedup"] == 1
    table = mlcnn("evaluate", after, "--against", before, "--on", "dcnn-fp32").out
    assert "after against before on dcnn-fp32, 16 images" in table


def test_timed_in_turn_on_the_same_input(mlcnn: Call, before: Path, after: Path) -> None:
    options = ("--engine", "onnxruntime", "--seconds", "0.05")
    result = mlcnn("bench", after, "--against", before, *options, "--batch", "2", "--json")
    assert result.code == 0
    rows = result.json["results"]
    assert [(row["variant"], row["batch"]) for row in rows] == [("before", 2), ("after", 2)]
    assert len({row["rounds"] for row in rows}) == 1
    table = mlcnn("bench", after, "--against", before, *options).out
    assert "against before" in table


def test_networks_of_one_name_are_told_apart(mlcnn: Call, tmp_path: Path) -> None:
    paths = [tmp_path / folder / "net.onnx" for folder in ("a", "b")]
    for path in paths:
        path.parent.mkdir()
        save(path)
    options = ("--engine", "onnxruntime", "--seconds", "0.05", "--json")
    rows = mlcnn("bench", paths[0], "--against", paths[1], *options).json["results"]
    assert [row["variant"] for row in rows] == [str(paths[1]), str(paths[0])]


@pytest.mark.parametrize("verb", ["count", "evaluate", "bench"])
def test_no_rewrite_runs_beside_it(mlcnn: Call, before: Path, after: Path, verb: str) -> None:
    result = mlcnn(verb, after, "--against", before, "--form", "box")
    assert (result.code, result.out) == (2, "")
    assert result.error.endswith(
        "two networks are compared as they are; leave the options of the rewrite away, or rewrite "
        "one with mlcnn optimize first"
    )


@pytest.mark.parametrize("verb", ["count", "evaluate"])
def test_networks_that_share_no_layer(mlcnn: Call, tmp_path: Path, verb: str) -> None:
    first = save(tmp_path / "first.onnx")
    second = mlcnn(verb, first, "--against", "lenet5")
    assert (second.code, second.out) == (2, "")
    assert second.error.startswith(
        "the two networks share no layer name: one has conv1, conv2, fc1"
    )


def test_inputs_that_differ_cannot_be_timed_together(mlcnn: Call, tmp_path: Path) -> None:
    first = save(tmp_path / "first.onnx")
    second = save(tmp_path / "second.onnx", channels=5)
    result = mlcnn("bench", first, "--against", second, "--engine", "onnxruntime")
    assert (result.code, result.out) == (2, "")
    assert result.error == (
        "the two networks take different inputs: one x: float32(N, 5, 8, 8), the other "
        "x: float32(N, 3, 8, 8); give two that run on the same"
    )


def test_neither_a_machine_nor_a_network(mlcnn: Call, after: Path) -> None:
    result = mlcnn("evaluate", after, "--against", "dcnn-fp33")
    assert result.code == 2
    assert "unknown accelerator 'dcnn-fp33', did you mean" in result.error
    gone = mlcnn("evaluate", after, "--against", "gone.onnx")
    assert (gone.code, "gone.onnx" in gone.error) == (2, True)


def test_one_table_of_all_columns(mlcnn: Call, before: Path, after: Path) -> None:
    result = mlcnn("count", after, "--against", before, "--csv")
    assert (result.code, result.err) == (0, "")
    rows = list(csv.DictReader(io.StringIO(result.out)))
    assert [row["name"] for row in rows] == ["conv", "head", "total"]
    assert [row["macs_result"] for row in rows] == [str(4 * 27 * 64), str(8 * 64), str(116 * 64)]
    assert rows[0]["stored_original_weight_bytes"] == "1200"
    assert all(None not in row and row["macs_original"] for row in rows)
    both = mlcnn("count", after, "--csv", "--json")
    assert (both.code, both.out) == (2, "")
    assert both.error == "--csv and --json: standard output holds one document; give one"


def test_what_is_executed_and_kept_stands_in_the_tables(mlcnn: Call, fusable: Path) -> None:
    out = mlcnn("count", fusable, "--form", "expanded").out
    rows = [line.split() for line in out.splitlines() if line.startswith(("conv", "total"))]
    # 4 filters of 3 x 3x3 at 8x8 positions; then of 3 x 4x4 at 4x4. The paper's 1,728 is no row.
    before, after = f"{4 * 27 * 64:,}", f"{4 * 48 * 16:,}"
    assert rows[0][:6] == ["conv", "expanded", before, after, before, after]
    # Weights of 4 bytes, and activations: the input stays, of the output a quarter is left.
    source, given = 4 * 3 * 64, 4 * 4 * 64
    assert rows[2] == [
        "conv", "108", "192", "432", "768", f"{source + given:,}", f"{source + given // 4:,}",
    ]  # fmt: skip
    assert "1,728" not in out
    assert "paper" not in out
    detail = mlcnn("count", fusable, "--form", "expanded", "--detail").out
    assert "as [MLCNN] counts" in detail
    assert "paper's" in detail


def test_one_column_where_nothing_changed(mlcnn: Call, after: Path) -> None:
    out = mlcnn("count", after, "--detail").out
    assert "after" not in out
    assert "form" not in out
    assert "No layer is fused with a pool" in out


def test_bits_are_shown_where_they_are_not_32(mlcnn: Call, tmp_path: Path) -> None:
    codes = np.array([127, -128, *range(10)], np.int8).reshape(4, 3, 1, 1)
    weights = {"w": codes, "scale": np.array(0.5, np.float32)}
    nodes = [
        helper.make_node("DequantizeLinear", ["w", "scale"], ["d"], name="dequantise"),
        helper.make_node("Conv", ["x", "d"], ["y"], name="conv"),
    ]
    graph = helper.make_graph(
        nodes,
        "quantised",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, 3, 4, 4])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, 4, 4, 4])],
        [numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opset = [helper.make_opsetid("", 20)]
    path = tmp_path / "quantised.onnx"
    onnx.save(helper.make_model(graph, opset_imports=opset, ir_version=10), path)
    (row,) = mlcnn("count", path, "--json").json["layers"]
    assert row["bits"] == {"weight": 8, "input": 32, "sums": 0}
    assert "8 x 32" in mlcnn("count", path).out
