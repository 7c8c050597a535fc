"""How many kernels a layer shares: by what is lost for what is left, foreseen before a training."""

import pytest
import torch
from torch import nn

from mlcnn.errors import InputError
from mlcnn.frontier import COMPRESSIONS, Settings
from mlcnn.frontier.sharing import sharing
from mlcnn.graph import from_module
from mlcnn.nn import to_module
from mlcnn.training.pruning import WeightCut, kernels_of


class Net(nn.Module):
    """Three inner convolutions: one of rank 2, one of full rank, one on few channels."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(3, 4, 3, padding=1)
        self.narrow = nn.Conv2d(4, 32, 3, padding=1)
        self.low = nn.Conv2d(32, 32, 3, padding=1)
        self.full = nn.Conv2d(32, 32, 3, padding=1)
        self.last = nn.Linear(32, 5)

    def forward(self, x):
        x = torch.relu(self.narrow(torch.relu(self.first(x))))
        x = torch.relu(self.full(torch.relu(self.low(x))))
        return self.last(x.mean((2, 3)))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(1)
    net = Net()
    with torch.no_grad():
        for layer in (net.narrow, net.low, net.full):
            layer.weight.normal_()
        pair, mix = torch.randn(2, 9), torch.randn(32, 32, 2)
        net.low.weight.copy_((mix @ pair).reshape(32, 32, 3, 3))
    return from_module(net.eval(), (torch.zeros(1, 3, 8, 8),))


def _numbers(text):
    return {name: int(count) for name, _, count in (i.partition("=") for i in text.split("+"))}


def _cut(model, quantity, share, basis):
    """What is left of both quantities, and of the sum of squares of all weights."""
    started = COMPRESSIONS["shared-kernels"].start(model, Settings(quantity, basis=basis), share)
    return _left(started.model, started.cut, quantity, share)


def _left(model, cut, quantity, share):
    module, other = to_module(model), {"parameters": "multiplications"}.get(quantity, "parameters")
    with torch.no_grad():
        cut.cut(module, share)
    kept = 0.0
    for kernel in kernels_of(model, "parameters"):
        if kernel.whole:  # shared kernels are of length 1 and at right angles
            kept += float(module.get_parameter(kernel.parameter).detach().square().sum())
    return cut.left(module), WeightCut(kernels_of(model, other)).left(module), kept


@pytest.mark.parametrize("quantity", ["parameters", "multiplications"])
def test_two_directions_are_found_where_there_are_two(model, quantity):
    found = _numbers(sharing(model, quantity, 0.3).basis)
    assert found["low"] == 2
    assert "narrow" not in found or found["narrow"] < 9
    assert not {"first", "last"} & found.keys()


@pytest.mark.parametrize("quantity", ["parameters", "multiplications"])
@pytest.mark.parametrize("share", [0.1, 0.17, 0.3, 0.5])
def test_less_is_lost_than_with_single_weights(model, quantity, share):
    first, second, kept = _cut(model, quantity, share, "auto")
    plain = WeightCut(kernels_of(model, quantity))
    plain_first, plain_second, plain_kept = _left(model, plain, quantity, share)
    assert first <= share
    assert plain_first <= share
    assert kept > plain_kept
    if sharing(model, quantity, share).price < 1:
        assert second <= plain_second * 1.02  # what is foreseen, but for single weights


@pytest.mark.parametrize("quantity", ["parameters", "multiplications"])
def test_what_is_foreseen_is_what_a_cut_leaves(model, quantity):
    found = sharing(model, quantity, 0.25)
    first, second, kept = _cut(model, quantity, 0.25, "auto")
    assert first == pytest.approx(found.left[0], rel=0.02)
    assert second == pytest.approx(found.left[1], rel=0.03)
    module = to_module(model)
    whole = sum(
        float(module.get_parameter(kernel.parameter).detach().square().sum())
        for kernel in kernels_of(model, "parameters")
    )
    assert 1 - kept / whole == pytest.approx(found.lost, rel=0.02)


def test_nothing_else_within_the_same_sizes_loses_less(model):
    """Every way to give the three layers 0, 1, ... 9 kernels that ends in the same sizes."""
    share = 0.2
    first, second, kept = _cut(model, "parameters", share, "auto")
    for narrow in (0, 2, 5, 9):
        for low in (0, 2, 4, 9):
            for full in (0, 1, 3, 5, 7, 9):
                counts = {"narrow": narrow, "low": low, "full": full}
                text = "+".join(f"{name}={count}" for name, count in counts.items() if count)
                if not text:
                    continue
                one, two, others = _cut(model, "parameters", share, text)
                if one <= first and two <= second:
                    assert others <= kept * 1.001, counts


def test_what_cannot_be_left_leaves_no_kernel_to_share(model):
    assert not sharing(model, "parameters", 1e-4).basis


def test_a_network_of_pointwise_convolutions_has_nothing_to_share():
    net = nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU(), nn.Conv2d(8, 8, 1), nn.Flatten())
    model = from_module(net.eval(), (torch.zeros(1, 3, 4, 4),))
    with pytest.raises(InputError, match="nothing to share in this network"):
        sharing(model, "parameters", 0.5)
