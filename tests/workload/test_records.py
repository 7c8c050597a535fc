"""What a layer is stands in the graph: every reader sees it, on whatever road the network came."""

import functools
import json
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest
from passes.builder import Net

from mlcnn import counting, zoo
from mlcnn.accelerators import network_tasks
from mlcnn.graph import infer_shapes, inline, load_file, save, to_proto
from mlcnn.ops import forms
from mlcnn.passes import Fuse, pipeline
from mlcnn.workload import RECORD_KEY, ConvLayer, Pool, Record, read, read_record

LARGE = ("vgg19", "googlenet", "densenet121", "resnet18", "resnet56", "alexnet", "resnet50-224")
PASSES = "fold-batch-norm,max-to-average,reorder,distribute-pool"


@functools.cache
def reordered(name: str) -> ir.Model:
    return pipeline.run(zoo.load(name), pipeline.parse(PASSES)).model


def assert_one_reading(model: ir.Model, path: Path) -> None:
    layers = read(model, batch=2).layers
    counts = counting.count(model).to_json()
    tasks = network_tasks(model, batch=2)
    for functions in (True, False):
        save(model, path, functions=functions)
        loaded = load_file(path)
        assert read(loaded, batch=2).layers == layers
        assert counting.count(loaded).to_json() == counts
        assert network_tasks(loaded, batch=2) == tasks


@pytest.mark.parametrize("form", [*forms(), "auto"])
@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_one_reading(name: str, form: str, tmp_path: Path) -> None:
    result = pipeline.run(reordered(name), [Fuse(form=form)])
    assert_one_reading(result.model, tmp_path / "net.onnx")
    fused = [layer for layer in read(result.model).layers if layer.pool is not None]
    assert [layer.name for layer in fused] == [change.nodes[0] for change in result.changes]
    assert [layer.form for layer in fused] == [change.form for change in result.changes]


@pytest.mark.long
@pytest.mark.parametrize("form", [*forms(), "auto"])
@pytest.mark.parametrize("name", ["densenet_cifar", "vgg16", *LARGE])
def test_one_reading_of_large_networks(name: str, form: str, tmp_path: Path) -> None:
    result = pipeline.run(reordered(name), [Fuse(form=form)])
    assert_one_reading(result.model, tmp_path / "net.onnx")


def fused_site(form: str = "box", **attributes: object) -> ir.Model:
    net = Net("n", 2, 8, 8)
    model = net.model(net.pool(net.conv(net.x, 4, **attributes)))
    return pipeline.run(model, [Fuse(form=form)]).model


def recorded(model: ir.Model) -> list[ir.Node]:
    return [node for node in model.graph if RECORD_KEY in node.metadata_props]


def edited(model: ir.Model, **values: object) -> ir.Model:
    """The network in standard operators, with other values in its records."""
    model = inline(model)
    infer_shapes(model)
    for node in recorded(model):
        document = json.loads(node.metadata_props[RECORD_KEY]) | values
        node.metadata_props[RECORD_KEY] = json.dumps(document)
    return model


def test_the_record_says_what_the_layer_was() -> None:
    (layer,) = read(fused_site(), batch=3).layers
    pool = Pool((2, 2), (2, 2))
    assert layer.nest == ConvLayer("conv", 3, 4, 2, 8, 8, 3, 3, pads=(1, 1, 1, 1), pool=pool)
    assert (layer.form, layer.operator, str(layer.weights)) == ("box", "Conv", "dense")
    assert layer.stored.parameters == layer.before.parameters == 4 * 2 * 9 + 4
    assert [(part.K, part.P, part.Q) for part in layer.parts] == [(4, 4, 4)]


def test_a_record_survives_its_text() -> None:
    (node,) = recorded(fused_site())
    record = read_record(node)
    assert isinstance(record, Record)
    assert record.text() == node.metadata_props[RECORD_KEY]


def test_a_dynamic_global_pool_has_the_size_of_what_comes() -> None:
    net = Net("n", 2, "h", "w")
    model = net.model(net.op("GlobalAveragePool", net.conv(net.x, 4, 1), name="pool"))
    model = pipeline.run(model, [Fuse(form="pool-first")]).model
    (layer,) = read(model, input_shape=(1, 2, 6, 5)).layers
    assert layer.pool == Pool((6, 5), (1, 1))


def test_a_newer_version_is_read_as_far_as_it_is_known(caplog: pytest.LogCaptureFixture) -> None:
    model = edited(fused_site(), version=99, shape_of_the_future="round")
    (layer,) = read(model).layers
    assert layer.form == "box"
    assert "its record has version 99, newer than 1: what is known of it is read" in caplog.text


CONTRADICTIONS = {
    "other weights": "they read 2 channels, and the record says 5",
    "other pool": "they give (1, 4, 4, 4), and the record says (1, 4, 2, 2)",
}


@pytest.mark.parametrize("case", CONTRADICTIONS)
def test_a_record_that_contradicts_its_nodes_is_dropped(
    case: str, caplog: pytest.LogCaptureFixture
) -> None:
    document = json.loads(recorded(fused_site())[0].metadata_props[RECORD_KEY])
    geometry = document["geometry"]
    if case == "other weights":
        geometry = geometry | {"C": 5}
    else:
        geometry["pool"] |= {"kernel": [4, 4], "strides": [4, 4]}
    (layer,) = read(edited(fused_site(), geometry=geometry)).layers
    # Read as it is: a strided convolution.
    assert (layer.form, layer.pool, layer.nest.strides) == (None, None, (2, 2))
    assert f"its record says box and is ignored: {CONTRADICTIONS[case]}" in caplog.text


def test_another_tool_cut_the_layer_apart(caplog: pytest.LogCaptureFixture) -> None:
    """The value between box sums and convolution is used elsewhere too."""
    model = edited(fused_site())
    inner = recorded(model)[0].outputs[0]
    model.graph.outputs.append(inner)
    (layer,) = read(model).layers
    assert layer.form is None
    assert "they read 1 values and give 2" in caplog.text


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "7", '{"form": 3}', '{"site": "y", "form": "box"}']
)
def test_what_is_no_record_is_ignored(text: str, caplog: pytest.LogCaptureFixture) -> None:
    model = inline(fused_site())
    infer_shapes(model)
    for node in recorded(model):
        node.metadata_props[RECORD_KEY] = text
    (layer,) = read(model).layers
    assert layer.form is None
    assert "its record cannot be read" in caplog.text


def test_a_form_that_nothing_provides_is_counted_as_it_stands() -> None:
    (row,) = counting.count(edited(fused_site(), form="of-another-package")).layers
    assert row.form == "of-another-package"
    # 4 filters, 18 products, at 4 x 4 positions.
    assert row.chosen.multiplications == 4 * 18 * 16
    assert row.before.multiplications == 4 * 18 * 64


def test_what_is_fused_again_is_one_layer_of_its_own(tmp_path: Path) -> None:
    """A second pool behind a fused layer, found when the file is loaded."""
    net = Net(1, 2, 8, 8)
    model = net.model(net.pool(net.pool(net.conv(net.x, 4)), name="second"))
    save(pipeline.run(model, [Fuse(form="box")]).model, tmp_path / "net.onnx")
    again = pipeline.run(load_file(tmp_path / "net.onnx"), [Fuse(form="box")]).model
    (layer,) = read(again).layers
    assert layer.nest.strides == (2, 2)
    assert layer.pool == Pool((2, 2), (2, 2))
    save(again, tmp_path / "again.onnx")
    onnx.checker.check_model(str(tmp_path / "again.onnx"), full_check=True)
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.float32)
    before, after = (
        onnxruntime.InferenceSession(item).run(None, {"x": x})[0]
        for item in (to_proto(model).SerializeToString(), str(tmp_path / "again.onnx"))
    )
    np.testing.assert_allclose(after, before, atol=1e-5)
