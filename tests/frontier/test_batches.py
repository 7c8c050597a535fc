"""What images cost is what they run: by the engine's own record of it, and by hand on machines."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import nn

from mlcnn import graph, zoo
from mlcnn.accelerators import (
    Conditional,
    LayerTask,
    Precision,
    Taken,
    evaluate_layer,
    load_accelerator,
    load_technology,
)
from mlcnn.counting import executed_multiplications
from mlcnn.engines import get
from mlcnn.errors import InputError
from mlcnn.frontier.activity import Activity, recorded
from mlcnn.frontier.batches import DECIDING, in_batches
from mlcnn.passes.early_exit import EXIT_KEY, EarlyExit
from mlcnn.passes.exit_heads import Head, exit_points, with_heads
from mlcnn.passes.extremes import extremes
from mlcnn.passes.focus import Focus
from mlcnn.passes.focus_forms import with_forms
from mlcnn.workload import Operations, read

CLASSES = 5
SIZE = (13, 12)


class Net(nn.Module):
    """A stem, a residual block, one of stride 2, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.wide = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.last = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.line = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.inner(x))
        x = torch.relu(self.last(torch.relu(self.wide(x))))
        return self.line(x.mean((2, 3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    return graph.from_module(Net().eval(), (torch.zeros(2, 3, *SIZE),))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(40, 3, *SIZE)).astype(np.float32)


def _head(at, channels, seed):
    rng = np.random.default_rng(seed)
    weight = rng.normal(0, 0.6, size=(CLASSES, 4 * channels))
    return Head(at, weight, rng.normal(0, 0.1, size=CLASSES))


@pytest.fixture(scope="module")
def exits(model):
    """Two exits, each of which some images take."""
    points = dict(exit_points(model))
    headed = with_heads(model, [_head(points["inner"], 6, 0), _head(points["wide"], 8, 1)])
    return EarlyExit("exit1=0.385+exit2=0.235").apply(headed).model


@pytest.fixture(scope="module")
def focused(model):
    at = dict(exit_points(model))["stem"]
    return with_forms(Focus(at, "contrast", 1.4, grow="patch").apply(model).model, "gather")


def _products(event):
    """Multiply-accumulates of what ran, by the shapes that it ran on."""
    (given,) = event["args"]["output_type_shape"]
    (shape,) = given.values()
    first, second = (next(iter(each.values())) for each in event["args"]["input_type_shape"][:2])
    outputs = math.prod(shape)
    return outputs * (math.prod(second[1:]) if event["args"]["op_name"] == "Conv" else first[-1])


def _instrumented(model, images, folder):
    """The same by the record that ONNX Runtime keeps of every node that it runs."""
    path = folder / "net.onnx"
    graph.save(model, path)
    options = onnxruntime.SessionOptions()
    options.enable_profiling = True
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.profile_file_prefix = str(folder / "profile")
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    for image in images:
        session.run(None, {name: image[None]})
    events = json.loads(Path(session.end_profiling()).read_text(encoding="utf-8"))
    layers = [
        event
        for event in events
        if event.get("args", {}).get("op_name") in {"Conv", "Gemm", "MatMul"}
        and event["name"].endswith("_kernel_time")
    ]
    return sum(map(_products, layers))


@pytest.mark.parametrize("kind", ["exits", "focused"])
def test_the_sum_over_images_is_what_the_engine_ran(kind, images, tmp_path, request):
    dynamic = request.getfixturevalue(kind)
    each = recorded(dynamic, images).each(read(dynamic).every, executed_multiplications)
    assert each.sum() == _instrumented(dynamic, images, tmp_path)
    assert len(np.unique(each)) > 2


@pytest.mark.parametrize("batch", [1, 3, 40])
def test_each_layer_runs_for_those_of_a_batch_that_need_it(exits, images, batch):
    """By hand: weights are fetched once for as many images as go on, and not for none."""
    machine, tables = load_accelerator("mlcnn-fp32"), load_technology()
    activity, costs = recorded(exits, images), Conditional(exits, machine, tables)
    spent = in_batches(activity, costs, batch, seed=7)
    order = np.random.default_rng(7).permutation(40)
    operations, register = tables.operations[Precision.FP32], tables.register.energy_pj_per_bit
    bits = {1: 0, 3: 2, 40: 6}[batch]
    expected, cycles = [], []
    for start in range(0, 40 // batch * batch, batch):
        together = order[start : start + batch]
        energy = time = 0.0
        for layer in read(exits).every:
            ran = activity.ran[layer.condition][together].sum() if layer.condition else batch
            if ran:
                nest = replace(layer.nest, N=int(ran))
                task = LayerTask(replace(layer, nest=nest, parts=(nest,)))
                cost = evaluate_layer(task, machine, tables)
                energy, time = energy + cost.energy.total, time + cost.cycles
        for gate in read(exits).gates:
            asked = activity.ran[gate.condition][together].sum() if gate.condition else batch
            assert gate.operations == Operations(25, 25 + 4 + 1)  # softmax, the largest, compared
            energy += asked * 25 * operations.multiply.energy_pj
            energy += asked * (30 + gate.pooling) * operations.add.energy_pj
            on = activity.ran[gate.branches[0]][together].sum()
            readers = sum(layer.condition == gate.branches[0] for layer in read(exits).every)
            energy += on * bits * (1 + readers) * register
            time += asked * 55
        expected.append(energy / batch)
        cycles.append(time / batch)
    assert spent.energy_pj == pytest.approx(np.array(expected), rel=1e-12)
    assert spent.cycles == pytest.approx(np.array(cycles), rel=1e-12)
    assert sum(spent.parts.values()) == pytest.approx(spent.energy_pj.mean(), rel=1e-12)
    assert spent.parts[DECIDING] > 0
    extreme = costs.extremes(batch)
    assert spent.energy_pj.max() <= extreme.worst.energy_pj / batch * (1 + 1e-12)
    assert spent.energy_pj.min() >= extreme.least.energy_pj / batch * (1 - 1e-12)


def test_a_pool_in_front_of_a_head_is_what_it_sums(exits):
    """Regions of 6x6 of 13x12 positions, and 3x3 of 7x6."""
    assert [gate.pooling for gate in read(exits).gates] == [6 * 12 * 12, 8 * 6 * 6]


def test_no_image_more_than_a_machine_runs_at_once(exits, images):
    costs = Conditional(exits, load_accelerator("mlcnn-fp32"), load_technology())
    with pytest.raises(InputError, match="a batch of 41 images and 40 images"):
        in_batches(recorded(exits, images), costs, 41)


def test_a_mask_saves_nothing_on_a_machine_that_computes_layers_whole(focused, images):
    costs = Conditional(focused, load_accelerator("mlcnn-fp32"), load_technology())
    spent = in_batches(recorded(focused, images), costs, 1)
    assert spent.energy_pj.min() == spent.energy_pj.max()
    extreme = costs.extremes(1)
    assert extreme.worst == extreme.least
    assert "computes a layer whole" in extreme.told[0]


def test_the_worst_case_is_at_most_three_percent_above_the_dense_network():
    dense = zoo.load("resnet20")
    points, rng = dict(exit_points(dense)), np.random.default_rng(0)
    places = [points[name] for name in ("layer2.0.conv2", "layer3.0.conv2") if name in points]
    assert len(places) == 2
    heads = [
        Head(at, rng.normal(size=(10, 4 * channels)), rng.normal(size=10))
        for at, channels in zip(places, (32, 64), strict=True)
    ]
    dynamic = EarlyExit("exit1=0.9+exit2=0.9").apply(with_heads(dense, heads)).model
    most, whole = (sum(map(executed_multiplications, read(m).layers)) for m in (dynamic, dense))
    assert whole < most <= 1.03 * whole
    machine, tables = load_accelerator("mlcnn-fp32"), load_technology()
    worst = Conditional(dynamic, machine, tables).extremes(1).worst
    before = Conditional(dense, machine, tables).extremes(1).worst
    assert before.energy_pj < worst.energy_pj <= 1.03 * before.energy_pj
    assert before.cycles < worst.cycles <= 1.03 * before.cycles


def _scores(model, images):
    (name,) = (value.name for value in model.graph.inputs)
    return next(iter(get("onnxruntime").prepare(model).run({name: images}).values()))


def test_worst_and_best_case_are_those_of_the_thresholds(model, exits, images):
    """Where all go on the scores are those of the whole network, where none does the head's."""
    cases = extremes(exits)
    assert list(cases) == ["worst case", "best case"]
    assert _scores(cases["worst case"], images) == pytest.approx(_scores(model, images), abs=1e-5)
    ran = recorded(cases["worst case"], images).ran
    assert all(flags.all() for name, flags in ran.items() if name.endswith("then_branch"))
    ran = recorded(cases["best case"], images).ran
    assert not any(flags.any() for name, flags in ran.items() if name.endswith("then_branch"))
    splits = [n for n in exits.graph.all_nodes() if EXIT_KEY in n.metadata_props]
    assert len(splits) == 2  # and the network itself is as it was


def test_the_worst_case_of_a_mask_is_the_dense_network(model, focused, images):
    cases = extremes(focused)
    assert list(cases) == ["worst case"]
    assert _scores(cases["worst case"], images) == pytest.approx(_scores(model, images), abs=1e-5)
    assert not extremes(model)


def test_what_runs_for_nobody_costs_nothing():
    assert Taken() + Taken(1.0, 2.0) == Taken(1.0, 2.0)
    assert Activity({}, 3).each([], executed_multiplications).tolist() == [0.0] * 3
