"""Channels that candidates need, exits and their yardsticks, from Python."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from api.stripes import CLASSES, stripes, taught

import mlcnn
from mlcnn import training
from mlcnn.api.skipping.energies import Energy, choosing_pj, tables_pj
from mlcnn.errors import InputError
from mlcnn.frontier.activity import ChannelCosts, recorded
from mlcnn.workload import read


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    images, labels = stripes(4000)
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, images=images, labels=labels)
    return training.open_data(path)


@pytest.fixture(scope="module")
def trained(data):
    return taught(data)


def _skip(trained, data, on=None, **options):
    machines = None if on is None else mlcnn.EvaluateOptions((on,), batch=1)
    chosen = mlcnn.SkipOptions(**options)
    return mlcnn.skip(trained, data, chosen, evaluating=machines, measure=False)


@pytest.fixture(scope="module")
def selected(trained, data):
    return _skip(trained, data, method="select", max_drop=3)


def _run(model, images):
    (name,) = (value.name for value in model.graph.inputs)
    session = mlcnn.engines.get("onnxruntime").prepare(model)
    found = [session.run({name: images[i : i + 1]}) for i in range(len(images))]
    return np.concatenate([next(iter(each.values())) for each in found])


def test_the_saved_network_is_as_right_and_as_cheap_as_told(selected, data, tmp_path):
    selected.save(tmp_path / "dynamic.onnx")
    saved = mlcnn.load(tmp_path / "dynamic.onnx")
    assert not saved.functions
    assert read(saved).is_dynamic
    images = training.Normal().apply(data.test.images)
    right = _run(saved, images).argmax(1) == data.test.labels
    assert right.mean() == pytest.approx(selected.point.test.top1)
    cost = selected.point.costs["multiplications"]
    again = recorded(saved, images).cost(saved, lambda layer: float(layer.nest.macs))
    assert cost.mean == pytest.approx(again.mean)
    assert cost.mean < selected.frontier.original.costs["multiplications"].mean
    assert cost.worst <= 1.05 * selected.frontier.original.costs["multiplications"].mean
    assert selected.point.change.top1 >= -0.05


def test_yardsticks_stand_beside_at_the_same_cost(selected):
    """Static channels are the dearest below the cost; each is told of, and none is chosen."""
    by_name = {point.method: point for point in selected.frontier.points}
    names = {"static channels", "focus centre", "focus random", "compressed"}
    assert names <= {*by_name}
    assert selected.point.method in {"select", "select+exit"}
    found, whole = by_name["select"], selected.frontier.original.costs["multiplications"].mean
    for name in ("static channels", "focus centre", "focus random"):
        costs = [p.costs["multiplications"].mean / whole for p in (found, by_name[name])]
        assert abs(costs[0] - costs[1]) < 0.1, name
    for name in names:
        assert any(note.startswith("select (") and f" {name} (" in note for note in selected.notes)
    stands = ("beats", "loses to", "is hardly apart from", "is cheaper and wrong", "is dearer and")
    assert all(any(word in note for word in stands) for note in selected.notes if " focus " in note)


def test_an_exit_is_compared_too_and_energy_has_no_positions(trained, data):
    done = _skip(trained, data, on="mlcnn-fp32", max_drop=3, objective="energy")
    methods = {point.method for point in done.frontier.points}
    assert {"exit", "class exclusion", "static channels", "compressed"} <= methods
    assert not any("focus" in each for each in methods)
    assert done.point.method == "exit"


def test_selection_charges_tables_and_comparisons(trained, data):
    """What an image costs is layers of so many channels, and what every image pays for choosing."""
    done = _skip(trained, data, on="mlcnn-fp32", max_drop=3, objective="energy", method="select")
    found = next(p for p in done.frontier.points if p.method == "select")
    machines = mlcnn.EvaluateOptions(("mlcnn-fp32",), batch=1).load()
    technology, machine = machines.technology, machines.on[0]
    before = done.frontier.original.costs["energy_pj"].mean
    choosing = choosing_pj(machine, technology, CLASSES, 16 * 6 * 6)
    tables = tables_pj(technology, CLASSES, 16 + 32)
    assert tables == CLASSES * 48 * (
        technology.dram.pj_per_bit + 2 * technology.register.energy_pj_per_bit
    )
    head = found.costs["energy_pj"].worst - before - choosing - tables
    assert 0 < head < 0.05 * before


def test_fewer_channels_cost_less_and_all_of_them_what_the_layer_does(trained):
    model = mlcnn.load(trained, torch.zeros(2, 1, 12, 12))
    machines = mlcnn.EvaluateOptions(("mlcnn-fp32",), batch=1).load()
    cost = Energy.of(model, machines.on[0], machines)
    whole = next(layer for layer in read(model, batch=1).layers if layer.name == "third")
    layer = replace(whole, channels=("outs", "ins"))
    found = ChannelCosts.of(layer, cost)
    every, half = np.ones(1), np.full(1, 0.5)
    assert found.each(every, every)[0] == pytest.approx(cost(whole))
    assert found.each(every, half)[0] == pytest.approx(cost(layer.of_channels(32, 8)))
    assert found.each(half, half)[0] < found.each(half, every)[0] < found.each(every, every)[0]
    assert found.each(np.zeros(1), every)[0] == 0


def test_a_network_that_the_user_names_stands_in_for_the_compressed_one(trained, data, tmp_path):
    path = tmp_path / "small.onnx"
    mlcnn.graph.save(mlcnn.load(trained, torch.zeros(2, 1, 12, 12)), path)
    done = _skip(trained, data, max_drop=3, beside=str(path))
    (point,) = (p for p in done.frontier.points if p.method == "compressed")
    assert point.setting == {"network": str(path)}
    assert point.test_change.top1 == 0


def test_auto_says_what_each_method_saves_and_what_is_not_built(trained, data):
    done = _skip(trained, data, max_drop=3, method="auto")
    told = "\n".join(done.notes)
    assert "exit alone saves" in told
    assert "is not built:" in told
    costs = [p.costs["multiplications"].mean for p in done.frontier.points]
    assert done.point.costs["multiplications"].mean <= min(costs) * 1.05


def test_what_is_dynamic_already_is_refused(selected, data):
    with pytest.raises(InputError, match="depends on the image already"):
        mlcnn.skip(selected.model, data, max_drop=1, measure=False)


def test_a_selection_does_not_train(trained, data):
    how = mlcnn.api.TrainOptions(recipe=training.Recipe(epochs=1))
    options = mlcnn.SkipOptions(method="select")
    with pytest.raises(InputError, match="--method select trains nothing"):
        mlcnn.skip(trained, data, options, finetune=how, measure=False)
