"""Dynamic networks made of networks that other methods rewrote: each is what both define."""

from itertools import product

import numpy as np
import pytest
import torch
from torch import nn

from mlcnn.engines import get
from mlcnn.frontier.activity import recorded
from mlcnn.graph import clone, from_module, load_file, save
from mlcnn.ops import find_form
from mlcnn.passes import pipeline
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import Head, exit_points, with_heads
from mlcnn.passes.focus import Focus
from mlcnn.passes.focus_forms import with_forms
from mlcnn.passes.spelling import spelled_out
from mlcnn.training.quantisation.widths import narrowing
from mlcnn.workload import read

CLASSES = 5
_MADE = [*product(["box", "expanded"], [False, True])]
"""Form, and whether a file is read in between."""


class Net(nn.Module):
    """Three convolutions, the last two with an average pool behind them."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 8, 3, padding=1)
        self.second = nn.Conv2d(8, 8, 3, padding=1)
        self.third = nn.Conv2d(8, 12, 3, padding=1)
        self.pool, self.line = nn.AvgPool2d(2), nn.Linear(12, CLASSES)

    def forward(self, x):
        x = torch.relu(self.pool(self.second(torch.relu(self.first(x)))))
        x = torch.relu(self.pool(self.third(x)))
        return self.line(x.mean((2, 3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return from_module(Net().eval(), (torch.zeros(2, 3, 16, 16),))


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).normal(size=(40, 3, 16, 16)).astype(np.float32)


def _run(model, images, *names):
    probe = clone(model)
    if names:
        values = {v.name: v for node in probe.graph for v in node.outputs}
        probe.graph.outputs[:] = [values[name] for name in names]
    return [*get("onnxruntime").prepare(probe).run({probe.graph.inputs[0].name: images}).values()]


def _rewritten(model, text, tmp_path, *, saved):
    """By passes; as operators, or as a file has it."""
    found = pipeline.run(model, pipeline.parse(text)).model
    if not saved:
        return found
    save(found, tmp_path / "net.onnx")
    return load_file(tmp_path / "net.onnx")


def _fused(model, form, tmp_path, *, saved):
    found = _rewritten(model, f"distribute-pool,fuse{{form={form}}}", tmp_path, saved=saved)
    assert [layer.form for layer in read(found).layers][1:3] == [form, form]
    return found


def _with_exit(model, layer, images, seed=1):
    """A head behind a layer, and the threshold that half of the images reach."""
    at = dict(exit_points(model))[layer]
    rng = np.random.default_rng(seed)
    channels = {"first": 8, "second": 8, "third": 12}[layer]
    head = Head(at, rng.normal(0, 0.5, (CLASSES, 4 * channels)), rng.normal(0, 0.1, CLASSES))
    headed = with_heads(model, [head])
    end, scores = _run(headed, images)
    shares = np.exp(scores - scores.max(1, keepdims=True))
    sure = shares.max(1) / shares.sum(1)
    threshold = np.float32(np.sort(sure)[19:21].mean())
    expected = np.where((sure >= threshold)[:, None], scores, end)
    return headed, EarlyExit(f"exit1={threshold!s}").apply(headed).model, expected


@pytest.mark.parametrize("layer", ["first", "second"])
@pytest.mark.parametrize("made", _MADE)
def test_exits_stand_behind_and_before_fused_pools(model, images, tmp_path, made, layer):
    """The pool in front of the head, or that of a layer in the branch, is fused all the same."""
    form, saved = made
    fused = _fused(model, form, tmp_path, saved=saved)
    headed, dynamic, expected = _with_exit(fused, layer, images)
    for count in (1, 40):
        found = _run(dynamic, images[:count])[0]
        assert found == pytest.approx(expected[:count], abs=1e-5)
    # Against the network before anything was fused, head and end alike.
    dense, *_ = _with_exit(model, layer, images)
    for mine, theirs in zip(_run(headed, images), _run(dense, images), strict=True):
        assert mine == pytest.approx(theirs, abs=1e-5)
    forms = {la.name: (la.form, la.condition != "") for la in read(dynamic).layers}
    assert forms["second"] == (form, layer == "first")
    assert forms["third"] == (form, True)


@pytest.mark.parametrize("form", ["box", "expanded"])
def test_no_exit_stands_inside_of_a_layer_that_several_nodes_compute(model, tmp_path, form):
    """Of a fused layer spelled out, means of boxes are no value of the network's."""
    saved = _fused(model, form, tmp_path, saved=True)
    points = dict(exit_points(saved))
    assert list(points) == ["first", "second", "third"]
    produced = {v.name: node.op_type for node in saved.graph for v in node.outputs}
    assert {produced[value] for value in points.values()} == {"Relu"}


def _mask(focused, layer, images):
    """Of a layer's outputs."""
    row = next(la for la in read(focused).layers if la.name == layer and la.positions)
    (mask,) = _run(focused, images, row.positions)
    return mask


@pytest.mark.parametrize("rule", ["same", "patch", "grow"])
@pytest.mark.parametrize("made", _MADE)
def test_focus_masks_a_fused_layer_at_the_pooled_grid(model, images, tmp_path, made, rule):
    form, saved = made
    spelled = spelled_out(_fused(model, form, tmp_path, saved=saved))
    at = dict(exit_points(spelled))["first"]
    threshold = 1.7 if rule == "grow" else 1.2
    done = Focus(at, "contrast", threshold, grow=rule).apply(spelled)
    assert [change.nodes for change in done.changes] == [("second",), ("third",)]
    mask = _mask(done.model, "second", images)
    assert mask.shape == (40, 1, 8, 8)
    assert 0 < mask.mean() < 1
    output = done.changes[0].outputs[0]
    (dense,) = _run(spelled, images, output)
    for other in (done.model, with_forms(done.model, "gather"), with_forms(done.model, "rect")):
        (found,) = _run(other, images, output)
        assert found == pytest.approx(dense * mask, abs=1e-5)
    # What it multiplies is what the fused layer does, position by position.
    form_of = find_form(form)
    before = next(la for la in read(spelled).layers if la.name == "second")
    after = next(la for la in read(done.model).layers if la.name == "second")
    assert form_of is not None
    if form == "box":
        assert after.nest.macs == form_of.operations(before).multiplications
    kept = recorded(with_forms(done.model, "gather"), images).kept
    assert kept["gather", after.positions] == pytest.approx(mask.mean((1, 2, 3)))


@pytest.mark.parametrize("made", [*product(["", "two-stage", "split", "rebuilt"], [False, True])])
@pytest.mark.parametrize("rule", ["same", "patch"])
def test_focus_masks_layers_of_shared_kernels(model, images, tmp_path, made, rule):
    """Each part of a layer is masked where the layer is, and the layer gives what it has there."""
    form, saved = made
    choose = f",choose{{form={form}}}" if form else ""
    shared = _rewritten(model, f"share-kernels{{basis=2}}{choose}", tmp_path, saved=saved)
    spelled = spelled_out(shared)
    assert _run(spelled, images)[0] == pytest.approx(_run(shared, images)[0], abs=1e-5)
    at = dict(exit_points(spelled))["first"]
    done = Focus(at, "contrast", 1.2, grow=rule).apply(spelled)
    last = [change for change in done.changes if change.nodes == ("second",)][-1]
    mask = _mask(done.model, "second", images)
    assert 0 < mask.mean() < 1
    (dense,) = _run(spelled, images, last.outputs[0])
    for other in (done.model, with_forms(done.model, "gather")):
        (found,) = _run(other, images, last.outputs[0])
        assert found == pytest.approx(dense * mask, abs=1e-5)


@pytest.mark.parametrize("bits", [8, 5])
def test_exits_of_a_network_of_codes_give_what_it_gives(model, images, bits):
    """INT8, and fewer bits for every layer: codes are rounded alike in a branch."""
    made = narrowing(model, images, progress=lambda *_: None)
    whole = made.whole
    widths = type(whole)(dict.fromkeys(whole.weights, bits), dict.fromkeys(whole.inputs, bits))
    codes = made.with_widths(widths)
    point = next(layer for layer, _ in exit_points(codes) if layer in {"first", "second"})
    _, dynamic, expected = _with_exit(codes, point, images)
    found = np.concatenate([_run(dynamic, images[i : i + 1])[0] for i in range(40)])
    assert found == pytest.approx(expected, abs=1e-5)
    assert _run(dynamic, images)[0] == pytest.approx(expected, abs=1e-5)
    assert {la.numbers.weight for la in read(dynamic).layers if la.operator == "Conv"} == {bits}
