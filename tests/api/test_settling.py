"""Trainings in which some layers stay dense, because no form of blocks is faster."""

import json

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn import engines, training
from mlcnn.api import MeasureOptions, TrainOptions
from mlcnn.api.settling import settled
from mlcnn.passes import KEEP, Choice
from mlcnn.workload import read

PASSES = "block-circulant{block=4},choose"
OPTIONS = TrainOptions(training.Recipe(epochs=1, batch_size=64, learning_rate=0.01))
NARROW, WIDE = "2", "4"
STAYS = f"{NARROW}: stays as it is, since it would not gain: narrow"


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2), nn.ReLU(), nn.Conv2d(8, 16, 3), nn.Conv2d(16, 16, 3),
        nn.Conv2d(16, 16, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 10),
    )  # fmt: skip


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> training.Data:
    sample = training.load_sample()
    path = tmp_path_factory.mktemp("data") / "sample.npz"
    np.savez(path, images=sample.images, labels=sample.labels)
    return training.open_data(path)


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine on which blocks help where a layer reads 16 channels; which layers it was asked."""
    names: list[str] = []

    def choose(self: engines.MeasuredChooser, layer, candidates) -> Choice:
        del self
        names.append(layer.name)
        wins = layer.C >= 16 and "spectral" in candidates
        return Choice("spectral", "wide") if wins else Choice(KEEP, "narrow")

    monkeypatch.setattr(engines.MeasuredChooser, "choose", choose)
    return names


def structured(model: ir.Model) -> set[str]:
    return {layer.nest.name for layer in read(model).layers if str(layer.weights) != "dense"}


def finetune(data: training.Data, folder=None, passes: str = PASSES, epochs: int = 1, **options):
    return mlcnn.finetune(
        network(), data, passes=passes, options=OPTIONS, folder=folder, epochs=epochs,
        measuring=MeasureOptions(engines=("onnxruntime",), budget_s=0.02), **options,
    )  # fmt: skip


@pytest.mark.usefixtures("asked")
def test_finetuned(data: training.Data) -> None:
    told: list[str] = []
    done = finetune(data, notice=told.append)
    assert STAYS in told
    assert structured(done.optimized.model) == {"3", WIDE}
    assert {change.nodes[0]: change.form for change in done.result.fused} == {
        "3": "spectral", WIDE: "spectral",
    }  # fmt: skip


@pytest.mark.usefixtures("asked")
def test_steps_and_budgets_of_accuracy_leave_them_too(data: training.Data) -> None:
    passes = "block-circulant{block=4,gradual=true},choose"
    steps = finetune(data, passes=passes, epochs=2, max_drop=100)
    assert structured(steps.optimized.model) == {"3", WIDE}


@pytest.mark.usefixtures("asked")
def test_a_budget_gives_sizes_to_layers_that_gain(data: training.Data, tmp_path) -> None:
    done = finetune(data, tmp_path, budget="1.5x")
    assert NARROW not in structured(done.optimized.model)
    record = json.loads((tmp_path / "result.json").read_text())
    assert {row["size"] for row in record["sizes"] if row["layer"] == NARROW} == {1}
    assert {row["size"] for row in record["sizes"] if row["layer"] == WIDE} > {1}
    assert "layers=all" in record["passes"]


@pytest.mark.usefixtures("asked")
def test_all_layers_where_no_form_was_asked_for(data: training.Data) -> None:
    done = finetune(data, passes="block-circulant{block=4}")
    assert structured(done.optimized.model) == {NARROW, "3", WIDE}


@pytest.mark.usefixtures("asked")
def test_trained_from_scratch_as_operators(data: training.Data, tmp_path) -> None:
    told: list[str] = []
    done = mlcnn.api.train(
        network(), data, OPTIONS, folder=tmp_path, passes=PASSES, notice=told.append
    )
    assert STAYS in told
    assert structured(done.model) == {"3", WIDE}
    # What is trained is the first columns of blocks, not the spectra of a form.
    tensors = (value.const_value for value in done.model.graph.initializers.values())
    assert (4, 4, 4, 3, 3) in {tensor.numpy().shape for tensor in tensors}
    loaded = mlcnn.load(tmp_path / f"{done.name}.onnx")
    assert structured(loaded) == {"3", WIDE}


def test_a_decision_holds_for_the_next_call(data: training.Data, asked: list, tmp_path) -> None:
    first = finetune(data, tmp_path)
    before = len(asked)
    told: list[str] = []
    again = finetune(data, tmp_path, notice=told.append)
    # The forms are chosen after each training.
    assert len(asked) - before < before
    assert STAYS not in told
    assert structured(again.optimized.model) == structured(first.optimized.model)


def test_another_pipeline_decides_anew(asked: list, tmp_path) -> None:
    model = mlcnn.load(network(), torch.zeros(1, 3, 32, 32))
    chooser = engines.MeasuredChooser()
    passes = (PASSES, PASSES, "block-circulant{block=2},choose")
    texts = [settled(model, text, chooser, folder=tmp_path) for text in passes]
    assert texts[0] == f"block-circulant{{layers=all,exclude={NARROW},block=4}},choose"
    assert texts[1] == texts[0]
    assert texts[2] == f"block-circulant{{layers=all,exclude={NARROW},block=2}},choose"
    # Three layers for the pass and two for its forms, by each of the two pipelines.
    assert len(asked) == 10


def test_a_result_says_that_it_is_untrained_until_it_was_trained() -> None:
    done = mlcnn.optimize(network(), torch.zeros(1, 3, 32, 32), passes="block-circulant{block=4}")
    told = done.untrained("net.onnx")
    assert told is not None
    assert told.startswith("the accuracy is gone until the network is trained: ")
    assert f"warning: {done.untrained()}" in repr(done)
    trained = done.update_weights(done.module())
    assert trained.untrained() is None
    assert "accuracy is gone" not in repr(trained)
