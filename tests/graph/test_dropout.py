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


class Kinds(nn.Module):
    """Every kind of dropout, between others, some in place."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 4, 3)
        self.plain = nn.Dropout(0.1, inplace=True)
        self.channels = nn.Dropout2d(0.2)
        self.alpha = nn.AlphaDropout(0.3)
        self.both = nn.FeatureAlphaDropout(0.4, inplace=True)

    def forward(self, x):
        x = self.both(self.alpha(self.channels(self.plain(torch.relu(self.conv(x))))))
        F.dropout2d(x, 0.5, training=self.training, inplace=True)  # x is what it wrote
        x = F.dropout(F.dropout2d(x, 0.9, training=False), 0.6, training=self.training)
        return torch.relu(F.dropout1d(x.flatten(2), 0.7, training=self.training))


def test_every_kind_of_dropout_is_kept():
    net = Kinds().eval()
    kept = graph.from_module(net, EXAMPLE, dropout=True)
    assert not any(name.startswith("Random") for name in operators(kept))
    assert "Dropout" not in operators(graph.without_dropout(kept))
    x = torch.randn(3, 3, 8, 8)
    module = to_module(kept)
    torch.testing.assert_close(module(x), net(x))
    found = [(type(m), m.p) for m in module.modules() if hasattr(m, "p")]
    assert [kind for kind, _ in found] == [
        nn.Dropout, nn.Dropout2d, nn.AlphaDropout, nn.FeatureAlphaDropout, nn.Dropout2d,
        nn.Dropout, nn.Dropout1d,
    ]  # fmt: skip
    assert [rate for _, rate in found] == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7])


def test_whole_channels_are_dropped():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Dropout2d(0.5))
    module = to_module(graph.from_module(net, EXAMPLE, dropout=True)).train()
    torch.manual_seed(0)
    zeros = (module(torch.randn(20, 3, 8, 8)) == 0).flatten(2).float().mean(2)
    assert set(zeros.unique().tolist()) == {0.0, 1.0}


def test_a_module_that_branches_on_training_is_refused_with_the_place():
    with open(__file__, encoding="utf-8") as file:  # noqa: PTH123
        line = next(i for i, text in enumerate(file, start=1) if "# the place" in text)
    place = re.escape(f"{__file__}:{line}")
    with pytest.raises(InputError, match=f"network: computes something else in train.*{place}"):
        graph.from_module(Branching(), EXAMPLE, dropout=True)
    graph.from_module(Branching(), EXAMPLE)  # in inference there is no branch
