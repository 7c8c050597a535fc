"""Selection: the lowered network, its definition, and what it is said to cost, image by image."""

import numpy as np
import pytest
import torch
from torch import nn

from mlcnn.engines import get
from mlcnn.errors import InputError
from mlcnn.frontier.activity import recorded
from mlcnn.frontier.exits import softmax
from mlcnn.frontier.relevance import active, candidates
from mlcnn.graph import from_module
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import Head, exit_points, with_heads
from mlcnn.passes.select import (
    Place,
    for_one,
    places,
    selectable,
    with_masks,
    with_scales,
    with_selection,
)
from mlcnn.workload import read

CLASSES = 5


class Net(nn.Module):
    """A stem, a residual block with a shortcut, grouped and plain layers, scores."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.one = nn.Conv2d(6, 8, 3, padding=1, stride=2)
        self.two = nn.Conv2d(8, 8, 3, padding=1)
        self.short = nn.Conv2d(6, 8, 1, stride=2)
        self.deep = nn.Conv2d(8, 8, 3, padding=1, groups=8)
        self.last = nn.Conv2d(8, 9, 3, padding=1)
        self.line = nn.Linear(9, CLASSES)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = torch.relu(self.two(torch.relu(self.one(x))) + self.short(x))
        x = torch.sigmoid(self.last(torch.relu(self.deep(x))))
        return self.line(x.mean((2, 3)))


@pytest.fixture(scope="module")
def made():
    torch.manual_seed(3)
    model = from_module(Net().eval(), (torch.zeros(2, 3, 9, 8),))
    at = dict(exit_points(model))["stem"]
    rng = np.random.default_rng(1)
    head = Head(at, rng.normal(size=(CLASSES, 24)).astype(np.float32) * 3, np.zeros(CLASSES, "f4"))
    layers = selectable(model, at)
    sizes = _sizes(model, places(layers))
    tables = {place: rng.random((CLASSES, size)) < 0.3 for place, size in sizes.items()}
    return model, head, layers, tables


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(2).normal(size=(7, 3, 9, 8)).astype(np.float32)


def _sizes(model, found):
    values = {v.name: v.shape[1] for node in model.graph for v in node.outputs}
    return {place: values[place.value] for place in found}


def _run(model, images, **more):
    (name, *_) = (value.name for value in model.graph.inputs)
    return [*get("onnxruntime").prepare(model).run({name: images, **more}).values()]


def _one_by_one(model, images):
    return np.concatenate([_run(model, images[i : i + 1])[0] for i in range(len(images))])


def _by_hand(made, images, beta):
    """Masks by numpy, scores of the dense network scaled by them."""
    model, head, layers, tables = made
    chosen = candidates(softmax(_run(with_heads(model, [head]), images)[1]), beta)
    masks = {place: active(chosen, table) for place, table in tables.items()}
    found = places(layers)
    scales = {f"scale{i}": masks[p].astype("f4")[:, :, None, None] for i, p in enumerate(found)}
    scores = _run(with_scales(model, found), images, **scales)[0]
    return chosen, masks, np.where(chosen, scores, np.finfo("f4").min)


def test_layers_that_share_a_mask(made):
    """What one layer alone reads has one mask; a sum, two readers and a sigmoid have their own."""
    _, _, layers, _ = made
    by_name = {item.layer: item for item in layers}
    assert [*by_name] == ["one", "two", "short", "last"]  # a grouped layer is none
    assert by_name["one"].writes == by_name["two"].reads
    assert by_name["one"].reads != by_name["short"].reads
    assert by_name["one"].reads.reader == "one"
    assert len({by_name["two"].writes, by_name["short"].writes, by_name["last"].writes}) == 3


@pytest.mark.parametrize("beta", [0.2, 0.7, 0.95])
def test_the_saved_network_is_the_dense_one_with_channels_scaled(made, images, beta):
    model, head, layers, tables = made
    chosen, _, expected = _by_hand(made, images, beta)
    selected = with_selection(with_heads(model, [head]), layers, tables, beta)
    assert np.abs(_run(selected, images)[0] - expected).max() < 1e-5
    one = for_one(selected)
    assert not one.functions
    assert np.abs(_one_by_one(one, images) - expected).max() < 1e-5
    assert (expected.argmax(1)[:, None] == np.arange(CLASSES))[~chosen].sum() == 0


def test_what_an_image_costs_is_counted_by_hand(made, images):
    """Channels that a layer reads times channels that it gives, and rows of candidates."""
    model, head, layers, tables = made
    chosen, masks, _ = _by_hand(made, images, 0.7)
    headed = with_heads(model, [head])
    one = for_one(with_selection(headed, layers, tables, 0.7))
    every = read(one, batch=1).every
    found = recorded(one, images).each(every, lambda layer: float(layer.nest.macs))
    selected = {item.layer: item for item in layers}
    expected = np.zeros(len(images))
    for layer in read(headed, batch=1).layers:
        each, nest = layer.nest.macs, layer.nest
        if layer.name in selected:
            item = selected[layer.name]
            pairs = masks[item.writes].sum(1) * masks[item.reads].sum(1)
            expected += pairs * each / (nest.K * nest.C)
        else:
            expected += each * (chosen.sum(1) / CLASSES if layer.name == "line" else 1)
    assert found == pytest.approx(expected)


def test_selection_behind_an_exit_costs_only_images_that_go_on(made, images):
    model, head, layers, tables = made
    headed = with_heads(model, [head])
    sure = softmax(_run(headed, images)[1]).max(1)
    threshold = float(np.sort(sure)[3] + 1e-4)
    one = for_one(with_selection(headed, layers, tables, 0.9))
    macs = recorded(one, images).each(read(one, batch=1).every, lambda la: float(la.nest.macs))
    left = EarlyExit(f"exit1={threshold!r}").apply(one).model
    found = recorded(left, images).each(
        read(left, batch=1).every, lambda layer: float(layer.nest.macs)
    )
    names = ("stem", "exit1")
    first = sum(la.nest.macs for la in read(headed, batch=1).layers if la.name in names)
    assert found == pytest.approx(np.where(sure < threshold, macs, first))
    assert 0 < (sure < threshold).sum() < len(images)


def test_masks_that_are_the_same_of_every_image(made, images):
    model, _, layers, _ = made
    rng = np.random.default_rng(5)
    sizes = _sizes(model, places(layers))
    masks = {place: rng.random(size) < 0.5 for place, size in sizes.items()}
    found = places(layers)
    scales = {
        f"scale{i}": np.repeat(masks[p].astype("f4")[None, :, None, None], len(images), 0)
        for i, p in enumerate(found)
    }
    made_ = with_masks(model, layers, masks)
    expected = _run(with_scales(model, found), images, **scales)[0]
    assert np.abs(_run(made_, images)[0] - expected).max() < 1e-5
    cost = recorded(made_, images).cost(made_, lambda layer: float(layer.nest.macs))
    assert cost.sd == 0
    assert cost.mean < cost.worst


def test_a_derivative_by_a_scale_is_the_relevance(made, images):
    """A channel times the derivative by it, summed over positions."""
    from mlcnn import nn as modules

    model, _, layers, _ = made
    place = layers[0].writes
    scaled = modules.to_module(with_scales(model, [place]))
    size = _sizes(model, [place])[place]
    scale = torch.ones(len(images), size, 1, 1, requires_grad=True)
    scores = scaled(torch.from_numpy(images), scale)
    (found,) = torch.autograd.grad(scores[:, 0].sum(), scale)
    step = 1e-2
    for channel in range(size):
        moved = torch.ones_like(scale).detach()
        moved[:, channel] += step
        change = (scaled(torch.from_numpy(images), moved) - scores)[:, 0] / step
        assert torch.allclose(change, found[:, channel, 0, 0], atol=2e-3)


def test_without_a_head_there_are_no_candidates(made):
    model, _, layers, tables = made
    with pytest.raises(InputError, match="no head 'exit1'"):
        with_selection(model, layers, tables, 0.9)
    with pytest.raises(InputError, match=r"beta 1\.5"):
        with_selection(model, layers, tables, 1.5)
    assert Place("a") != Place("a", "b")
