"""The count of a network: a LeNet-5 whose two convolutions are fused."""

import json
from dataclasses import replace

import numpy as np
import onnx
import onnx.helper as oh
import pytest

from mlcnn.counting import Operations, Reuse, count, count_layer, form_operations, fused
from mlcnn.errors import InputError
from mlcnn.graph import clone, from_proto
from mlcnn.passes import Fuse, Reorder, pipeline
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


def _pooled(model, name="conv1"):
    """A layer of the network with the pool behind it."""
    return next(replace(layer, pool=POOL) for layer in layers(model) if layer.name == name)


def _fused(model, form="box", **forms):
    chosen = "+".join(f"{name}={form}" for name, form in forms.items())
    return pipeline.run(model, [Reorder(), Fuse(form=form, forms=chosen)]).model


def test_the_document():
    model = _lenet()
    document = count(_fused(model), model).to_json()
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
    document = count(_fused(model), model).to_json()
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
    report = count(_fused(model, conv2="expanded"), model)
    assert [row.form for row in report.layers[:2]] == ["box", "expanded"]
    for row, form in zip(report.layers, ("box", "expanded"), strict=False):
        assert row.chosen == form_operations(row.layer, form)
    # 6x6 taps instead of 5x5.
    assert report.layers[1].chosen.multiplications == 16 * 6 * 36 * 25


def test_reordering_alone_moves_no_count():
    row = count_layer(_pooled(_lenet()))
    assert row.multiplications.reordered == row.multiplications.original
    assert row.additions.reordered == row.additions.original


def test_the_columns_are_the_reuses():
    layer = _pooled(_lenet())
    row = count_layer(layer, form="box")
    for reuse in (Reuse.LAR, Reuse.GAR, Reuse.PAPER, Reuse.ALGORITHM, Reuse.SHARED):
        assert getattr(row.additions, reuse.value) == fused(layer, reuse).additions


def test_the_batch_multiplies_everything():
    model = _lenet()
    one, many = (count(_fused(model), model, batch=batch).to_json() for batch in (1, 8))
    for kind in ("multiplications", "additions", "chosen"):
        for key, value in one["total"][kind].items():
            assert many["total"][kind][key] == 8 * value


def test_the_same_without_the_network_before():
    """What the layers were stands in the records; a plain network is its own before."""
    model = _lenet()
    rewritten = _fused(model, conv2="expanded")
    assert count(rewritten).to_json() == count(rewritten, model).to_json()
    assert count(model).to_json() == count(model, model).to_json()


def test_parameters_and_bytes():
    report = count(_fused(_lenet(), conv2="expanded"), _lenet(), batch=2)
    conv1, conv2, *_, fc3 = (row.stored for row in report.layers)
    assert [item.parameters for item in conv1] == [450, 450]
    # The expanded kernel has 6 x 6 taps.
    assert [item.parameters for item in conv2] == [16 * 6 * 25, 16 * 6 * 36]
    assert [item.weight_bytes for item in conv2] == [4 * 16 * 6 * 25, 4 * 16 * 6 * 36]
    assert [item.input_bytes for item in conv1] == [4 * 2 * 3 * 32 * 32] * 2
    # The pool is part of the fused layer: its output is a quarter.
    assert [item.output_bytes for item in conv1] == [4 * 2 * 6 * 28 * 28, 4 * 2 * 6 * 14 * 14]
    assert fc3[0] == fc3[1]
    assert fc3[0].parameters == 840


def _renamed(model, **names):
    model = clone(model)
    for node in model.graph:
        weight = node.inputs[1] if len(node.inputs) > 1 else None
        module = "" if weight is None else weight.name.removesuffix(".weight")
        if module in names:
            weight.name = f"{names[module]}.weight"
    return model


def test_two_networks_that_share_no_layer():
    model = _lenet()
    other = _renamed(model, **{name: f"x{name}" for name in WEIGHTS})
    with pytest.raises(InputError) as caught:
        count(other, model)
    assert str(caught.value) == (
        "the two networks share no layer name: one has conv1, conv2, fc1 and 2 more, the other "
        "xconv1, xconv2, xfc1 and 2 more; compare networks whose layers are called alike"
    )


def test_layers_that_only_one_network_has():
    model = _lenet()
    report = count(_renamed(model, conv2="new"), model)
    assert [row.name for row in report.layers] == ["conv1", "conv2", "fc1", "fc2", "fc3", "new"]
    gone, new = report.layers[1], report.layers[-1]
    assert (gone.before.multiplications, gone.chosen) == (240_000, Operations())
    assert (new.before, new.chosen.multiplications) == (Operations(), 240_000)
    assert report.after == report.before


def test_a_module_that_is_called_twice_is_two_layers():
    """Two calls at two sizes have one name; each finds its own row."""
    nodes = [
        oh.make_node("Conv", ["x", "head.weight"], ["a"]),
        oh.make_node("Conv", ["z", "head.weight"], ["c"]),
        oh.make_node("AveragePool", ["c"], ["b"], kernel_shape=[2, 2], strides=[2, 2]),
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
            oh.make_tensor_value_info("b", FLOAT, (1, 2, 2, 2)),
        ],
        [onnx.numpy_helper.from_array(np.ones((2, 3, 1, 1), np.float32), "head.weight")],
    )
    opset = [oh.make_opsetid("", 20)]
    model = from_proto(oh.make_model(graph, opset_imports=opset, ir_version=9))
    large, small = layers(model)
    assert large.name == small.name == "head"
    report = count(pipeline.run(model, [Fuse(form="pool-first")]).model, model)
    assert [row.fused for row in report.layers] == [False, True]


def test_a_form_without_pool():
    layer = layers(_lenet())[0]
    with pytest.raises(ValueError, match="form 'box' was given and there is no pool to fuse"):
        count_layer(layer, form="box")
