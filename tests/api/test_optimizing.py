"""``mlcnn.optimize``: what it promises."""

import copy
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn.api import compare, potential, read_inputs
from mlcnn.errors import InputError
from mlcnn.graph import clone

EXAMPLE = torch.zeros(2, 3, 8, 8)


def small() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3, padding=1), nn.AvgPool2d(2), nn.ReLU())


def run(optimized: mlcnn.Optimized, images: torch.Tensor) -> torch.Tensor:
    name = optimized.model.graph.inputs[0].name or ""
    (result,) = optimized.run({name: images.numpy()}).values()
    return torch.from_numpy(result)


def test_a_module_is_fused_exactly_and_not_changed() -> None:
    module, images = small().train(), torch.randn(5, 3, 8, 8)
    before = copy.deepcopy(module.state_dict())
    optimized = mlcnn.optimize(module, EXAMPLE, form="box")
    (change,) = optimized.fused
    assert (change.nodes[0], change.form, change.exact) == ("0", "box", True)
    assert optimized.max_error is not None
    assert optimized.max_error <= 1e-12
    assert not optimized.vacuous
    assert not optimized.approximate
    assert optimized.stages == {}
    assert module.training
    assert all(torch.equal(value, module.state_dict()[key]) for key, value in before.items())
    with torch.no_grad():
        expected = module(images)
    torch.testing.assert_close(run(optimized, images), expected, atol=1e-5, rtol=1e-4)
    rewritten = optimized.module().eval()
    with torch.no_grad():
        torch.testing.assert_close(rewritten(images), expected, atol=1e-5, rtol=1e-4)


def test_approximate_passes_only_when_asked(activated: ir.Model) -> None:
    assert mlcnn.optimize(activated).changes == ()
    optimized = mlcnn.optimize(activated, passes="mlcnn")
    assert optimized.approximate
    assert len(optimized.fused) == 1
    ((name, stage),) = optimized.stages.items()
    assert name == "reorder"
    assert "AveragePool" in {node.op_type for node in stage.graph}


def test_potential_is_what_the_approximate_passes_save(
    linear: ir.Model, activated: ir.Model
) -> None:
    gain = potential(mlcnn.optimize(activated))
    (row,) = mlcnn.optimize(activated, passes="mlcnn").counts().layers
    assert gain is not None
    assert row.multiplications.original == 4 * 27 * 64
    assert gain.sites == 1
    assert gain.multiplications == 4 * 27 * 64 - row.chosen.multiplications
    assert potential(mlcnn.optimize(activated, passes="mlcnn")) is None
    assert potential(mlcnn.optimize(linear, form="box")) is None


def test_threads_do_not_disturb_each_other(linear: ir.Model, activated: ir.Model) -> None:
    sources = [linear, activated] * 4
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda m: mlcnn.optimize(m, passes="mlcnn", form="box"), sources))
    alone = [mlcnn.optimize(m, passes="mlcnn", form="box") for m in (linear, activated)] * 4
    images = torch.randn(2, 3, 8, 8)
    for together, expected in zip(results, alone, strict=True):
        assert together.changes == expected.changes
        assert torch.equal(run(together, images), run(expected, images))


def test_without_a_check_nothing_is_claimed(linear: ir.Model) -> None:
    optimized = mlcnn.optimize(linear, check=False)
    assert optimized.fused
    assert optimized.max_error is None
    assert optimized.vacuous


def test_options_that_do_not_exist(linear: ir.Model) -> None:
    with pytest.raises(InputError, match="unknown form 'round'"):
        mlcnn.optimize(linear, form="round")
    with pytest.raises(InputError, match="--window wide: keep or stride is required"):
        mlcnn.optimize(linear, passes="mlcnn", window="wide")
    with pytest.raises(InputError, match="no node of this name"):
        mlcnn.optimize(linear, only=["nowhere"])


def test_a_wrong_network_does_not_pass_the_comparison(linear: ir.Model, tmp_path: Path) -> None:
    optimized = mlcnn.optimize(linear, form="box")
    name = optimized.model.graph.inputs[0].name or ""
    np.savez(tmp_path / "x.npz", anything=np.random.default_rng(0).random((1, 3, 8, 8)))
    inputs = read_inputs(tmp_path / "x.npz", optimized.original)
    assert inputs[name].dtype == np.float32
    assert compare(optimized, inputs).outputs[0].relative < 1e-5
    wrong = clone(optimized.model)
    bias = next(value for key, value in wrong.graph.initializers.items() if "bias" in key)
    assert bias.const_value is not None
    bias.const_value = ir.tensor(bias.const_value.numpy() * 1.5, name=bias.name)
    with pytest.raises(InputError) as caught:
        compare(replace(optimized, model=wrong), inputs)
    assert str(caught.value).startswith("--input: ")
    assert "differs by" in str(caught.value)
    assert "it begins at 0 (fuse), by " in str(caught.value)
    assert str(caught.value).endswith("leave it alone with --exclude 0")


def test_the_pipeline_stands_in_the_saved_file(linear: ir.Model, tmp_path: Path) -> None:
    optimized = mlcnn.optimize(linear, form="box")
    optimized.save(tmp_path / "out.onnx")
    saved = mlcnn.load(tmp_path / "out.onnx")
    assert saved.metadata_props["mlcnn.pipeline"] == optimized.pipeline


def test_counts_go_with_the_changes(linear: ir.Model) -> None:
    (row,) = mlcnn.optimize(linear, form="box").counts(batch=2).layers
    assert row.multiplications.original == 2 * 4 * 27 * 64
    assert row.multiplications.fused == 2 * 4 * 27 * 16
