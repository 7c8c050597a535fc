"""A smaller network from Python: what is zero stays zero, and nothing is chosen on test images."""

import json
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn import training
from mlcnn.errors import InputError
from mlcnn.graph import constant
from mlcnn.passes import restore
from mlcnn.workload import read


class Small(nn.Module):
    """Three convolutions with norms, a residual sum, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.norm = nn.BatchNorm2d(8)
        self.inner = nn.Conv2d(8, 32, 3, padding=1, bias=False)
        self.middle = nn.BatchNorm2d(32)
        self.back = nn.Conv2d(32, 8, 3, padding=1)
        self.line = nn.Linear(8 * 16, 10)

    def forward(self, x):
        x = nn.functional.avg_pool2d(torch.relu(self.norm(self.first(x))), 4)
        x = x + self.back(torch.relu(self.middle(self.inner(x))))
        return self.line(nn.functional.max_pool2d(x, 2).flatten(1))


RECIPE = training.Recipe(epochs=1, batch_size=32, crop=0, flip=False, learning_rate=0.02)


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    sample = training.load_sample()
    path = tmp_path_factory.mktemp("data") / "sample.npz"
    np.savez(path, images=sample.images, labels=sample.labels)
    return training.open_data(path)


@pytest.fixture(scope="module")
def trained(data):
    torch.manual_seed(0)
    module = Small()
    recipe = training.Recipe(epochs=8, batch_size=32, crop=0, flip=False)
    training.train(module, data.training, recipe, normal=training.Normal())
    return module.eval()


def compress(trained, data, **options):
    given = {"folder", "notice"} & options.keys()
    rest = {name: options.pop(name) for name in given}
    return mlcnn.compress(
        trained,
        data,
        mlcnn.CompressOptions(**options),
        options=mlcnn.api.TrainOptions(recipe=RECIPE),
        **rest,
    )


def kernels(model: ir.Model) -> dict[str, np.ndarray]:
    nodes = [node for node in model.graph if node.op_type in {"Conv", "Gemm"}]
    return {str(node.inputs[1].name): constant(node.inputs[1]) for node in nodes}


def test_weights_go_down_to_the_size_asked_for(trained, data):
    told: list[str] = []
    done = compress(
        trained, data, budget="3x", method="weights", sensitivity=True, notice=told.append
    )
    assert {item.layer for item in done.sensitivities} == {"inner", "back"}
    losses = [item.change.top1 for item in done.sensitivities]
    assert losses == sorted(losses, reverse=True)
    assert any("weights: half of inner saves" in line for line in told)
    found = kernels(done.model)
    left = sum(int(np.count_nonzero(array)) for array in found.values())
    whole = 216 + 2304 + 2304 + 1280
    assert left / whole == pytest.approx(done.point.setting["share"])
    assert 0.33 < left / whole <= 1 / 3
    # The first and the last layer are whole, the others have all that is gone.
    assert np.all(found["first.weight"] != 0)
    assert np.count_nonzero(found["inner.weight"]) < found["inner.weight"].size / 2
    costs, before = done.point.costs, done.frontier.original.costs
    assert costs["parameters"].mean == left + 8 + 8 + 10  # and biases
    # As many run as before where zeros are not left out.
    assert costs["multiplications run"].mean == before["multiplications run"].mean
    assert costs["multiplications"].mean < before["multiplications"].mean
    assert any("weights: down to 33.3%" in line for line in told)


def test_the_saved_network_says_what_the_point_says(trained, data, tmp_path):
    done = compress(trained, data, budget="multiplications=2x", method="channels")
    path = tmp_path / "small.onnx"
    done.save(path)
    session = mlcnn.engines.get("onnxruntime").prepare(mlcnn.load(path))
    images = training.Normal().apply(data.test.images)
    name = mlcnn.load(path).graph.inputs[0].name
    (logits,) = session.run({name: images}).values()
    right = logits.argmax(1) == data.test.labels
    assert right.mean() == pytest.approx(done.point.test.top1)
    before = training.right_images(trained, data.test, training.Normal())
    assert done.point.test_change == training.intervals.paired(before, right)
    assert done.frontier.original.test.top1 == before.mean()
    # The channels are gone, not zero: nothing multiplies by them any more, and nothing stores them.
    after, before = done.point.costs, done.frontier.original.costs
    assert after["multiplications run"].mean == after["multiplications"].mean
    assert after["multiplications"].mean <= before["multiplications"].mean / 2
    assert after["bytes"].mean < before["bytes"].mean
    assert after["peak_bytes"].mean < before["peak_bytes"].mean
    assert kernels(done.model)["inner.weight"].shape[0] in {8, 16, 24}


def test_a_run_that_was_stopped_ends_as_an_uninterrupted_one(trained, data, tmp_path):
    """Between the points of a search, too: the first one is not trained again."""

    class StoppedError(Exception):
        pass

    epochs: list[str] = []

    def stop(line: str) -> None:
        epochs.extend([line] if line.startswith("epoch") else [])
        if len(epochs) == 2:
            raise StoppedError

    options = {"max_drop": 100, "attempts": 2, "method": "channels", "multiple": 1}
    whole = compress(trained, data, **options)
    with pytest.raises(StoppedError):
        compress(trained, data, folder=tmp_path, notice=stop, **options)
    assert len(list(tmp_path.glob("*.npz"))) == 2
    resumed = compress(trained, data, folder=tmp_path, **options)
    for name, array in kernels(whole.model).items():
        np.testing.assert_array_equal(array, kernels(resumed.model)[name])
    assert whole.point == resumed.point
    assert len(resumed.frontier.points) == 2
    record = json.loads((tmp_path / "result.json").read_text())
    assert record["compress"]["attempts"] == 2
    assert "Accuracy against parameters" in (tmp_path / "report.html").read_text()


def test_what_was_compressed_goes_on_from_there(trained, data):
    first = compress(trained, data, budget="3x", method="weights")
    told: list[str] = []
    second = mlcnn.compress(
        first.model,
        data,
        mlcnn.CompressOptions(max_drop=100, method="weights", attempts=1),
        options=mlcnn.api.TrainOptions(recipe=RECIPE),
        notice=told.append,
    )
    for name, array in kernels(second.model).items():
        was = kernels(first.model)[name]
        assert np.all(array[was == 0] == 0)
    assert second.point.setting["share"] < first.point.setting["share"]
    assert any("are there before the first cut" in line for line in told)


@pytest.mark.parametrize("training_of", ["joint", "alternate"])
def test_kernels_that_a_layer_shares_are_stored_as_such(trained, data, tmp_path, training_of):
    how = {"budget": "3x", "method": "shared-kernels", "basis": "4"}
    done = compress(trained, data, **how, basis_training=training_of)
    path = tmp_path / "small.onnx"
    done.save(path)
    again = restore(mlcnn.load(path))
    kinds = {layer.name: layer.weights.kind for layer in read(again).layers}
    assert kinds == {
        "first": "shared-kernels", "inner": "shared-kernels", "back": "shared-kernels",
        "line": "dense",
    }  # fmt: skip
    assert 0.32 < done.point.setting["share"] <= 1 / 3
    images = training.Normal().apply(data.test.images)
    (logits,) = (
        mlcnn.engines.get("onnxruntime").prepare(mlcnn.load(path)).run(
            {mlcnn.load(path).graph.inputs[0].name: images}
        )
    ).values()  # fmt: skip
    assert (logits.argmax(1) == data.test.labels).mean() == pytest.approx(done.point.test.top1)
    # The zeros are those of the file: what the sizes leave out is what the cut left.
    dense = 216 + 2304 + 2304 + 1280
    biases = 8 + 8 + 10
    stored = done.point.costs["parameters"].mean
    assert (stored - biases) / dense == pytest.approx(done.point.setting["share"], abs=1e-3)


def test_a_checkpoint_of_kernels_that_train_otherwise_is_refused(trained, data, tmp_path):
    how = {"budget": "3x", "method": "shared-kernels", "basis": "4", "folder": tmp_path}
    compress(trained, data, **how)
    with pytest.raises(InputError, match=r"hooks.*in standard deviations.*, 1 cuts"):
        compress(trained, data, **how, basis_training="alternate")


@pytest.mark.parametrize("method", ["weights", "shared-kernels"])
def test_with_a_penalty_whole_channels_fall_away_in_blocks(trained, data, tmp_path, method):
    done = compress(
        trained, data, budget="3.5x", method=method, group_penalty=0.1, multiple=4, folder=tmp_path
    )
    widths = {layer.name: layer.nest.K for layer in read(done.model).layers}
    assert widths["inner"] in range(4, 32, 4)
    assert widths["line"] == 10
    images = training.Normal().apply(data.test.images)
    (logits,) = (
        mlcnn.engines.get("onnxruntime").prepare(done.model)
        .run({done.model.graph.inputs[0].name: images}).values()
    )  # fmt: skip
    assert (logits.argmax(1) == data.test.labels).mean() == pytest.approx(done.point.test.top1)
    with pytest.raises(InputError, match="another run"):
        compress(trained, data, budget="3.5x", method=method, group_penalty=0.2, folder=tmp_path)


def test_all_methods_stand_beside_each_other(trained, data):
    done = compress(trained, data, max_drop=100, attempts=2)
    methods = [point.method for point in done.frontier.points]
    assert sorted(set(methods)) == ["channels", "shared-kernels", "weights"]
    assert 1 <= methods.count("weights") <= 2
    best = min(p.costs["parameters"].mean for p in done.frontier.points)
    assert done.point.costs["parameters"].mean == best
    text = done.frontier.shown().text()
    assert "on the front" in text
    assert "original" in text


def test_a_budget_that_nothing_meets_names_the_nearest(trained, data):
    message = (
        r"--max-drop 0: nothing meets it; the nearest is channels share=0\.\d+, \d+\.\d+ points"
    )
    with pytest.raises(InputError, match=message):
        compress(trained, data, max_drop=0, budget="2x", method="channels")


def test_validation_images_that_the_network_knows_are_told(trained, data):
    """Of those it was trained on it has nearly all right."""
    known = replace(data, validation=data.training)
    done = compress(trained, known, max_drop=100, budget="2.9x", method="weights")
    assert any("it was trained on the former" in n for n in done.notes)
    fair = compress(trained, data, max_drop=100, budget="2.9x", method="weights")
    assert not any("trained on the former" in note for note in fair.notes)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "what may be lost is not said: give --max-drop 0.5"),
        ({"max_drop": -1}, "--max-drop -1: percentage points from 0 to 100"),
        ({"max_drop": 1, "method": "channel"}, "did you mean 'channels'"),
        ({"max_drop": 1, "objective": "size"}, "--objective size: parameters, mult"),
        ({"max_drop": 1, "objective": "latency"}, "--objective latency: nothing is measured"),
        ({"max_drop": 1, "objective": "energy"}, "--objective energy: name the accelerator"),
        ({"max_drop": 1, "basis_training": "turns"}, "--basis-training turns: joint or alternate"),
        ({"max_drop": 1, "attempts": 0}, "--attempts 0: at least 1"),
        ({"max_drop": 1, "multiple": 0}, "--multiple 0: at least 1 is required"),
        ({"max_drop": 1, "group_penalty": -1.0}, "--group-penalty -1: a number of at least 0"),
        ({"budget": "time=2x"}, "--budget time=2x: parameters or multiplications are cut"),
        (
            {"budget": "3x", "method": "shared-kernels", "basis": "10"},
            "basis=10: the kernels of first have 3x3 taps: 1 to 9 can be shared",
        ),
        ({"budget": "half"}, "--budget half: a factor above 1 is required"),
        ({"budget": "4000x", "method": "weights"}, "single weights of 2 layers leave at least"),
        (
            {"budget": "4000x", "method": "channels"},
            "channels of 2 groups by l2, in blocks of 8 leave",
        ),
    ],
)
def test_what_cannot_be_is_said(trained, data, options, message):
    with pytest.raises(InputError, match=message):
        compress(trained, data, **options)


def test_averaged_weights_are_refused(trained, data):
    recipe = training.Recipe(epochs=1, ema=0.9)
    with pytest.raises(InputError, match=r"--ema 0\.9: averages of weights"):
        mlcnn.compress(trained, data, max_drop=1, options=mlcnn.api.TrainOptions(recipe=recipe))
