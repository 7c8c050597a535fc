"""A network that leaves work out, from Python: what it says it costs is what it runs."""

import json

import numpy as np
import pytest
import torch
from api.stripes import CLASSES, Net, stripes, taught
from torch import nn

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
    return taught(data)


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
                trained,
                data,
                max_drop=20,
                finetune=how,
                folder=folder,
                measure=False,
                notice=notice,
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


def test_only_some_methods_train(trained, data):
    how = mlcnn.api.TrainOptions(recipe=training.Recipe(epochs=1))
    options = mlcnn.SkipOptions(max_drop=1, method="bits")
    with pytest.raises(InputError, match="--method bits trains nothing; exit and focus do"):
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
        ({"keep": 1.0}, "--keep 1: a share between 0 and 1"),
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
    points = focused.frontier.points
    beside = [point for point in points if "yardstick" in point.setting]
    assert beside[-1].method == "focus random"
    assert {p.method for p in beside} <= {"focus centre", "focus random"}
    assert focused.point.method in {"focus contrast", "focus brightness", "focus centre"}
    assert focused.point not in beside
    assert focused.point.change.top1 >= -0.1
    original = focused.frontier.original.costs["multiplications"]
    best = focused.point.costs["multiplications"]
    assert best.mean < original.mean
    assert best.worst <= 1.1 * original.mean
    for point in beside:  # a position is a step of their cost
        assert point.costs["multiplications"].mean == pytest.approx(best.mean, rel=0.05)
    told = [note for note in focused.notes if "at the same cost" in note]
    for note, point in zip(told, beside, strict=True):
        ahead = focused.point.test_change.top1 - point.test_change.top1
        words = "ahead of" if ahead > 0 else "behind" if ahead < 0 else "level with"
        assert f"{abs(100 * ahead):.2f} points {words} {point.method}" in note


def test_the_cost_that_is_told_is_what_the_masks_keep(focused, data):
    """By hand, from the masks of the saved network."""
    layers = read(focused.model, batch=1).layers
    images = training.Normal().apply(data.test.images)
    expected = np.zeros(len(images))
    values = {v.name: v for node in focused.model.graph for v in node.outputs}
    for layer in layers:
        share = 1.0
        if layer.positions:
            probe = mlcnn.graph.clone(focused.model)
            values = {v.name: v for node in probe.graph for v in node.outputs}
            probe.graph.outputs[:] = [values[layer.positions]]
            share = _run(probe, images).mean((1, 2, 3))
        expected += layer.nest.macs * share
    cost = focused.point.costs["multiplications"]
    assert cost.mean == pytest.approx(expected.mean(), rel=1e-6)
    assert focused.point.costs["multiplications run"].mean == pytest.approx(cost.mean)


def test_the_saved_focused_network_is_as_right_as_told(focused, data, tmp_path):
    focused.save(tmp_path / "focused.onnx")
    saved = mlcnn.load(tmp_path / "focused.onnx")
    assert not saved.functions
    right = _run(saved, training.Normal().apply(data.test.images)).argmax(1) == data.test.labels
    assert right.mean() == pytest.approx(focused.point.test.top1)
    with pytest.raises(InputError, match="depends on the image already"):
        mlcnn.skip(saved, data, measure=False)


def test_forms_are_those_that_are_faster_and_results_stay(trained, data):
    options = mlcnn.SkipOptions(max_drop=10, method="focus")
    done = mlcnn.skip(trained, data, options)
    forms = {layer.form for layer in read(done.model, batch=1).layers if layer.positions}
    assert forms <= {"mask", "gather", "rect"}
    assert "latency_ms onnxruntime" in done.point.costs
    run = done.point.costs["multiplications run"]
    assert run.mean >= done.point.costs["multiplications"].mean * (1 - 1e-9)
    if forms == {"mask"}:
        assert run.is_fixed
    images = training.Normal().apply(data.test.images)
    right = _run(done.model, images).argmax(1) == data.test.labels
    assert right.mean() == pytest.approx(done.point.test.top1)


def test_a_network_is_trained_under_its_masks_and_goes_on_where_it_was(trained, data, tmp_path):
    recipe = training.Recipe(epochs=2, batch_size=64, crop=0, flip=False, learning_rate=0.02)
    options = mlcnn.SkipOptions(max_drop=0.1, method="focus", keep=0.7)

    def run(folder, notice=None):
        return mlcnn.skip(
            trained, data, options, finetune=mlcnn.api.TrainOptions(recipe=recipe),
            folder=folder, measure=False, notice=notice,
        )  # fmt: skip

    class StoppedError(Exception):
        pass

    def stop(line):
        if line.startswith("epoch 1"):
            raise StoppedError

    whole = run(tmp_path / "whole")
    with pytest.raises(StoppedError):
        run(tmp_path / "parts", stop)
    resumed = run(tmp_path / "parts")
    images = training.Normal().apply(data.test.images)
    assert np.array_equal(_run(whole.model, images), _run(resumed.model, images))
    both = [
        [point for point in done.frontier.points if point.method.endswith("trained under masks")]
        for done in (whole, resumed)
    ]
    assert both[0]
    assert both[0] == both[1]
    # What was not trained stands beside it, and the cheapest is taken.
    assert whole.point.costs["multiplications"].mean == min(
        point.costs["multiplications"].mean
        for point in whole.frontier.points
        if "yardstick" not in point.setting
    )
    right = _run(whole.model, images).argmax(1) == data.test.labels
    before = training.right_images(trained, data.test, training.Normal())
    assert whole.point.test_change == training.intervals.paired(before, right)
    first = {n: mlcnn.graph.constant(v) for n, v in whole.original.graph.initializers.items()}
    after = {n: mlcnn.graph.constant(v) for n, v in whole.model.graph.initializers.items()}
    assert not np.array_equal(first["second.weight"], after["second.weight"])


def test_every_class_that_the_network_tells_apart_has_images(trained, tmp_path):
    images, labels = stripes(4000)
    few = labels < CLASSES - 1
    np.savez(tmp_path / "few.npz", images=images[few], labels=labels[few])
    with pytest.raises(InputError, match=f"no image of class {CLASSES - 1} among those"):
        mlcnn.skip(trained, tmp_path / "few.npz", measure=False)


def test_what_stands_beside_is_looked_for_first(trained, data):
    told = []
    options = mlcnn.SkipOptions(beside="nowhere.onnx")
    with pytest.raises(InputError, match=r"nowhere\.onnx: no such file"):
        mlcnn.skip(trained, data, options, measure=False, progress=lambda *what: told.append(what))
    assert not told


class Plain(nn.Module):
    """Two convolutions with pads, and a pool between them."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second = nn.Conv2d(1, 6, 5, padding=2), nn.Conv2d(6, 8, 3, padding=1)
        self.line = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = torch.relu(nn.functional.max_pool2d(self.first(x), 2))
        return self.line(torch.relu(self.second(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def drawn(tmp_path_factory):
    """Small squares somewhere on a background of 7."""
    rng = np.random.default_rng(0)
    images = np.full((4000, 1, 20, 20), 7, np.uint8)
    labels = rng.integers(0, CLASSES, len(images))
    for image, label in zip(images, labels, strict=True):
        row, column = rng.integers(0, 20 - 3 - label, 2)
        image[0, row : row + 2 + label, column : column + 2 + label] = 200
    path = tmp_path_factory.mktemp("drawn") / "squares.npz"
    np.savez(path, images=images, labels=labels)
    return path


def test_where_there_is_background_alone_nothing_is_computed_and_nothing_changes(drawn):
    torch.manual_seed(0)
    images = mlcnn.api.ImageOptions(mean=(0.2,), std=(0.3,))
    options = mlcnn.SkipOptions(max_drop=0, method="focus", choose_on="validation")
    done = mlcnn.skip(Plain().eval(), drawn, options, images=images, measure=False)
    assert done.point.method == "focus constant"
    opened = training.open_data(drawn)
    pixels = training.Normal((0.2,), (0.3,)).apply(opened.test.images)
    np.testing.assert_allclose(_run(done.model, pixels), _run(done.original, pixels), atol=1e-5)
    assert done.point.test_change.top1 == 0
    # By brute force: an output of the first layer is computed whose window touches a square.
    ink = np.pad(opened.test.images[:, 0] != 7, ((0, 0), (2, 2), (2, 2)))
    windows = np.lib.stride_tricks.sliding_window_view(ink, (5, 5), (1, 2)).any((3, 4))
    told = next(note for note in done.notes if "left out, by layer" in note)
    assert f"first {100 * (1 - windows.mean()):.1f} %" in told
    assert any("scores differ by at most" in note for note in done.notes)


def test_images_without_background_have_no_exact_mask(trained, data):
    options = mlcnn.SkipOptions(max_drop=0, method="focus")
    with pytest.raises(InputError, match="no mask saves anything"):
        mlcnn.skip(trained, data, options, measure=False)
