"""Few bits for every layer, from Python: what is saved reads back, and costs what it says."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn import training
from mlcnn.accelerators import evaluate_layer, load_accelerator, load_technology, network_tasks
from mlcnn.errors import InputError
from mlcnn.workload import read

MACHINES = ("dcnn-int8-scaled", "dcnn-int8-packed", "dcnn-int16")


class Net(nn.Module):
    """Three convolutions, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 12, 3, padding=1, stride=2)
        self.third = nn.Conv2d(12, 16, 3, padding=1)
        self.line = nn.Linear(16, 3)

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return self.line(torch.relu(self.third(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Stripes of period 2, 3 or 4, some of them hardly to be seen."""
    rng = np.random.default_rng(4)
    labels, columns = rng.integers(0, 3, 6000), np.arange(12)
    images = rng.integers(0, 140, (6000, 1, 12, 12))
    for index, label in enumerate(labels):
        images[index] += (columns % (label + 2) == 0) * rng.integers(10, 100)
    path = tmp_path_factory.mktemp("data") / "bars.npz"
    np.savez(path, images=images.astype(np.uint8), labels=labels)
    return training.open_data(path)


@pytest.fixture(scope="module")
def network(data):
    torch.manual_seed(0)
    module = Net()
    recipe = training.Recipe(epochs=6, batch_size=64, crop=0, flip=False, learning_rate=0.05)
    training.train(module, data.training, recipe, normal=training.Normal())
    return mlcnn.load(module.eval(), torch.zeros(2, 1, 12, 12))


def _skip(network, data, method, on=MACHINES, **options):
    chosen = mlcnn.SkipOptions(method=method, **{"max_drop": 8.0, "choose_on": "test", **options})
    evaluating = mlcnn.EvaluateOptions(on, batch=1)
    return mlcnn.skip(network, data, chosen, evaluating=evaluating, measure=False)


@pytest.fixture(scope="module")
def bits(network, data):
    return _skip(network, data, "bits")


def test_it_reads_back_with_its_bits_and_costs_what_they_cost(bits, tmp_path):
    bits.save(tmp_path / "few.onnx")
    model = mlcnn.load(tmp_path / "few.onnx")
    numbers = [layer.numbers for layer in read(model, batch=1).layers]
    assert max(n.weight for n in numbers) <= 8
    assert min(n.weight for n in numbers) < 8
    told = next(note for note in bits.notes if note.startswith("bits of weight x input"))
    for layer in read(model, batch=1).layers:
        assert f"{layer.name} {layer.numbers.weight}x{layer.numbers.input}" in told
    tables = load_technology()
    for name, key in zip(MACHINES, ("energy_pj", *(f"energy_pj {m}" for m in MACHINES[1:])),
                         strict=True):  # fmt: skip
        tasks, machine = network_tasks(model, batch=1), load_accelerator(name)
        spent = sum(evaluate_layer(task, machine, tables).energy.total for task in tasks)
        assert bits.point.costs[key].mean == pytest.approx(spent)
        assert bits.point.costs[key].is_fixed


def test_multipliers_that_scale_gain_most_and_a_machine_without_either_nothing(bits):
    before = bits.frontier.original.costs
    scaled, packed, whole = (
        bits.point.costs[key].mean / before[key].mean
        for key in ("energy_pj", "energy_pj dcnn-int8-packed", "energy_pj dcnn-int16")
    )
    assert scaled < packed < 0.999
    assert whole == pytest.approx(1)


def test_the_reader_is_told_who_gains_and_by_what_law(bits):
    text = " ".join(bits.notes)
    assert "no processor computes codes of fewer than 8 bits faster" in text
    assert "CNNergy" in text


def test_it_stays_within_the_budget_where_it_was_chosen_and_checked(bits):
    assert bits.point.change.top1 >= -0.08 - 1e-9
    uniform = [p for p in bits.frontier.points if p.setting["weights"] == 4.0]
    assert len(uniform) >= 1


def test_both_cost_what_runs(network, data, tmp_path):
    found = _skip(network, data, "bits+exit", max_drop=15.0)
    methods = {point.method for point in found.frontier.points}
    assert "bits" in methods
    least = min(p.costs["energy_pj"].mean for p in found.frontier.points if p.method == "bits")
    exits = [p for p in found.frontier.points if p.method == "bits+exit"]
    assert exits
    assert found.point.costs["energy_pj"].mean <= least
    for point in exits:
        assert {"weights", "inputs"} < {*point.setting}
        assert not point.costs["energy_pj"].is_fixed
    found.save(tmp_path / "both.onnx")
    assert json.dumps(found.to_json())


def test_a_machine_that_takes_no_bits_is_refused(network, data):
    with pytest.raises(InputError, match="fewer bits cost there what those of 8 cost"):
        _skip(network, data, "bits", ("dcnn-int8",))


def test_without_a_machine_there_is_nothing_to_save(network, data):
    with pytest.raises(InputError, match="name the accelerator"):
        mlcnn.skip(network, data, mlcnn.SkipOptions(8.0, method="bits", choose_on="test"))


def test_an_unknown_method():
    with pytest.raises(InputError, match="--method some: exit, focus, select, bits"):
        mlcnn.SkipOptions(method="some")
