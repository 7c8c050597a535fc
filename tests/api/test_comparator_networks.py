"""Networks that compare, from training to codes, on the images of the package."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest

import mlcnn
from mlcnn import engines, training
from mlcnn.api import TrainOptions, TuneOptions
from mlcnn.errors import InputError
from mlcnn.graph import DEQUANTIZE, constant
from mlcnn.training import Recipe
from mlcnn.workload import Arithmetic, read

SIZES = {"grey": (1, 28, 28), "colour": (3, 32, 32)}


@pytest.fixture(scope="module", params=SIZES)
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory):
    """The sample as it is, and as small grey images."""
    sample = training.load_sample()
    channels, height, width = SIZES[request.param]
    images = sample.images[:, :channels, :height, :width]
    path = tmp_path_factory.mktemp("data") / "sample.npz"
    np.savez(path, images=images, labels=sample.labels)
    return training.open_data(path)


@pytest.fixture(scope="module")
def trained(data: training.Data, tmp_path_factory: pytest.TempPathFactory):
    options = TrainOptions(Recipe(epochs=2, batch_size=50))
    return mlcnn.api.train("cmpnet", data, options, folder=tmp_path_factory.mktemp("cmpnet"))


def quantize(trained, data: training.Data, **options: object) -> mlcnn.api.Quantized:
    return mlcnn.quantize(
        trained.folder / "cmpnet.onnx", data,
        mlcnn.QuantizeOptions(
            engines=("onnxruntime",), calibration=100, validation=100, **options
        ),
        images=mlcnn.api.ImageOptions(mean=(0.5,), std=(0.25,)),
    )  # fmt: skip


def compared(model: ir.Model) -> list[tuple[ir.Node, ir.Node]]:
    """Each comparison and the layer that adds what it chooses."""
    greater = [node for node in model.graph if node.op_type == "Greater"]
    layers = [node.outputs[0].uses()[0].node.outputs[0].uses()[0].node for node in greater]
    return list(zip(greater, layers, strict=True))


def source_of(node: ir.Node) -> ir.Value:
    """What a comparison takes its taps from."""
    value = node.inputs[0]
    while value.producer().op_type in {"Gather", "Concat", "Slice", "Pad"}:
        value = value.producer().inputs[0]
    return value


def test_a_trained_network_is_what_was_trained(trained, data: training.Data) -> None:
    model = mlcnn.load(trained.folder / "cmpnet.onnx")
    arithmetic = [layer.arithmetic for layer in read(model).layers]
    assert arithmetic.count(Arithmetic.COMPARE) == 2
    images = training.Normal((0.5,), (0.25,)).apply(data.test.images)
    (given,), (logits,) = model.graph.inputs, model.graph.outputs
    found = engines.get("onnxruntime").prepare(model).run({given.name: images})[logits.name]
    right = (found.argmax(1) == data.test.labels).mean()
    assert right == pytest.approx(trained.test.top1, abs=0.02)  # floats near each other


def test_codes_are_compared(trained, data: training.Data) -> None:
    found = quantize(trained, data).model
    pairs = compared(found)
    assert len(pairs) == 2
    for greater, layer in pairs:
        assert source_of(greater).producer().op_type == DEQUANTIZE
        assert layer.inputs[1].producer().op_type == DEQUANTIZE
        assert constant(layer.inputs[2]).dtype == np.float32  # steps of the input say nothing
    for layer in read(found).layers:
        assert (layer.numbers.weight, layer.numbers.input) == (8, 8)


@pytest.mark.parametrize("bits", [1, 2])
def test_weights_of_few_bits(trained, data: training.Data, bits: int) -> None:
    setting = mlcnn.api.Setting(weight_bits=bits)
    found = quantize(trained, data, setting=setting, tuning=TuneOptions(1, batch_size=50))
    assert found.agreement == 1
    for _, layer in compared(found.model):
        codes = constant(layer.inputs[1].producer().inputs[0])
        allowed = {1: {-1, 1}, 2: {-3, -1, 1, 3}}[bits]
        assert set(np.unique(codes).tolist()) <= allowed
    widths = {layer.name: layer.numbers.weight for layer in read(found.model).layers}
    assert widths["block1.conv"] == widths["block2.conv"] == bits


def test_weights_of_another_file_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"give the \.onnx file that `mlcnn train` wrote"):
        mlcnn.load("cmpnet", weights=tmp_path / "some.npz")
