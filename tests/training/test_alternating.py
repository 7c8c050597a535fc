"""Coefficients and bases in turn: who moves when, and what the one threshold takes."""

import pytest
import torch
from torch import nn
from training.toy import RECIPE, toy_images, train

from mlcnn.errors import InputError
from mlcnn.graph import from_module
from mlcnn.nn import to_module
from mlcnn.passes import pipeline
from mlcnn.training.alternating import alternating
from mlcnn.training.pruning import Schedule, WeightCut, kernels_of


@pytest.fixture(scope="module")
def dense():
    torch.manual_seed(4)
    layers = (nn.Conv2d(1, 6, 3), nn.ReLU(), nn.Conv2d(6, 8, 3), nn.ReLU(), nn.Conv2d(8, 8, 2))
    net = nn.Sequential(*layers, nn.Flatten(), nn.Linear(8, 3))
    with torch.no_grad():
        net[4].weight.mul_(20)  # a threshold that did not go by the layer would take none of it
    return from_module(net.eval(), (torch.zeros(2, 1, 6, 6),))


@pytest.fixture(scope="module")
def shared(dense):
    return pipeline.run(dense, pipeline.parse("share-kernels{basis=3,layers=all}")).model


def cut_of(model):
    return WeightCut(kernels_of(model, "parameters"), by_deviation=True)


def test_what_goes_is_below_one_multiple_of_each_layers_deviation(shared):
    cut, module = cut_of(shared), to_module(shared)
    names = list(cut.masks(module))
    assert len(names) == 2
    before = {name: module.get_parameter(name).detach().clone() for name in names}
    with torch.no_grad():
        cut.cut(module, 0.35)
    assert 0.33 < cut.left(module) <= 0.35
    gone, stayed = [], []
    for name, weights in before.items():
        sizes = weights.abs() / weights.std(correction=0)
        there = module.get_parameter(name) != 0
        gone.append(float(sizes[~there].max()))
        stayed.append(float(sizes[there].min()))
        assert torch.equal(module.get_parameter(name)[there], weights[there])
    assert max(gone) <= min(stayed)
    assert max(gone) > 0.2


def test_coefficients_and_bases_take_turns_until_the_cut(shared):
    cut, module, moved = cut_of(shared), to_module(shared), list[str]()
    left: list[float] = []
    names = ("2.basis", "2.weight", "6.weight")
    last = {name: module.get_parameter(name).detach().clone() for name in names}

    def watch(done, total):
        now = {name: module.get_parameter(name).detach().clone() for name in names}
        moved.append("".join("bcd"[i] for i, n in enumerate(names) if (now[n] != last[n]).any()))
        last.update(now)
        left.append(cut.left(module))

    hooks = alternating(cut, Schedule(0.4, 0.0, 2.5))
    train(module, toy_images(), RECIPE, hooks=hooks, tell=watch)
    # Twenty phases until the cut, but a step each at least; the dense layer trains in all.
    assert moved[:9] == ["cd", "bd"] * 4 + ["cd"]
    assert left[8] == left[0] > 0.5
    # The cut is made with the gradients of the tenth step, and all train behind it.
    assert left[9] <= 0.4
    assert moved[10:] == ["bcd"] * 6


def test_a_network_without_factors_is_refused(dense):
    with pytest.raises(InputError, match="no layer of the network is a product of two"):
        alternating(cut_of(dense), Schedule(0.5, 0.0, 1.0))
