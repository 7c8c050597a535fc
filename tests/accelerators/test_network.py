"""A loaded network on two machines."""

import json

import pytest
import torch
from torch import nn

from mlcnn import zoo
from mlcnn.accelerators import (
    DEFAULT_TECHNOLOGY,
    evaluate,
    network_tasks,
)
from mlcnn.errors import InputError
from mlcnn.graph import from_module, load_file, save
from mlcnn.passes import FoldBatchNorm, pipeline
from mlcnn.workload import Uncounted

PASSES = "max-to-average{window=stride},reorder,distribute-pool,fuse{form=box}"


@pytest.fixture(scope="module")
def lenet():
    model = zoo.load("lenet5")
    return model, pipeline.run(model, pipeline.parse(PASSES)).model


def test_every_layer_is_there_and_two_are_fused(lenet):
    _, fused = lenet
    tasks = network_tasks(fused, batch=4)
    assert [t.layer.name for t in tasks] == ["conv1", "conv2", "fc1", "fc2", "fc3"]
    assert [t.layer.pool is not None for t in tasks] == [True, True, False, False, False]
    assert {t.nest.N for t in tasks} == {4}
    assert [t.sole_consumer for t in tasks][:2] == [False, True]


def test_the_document(lenet, mlcnn, dense, technology):
    _, fused = lenet
    result = evaluate(fused, mlcnn, dense, technology, batch=16)
    document = json.loads(json.dumps(result.to_json()))
    assert document["accelerator"] == "mlcnn-fp32"
    assert document["against"] == "dcnn-fp32"
    assert document["technology"] == DEFAULT_TECHNOLOGY
    rows = document["layers"]
    for row in rows:
        assert row["speedup"] == pytest.approx(row["against_cycles"] / row["cycles"])
        assert set(row["energy_pj"]) == {"dram", "buffer", "mac", "static"}
        assert row["bound"] in {"multipliers", "buffer ports", "addition-reuse unit", "DRAM"}
    fused_rows = [row for row in rows if row["fused"]]
    assert [row["name"] for row in fused_rows] == ["conv1", "conv2"]
    for key in ("speedup", "energy_ratio"):
        mean = sum(row[key] for row in fused_rows) / 2
        assert document["mean_fused"][key] == pytest.approx(mean)
    network = document["network"]
    cycles = sum(row["cycles"] for row in rows)
    assert network["cycles"] == pytest.approx(cycles)
    assert network["speedup"] == pytest.approx(sum(r["against_cycles"] for r in rows) / cycles)
    total = sum(sum(row["energy_pj"].values()) for row in rows)
    assert network["energy_pj"] == pytest.approx(total)
    assert network["images_per_s"] == pytest.approx(16 / (cycles / 1e9))


def test_without_fused_layers_there_is_no_mean(lenet, mlcnn, dense, technology):
    model, _ = lenet
    document = evaluate(model, mlcnn, dense, technology).to_json()
    assert document["mean_fused"] is None


def test_a_three_dimensional_layer_is_left_out_by_name(mlcnn, dense, technology):
    model = from_module(
        nn.Sequential(nn.Conv3d(3, 4, 3), nn.Flatten(1, 2), nn.Conv2d(16, 2, 3)),
        (torch.zeros(1, 3, 6, 8, 8),),
    )
    found = evaluate(model, mlcnn, dense, technology)
    assert [row.name for row in found.layers] == ["2"]
    assert found.uncounted == (Uncounted("0", "Conv over 3 dimensions"),)


def test_nothing_for_a_machine_to_run(mlcnn, dense, technology):
    model = from_module(nn.Conv3d(3, 4, 3), (torch.zeros(1, 3, 6, 8, 8),))
    with pytest.raises(InputError, match="no convolution over 1 or 2 dimensions"):
        evaluate(model, mlcnn, dense, technology)


def test_the_same_from_a_file(lenet, tmp_path, mlcnn, dense, technology):
    _, fused = lenet
    expected = evaluate(fused, mlcnn, dense, technology, batch=16).to_json()
    for functions in (False, True):
        save(fused, tmp_path / "net.onnx", functions=functions)
        found = evaluate(load_file(tmp_path / "net.onnx"), mlcnn, dense, technology, batch=16)
        assert found.to_json() == expected


def test_a_norm_that_is_part_of_a_convolution_scales_nothing(mlcnn, dense, technology):
    """Folded or not, read by one layer or by two: the machine sees the same inputs."""

    class Stem(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.norm = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
            self.second = nn.Conv2d(4, 4, 3, padding=1)

        def forward(self, x):
            x = torch.relu(self.norm(self.first(x)))
            return x + self.second(x)

    model = from_module(Stem().eval(), (torch.zeros(1, 3, 8, 8),))
    folded = pipeline.run(model, [FoldBatchNorm()]).model
    for network in (model, folded):
        tasks = network_tasks(network)
        assert [(task.scaled, task.sole_consumer) for task in tasks] == [(False, False)] * 2
