"""The penalty that shrinks whole channels, against numbers worked out by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from training.toy import RECIPE, toy_images, train

from mlcnn.errors import InputError
from mlcnn.graph import from_module
from mlcnn.nn import to_module
from mlcnn.passes import pipeline
from mlcnn.training.channel_groups import channel_groups
from mlcnn.training.group_penalty import group_lasso, group_penalty
from mlcnn.training.pruning import kernels_of


def groups_of(model):
    return channel_groups(model, kernels_of(model, "parameters"))


@pytest.fixture(scope="module")
def pair():
    """Two channels between two convolutions, one of them without weights."""
    net = nn.Sequential(nn.Conv2d(1, 2, 1), nn.ReLU(), nn.Conv2d(2, 1, 1))
    with torch.no_grad():
        net[0].weight.copy_(torch.tensor([3.0, 0.0]).reshape(2, 1, 1, 1))
        net[2].weight.copy_(torch.tensor([4.0, 0.0]).reshape(1, 2, 1, 1))
    return from_module(net.eval(), (torch.zeros(1, 1, 4, 4),))


def test_two_channels_by_hand(pair):
    module = to_module(pair)
    value = group_lasso(groups_of(pair), module)
    assert value.item() == pytest.approx(math.sqrt(2) * 5)
    value.backward()
    first, second = (getattr(module, name).weight.grad.flatten() for name in ("0", "2"))
    assert first.tolist() == pytest.approx([math.sqrt(2) * 3 / 5, 0])
    assert second.tolist() == pytest.approx([math.sqrt(2) * 4 / 5, 0])
    assert all(p.grad is None for name, p in module.named_parameters() if "bias" in name)


class Residual(nn.Module):
    """Channels of a sum belong to the convolutions of both operands, and to the pixels behind."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3)
        self.inner = nn.Conv2d(4, 6, 3, padding=1, bias=False)
        self.back = nn.Conv2d(6, 4, 3, padding=1, bias=False)
        self.line = nn.Linear(4 * 16, 3)

    def forward(self, x):
        x = torch.relu(self.first(x))
        return self.line((x + self.back(torch.relu(self.inner(x)))).flatten(1))


@pytest.fixture(scope="module")
def residual():
    torch.manual_seed(0)
    return from_module(Residual().eval(), (torch.zeros(2, 1, 6, 6),))


def test_a_stream_is_one_channel_in_all_its_layers(residual):
    module = to_module(residual)
    weights = {name: p.detach().double() for name, p in module.named_parameters()}
    first, inner, back = (weights[f"{name}.weight"] for name in ("first", "inner", "back"))
    line = weights["line.weight"].reshape(3, 4, 16)
    outer = sum(
        math.sqrt(9 + 6 * 9 + 6 * 9 + 3 * 16)
        * math.sqrt(sum((part**2).sum().item() for part in parts))
        for c in range(4)
        for parts in [(first[c], inner[:, c], back[c], line[:, c])]
    )
    between = sum(
        math.sqrt(4 * 9 + 4 * 9)
        * math.sqrt(((inner[c] ** 2).sum() + (back[:, c] ** 2).sum()).item())
        for c in range(6)
    )
    assert group_lasso(groups_of(residual), module).item() == pytest.approx(outer + between)


def test_coefficients_of_shared_kernels_are_weights_of_channels(residual):
    shared = pipeline.run(residual, pipeline.parse("share-kernels{basis=4,layers=all}")).model
    groups, module = groups_of(shared), to_module(shared)
    assert [group.channels for group in groups] == [4, 6]
    outer, between = (group.weights(module) for group in groups)
    # The first layer reads one channel: its kernels are not shared.
    assert (outer, between) == (9 + 6 * 4 + 6 * 4 + 3 * 16, 4 * 4 + 4 * 4)
    group_lasso(groups, module).backward()
    assert module.inner.weight.grad is not None
    assert module.inner.basis.grad is None


def test_training_shrinks_channels_as_a_whole(residual):
    groups = groups_of(residual)

    def trained(weight: float) -> nn.Module:
        module = to_module(residual)
        hooks = [group_penalty(groups, weight)] if weight else []
        train(module, toy_images(), replace(RECIPE, epochs=12), hooks=hooks)
        return module

    plain, shrunk = trained(0), trained(0.02)
    assert group_lasso(groups, shrunk) < group_lasso(groups, plain) / 2

    def smallest(module: nn.Module) -> float:
        """Of the inner channels, relative to the largest."""
        lengths = groups[1].squares(module).detach().sqrt()
        return (lengths.min() / lengths.max()).item()

    assert smallest(shrunk) < smallest(plain) / 5


def test_a_run_goes_on_with_the_same_penalty_and_no_other(residual, tmp_path):
    class KilledError(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == 6:
            raise KilledError

    def hooks(weight: float):
        return {"hooks": [group_penalty(groups_of(residual), weight)], "seed": 2}

    whole, killed, resumed = (to_module(residual) for _ in range(3))
    train(whole, toy_images(), RECIPE, **hooks(1e-3))
    place = tmp_path / "run.npz"
    with pytest.raises(KilledError):
        train(killed, toy_images(), RECIPE, checkpoint=place, every_s=0, tell=kill, **hooks(1e-3))
    with pytest.raises(InputError, match=r"another run .*group lasso of 2 groups \* 0\.001"):
        train(to_module(residual), toy_images(), RECIPE, checkpoint=place, **hooks(2e-3))
    train(resumed, toy_images(), RECIPE, checkpoint=place, **hooks(1e-3))
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


@pytest.mark.parametrize("weight", [-1.0, math.inf, math.nan])
def test_what_is_no_weight_is_refused(pair, weight):
    with pytest.raises(InputError, match=r"--group-penalty .*: a number of at least 0 is required"):
        group_penalty(groups_of(pair), weight)
