"""Networks of the zoo as ONNX models: clean graphs that compute what the modules compute."""

import copy
import functools
from collections import Counter
from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

from mlcnn.errors import InputError
from mlcnn.graph import evaluate, layer_name
from mlcnn.zoo import build, describe, load, names, registry

# Operators of each export, counted by hand from the architectures; nothing else may remain.
OPERATORS = {
    "lenet5": "Conv 2, Relu 4, MaxPool 2, Reshape 1, Gemm 3",
    "resnet20": "Conv 19, BatchNormalization 19, Relu 19, Add 9, Slice 4, Pad 2, AveragePool 1, "
    "Reshape 1, Gemm 1",
    "vgg16": "Conv 13, BatchNormalization 13, Relu 13, MaxPool 5, Reshape 1, Gemm 1",
    "googlenet-avg": "Conv 64, BatchNormalization 64, Relu 64, MaxPool 9, Concat 9, "
    "AveragePool 3, Reshape 1, Gemm 1",
    "densenet121": "Conv 120, BatchNormalization 120, Relu 120, Concat 58, AveragePool 4, "
    "Reshape 1, Gemm 1",
    "resnet18": "Conv 20, BatchNormalization 20, Relu 17, Add 8, AveragePool 1, Reshape 1, Gemm 1",
    "resnet56": "Conv 55, BatchNormalization 55, Relu 55, Add 27, Slice 4, Pad 2, AveragePool 1, "
    "Reshape 1, Gemm 1",
    # Every projection is a convolution of its own; 18 norms in the blocks and the last one.
    "wrn22_8": "Conv 22, BatchNormalization 19, Relu 19, Add 9, AveragePool 1, Reshape 1, Gemm 1",
    "resnet18-224": "Conv 20, BatchNormalization 20, Relu 17, Add 8, MaxPool 1, ReduceMean 1, "
    "Reshape 1, Gemm 1",
    "vgg16-224": "Conv 13, Relu 15, MaxPool 5, Reshape 1, Gemm 3",
}
QUICK = ("lenet5", "resnet20")


@functools.cache
def random_model(name: str) -> ir.Model:
    """The network with random weights of seed 2; nothing here changes it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(registry, "_embedded", lambda _file: None)
        return load(name, seed=2)


def difference(model: ir.Model, module: nn.Module, shape: tuple[int, ...]) -> float:
    """Largest difference in float64, over the largest output; three images."""
    generator = torch.Generator().manual_seed(4)
    images = torch.randn(3, *shape, generator=generator, dtype=torch.float64)
    (given,), (wanted,) = model.graph.inputs, model.graph.outputs
    computed = evaluate(model, {str(given.name): images})[str(wanted.name)]
    with torch.no_grad():
        expected = copy.deepcopy(module).double()(images)
    return float((computed - expected).abs().max() / expected.abs().max())


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=() if n in QUICK else pytest.mark.long) for n in OPERATORS]
)
def test_the_graph_holds_the_layers_and_nothing_else(name: str) -> None:
    counted = (entry.rsplit(" ", 1) for entry in OPERATORS[name].split(", "))
    expected = {operator: int(count) for operator, count in counted}
    assert Counter(node.op_type for node in random_model(name).graph) == expected


@pytest.mark.parametrize("name", QUICK)
def test_the_batch_is_dynamic_and_nothing_else(name: str) -> None:
    (given,), (wanted,) = random_model(name).graph.inputs, random_model(name).graph.outputs
    entry = describe(name)
    assert given.shape is not None
    assert wanted.shape is not None
    assert isinstance(given.shape[0], ir.SymbolicDim)
    assert tuple(given.shape[1:]) == entry.input_shape
    assert wanted.shape[0] == given.shape[0]
    assert tuple(wanted.shape[1:]) == (entry.classes,)


@pytest.mark.parametrize(
    "name",
    [pytest.param(n, marks=() if n in QUICK else pytest.mark.long) for n in names()],
)
def test_model_and_module_agree(name: str) -> None:
    shape = describe(name).input_shape
    assert difference(random_model(name), build(name, seed=2), shape) < 1e-12


def test_layers_go_by_the_names_of_their_modules() -> None:
    convolutions = [n for n in random_model("resnet20").graph if n.op_type in {"Conv", "Gemm"}]
    found = [layer_name(node) for node in convolutions]
    assert found == [
        name
        for name, layer in build("resnet20").named_modules()
        if isinstance(layer, nn.Conv2d | nn.Linear)
    ]


@pytest.fixture
def trained(tmp_path: Path) -> Path:
    """A file of weights that no seed below gives."""
    state = build("lenet5", seed=99).state_dict()
    path = tmp_path / "lenet5.npz"
    with path.open("wb") as file:
        np.savez(file, allow_pickle=False, **{k: v.numpy() for k, v in state.items()})
    return path


def test_given_weights(trained: Path) -> None:
    model = load("lenet5", weights=trained)
    assert difference(model, build("lenet5", seed=99), (3, 32, 32)) < 1e-12
    assert difference(model, build("lenet5", seed=0), (3, 32, 32)) > 0.1


def test_embedded_weights_come_before_random_ones(
    trained: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    embedded = {"lenet5.npz": trained, "lenet5-reordered.npz": trained}
    monkeypatch.setattr(registry, "_embedded", embedded.get)
    assert describe("lenet5").reordered_weights == trained
    assert describe("lenet5-avg").weights is None
    assert difference(load("lenet5"), build("lenet5", seed=99), (3, 32, 32)) < 1e-12


def test_what_does_not_fit_is_refused(trained: Path) -> None:
    with pytest.raises(InputError, match=r"fc3\.weight has shape"):
        load("lenet5-100", weights=trained)
    with pytest.raises(InputError, match="unknown network 'lenet'"):
        load("lenet")
