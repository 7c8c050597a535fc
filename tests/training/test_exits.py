"""Heads that train with their network: what they add to the loss, and what they learn."""

from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from training.toy import NORMAL, RECIPE, toy_images, train

from mlcnn.training import logits
from mlcnn.training.exits import Exits, FirstOutput
from mlcnn.training.heads import fit_linear, region_means
from mlcnn.training.hooks import Step


class Two(nn.Module):
    """A network, and a head on its first layer."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.second = nn.Conv2d(4, 8, 3)
        self.end, self.head = nn.Linear(32, 3), nn.Linear(16, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        early = self.head(region_means(x, 2))
        return self.end(torch.relu(self.second(x)).flatten(1)), early


@pytest.fixture
def module():
    torch.manual_seed(5)
    return FirstOutput(Two())


def test_what_heads_add_is_their_distance_from_the_end(module):
    inputs = torch.randn(6, 1, 6, 6)
    end, head = module.network(inputs)
    step = Step(module, inputs, torch.arange(6), module(inputs), False, 1 / 6)
    loss = Exits(weight=0.5, temperature=2.0).loss(step, torch.tensor(3.0))
    p, q = (F.softmax(scores / 2, 1).detach().numpy() for scores in (end, head))
    distance = (p * np.log(p / q)).sum(1).mean()
    assert loss.item() == pytest.approx(3 + 0.5 * 4 * distance, rel=1e-4)
    loss.backward()
    assert module.network.end.weight.grad is None
    assert bool(module.network.head.weight.grad.any())
    assert bool(module.network.first.weight.grad.any())


def test_a_head_learns_and_the_network_does_as_without(module):
    images = toy_images()
    before = [p.clone() for p in module.network.head.parameters()]
    train(module, images, replace(RECIPE, epochs=25), hooks=(Exits(),))
    right = logits(module, images, NORMAL).argmax(1).numpy() == images.labels
    with torch.no_grad():
        _, head = module.network(torch.from_numpy(NORMAL.apply(images.images)))
    assert right.mean() > 0.95
    assert (head.argmax(1).numpy() == images.labels).mean() > 0.9
    assert all(
        (a != b).any() for a, b in zip(before, module.network.head.parameters(), strict=True)
    )


def test_a_checkpoint_knows_other_heads():
    assert Exits(1.0).told != Exits(0.5).told


def test_only_a_network_with_heads_takes_them():
    step = Step(nn.Identity(), torch.zeros(1), torch.zeros(1), torch.zeros(1, 3), False, 1.0)
    with pytest.raises(TypeError, match="FirstOutput"):
        Exits().loss(step, torch.tensor(0.0))


def test_regions_that_do_not_fit_are_cut_off():
    values = torch.arange(2 * 5 * 7, dtype=torch.float32).reshape(1, 2, 5, 7)
    expected = values[:, :, :4, :6].reshape(1, 2, 2, 2, 2, 3).mean((3, 5)).flatten(1)
    torch.testing.assert_close(region_means(values, 2), expected)


def test_a_linear_head_is_at_the_minimum_of_its_loss():
    rng = np.random.default_rng(2)
    labels = rng.integers(0, 3, 200)
    features = rng.normal(size=(200, 4)) * [1, 5, 0.1, 2] + labels[:, None]
    weight, bias = fit_linear(torch.from_numpy(features), labels, 3, decay=0.01)
    wide = torch.from_numpy(features)
    scale = wide.std(0)

    def loss(w, b):
        scores = wide @ torch.from_numpy(w).double().T + torch.from_numpy(b).double()
        squares = (torch.from_numpy(w).double() * scale).square().sum()
        return float(F.cross_entropy(scores, torch.from_numpy(labels)) + 0.005 * squares)

    least = loss(weight, bias)
    for _ in range(30):
        shifted = weight + rng.normal(size=weight.shape).astype(np.float32) * 1e-2
        assert loss(shifted, bias + rng.normal() * 1e-2) >= least - 1e-6
