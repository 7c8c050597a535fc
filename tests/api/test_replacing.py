"""Weights that are still the same, or not."""

import pytest
import torch
from torch import nn

from mlcnn.api.replacing import Networks, Weights


def changed_in_place(module):
    with torch.no_grad():
        module.bias.add_(1)


def changed_by_a_step(module):
    module(torch.ones(1, 2)).sum().backward()
    torch.optim.SGD(module.parameters(), lr=0.1).step()


def changed_behind(module):
    module.bias.data = module.bias.data + 1


def changed_whole(module):
    module.bias = nn.Parameter(module.bias.detach())


def changed_by_loading(module):
    module.load_state_dict(nn.Linear(2, 3).state_dict())


def changed_in_type(module):
    module.half()


@pytest.mark.parametrize(
    "change",
    [
        *(changed_in_place, changed_by_a_step, changed_behind, changed_whole),
        *(changed_by_loading, changed_in_type),
    ],
)
def test_a_change_is_seen(change):
    module = nn.Linear(2, 3)
    weights = Weights(list(module.parameters()))
    module(torch.ones(1, 2))
    assert weights.same(list(module.parameters()))
    change(module)
    assert not weights.same(list(module.parameters()))


def test_tensors_of_inference_mode_can_be_watched():
    with torch.inference_mode():
        module = nn.Linear(2, 3)
    weights = Weights(list(module.parameters()))
    assert weights.same(list(module.parameters()))
    changed_behind(module)
    assert not weights.same(list(module.parameters()))


class Network:
    def __init__(self, shape):
        self.shape = shape

    def takes(self, tensors):
        return tensors[0].shape[1:] == self.shape


def test_a_network_is_made_for_each_size_and_few_are_kept():
    made = []

    def make(tensors):
        made.append(tensors[0].shape)
        return Network(tensors[0].shape[1:])

    networks = Networks(make)
    for size in range(1, 10):
        for batch in (1, 2, 1):
            assert networks.find([torch.empty(batch, size)]).shape == (size,)
    assert made == [(1, size) for size in range(1, 10)]
    assert len(networks.made) == 8
    networks.find([torch.empty(1, 1)])  # the oldest is gone
    assert made[9:] == [(1, 1)]
