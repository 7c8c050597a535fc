"""Exits: what leaves, leaves with the head's scores; what goes on, with the network's."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from mlcnn.engines import get
from mlcnn.errors import InputError
from mlcnn.graph import from_module
from mlcnn.passes.early_exit import EarlyExit, heads
from mlcnn.passes.exit_heads import Head, exit_points, with_heads
from mlcnn.workload import read, with_sizes

CLASSES = 5


class Net(nn.Module):
    """A stem, and three blocks: residual, with a norm, and with a pool."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 6, 3, padding=1)
        self.inner = nn.Conv2d(6, 6, 3, padding=1)
        self.wide = nn.Conv2d(6, 8, 3, stride=2)
        self.norm = nn.BatchNorm2d(8)
        self.last = nn.Conv2d(8, 8, 1)
        self.line = nn.Linear(8, CLASSES)

    def forward(self, x):
        x = torch.relu(self.stem(x))
        x = x + torch.relu(self.inner(x))
        x = torch.relu(self.norm(self.wide(x)))
        x = torch.relu(self.last(x))
        return self.line(x.mean((2, 3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(2)
    net = Net()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.normal_(0, 0.5)
    return from_module(net.eval(), (torch.zeros(2, 3, 11, 9),))


@pytest.fixture(scope="module")
def headed(model):
    rng = np.random.default_rng(5)
    points = dict(exit_points(model))
    return with_heads(
        model,
        [
            Head(points[layer], rng.normal(size=(CLASSES, 4 * channels)), rng.normal(size=CLASSES))
            for layer, channels in (("inner", 6), ("wide", 8))
        ],
    )


def _run(model, images):
    (name,) = (value.name for value in model.graph.inputs)
    return [*get("onnxruntime").prepare(model).run({name: images}).values()]


def _sure(scores):
    shares = np.exp(scores - scores.max(1, keepdims=True))
    return (shares / shares.sum(1, keepdims=True)).max(1)


def _expected(headed, images, limits):
    """What each image's scores are, by definition; and how many exits it passes."""
    end, *exits = _run(headed, images)
    result, passed = end.copy(), np.full(len(images), len(limits))
    for number in reversed(range(len(limits))):
        leaves = _sure(exits[number]) >= np.float32(limits[number])
        result[leaves], passed[leaves] = exits[number][leaves], number
    return result, passed


def test_places_are_where_one_value_is_all_that_is_known(model):
    assert [layer for layer, _ in exit_points(model)] == ["stem", "inner", "wide", "last"]
    shapes = {value.name: value.shape.dims[1:] for node in model.graph for value in node.outputs}
    assert [shapes[name] for _, name in exit_points(model)][:3] == [
        (6, 11, 9),
        (6, 11, 9),
        (8, 5, 4),
    ]


def test_a_head_is_a_linear_classifier_on_means_over_whole_regions(model, headed):
    images = np.random.default_rng(1).normal(size=(4, 3, 11, 9)).astype(np.float32)
    (name,) = (value.name for value in model.graph.inputs)
    value = dict(exit_points(model))["inner"]
    copied = with_heads(model, [])
    copied.graph.outputs.append(
        next(v for node in copied.graph for v in node.outputs if v.name == value)
    )
    seen = get("onnxruntime").prepare(copied).run({name: images})[value]
    means = seen[:, :, :10, :8].reshape(4, 6, 2, 5, 2, 4).mean((3, 5)).reshape(4, -1)
    rng = np.random.default_rng(5)
    weight, bias = rng.normal(size=(CLASSES, 24)), rng.normal(size=CLASSES)
    np.testing.assert_allclose(
        _run(headed, images)[1], means @ weight.T + bias, rtol=1e-4, atol=1e-4
    )


@given(
    count=st.integers(1, 9),
    first=st.floats(0, 1, width=32),
    second=st.floats(0, 1, width=32),
    seed=st.integers(0, 2**16),
)
def test_every_image_has_the_scores_of_where_it_leaves(headed, count, first, second, seed):
    images = np.random.default_rng(seed).normal(size=(count, 3, 11, 9)).astype(np.float32)
    dynamic = EarlyExit(f"exit1={first!r}+exit2={second!r}").apply(headed).model
    expected, _ = _expected(headed, images, (first, second))
    (found,) = _run(dynamic, images)
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_one_exit_of_two_may_stay_away_and_one_image_is_a_batch(headed):
    images = np.random.default_rng(8).normal(size=(1, 3, 11, 9)).astype(np.float32)
    end, _, second = _run(headed, images)
    (sure,) = _sure(second)
    for limit in (sure * 0.99, min(sure * 1.01, 1.0)):
        dynamic = EarlyExit(f"exit2={float(limit)!r}").apply(headed).model
        (found,) = _run(dynamic, images)
        np.testing.assert_allclose(found, second if sure >= limit else end, rtol=1e-5, atol=1e-5)


def test_a_network_for_one_image_needs_no_gathering():
    torch.manual_seed(2)
    model = with_sizes(from_module(Net().eval(), (torch.zeros(2, 3, 11, 9),)), batch=1)
    value = dict(exit_points(model))["inner"]
    headed = with_heads(model, [Head(value, np.ones((CLASSES, 24)), np.zeros(CLASSES))])
    dynamic = EarlyExit("exit1=0.9").apply(headed).model
    assert "Gather" not in {node.op_type for node in dynamic.graph.all_nodes()}
    images = np.random.default_rng(8).normal(size=(1, 3, 11, 9)).astype(np.float32)
    np.testing.assert_allclose(_run(dynamic, images)[0], _run(headed, images)[0], rtol=1e-5)


def test_a_weight_is_stored_once_and_stands_where_it_is_read(headed):
    dynamic = EarlyExit("exit1=0.9+exit2=0.9").apply(headed).model
    names = [name for graph in dynamic.graphs() for name in graph.initializers]
    assert len(names) == len(set(names))
    stem = {*dynamic.graph.initializers}
    assert {"stem.weight", "inner.weight"} <= stem
    assert "line.weight" not in stem
    weights = {name for name in names if name.endswith(".weight")}
    assert {"wide.weight", "last.weight", "line.weight"} <= weights


def test_counts_say_what_is_always_run_and_what_may_be(headed, model):
    dynamic = EarlyExit("exit1=0.9+exit2=0.9").apply(headed).model
    whole, found = read(model), read(dynamic)
    plain = {layer.name: layer.nest.macs for layer in whole.layers}
    assert {layer.name: layer.nest.macs for layer in found.layers if layer.name in plain} == plain
    assert len(found.layers) == len(plain) + 2
    assert [layer.name for layer in found.least][:2] == ["stem", "inner"]
    assert len(found.least) == 3
    conditions = [layer.condition for layer in found.layers]
    assert sorted(set(conditions)) == ["", "exit1/If.then_branch", "exit2/If.then_branch"]
    assert found.is_conditional
    assert not whole.is_conditional


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "a threshold for each exit is required"),
        ("exit1", "a probability from 0 to 1"),
        ("exit1=1.5", "a probability from 0 to 1"),
        ("exit7=0.5", "there is no head 'exit7'; heads are exit1, exit2"),
    ],
)
def test_wrong_thresholds_are_refused(headed, text, message):
    with pytest.raises(InputError, match=message):
        EarlyExit(text).apply(headed)


def test_a_network_without_heads_and_a_fixed_batch_are_refused(model):
    assert not heads(model)
    with pytest.raises(InputError, match="none: mlcnn skip trains some"):
        EarlyExit("exit1=0.5").apply(model)
    fixed = with_sizes(model, batch=4)
    value = dict(exit_points(fixed))["inner"]
    headed = with_heads(fixed, [Head(value, np.ones((CLASSES, 24)), np.zeros(CLASSES))])
    with pytest.raises(InputError, match="batches of 4 images"):
        EarlyExit("exit1=0.5").apply(headed)
