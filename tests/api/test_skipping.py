"""A network that leaves work out, from Python: what it says it costs is what it runs."""

import json

import numpy as np
import pytest
import torch
from api.stripes import Net, stripes

import mlcnn
from mlcnn import training
from mlcnn.errors import InputError
from mlcnn.passes.early_exit import EXIT_KEY
from mlcnn.workload import read


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    images, labels = stripes(4000)
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, images=images, labels=labels)
    return path


@pytest.fixture(scope="module")
def data(path):
    return training.open_data(path)


@pytest.fixture(scope="module")
def trained(data):
    torch.manual_seed(0)
    module = Net()
    recipe = training.Recipe(epochs=8, batch_size=64, crop=0, flip=False, learning_rate=0.05)
    training.train(module, data.training, recipe, normal=training.Normal())
    return module.eval()


@pytest.fixture(scope="module")
def done(trained, data):
    return mlcnn.skip(trained, data, max_drop=0.5, measure=False)


def _run(model, images):
    (name,) = (value.name for value in model.graph.inputs)
    session = mlcnn.engines.get("onnxruntime").prepare(model)
    found = [session.run({name: images[start : start + 7]}) for start in range(0, len(images), 7)]
    return np.concatenate([next(iter(each.values())) for each in found])


def test_the_saved_network_leaves_work_out_and_is_as_right_as_told(done, data, tmp_path):
    path = tmp_path / "dynamic.onnx"
    done.save(path)
    saved = mlcnn.load(path)
    assert not saved.functions
    images = training.Normal().apply(data.test.images)
    right = _run(saved, images).argmax(1) == data.test.labels
    assert right.mean() == pytest.approx(done.point.test.top1)
    before = _run(done.original, images).argmax(1) == data.test.labels
    assert done.point.test_change == training.intervals.paired(before, right)
    assert done.point.change.top1 >= -0.03  # of the images that check it
    assert read(saved).is_conditional


def test_what_an_image_costs_is_what_it_runs(done, data):
    """By hand: an image that goes on does everything, one that leaves what stands before."""
    splits = [node for node in done.model.graph if node.op_type == "If"]
    assert len(splits) == 1
    threshold = float(splits[0].metadata_props[EXIT_KEY].partition("=")[2])
    layers = read(done.model).layers
    most = sum(layer.nest.macs for layer in layers)
    least = sum(layer.nest.macs for layer in layers if not layer.condition)
    probe = mlcnn.graph.clone(done.model)
    (sure,) = (node for node in probe.graph if node.op_type == "ReduceMax")
    probe.graph.outputs[:] = [sure.outputs[0]]
    sure = _run(probe, training.Normal().apply(data.test.images))
    goes_on = sure < np.float32(threshold)
    cost = done.point.costs["multiplications"]
    assert cost.mean == pytest.approx(np.where(goes_on, most, least).mean(), rel=1e-3)
    assert cost.worst == most
    assert 0 < goes_on.mean() < 1
    original = done.frontier.original.costs["multiplications"]
    assert original.is_fixed
    assert cost.mean < original.mean < cost.worst <= 1.03 * original.mean


def test_no_image_serves_twice(trained, data):
    told: list[str] = []
    options = mlcnn.SkipOptions(max_drop=5, choose_on="test")
    done = mlcnn.skip(trained, data, options, measure=False, notice=told.append)
    assert done.point.test.images == len(data.test) - len(data.test) // 2
    assert done.point.accuracy.images < len(data.test) // 2


def test_heads_and_network_train_together_and_go_on_where_they_were_stopped(
    trained, data, tmp_path
):
    recipe = training.Recipe(epochs=2, batch_size=64, crop=0, flip=False, learning_rate=0.02)

    def run(epochs, folder):
        how = mlcnn.api.TrainOptions(recipe=recipe)
        told: list[str] = []

        class StoppedError(Exception):
            pass

        def notice(line):
            told.append(line)
            if sum(text.startswith("epoch") for text in told) == epochs:
                raise StoppedError

        try:
            return mlcnn.skip(
                trained, data, max_drop=1, finetune=how, folder=folder, measure=False, notice=notice
            )
        except StoppedError:
            return None

    whole = run(9, tmp_path / "whole")
    assert run(1, tmp_path / "parts") is None
    resumed = run(9, tmp_path / "parts")
    images = training.Normal().apply(data.test.images)
    assert np.array_equal(_run(whole.model, images), _run(resumed.model, images))
    right = _run(whole.model, images).argmax(1) == data.test.labels
    assert right.mean() == pytest.approx(whole.point.test.top1)
    before = training.right_images(trained, data.test, training.Normal())
    assert whole.point.test_change == training.intervals.paired(before, right)
    # The weights are others than those of the original.
    weights = [
        mlcnn.graph.constant(graph.initializers["second.weight"])
        for model in (whole.original, whole.model)
        for graph in model.graphs()
        if "second.weight" in graph.initializers
    ]
    assert not np.array_equal(*weights)


def test_only_heads_train(trained, data):
    how = mlcnn.api.TrainOptions(recipe=training.Recipe(epochs=1))
    options = mlcnn.SkipOptions(max_drop=1, method="focus")
    with pytest.raises(InputError, match="--finetune: heads train, and --method focus has none"):
        mlcnn.skip(trained, data, options, finetune=how, measure=False)


def test_two_exits_cost_no_more_than_the_best_one_on_the_images_that_choose(trained, data):
    done = mlcnn.skip(trained, data, mlcnn.SkipOptions(max_drop=3, exits=2), measure=False)
    assert {len(point.setting) for point in done.frontier.points} >= {1}


def test_latency_and_energy_are_distributions_and_the_record_is_written(trained, data, tmp_path):
    done = mlcnn.skip(
        trained, data, max_drop=3, evaluating=mlcnn.EvaluateOptions(("mlcnn-int8",), batch=1),
        folder=tmp_path,
    )  # fmt: skip
    assert {"multiplications", "energy_pj", "latency_ms onnxruntime"} <= done.point.costs.keys()
    assert done.point.costs["energy_pj"].worst > done.point.costs["energy_pj"].mean
    record = json.loads((tmp_path / "result.json").read_text(encoding="utf-8"))
    assert record["cost"]["multiplications"]["after"].keys() == {"mean", "sd", "p95", "worst"}
    assert "multiplications" in (tmp_path / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_drop": -1}, "--max-drop -1"),
        ({"objective": "bytes"}, "--objective bytes"),
        ({"exits": 3}, "--exits 3"),
        ({"choose_on": "training"}, "--choose-on training"),
        ({"method": "both"}, "--method both"),
        ({"method": "focus", "objective": "energy"}, "no accelerator here leaves out positions"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        mlcnn.SkipOptions(**options)


def test_a_dynamic_network_is_not_made_dynamic_again(done, data):
    with pytest.raises(InputError, match="depends on the image already"):
        mlcnn.skip(done.model, data, measure=False)


def test_too_few_images_are_refused_with_how_many_it_takes(trained, path):
    images, labels = stripes(600)
    small = path.with_name("few.npz")
    np.savez(small, images=images, labels=labels)
    with pytest.raises(InputError, match=r"at least 50 are required for each, about 1,1\d\d"):
        mlcnn.skip(trained, small, max_drop=1, measure=False)


def test_a_budget_that_no_exit_meets_is_told(data):
    torch.manual_seed(0)
    net = Net()
    with torch.no_grad():
        net.second.weight.zero_()  # nothing is known behind it, and little before
        net.first.weight.zero_()
    with pytest.raises(InputError, match="no exit saves anything"):
        mlcnn.skip(net.eval(), data, max_drop=0, measure=False)


@pytest.fixture(scope="module")
def focused(trained, data):
    options = mlcnn.SkipOptions(max_drop=10, method="focus")
    return mlcnn.skip(trained, data, options, measure=False)


def test_focus_is_chosen_within_the_budget_and_stands_beside_what_sees_no_image(focused):
    methods = [point.method for point in focused.frontier.points]
    assert methods[-2:] == ["focus centre", "focus random"]
    assert focused.point.method in {"focus contrast", "focus brightness"}
    assert focused.point.change.top1 >= -0.1
    costs = {p.method: p.costs["multiplications"] for p in focused.frontier.points}
    original = focused.frontier.original.costs["multiplications"]
    best = focused.point.costs["multiplications"]
    assert best.mean < original.mean <= best.worst <= 1.1 * original.mean
    for yardstick in ("focus centre", "focus random"):  # a position is a step of their cost
        assert costs[yardstick].mean == pytest.approx(best.mean, rel=0.05)
    told = [note for note in focused.notes if "at the same cost" in note]
    assert ["focus centre" in told[0], "focus random" in told[1]] == [True, True]
    for note, method in zip(told, methods[-2:], strict=True):
        point = next(p for p in focused.frontier.points if p.method == method)
        ahead = focused.point.test_change.top1 - point.test_change.top1
        words = "ahead of" if ahead > 0 else "behind" if ahead < 0 else "level with"
        assert f"{abs(100 * ahead):.2f} points {words} {method}" in note


def test_the_saved_focused_network_is_as_right_as_told(focused, data, tmp_path):
    focused.save(tmp_path / "focused.onnx")
    saved = mlcnn.load(tmp_path / "focused.onnx")
    assert not saved.functions
    right = _run(saved, training.Normal().apply(data.test.images)).argmax(1) == data.test.labels
    assert right.mean() == pytest.approx(focused.point.test.top1)
    with pytest.raises(InputError, match="depends on the image already"):
        mlcnn.skip(saved, data, measure=False)
