"""Calibrated networks: engines against the definition, corrections by brute force, choices."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import openvino as ov
import pytest
import torch
from exact_sums import needs_vnni
from torch import nn
from training.quantisation.networks import images_of_classes, residual

import mlcnn
from mlcnn import engines
from mlcnn.errors import InputError
from mlcnn.graph import QUANTIZE, from_module, inline, save
from mlcnn.nn import to_module
from mlcnn.training.quantisation import (
    Calibrated,
    Means,
    Setting,
    calibrate,
    divergence,
    folded,
)

torch.set_num_threads(1)
QUICK = {"observer": "mse", "bias_correction": False, "sensitivity": False}


@pytest.fixture(scope="module")
def network() -> ir.Model:
    return residual()


def calibrated(network: ir.Model, **options: object) -> Calibrated:
    images, _ = images_of_classes(256, seed=2)
    return calibrate(network, images[:128], images[128:], Setting(**{**QUICK, **options}))


def outputs(model: ir.Model, images: np.ndarray, engine: str = "onnxruntime") -> np.ndarray:
    session, name = engines.get(engine).prepare(model), model.graph.inputs[0].name
    return next(iter(session.run({name: images}).values()))


@pytest.mark.parametrize(
    "engine", ["onnxruntime", pytest.param("openvino", marks=needs_vnni), "native"]
)
def test_engines_compute_what_the_codes_say(network: ir.Model, engine: str) -> None:
    model = calibrated(network).model
    images, _ = images_of_classes(200, seed=3)
    with torch.no_grad():
        expected = to_module(model).double()(torch.from_numpy(images).double()).numpy()
    found = outputs(model, images, engine)
    off = np.abs(found - expected).max(1) > 1e-4 * np.abs(expected).max()
    assert off.mean() <= (0.02 if engine != "openvino" else 0.5)  # it rounds ties otherwise
    assert (found.argmax(1) == expected.argmax(1)).mean() >= 0.99


def test_results_stay_close_to_floats(network: ir.Model) -> None:
    images, _ = images_of_classes(300, seed=4)
    expected = outputs(network, images)
    found = outputs(calibrated(network).model, images)
    assert divergence(expected, found) < 0.01
    assert (found.argmax(1) == expected.argmax(1)).mean() > 0.95


def test_bias_correction_takes_the_mean_error_of_weights_away() -> None:
    """All of it behind one layer, up to the rounding of activations."""
    torch.manual_seed(1)
    layer = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    network = from_module(layer, (torch.zeros(2, 3, 16, 16),))
    images, _ = images_of_classes(256, seed=2)
    errors: dict[bool, float] = {}
    for corrected in (False, True):
        model = calibrated(network, weight_bits=3, bias_correction=corrected).model
        off = outputs(model, images[:128]) - outputs(network, images[:128])
        errors[corrected] = float(np.abs(off.mean(0)).max())
    assert errors[True] < 0.1 * errors[False]


def test_the_best_way_is_taken(network: ir.Model) -> None:
    result = calibrated(network, observer="auto", bias_correction=None, sensitivity=True)
    assert [way.observer for way in result.tried[:4]] == ["min-max", "percentile", "mse", "entropy"]
    whole = [way for way in result.tried if not way.floating]
    assert len(whole) == 5
    best = min(whole, key=lambda way: way.divergence)
    ends = [way for way in result.tried if way.floating]
    assert [way.floating[0] for way in ends] == ["stem", "head"]
    if not result.chosen.floating:
        assert result.chosen == best
        worthwhile = max(0.5 * best.divergence, 1e-3)
        assert all(best.divergence - way.divergence < worthwhile for way in ends)
    images, _ = images_of_classes(256, seed=2)
    found = outputs(result.model, images[128:])
    expected = outputs(folded(network), images[128:])
    assert divergence(expected, found) == pytest.approx(result.chosen.divergence, rel=1e-6)


def test_a_first_layer_that_decides_stays_in_floats(network: ir.Model) -> None:
    """One filter of weights far apart, in two bits: nothing but this layer matters."""
    model = mlcnn.graph.clone(network)
    weight = model.graph.initializers["stem.weight"]
    array = weight.const_value.numpy().copy()
    array[:, :, 0, 0] *= 30
    weight.const_value = ir.tensor(array, name=weight.name)
    result = calibrated(model, weight_bits=2, sensitivity=True)
    tried = {way.floating: way.divergence for way in result.tried}
    gained = tried[()] - tried[("stem",)]
    assert ("stem" in result.chosen.floating) == (gained >= max(0.5 * tried[()], 1e-3))


@pytest.mark.parametrize("given", [(31, 64), (64, 31)])
def test_too_few_images(network: ir.Model, given: tuple[int, int]) -> None:
    images, _ = images_of_classes(64)
    with pytest.raises(InputError, match=r"31 images for .*, at least 32 are needed"):
        calibrate(network, images[: given[0]], images[: given[1]])


def test_divergence_by_hand() -> None:
    first, second = np.float32([[0, np.log(3)]]), np.float32([[0, 0]])
    expected = 0.25 * np.log(0.25 / 0.5) + 0.75 * np.log(0.75 / 0.5)
    assert divergence(first, second) == pytest.approx(expected, rel=1e-6)
    assert divergence(first, first) == 0
    images = np.float32([[[3.0, 4.0]]])
    assert divergence(images, images * np.float32(1.1)) == pytest.approx(0.01, rel=1e-4)


@pytest.mark.parametrize("means", Means)
def test_means_of_fused_layers(means: Means) -> None:
    """Their rounding belongs to the layer; without it the engine has sums, and is closer."""
    fused = inline(mlcnn.optimize("lenet5", form="box").model)
    images = np.random.default_rng(0).normal(size=(128, 3, 32, 32)).astype(np.float32)
    result = calibrate(fused, images[:64], images[64:], Setting(**QUICK, means=means))
    assert result.chosen.means is means
    makers = [n.inputs[0].producer() for n in result.model.graph if n.op_type == QUANTIZE]
    behind = [maker.op_type for maker in makers if maker is not None]
    assert behind.count("AveragePool") == (2 if means is Means.ROUNDED else 0)
    counted = mlcnn.count(result.model)
    assert [row.fused for row in counted.layers] == [True, True, False, False, False]
    expected = outputs(fused, images)
    assert divergence(expected, outputs(result.model, images, "native")) < 0.02


def test_openvino_computes_layers_in_integers(network: ir.Model, tmp_path: Path) -> None:
    """Its own words: the kernel of every layer is one for 8-bit codes."""
    path = tmp_path / "net.onnx"
    save(calibrated(network).model, path)
    compiled = ov.Core().compile_model(path, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    told = [node.get_rt_info() for node in compiled.get_runtime_model().get_ordered_ops()]
    kernels = {
        info["originalLayersNames"].astype(str): info["primitiveType"].astype(str)
        for info in told
        if info["layerType"].astype(str) in {"Convolution", "FullyConnected"}
    }
    assert len(kernels) == 5
    assert {kernel.rpartition("_")[2] for kernel in kernels.values()} == {"I8"}, kernels


def test_weights_of_one_bit_are_refused(network: ir.Model) -> None:
    with pytest.raises(InputError, match="signs alone have to be trained"):
        calibrated(network, weight_bits=1)
