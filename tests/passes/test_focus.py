"""Focus: masks of each image, through a network; what its layers compute, and what it costs."""

import numpy as np
import pytest
import torch
from torch import nn

from mlcnn import load
from mlcnn.engines import get
from mlcnn.errors import InputError
from mlcnn.frontier.activity import recorded
from mlcnn.graph import clone, from_module, layer_name, save
from mlcnn.ops.focused import SOURCES, Outside
from mlcnn.passes import pipeline
from mlcnn.passes.exit_heads import exit_points
from mlcnn.passes.focus import Focus
from mlcnn.passes.focus_forms import with_forms
from mlcnn.workload import read


class Net(nn.Module):
    """A stem, a residual block, one of stride 2 with a shortcut, and a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.wide = nn.Conv2d(6, 8, 3, stride=2, padding=1)
        self.short = nn.Conv2d(6, 8, 1, stride=2)
        self.last = nn.Conv2d(8, 8, 3, padding=1, groups=4)
        self.line = nn.Linear(8, 5)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(x + self.inner(x))
        x = torch.relu(self.wide(x) + self.short(x))
        x = torch.relu(self.last(x))
        return self.line(x.mean((2, 3)))


SIZE = (13, 12)


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    return from_module(Net().eval(), (torch.zeros(2, 3, *SIZE),))


@pytest.fixture(scope="module")
def at(model):
    return dict(exit_points(model))["stem"]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(1).normal(size=(5, 3, *SIZE)).astype(np.float32)


def _run(model, images, *names, **more):
    """The outputs of a network, or other values of it."""
    probe = clone(model)
    if names:
        values = {v.name: v for node in probe.graph for v in node.outputs}
        probe.graph.outputs[:] = [values[name] for name in names]
    name = probe.graph.inputs[0].name
    return [*get("onnxruntime").prepare(probe).run({name: images, **more}).values()]


def _masks(model, images):
    """By layer."""
    layers = [layer for layer in read(model).layers if layer.positions]
    found = _run(model, images, *dict.fromkeys(layer.positions for layer in layers))
    by_name = dict(zip(dict.fromkeys(layer.positions for layer in layers), found, strict=True))
    return {layer.name: by_name[layer.positions] for layer in layers}


_RULES = [(grow, stride) for grow in ("same", "patch", "grow") for stride in ("any", "majority")]


@pytest.mark.parametrize("rules", _RULES)
@pytest.mark.parametrize("source", [*SOURCES])
def test_forms_agree_and_layers_are_zero_outside(model, at, images, rules, source):
    threshold = {"contrast": 1.4, "brightness": 1.6, "constant": 0.9}.get(source, 0.4)
    focused = Focus(at, source, threshold, grow=rules[0], stride=rules[1]).apply(model)
    assert [change.nodes[0] for change in focused.changes] == ["inner", "wide", "short", "last"]
    (expected,) = _run(focused.model, images)
    for form in ("mask", "gather", "rect", "auto"):
        (found,) = _run(with_forms(focused.model, form), images)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    masks = _masks(focused.model, images)
    outputs = {change.nodes[0]: change.outputs[0] for change in focused.changes}
    values = _run(focused.model, images, *outputs.values())
    for name, value in zip(outputs, values, strict=True):
        np.testing.assert_array_equal(value.any(1, keepdims=True), masks[name])
    assert masks["inner"].any((1, 2, 3)).all()
    # Every image has its own mask: alone it gives what it gives among others.
    for index in range(len(images)):
        (alone,) = _run(focused.model, images[index : index + 1])
        np.testing.assert_allclose(alone[0], expected[index], rtol=1e-5, atol=1e-6)


def test_grown_masks_leave_what_they_keep_at_the_end_as_in_the_dense_network(model, at, images):
    """All values inside of the last mask, which does not grow; not so where no mask does."""
    focused = Focus(at, "contrast", 1.4, grow="grow").apply(model).model
    plain = Focus(at, "contrast", 1.4).apply(model).model
    convolutions = [node for node in model.graph if node.op_type == "Conv"]
    name = convolutions[-1].outputs[0].name
    (dense,), (grown,), (same,) = (_run(m, images, name) for m in (model, focused, plain))
    kept = np.broadcast_to(_masks(plain, images)["last"], dense.shape)
    assert 0 < kept.mean() < 1
    np.testing.assert_allclose(grown[kept], dense[kept], rtol=1e-5, atol=1e-5)
    assert np.abs(same[kept] - dense[kept]).max() > 1e-3
    masks, fewer = _masks(focused, images), _masks(plain, images)
    assert all((masks[name] >= fewer[name]).all() for name in masks)
    assert masks["inner"].mean() > fewer["inner"].mean()


def test_an_image_of_which_nothing_is_kept_is_computed_whole(model, at, images):
    (dense,) = _run(model, images)
    focused = Focus(at, "contrast", 1e6).apply(model).model
    np.testing.assert_allclose(_run(focused, images)[0], dense, rtol=1e-5, atol=1e-6)
    assert recorded(focused, images).kept["focused", _mask(focused)].tolist() == [1.0] * 5


def _mask(model):
    return next(layer.positions for layer in read(model).layers if layer.name == "inner")


def test_a_mask_of_the_user_is_an_input(model, at, images):
    focused = Focus(at, "input").apply(model).model
    mask = np.random.default_rng(2).uniform(size=(5, 1, *SIZE)) < 0.3
    assert focused.graph.inputs[1].name == "mask"
    (expected,) = _run(focused, images, mask=mask)
    for form in ("gather", "rect"):
        (found,) = _run(with_forms(focused, form), images, mask=mask)
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
    (whole,) = _run(focused, images, mask=np.ones_like(mask))
    np.testing.assert_allclose(whole, _run(model, images)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("form", ["focused", "gather", "rect", "mask"])
def test_what_an_image_costs_is_what_its_masks_keep(model, at, images, form, tmp_path):
    focused = Focus(at, "contrast", 1.4, stride="majority").apply(model).model
    masks = _masks(focused, images)
    made = focused if form == "focused" else with_forms(focused, form)
    save(made, tmp_path / "focused.onnx")
    saved = load(tmp_path / "focused.onnx")
    assert not saved.functions
    workload = read(saved)
    plain = {layer.name: layer.nest.macs for layer in read(model).layers}
    macs = {layer.name: layer.nest.macs for layer in workload.layers}
    assert {name: macs[name] for name in plain} == plain
    assert workload.is_dynamic
    expected = np.full(len(images), float(sum(macs.values())))
    for name, mask in masks.items():
        share = mask.mean((1, 2, 3))
        if form == "rect":
            boxes = [np.argwhere(one[0]) for one in mask]
            share = np.array([np.prod(np.ptp(box, 0) + 1) for box in boxes]) / mask[0].size
        if form != "mask":
            expected -= plain[name] * (1 - share)
    activity = recorded(saved, images)
    cost = activity.cost(saved, lambda layer: float(layer.nest.macs))
    np.testing.assert_allclose(
        activity.each(workload.every, lambda layer: float(layer.nest.macs)), expected
    )
    assert cost.mean == pytest.approx(expected.mean())
    assert cost.worst == sum(macs.values()) <= 1.03 * sum(plain.values())


def test_a_batch_norm_is_folded_first(images):
    class Normed(nn.Module):
        def __init__(self):
            super().__init__()
            self.stem, self.conv = nn.Conv2d(3, 4, 3, padding=1), nn.Conv2d(4, 4, 3, padding=1)
            self.norm = nn.BatchNorm2d(4)

        def forward(self, x):
            return self.norm(self.conv(torch.relu(self.stem(x)))).mean((2, 3))

    net = Normed().eval()
    nn.init.normal_(net.norm.bias)
    model = from_module(net, (torch.zeros(2, 3, *SIZE),))
    at = dict(exit_points(model))["stem"]
    with pytest.raises(InputError, match="no convolution can be focused"):
        Focus(at).apply(model)
    folded = pipeline.run(model, pipeline.parse("fold-batch-norm")).model
    focused = Focus(at, threshold=1.4).apply(folded)
    (value,) = _run(focused.model, images, focused.changes[0].outputs[0])
    mask = _masks(focused.model, images)["conv"]
    np.testing.assert_array_equal(value.any(1, keepdims=True), mask)


def test_layers_can_be_left_alone(model, at, images):
    focused = Focus(at, threshold=1.4, exclude=("wide",)).apply(model)
    assert {change.nodes[0] for change in focused.changes} == {"inner", "short", "last"}
    assert {"wide": "excluded"}.items() <= {s.node: s.reason for s in focused.skipped}.items()
    found = _run(with_forms(focused.model, "auto", {"last": "rect", "inner": "gather"}), images)
    np.testing.assert_allclose(found[0], _run(focused.model, images)[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (
            {"source": "colour"},
            "source 'colour': contrast, brightness, constant, centre, random, input",
        ),
        ({"grow": "more"}, "grow 'more': same, patch, grow"),
        ({"stride": "none"}, "stride 'none': any, majority"),
        ({"threshold": float("nan")}, "threshold nan: a number is required"),
        ({"later": (1.0, float("inf"))}, "threshold inf: a number is required"),
        ({"source": "input", "later": (1.0,)}, "that the user gives has no thresholds"),
    ],
)
def test_wrong_options_are_refused(options, message):
    with pytest.raises(InputError, match=message):
        Focus("x", **options)


def test_a_place_without_height_and_width_is_refused(model):
    with pytest.raises(InputError, match="no such value"):
        Focus("nowhere").apply(model)
    with pytest.raises(InputError, match="height, width"):
        Focus(model.graph.outputs[0].name).apply(model)
    with pytest.raises(InputError, match="form 'box'"):
        with_forms(Focus(dict(exit_points(model))["stem"]).apply(model).model, "box")


@pytest.mark.parametrize("rules", _RULES)
def test_layers_of_each_size_have_a_threshold_of_their_own(model, at, images, rules):
    """Those of the first size as with its threshold everywhere, the others as with theirs."""
    options = {"grow": rules[0], "stride": rules[1]}
    several = _masks(Focus(at, "contrast", 1.2, (1.6,), **options).apply(model).model, images)
    each = {t: _masks(Focus(at, "contrast", t, **options).apply(model).model, images)
            for t in (1.2, 1.6)}  # fmt: skip
    for name in ("wide", "short", "last"):
        np.testing.assert_array_equal(several[name], each[1.6][name])
    if rules[0] == "grow":  # what a kept output further on reads is kept, of whichever threshold
        assert (several["inner"] >= each[1.6]["inner"]).all()
    else:
        np.testing.assert_array_equal(several["inner"], each[1.2]["inner"])


def _outside(model, seed=3):
    rng = np.random.default_rng(seed)
    return {
        layer_name(node): Outside(
            rng.normal(size=(1, node.inputs[1].shape[0], 1, 1)).astype(np.float32)
        )
        for node in model.graph
        if node.op_type == "Conv"
    }


def test_thresholds_as_inputs_are_those_that_are_fixed(model, at, images):
    focus = Focus(at, "contrast", 1.2, (1.6,), outside=_outside(model))
    fixed, opened = focus.apply(model).model, focus.opened(model)
    assert [value.name for value in opened.graph.inputs][1:] == ["threshold1", "threshold2"]
    given = {"threshold1": np.float32(1.2), "threshold2": np.float32(1.6)}
    np.testing.assert_array_equal(_run(opened, images, **given)[0], _run(fixed, images)[0])


def test_what_is_left_out_is_what_was_said_of_the_rest(model, at, images):
    outside = _outside(model)
    focused = Focus(at, "contrast", 1.4, outside=outside).apply(model)
    masks = _masks(focused.model, images)
    for form in ("mask", "gather", "rect"):
        made = with_forms(focused.model, form)
        np.testing.assert_allclose(
            _run(made, images)[0], _run(focused.model, images)[0], rtol=1e-5, atol=1e-5
        )
    for change in focused.changes:
        name = change.nodes[0]
        producer = next(n for n in focused.model.graph if n.op_type == "Add" and n.name and
                        n.name.startswith(f"{name}/"))  # fmt: skip
        (value,) = _run(focused.model, images, producer.outputs[0].name)
        rest = np.broadcast_to(outside[name].value, value.shape)
        left = np.broadcast_to(~masks[name], value.shape)
        np.testing.assert_allclose(value[left], rest[left], rtol=1e-6)
        assert np.abs(value[~left] - rest[~left]).max() > 0.1


class Normed(nn.Module):
    """A stem, and a residual block with batch norms."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.first = nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.conv, self.norm = nn.Conv2d(4, 4, 3, padding=1), nn.BatchNorm2d(4)
        self.last = nn.Conv2d(4, 4, 3, padding=1, stride=2)
        for norm in (self.first, self.norm):
            nn.init.normal_(norm.bias)
            nn.init.uniform_(norm.running_var, 0.5, 2)

    def forward(self, x):
        x = torch.relu(self.first(self.stem(x)))
        return self.last(torch.relu(x + self.norm(self.conv(x)))).mean((2, 3))


@pytest.mark.parametrize("filled", [False, True])
def test_what_is_trained_is_what_runs_once_batch_norms_are_folded(images, filled):
    torch.manual_seed(1)
    whole = from_module(Normed().eval(), (torch.zeros(2, 3, *SIZE),))
    folded = pipeline.run(whole, pipeline.parse("fold-batch-norm")).model
    at = dict(exit_points(folded))["stem"]
    outside = _outside(folded) if filled else {}
    focus = Focus(at, "contrast", 1.3, (1.5,), stride="majority", outside=outside)
    trainable = focus.trainable(whole)
    assert [node.op_type for node in trainable.graph].count("BatchNormalization") == 2
    expected = _run(focus.apply(folded).model, images)[0]
    np.testing.assert_allclose(_run(trainable, images)[0], expected, rtol=1e-5, atol=1e-5)
    assert np.abs(_run(folded, images)[0] - expected).max() > 1e-3
