"""Torch-Pruning on a ResNet-20: half goes inside of blocks, and padded shortcuts are its limit."""

import pytest
import torch

from benchmarks import torch_pruning
from benchmarks.torch_pruning import exported, multiplications, outer_layers, prune
from mlcnn import zoo
from mlcnn.errors import InputError


@pytest.fixture(autouse=True)
def few_steps(monkeypatch):
    monkeypatch.setattr(torch_pruning, "_STEPS", 20)


@pytest.mark.long
def test_channels_inside_of_blocks_go_until_half_is_left():
    network = zoo.build("resnet20")
    before = multiplications(exported(network))
    prune(network, outer_layers(network), multiple=8, together=True)
    after = multiplications(exported(network))
    assert 0.3 < after / before < 0.51  # it counts norms and pools, too
    assert network(torch.zeros(2, 3, 32, 32)).shape == (2, 10)
    parts = dict(network.named_modules())
    inner = [part.out_channels for name, part in parts.items() if name.endswith(".conv1")]
    assert all(count % 8 == 0 for count in inner)
    assert sum(inner) < 3 * (16 + 32 + 64)
    outer = [part.out_channels for name, part in parts.items() if name.endswith(".conv2")]
    assert outer == [16, 16, 16, 32, 32, 32, 64, 64, 64]


def test_it_takes_zeros_that_pad_channels_for_channels():
    """What the benchmark's first lines say; if this fails, ``ignored_layers`` may go."""
    network = zoo.build("resnet20")
    with pytest.raises(InputError, match="values per image reach the dense layer, which takes 64"):
        prune(network, [network.linear], multiple=1, together=False)
