"""Dropout is kept for training, does nothing in inference, and is gone from what is delivered."""

import re

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from mlcnn import graph
from mlcnn.errors import InputError
from mlcnn.nn import to_module

EXAMPLE = (torch.zeros(2, 3, 8, 8),)


class Net(nn.Module):
    """Both kinds of dropout, a norm, and what a subclass adds."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.norm = nn.BatchNorm2d(4)
        self.drop = nn.Dropout(0.5)
        self.line = nn.Linear(144, 5)

    def forward(self, x):
        x = self.drop(torch.relu(self.norm(self.conv(x))))
        return self.line(F.dropout(x.flatten(1), 0.1, training=self.training))


class Branching(Net):
    def forward(self, x):
        y = super().forward(x)
        if self.training:
            y = y + torch.ones_like(y)  # the place
        return y


def operators(model):
    return [node.op_type for node in model.graph]


def test_dropout_is_kept_and_removed():
    torch.manual_seed(0)
    net = Net().eval()
    plain, kept = (graph.from_module(net, EXAMPLE, dropout=wanted) for wanted in (False, True))
    assert "Dropout" not in operators(plain)
    assert operators(kept).count("Dropout") == 2
    assert operators(graph.without_dropout(kept)) == operators(plain)
    assert not net.training
    x = torch.randn(3, 3, 8, 8)
    module = to_module(kept)
    torch.testing.assert_close(module(x), net(x))
    module.train()
    assert not torch.equal(module(x), module(x))
    rates = sorted(m.p for m in module.modules() if isinstance(m, nn.Dropout))
    assert rates == pytest.approx([0.1, 0.5])


def test_dropout_of_whole_channels_is_left_out():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout2d(0.5), nn.Flatten(), nn.Dropout(0.2))
    kept = graph.from_module(net, EXAMPLE, dropout=True)
    assert operators(kept).count("Dropout") == 1
    assert not any(name.startswith("Random") for name in operators(kept))


def test_a_module_that_branches_on_training_is_refused_with_the_place():
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123
        line = next(i for i, text in enumerate(file, start=1) if "# the place" in text)
    place = re.escape(f"{__file__}:{line}")
    with pytest.raises(InputError, match=f"network: computes something else in train.*{place}"):
        graph.from_module(Branching(), EXAMPLE, dropout=True)
    graph.from_module(Branching(), EXAMPLE)  # in inference there is no branch
