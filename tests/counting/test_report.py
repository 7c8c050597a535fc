"""The count of a network: a LeNet-5 whose two convolutions are fused."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnx.helper as oh
import pytest

from mlcnn.counting import Operations, Reuse, count, count_layer, form_operations, fused
from mlcnn.errors import InputError
from mlcnn.graph import from_proto
from mlcnn.workload import Pool, layers

FLOAT = onnx.TensorProto.FLOAT
POOL = Pool((2, 2), (2, 2))
WEIGHTS = {
    "conv1": (6, 3, 5, 5),
    "conv2": (16, 6, 5, 5),
    "fc1": (120, 400),
    "fc2": (84, 120),
    "fc3": (10, 84),
}


def _lenet(batch="batch"):
    """Its average pools stand behind the activations, as in the original network."""
    nodes = [
        oh.make_node("Conv", ["x", "conv1.weight"], ["c1"]),
        oh.make_node("Relu", ["c1"], ["r1"]),
        oh.make_node("AveragePool", ["r1"], ["p1"], kernel_shape=[2, 2], strides=[2, 2]),
        oh.make_node("Conv", ["p1", "conv2.weight"], ["c2"]),
        oh.make_node("Relu", ["c2"], ["r2"]),
        oh.make_node("AveragePool", ["r2"], ["p2"], kernel_shape=[2, 2], strides=[2, 2]),
        oh.make_node("Flatten", ["p2"], ["f"]),
        oh.make_node("Gemm", ["f", "fc1.weight"], ["d1"], transB=1),
        oh.make_node("Relu", ["d1"], ["r3"]),
        oh.make_node("Gemm", ["r3", "fc2.weight"], ["d2"], transB=1),
        oh.make_node("Relu", ["d2"], ["r4"]),
        oh.make_node("Gemm", ["r4", "fc3.weight"], ["y"], transB=1),
    ]
    graph = oh.make_graph(
        nodes,
        "lenet",
        [oh.make_tensor_value_info("x", FLOAT, (batch, 3, 32, 32))],
        [oh.make_tensor_value_info("y", FLOAT, (batch, 10))],
        [
            onnx.numpy_helper.from_array(np.ones(shape, np.float32), f"{name}.weight")
            for name, shape in WEIGHTS.items()
        ],
    )
    proto = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 20)], ir_version=9)
    return from_proto(proto)


def _fused(model, form="box"):
    return {
        layer.name: (replace(layer, pool=POOL), form)
        for layer in layers(model)
        if layer.name.startswith("conv")
    }


def test_the_document():
    model = _lenet()
    document = count(model, _fused(model)).to_json()
    assert json.loads(json.dumps(document)) == document
    assert [(row["name"], row["fused"]) for row in document["layers"]] == [
        ("conv1", True), ("conv2", True), ("fc1", False), ("fc2", False), ("fc3", False),
    ]  # fmt: skip
    conv2 = document["layers"][1]
    # [MLCNN]'s convention for C2, see the specification: 79 + 4*44 = 255 additions a row.
    assert conv2["multiplications"]["original"] == 16 * 6 * 25 * 100
    assert conv2["multiplications"]["fused"] == 16 * 6 * 25 * 25
    assert conv2["additions"]["original"] == 16 * 100 * 149 + 16 * 25 * 3
    assert conv2["additions"]["paper"] == 16 * 6 * 5 * 255 + 16 * 25 * 5
    # 13x14 half and 13x13 full sums of 6 channels, then 150 products an output.
    assert conv2["additions"]["shared"] == 6 * (13 * 14 + 13 * 13) + 16 * 25 * 149


def test_totals_are_sums():
    model = _lenet()
    document = count(model, _fused(model)).to_json()
    rows = document["layers"]
    parts = {
        "total": rows,
        "fused_layers": [row for row in rows if row["fused"]],
        "convolutions": [row for row in rows if row["operator"] == "Conv"],
    }
    for name, members in parts.items():
        for kind in ("multiplications", "additions", "chosen"):
            for key, value in document[name][kind].items():
                assert value == sum(row[kind][key] for row in members), (name, kind, key)
    assert document["convolutions"]["multiplications"]["original"] == 592_800
    dense = 400 * 120 + 120 * 84 + 84 * 10
    assert document["total"]["multiplications"]["original"] == 592_800 + dense


def test_a_layer_that_is_not_fused_does_not_change():
    report = count(_lenet())
    assert not any(row.fused for row in report.layers)
    for row in report.layers:
        assert row.form is None
        assert row.multiplications.fused == row.multiplications.original == row.layer.macs
        assert {row.additions.original} == {
            row.additions.reordered, row.additions.lar, row.additions.gar, row.additions.paper,
            row.additions.algorithm, row.additions.shared,
        }  # fmt: skip
        assert row.chosen == Operations(row.multiplications.original, row.additions.original)


def test_the_chosen_form_is_counted():
    model = _lenet()
    entries = _fused(model) | {"conv2": (_fused(model)["conv2"][0], "expanded")}
    report = count(model, entries)
    assert [row.form for row in report.layers[:2]] == ["box", "expanded"]
    for row, form in zip(report.layers, ("box", "expanded"), strict=False):
        assert row.chosen == form_operations(row.layer, form)
    # 6x6 taps instead of 5x5.
    assert report.layers[1].chosen.multiplications == 16 * 6 * 36 * 25


def test_reordering_alone_moves_no_count():
    row = count_layer(_fused(_lenet())["conv1"][0])
    assert row.multiplications.reordered == row.multiplications.original
    assert row.additions.reordered == row.additions.original


def test_the_columns_are_the_reuses():
    layer = _fused(_lenet())["conv1"][0]
    row = count_layer(layer, form="box")
    for reuse in (Reuse.LAR, Reuse.GAR, Reuse.PAPER, Reuse.ALGORITHM, Reuse.SHARED):
        assert getattr(row.additions, reuse.value) == fused(layer, reuse).additions


def test_the_batch_multiplies_everything():
    model = _lenet()
    one, many = (count(model, _fused(model), batch=batch).to_json() for batch in (1, 8))
    for kind in ("multiplications", "additions", "chosen"):
        for key, value in one["total"][kind].items():
            assert many["total"][kind][key] == 8 * value


def test_a_fused_layer_of_another_network():
    model = _lenet()
    stranger = {"other": (replace(_fused(model)["conv1"][0], name="other"), "box")}
    with pytest.raises(InputError, match="fused layer other is none of the network's 5 layers"):
        count(model, stranger)


def test_a_module_that_is_called_twice_is_two_layers():
    """Two calls at two sizes have one name; each finds its own entry."""
    nodes = [
        oh.make_node("Conv", ["x", "head.weight"], ["a"]),
        oh.make_node("Conv", ["z", "head.weight"], ["b"]),
    ]
    graph = oh.make_graph(
        nodes,
        "twice",
        [
            oh.make_tensor_value_info("x", FLOAT, (1, 3, 8, 8)),
            oh.make_tensor_value_info("z", FLOAT, (1, 3, 4, 4)),
        ],
        [
            oh.make_tensor_value_info("a", FLOAT, (1, 2, 8, 8)),
            oh.make_tensor_value_info("b", FLOAT, (1, 2, 4, 4)),
        ],
        [onnx.numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "head.weight")],
    )
    opset = [oh.make_opsetid("", 20)]
    model = from_proto(oh.make_model(graph, opset_imports=opset, ir_version=9))
    large, small = layers(model)
    assert large.name == small.name == "head"
    report = count(model, {"second": (replace(small, pool=POOL), "pool-first")})
    assert [row.fused for row in report.layers] == [False, True]


def test_a_form_without_pool():
    layer = layers(_lenet())[0]
    with pytest.raises(ValueError, match="form 'box' was given and there is no pool to fuse"):
        count_layer(layer, form="box")
