"""A size for each layer under a budget."""

import itertools
import random

import numpy as np
import pytest
import torch
from torch import nn

import mlcnn
from mlcnn import training
from mlcnn.api.budgeting import Sizing, cheapest
from mlcnn.errors import InputError
from mlcnn.frontier import Target


def sizings(generator: random.Random, layer: int) -> list[Sizing]:
    losses = sorted(generator.random() for _ in range(4))
    costs = sorted((generator.randrange(1, 40) for _ in range(4)), reverse=True)
    return [
        Sizing(str(layer), 2**i, cost, loss)
        for i, (cost, loss) in enumerate(zip(costs, losses, strict=True))
    ]


@pytest.mark.parametrize("seed", range(40))
def test_the_search_is_exact(seed: int) -> None:
    generator = random.Random(seed)
    options = [sizings(generator, layer) for layer in range(4)]
    limit = generator.randrange(20, 120)
    found = cheapest(options, limit)
    every = [
        picked for picked in itertools.product(*options) if sum(s.cost for s in picked) <= limit
    ]
    if not every:
        assert found is None
        return
    assert found is not None
    assert sum(s.cost for s in found) <= limit
    best = min(sum(s.loss for s in picked) for picked in every)
    assert sum(s.loss for s in found) == pytest.approx(best)


@pytest.mark.parametrize(
    ("text", "budget"),
    [("4x", Target(4)), ("parameters=2.5x", Target(2.5)),
     ("multiplications=3x", Target(3, "multiplications"))],
)  # fmt: skip
def test_a_budget_is_read(text: str, budget: Target) -> None:
    assert Target.parse(text) == budget


@pytest.mark.parametrize("text", ["4", "1x", "0.5x", "time=4x", "-2x", ""])
def test_what_is_no_budget(text: str) -> None:
    with pytest.raises(InputError, match="a factor above 1 is required"):
        Target.parse(text)


@pytest.fixture(scope="module")
def data() -> training.Data:
    generator = np.random.default_rng(0)
    images = generator.integers(0, 255, (400, 3, 8, 8), np.uint8)
    parts = [
        training.ImageSet(name, images[i::4], np.arange(100) % 3, 3)
        for i, name in enumerate(("training", "calibration", "validation", "test"))
    ]
    return training.Data("noise", parts[0], parts[1], parts[2], parts[3])


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 16, 3, padding=1), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 3),
    )  # fmt: skip


def finetune(data: training.Data, budget: str, passes: str = "block-circulant{block=2}"):
    return mlcnn.finetune(network(), data, passes=passes, budget=budget, epochs=1)


def test_sizes_keep_within_the_budget(data: training.Data) -> None:
    told: list[str] = []
    found = mlcnn.finetune(
        network(), data, passes="block-circulant{block=2}", budget="2x", epochs=1,
        notice=told.append,
    )  # fmt: skip
    tensors = [v.const_value for v in found.optimized.model.graph.initializers.values()]
    weights = [tensor.size for tensor in tensors if tensor is not None]
    before = sum(p.numel() for p in network().parameters())
    assert sum(weights) <= before / 2
    assert any(line.startswith("within 2x: block-circulant{block=2=") for line in told)


def test_what_no_sizes_meet_says_what_they_reach(data: training.Data) -> None:
    with pytest.raises(InputError, match=r"the largest sizes reach \d\.\d\dx; ask for less"):
        finetune(data, "50x")


def test_passes_without_sizes_have_no_budget(data: training.Data) -> None:
    with pytest.raises(InputError, match="has a size for each layer"):
        finetune(data, "4x", "reorder{all=true}")
