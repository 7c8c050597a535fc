"""Class exclusion in a network: what it says is what the criterion says, at any batch."""

import numpy as np
import pytest
import torch
from torch import nn

from mlcnn.engines import get
from mlcnn.errors import InputError
from mlcnn.frontier.activity import recorded
from mlcnn.frontier.exclusion import excluding
from mlcnn.frontier.exits import softmax
from mlcnn.graph import from_module
from mlcnn.passes.class_exclusion import THRESHOLD, with_exclusion
from mlcnn.passes.early_exit import EarlyExit
from mlcnn.passes.exit_heads import Head, exit_points, with_heads
from mlcnn.workload import read

CLASSES = 4


class Net(nn.Module):
    """Three layers, and scores."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 6, 3, padding=1)
        self.second = nn.Conv2d(6, 6, 3, padding=1)
        self.third = nn.Conv2d(6, 6, 3, padding=1)
        self.line = nn.Linear(6, CLASSES)

    def forward(self, x):
        x = torch.relu(self.second(torch.relu(self.first(x))))
        return 9 * self.line(torch.relu(self.third(x)).mean((2, 3)))


@pytest.fixture(scope="module")
def headed():
    torch.manual_seed(0)
    model = from_module(Net().eval(), (torch.zeros(2, 3, 8, 8),))
    rng = np.random.default_rng(0)
    points = dict(exit_points(model))
    made = [
        Head(points[name], 5 * rng.normal(size=(CLASSES, 24)).astype("f4"), np.zeros(CLASSES, "f4"))
        for name in ("first", "second")
    ]
    return with_heads(model, made)


@pytest.mark.parametrize("batch", [1, 5])
def test_the_network_says_what_the_criterion_says(headed, batch):
    images = np.random.default_rng(1).normal(size=(40, 3, 8, 8)).astype("f4")
    (name,) = (value.name for value in headed.graph.inputs)
    end, *heads = get("onnxruntime").prepare(headed).run({name: images}).values()
    below = [np.full(CLASSES, 0.1), np.linspace(0.05, 0.15, CLASSES)]
    expected = excluding([softmax(each) for each in heads], below, end)
    model = (
        EarlyExit(f"exit1={THRESHOLD}+exit2={THRESHOLD}").apply(with_exclusion(headed, below)).model
    )
    session = get("onnxruntime").prepare(model)
    found = [
        next(iter(session.run({name: images[i : i + batch]}).values())).argmax(1)
        for i in range(0, 40, batch)
    ]
    assert (np.concatenate(found) == expected.said).all()
    assert len({*expected.left.tolist()}) == 3
    activity = recorded(model, images)
    each = activity.each(read(model, batch=1).every, lambda layer: float(layer.nest.macs))
    assert len({*each[expected.left == 0]}) == 1
    assert each[expected.left == 0][0] < each[expected.left == 1][0] < each[expected.left == 2][0]


def test_limits_for_every_head(headed):
    with pytest.raises(InputError, match="1 rows of limits for 2 heads"):
        with_exclusion(headed, [np.zeros(CLASSES)])
