"""``mlcnn.optimize``: what it promises."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn.api import compare, potential, read_inputs
from mlcnn.errors import InputError, PassError
from mlcnn.graph import clone

EXAMPLE = torch.zeros(2, 3, 8, 8)


def small(seed: int = 0, activation: nn.Module | None = None) -> nn.Module:
    torch.manual_seed(seed)
    layers = [nn.Conv2d(3, 4, 3, padding=1), activation, nn.AvgPool2d(2), nn.ReLU()]
    return nn.Sequential(*(layer for layer in layers if layer is not None)).eval()


def test_a_module_is_fused_exactly() -> None:
    module, images = small(), torch.randn(5, 3, 8, 8)
    optimized = mlcnn.optimize(module, EXAMPLE, form="box")
    (change,) = optimized.fused
    assert (change.nodes[0], change.form, change.exact) == ("0", "box", True)
    assert optimized.max_error is not None
    assert optimized.max_error <= 1e-12
    assert not optimized.vacuous
    assert not optimized.approximate
    assert optimized.reordered is None
    name = optimized.model.graph.inputs[0].name or ""
    (result,) = optimized.run({name: images.numpy()}).values()
    with torch.no_grad():
        np.testing.assert_allclose(result, module(images).numpy(), atol=1e-5)


def test_module_gives_the_same_network_to_torch() -> None:
    module, images = small(), torch.randn(5, 3, 8, 8)
    rewritten = mlcnn.optimize(module, EXAMPLE, form="box").module().eval()
    with torch.no_grad():
        torch.testing.assert_close(rewritten(images), module(images), atol=1e-5, rtol=1e-4)


def test_approximate_passes_only_when_asked() -> None:
    module = small(activation=nn.ReLU())
    assert mlcnn.optimize(module, EXAMPLE).changes == ()
    optimized = mlcnn.optimize(module, EXAMPLE, passes="mlcnn")
    assert optimized.approximate
    assert len(optimized.fused) == 1
    assert optimized.reordered is not None


def test_potential_is_what_the_approximate_passes_save() -> None:
    optimized = mlcnn.optimize(small(activation=nn.ReLU()), EXAMPLE)
    gain = potential(optimized)
    assert gain is not None
    # 4 filters, 3 channels of 3x3 taps, 8x8 outputs: three quarters go.
    assert (gain.sites, gain.multiplications) == (1, 4 * 27 * 64 * 3 // 4)
    assert potential(mlcnn.optimize(small(), EXAMPLE)) is None


def test_threads_do_not_disturb_each_other() -> None:
    modules = [small(seed) for seed in range(4)]
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda m: mlcnn.optimize(m, EXAMPLE, form="box"), modules))
    images = torch.randn(2, 3, 8, 8)
    for module, optimized in zip(modules, results, strict=True):
        name = optimized.model.graph.inputs[0].name or ""
        (result,) = optimized.run({name: images.numpy()}).values()
        with torch.no_grad():
            np.testing.assert_allclose(result, module(images).numpy(), atol=1e-5)


def test_without_a_check_nothing_is_claimed() -> None:
    optimized = mlcnn.optimize(small(), EXAMPLE, check=False)
    assert optimized.fused
    assert optimized.max_error is None
    assert optimized.vacuous


def test_options_that_do_not_exist() -> None:
    with pytest.raises(InputError, match="unknown form 'round'"):
        mlcnn.optimize(small(), EXAMPLE, form="round")
    with pytest.raises(InputError, match="--window wide: keep or stride is required"):
        mlcnn.optimize(small(), EXAMPLE, passes="mlcnn", window="wide")
    with pytest.raises(InputError, match="no node of this name"):
        mlcnn.optimize(small(), EXAMPLE, only=["nowhere"])


def test_a_wrong_network_does_not_pass_the_comparison(tmp_path: Path) -> None:
    optimized = mlcnn.optimize(small(), EXAMPLE, form="box")
    name = optimized.model.graph.inputs[0].name or ""
    np.savez(tmp_path / "x.npz", anything=np.random.default_rng(0).random((1, 3, 8, 8)))
    inputs = read_inputs(tmp_path / "x.npz", optimized.original)
    assert inputs[name].dtype == np.float32
    assert compare(optimized, inputs).outputs[0].relative < 1e-5
    wrong = clone(optimized.model)
    bias = next(value for key, value in wrong.graph.initializers.items() if "bias" in key)
    assert bias.const_value is not None
    bias.const_value = ir.tensor(bias.const_value.numpy() * 1.5, name=bias.name)
    broken = mlcnn.Optimized(
        original=optimized.original,
        model=wrong,
        reordered=None,
        pipeline=optimized.pipeline,
        changes=optimized.changes,
        skipped=optimized.skipped,
        verification=optimized.verification,
    )
    with pytest.raises(PassError, match="differs by"):
        compare(broken, inputs)


def test_the_pipeline_stands_in_the_saved_file(tmp_path: Path) -> None:
    optimized = mlcnn.optimize(small(), EXAMPLE, form="box")
    optimized.save(tmp_path / "out.onnx")
    saved = mlcnn.load(tmp_path / "out.onnx")
    assert saved.metadata_props["mlcnn.pipeline"] == optimized.pipeline
