"""Structured layers in codes, or said to be none."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn import engines, training
from mlcnn.api import TuneOptions
from mlcnn.graph import QUANTIZE, is_quantiser

STRUCTURED = {"2", "4", "7"}


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> training.Data:
    sample = training.load_sample()
    path = tmp_path_factory.mktemp("data") / "sample.npz"
    np.savez(path, images=sample.images, labels=sample.labels)
    return training.open_data(path)


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Layers in blocks, of which an estimate would lower none: they are narrow."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.ReLU(),
        nn.Conv2d(16, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 32), nn.ReLU(),
        nn.Linear(32, 10),
    )  # fmt: skip
    path = tmp_path_factory.mktemp("network") / "net.onnx"
    example = torch.zeros(1, 3, 32, 32)
    mlcnn.optimize(module.eval(), example, passes="block-circulant{block=4}").save(path)
    return path


def quantize(network: Path, data: training.Data, **options: object) -> mlcnn.api.Quantized:
    return mlcnn.quantize(
        network, data,
        mlcnn.QuantizeOptions(
            engines=("onnxruntime",), calibration=100, validation=100, **options
        ),
    )  # fmt: skip


def test_every_structured_layer_becomes_codes(network: Path, data: training.Data) -> None:
    loaded = mlcnn.load(network)
    left = mlcnn.api.rewrite(loaded, "choose", check=False).skipped
    assert {item.node for item in left} == STRUCTURED
    result = quantize(network, data)
    codes = {
        value.name.removesuffix(".weight_quantized"): value.const_value.numpy()
        for value in result.model.graph.initializers.values()
        if value.name.endswith(".weight_quantized")
    }
    assert set(codes) == {"0", "9"} | STRUCTURED
    assert {array.dtype for array in codes.values()} == {np.dtype(np.int8)}
    # As compact as the form: 5 numbers for the 16 of a block.
    assert codes["4"].size == 5 * 4 * 4 * 9
    assert not any("in floats stay" in note for note in result.notes)
    assert result.pipeline.startswith(
        "fold-batch-norm,choose{forms=2=spectral+4=spectral+7=spectral},"
    )
    images = data.test.images[:20].astype(np.float32) / 255
    name = loaded.graph.inputs[0].name
    (expected,) = engines.get("onnxruntime").prepare(loaded).run({name: images}).values()
    (found,) = result.run({name: images}).values()
    assert np.abs(found - expected).max() <= 0.1 * np.ptp(expected)


def test_what_training_does_not_round_is_told(network: Path, data: training.Data) -> None:
    result = quantize(network, data, tuning=TuneOptions(0.1))
    told = (
        "in floats stay 2, 4, 7: the training rounds standard operators only; without --finetune "
        "they become codes"
    )
    assert told in result.notes
    assert told in repr(result)
    assert told in result.to_json()["notes"]
    assert any(is_quantiser(node, QUANTIZE) for node in result.model.graph)


@pytest.mark.parametrize("form", ["", "two-stage", "split", "rebuilt"])
def test_shared_kernels_become_codes_in_every_form(
    data: training.Data, tmp_path: Path, form: str
) -> None:
    """Of both stages with a scale for each filter, or of the dense kernels that are multiplied."""
    torch.manual_seed(0)
    module = nn.Sequential(
        nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(),
        nn.Conv2d(8, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    ).eval()  # fmt: skip
    with torch.no_grad():
        module[3].weight[2] = 0  # any step will do for its codes, not for its bias
    behind = f",fold-batch-norm,choose{{form={form}}}" if form else ""
    text = f"share-kernels{{basis=4,layers=all}}{behind}"
    path = tmp_path / "net.onnx"
    mlcnn.optimize(module, torch.zeros(1, 3, 32, 32), passes=text).save(path)
    result = quantize(path, data)
    stored = [v.const_value.numpy() for v in result.model.graph.initializers.values()]
    codes = [array for array in stored if array.ndim > 1 and array.dtype == np.int8]
    sizes = sorted(array.size for array in codes)
    dense, stages = [160, 8 * 3 * 9, 16 * 8 * 9], [160, 12 * 9, 8 * 12, 32 * 9, 16 * 32]
    split = [160, *[3 * 9] * 4, 8 * 12, *[8 * 9] * 4, 16 * 32]
    known = {"two-stage": [stages], "split": [split], "rebuilt": [dense]}
    assert sizes in [sorted(each) for each in known.get(form, [dense, stages, split])]
    assert not any(array.ndim > 1 for array in stored if array.dtype == np.float32)
    images = data.test.images[:20].astype(np.float32) / 255
    loaded = mlcnn.load(path)
    inputs = {loaded.graph.inputs[0].name: images}
    (expected,) = engines.get("onnxruntime").prepare(loaded).run(inputs).values()
    (found,) = result.run(inputs).values()
    assert np.abs(found - expected).max() <= 0.1 * np.ptp(expected)
    (ours,) = engines.get("native").prepare(result.model).run(inputs).values()
    assert np.abs(ours - found).max() <= 0.1 * np.ptp(expected)
