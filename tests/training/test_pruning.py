"""What is cut: the right weights, as many as asked for, for good; the same when resumed."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn
from training.toy import RECIPE, toy_images, train

from mlcnn.errors import InputError
from mlcnn.graph import from_module
from mlcnn.nn import to_module
from mlcnn.passes import pipeline
from mlcnn.training import Optimizer
from mlcnn.training.alternating import alternating
from mlcnn.training.channel_pruning import IMPORTANCES, channel_cut
from mlcnn.training.pruning import Pruning, Schedule, WeightCut, kernels_of


class Net(nn.Module):
    """A residual sum joins the channels of two convolutions; one space is inside, one flattened."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 6, 3)
        self.norm = nn.BatchNorm2d(6)
        self.inner = nn.Conv2d(6, 8, 3, padding=1)
        self.middle = nn.BatchNorm2d(8)
        self.back = nn.Conv2d(8, 6, 3, padding=1, bias=False)
        self.line = nn.Linear(6 * 16, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = x + self.back(torch.relu(self.middle(self.inner(x))))
        return self.line(x.flatten(1))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(3)
    net = Net()
    with torch.no_grad():
        for norm in (net.norm, net.middle):
            norm.weight.uniform_(0.5, 1.5)
            norm.bias.normal_()
    return from_module(net.eval(), (torch.zeros(2, 1, 6, 6),))


# Weights, and the positions that each meets.
SIZES = {"first": (54, 16), "inner": (432, 16), "back": (432, 16), "line": (288, 1)}


@pytest.mark.parametrize("quantity", ["parameters", "multiplications"])
def test_kernels_cost_what_they_store_and_multiply(model, quantity):
    kernels = kernels_of(model, quantity)
    assert [kernel.parameter for kernel in kernels] == [f"{name}.weight" for name in SIZES]
    assert [kernel.fixed for kernel in kernels] == [True, False, False, True]
    expected = [n if quantity == "parameters" else n * p for n, p in SIZES.values()]
    assert [kernel.cost for kernel in kernels] == expected
    assert not any(kernel.fixed for kernel in kernels_of(model, quantity, ends=True))


# Basis of 4 kernels: 36 numbers, which every input channel meets, and the coefficients. The first
# layer reads one channel: it stays as it is.
SHARED = {"inner": (6, 8), "back": (8, 6)}


@pytest.mark.parametrize("quantity", ["parameters", "multiplications"])
def test_of_shared_kernels_coefficients_go_and_a_share_is_of_dense_weights(model, quantity):
    passes = pipeline.parse("share-kernels{basis=4,layers=all}")
    shared = pipeline.run(model, passes).model
    module, cut = to_module(shared), WeightCut(kernels_of(shared, quantity, ends=True))
    counted = quantity == "parameters"
    expected = dense = 288 + (54 if counted else 16 * 54)
    for inputs, outputs in SHARED.values():
        expected += 36 + 4 * inputs * outputs if counted else 16 * inputs * (36 + 4 * outputs)
        dense += inputs * outputs * 9 * (1 if counted else 16)
    assert cut.left(module) == pytest.approx(expected / dense)
    share = 0.45 if counted else 0.75  # the bases alone take 0.54 of the multiplications
    with torch.no_grad():
        cut.cut(module, share)
    assert share - 0.02 < cut.left(module) <= share
    whole = [k for k in cut.kernels if k.fixed]
    assert len(whole) == len(SHARED)
    assert all(bool((module.get_parameter(k.parameter) != 0).all()) for k in whole)


def test_a_coefficient_matters_as_its_kernel_is_long(model):
    shared = pipeline.run(model, pipeline.parse("share-kernels{basis=4,layers=all}")).model
    cut = WeightCut(kernels_of(shared, "parameters", ends=True))
    plain, scaled = to_module(shared), to_module(shared)
    factors = torch.tensor([1000.0, 1.0, 0.01, 10.0])
    with torch.no_grad():
        for name in SHARED:
            layer = scaled.get_submodule(name)
            layer.basis.mul_(factors[:, None, None])
            layer.weight.div_(factors)
        cut.cut(plain, 0.45)
        cut.cut(scaled, 0.45)
    for name, mask in cut.masks(plain).items():
        assert (cut.masks(scaled)[name] == mask).float().mean() > 0.99  # but for rounding


def cuts(model, quantity="parameters", ends=True):
    return (
        WeightCut(kernels_of(model, quantity, ends=ends)),
        channel_cut(model, kernels_of(model, quantity)),
    )


WAYS = ["weights", "channels", "in turn"]


def way(model, name, schedule, number):
    """The network, what cuts it, and what takes part in its training."""
    if name == "in turn":
        model = pipeline.run(model, pipeline.parse("share-kernels{basis=4,layers=all}")).model
        cut = WeightCut(kernels_of(model, "parameters"), by_deviation=True)
        return model, cut, alternating(cut, schedule)
    cut = cuts(model, ends=False)[WAYS.index(name)]
    return model, cut, (Pruning(cut, schedule, number),)


@given(share=st.floats(0.05, 1), quantity=st.sampled_from(["parameters", "multiplications"]))
def test_a_cut_leaves_at_most_what_it_should_and_not_much_less(model, share, quantity):
    weights, channels = cuts(model, quantity)
    for cut, step in ((weights, 16 / sum(SIZES["first"])), (channels, 0.2)):
        if share < cut.least:
            continue
        module = to_module(model)
        assert cut.left(module) == 1
        with torch.no_grad():
            cut.cut(module, share)
        assert share - step <= cut.left(module) <= share + 1e-9


def test_the_smallest_weights_of_all_layers_go(model):
    cut, module = cuts(model)[0], to_module(model)
    before = torch.cat([module.get_parameter(k.parameter).flatten() for k in cut.kernels]).detach()
    with torch.no_grad():
        cut.cut(module, 0.3)
    after = torch.cat([module.get_parameter(k.parameter).flatten() for k in cut.kernels]).detach()
    kept = after != 0
    assert torch.equal(after[kept], before[kept])
    # But for the floor of each layer, every weight that stayed is larger than every one that went.
    assert (before[kept].abs() < before[~kept].abs().max()).sum() <= len(SIZES) * 5


def test_where_a_weight_costs_more_the_small_ones_of_dear_layers_go_first(model):
    even, dear = to_module(model), to_module(model)
    with torch.no_grad():
        cuts(model, "parameters")[0].cut(even, 0.4)
        cuts(model, "multiplications")[0].cut(dear, 0.4)
    lines = [int(m.line.weight.count_nonzero()) for m in (even, dear)]
    assert lines[0] < lines[1]  # a weight of the dense layer multiplies once, not sixteen times


def test_a_layer_is_never_emptied(model):
    for cut in cuts(model):
        module = to_module(model)
        with torch.no_grad():
            module.inner.weight.mul_(1e-6)
            cut.cut(module, cut.least)
        assert all(bool(p.count_nonzero()) for n, p in module.named_parameters() if "weight" in n)


@pytest.mark.parametrize("which", [0, 1])
def test_a_part_cuts_half_of_itself_and_nothing_else(model, which):
    cut = cuts(model, "multiplications", ends=False)[which]
    names = {0: ["inner", "back"], 1: ["first", "inner"]}[which]
    assert [part.name for part in cut.parts()] == names
    for part in cut.parts():
        module, before = to_module(model), to_module(model).state_dict()
        with torch.no_grad():
            part.cut.cut(module, part.share)
        assert cut.left(module) == pytest.approx(part.share, abs=0.002)
        changed = {n for n, t in module.state_dict().items() if not torch.equal(t, before[n])}
        assert f"{part.name}.weight" in changed
        if not which:
            assert changed == {f"{part.name}.weight"}


@pytest.mark.parametrize("importance", list(IMPORTANCES))
def test_channels_go_from_all_that_makes_or_reads_them(model, importance):
    cut = channel_cut(model, kernels_of(model, "parameters"), importance)
    assert sorted(group.channels for group in cut.groups) == [6, 8]
    module = to_module(model)
    module(torch.randn(4, 1, 6, 6)).square().sum().backward()
    with torch.no_grad():
        cut.cut(module, 0.4)
    outer = module.first.weight.detach().abs().sum((1, 2, 3)) > 0
    inner = module.inner.weight.detach().abs().sum((1, 2, 3)) > 0
    assert 1 <= int(outer.sum()) < 6 or 1 <= int(inner.sum()) < 8
    for alive, others in (
        (outer, (module.back.weight.detach(), module.inner.weight.detach().transpose(0, 1),
                 module.line.weight.detach().reshape(3, 6, 16).transpose(0, 1))),
        (inner, (module.back.weight.detach().transpose(0, 1),)),
    ):  # fmt: skip
        for other in others:
            assert torch.equal(other.flatten(1).abs().sum(1) > 0, alive)
    assert torch.equal(module.norm.weight != 0, outer)
    assert torch.equal(module.middle.bias != 0, inner)


@given(share=st.floats(0.2, 1), multiple=st.integers(1, 8))
def test_what_stays_of_a_group_is_a_multiple(model, share, multiple):
    cut = channel_cut(model, kernels_of(model, "parameters"), multiple=multiple)
    module = to_module(model)
    if share >= cut.least:
        with torch.no_grad():
            cut.cut(module, share)
        for group in cut.groups:
            count, step = int(group.live(module).sum()), min(multiple, group.channels // 2)
            assert count == group.channels or count % step == 0
            assert count >= step
        assert cut.left(module) <= share + 1e-9


def test_a_channel_that_is_cut_is_zero_through_the_norm(model):
    """Not the constant ``relu(beta)`` that a zero filter alone is."""
    cut, module = cuts(model)[1], to_module(model)
    with torch.no_grad():
        cut.cut(module, 0.3)
        module.norm.running_mean.normal_()
        values = module.norm(module.first(torch.randn(2, 1, 6, 6)))
    dead = module.first.weight.detach().abs().sum((1, 2, 3)) == 0
    assert bool(dead.any())
    assert float(values[:, dead].abs().max()) == 0


def test_the_schedule_is_cubic():
    schedule = Schedule(0.2, 1.0, 3.0)
    assert [schedule.at(epoch) for epoch in (0, 1, 2, 3, 9)] == pytest.approx(
        [1, 1, 0.2 + 0.8 / 8, 0.2, 0.2]
    )
    for wrong in ((0, 0, 1), (1.1, 0, 1), (0.5, 1, 1)):
        with pytest.raises(InputError, match="a schedule needs a share above 0"):
            Schedule(*wrong)


@pytest.mark.parametrize("optimizer", list(Optimizer))
@pytest.mark.parametrize("by", WAYS)
def test_what_is_cut_stays_zero_through_momentum_and_decay(model, optimizer, by):
    model, cut, hooks = way(model, by, Schedule(0.6, 0.0, 2.0), 4)
    module = to_module(model)
    recipe = replace(RECIPE, optimizer=optimizer, weight_decay=0.1, momentum=0.9)
    left = []
    zeros: dict[str, torch.Tensor] = {}

    def watch(done: int, total: int) -> None:
        left.append(cut.left(module))
        for name, parameter in module.named_parameters():
            gone = zeros.setdefault(name, torch.zeros_like(parameter, dtype=torch.bool))
            assert bool((parameter[gone] == 0).all())
            if name in cut.masks(module):
                zeros[name] = parameter.detach() == 0

    train(module, toy_images(), recipe, hooks=hooks, tell=watch)
    assert left == sorted(left, reverse=True)
    assert len(set(left)) == 2 if by == "in turn" else len(set(left)) >= 3
    assert left[-1] <= 0.6
    assert left[7] == left[-1]  # half of the epochs are without a cut
    assert by == "channels" or left[6] > 0.6  # channels are coarse


@pytest.mark.parametrize("by", WAYS)
@pytest.mark.parametrize("step", [3, 6, 10])
def test_a_resumed_run_cuts_what_an_uninterrupted_one_does(model, tmp_path, by, step):
    class KilledError(Exception):
        pass

    def kill(done: int, total: int) -> None:
        if done == step:
            raise KilledError

    model, _, hooks = way(model, by, Schedule(0.5, 0.0, 2.5), 9)
    options = {"hooks": hooks, "seed": 5}
    whole, killed, resumed = (to_module(model) for _ in range(3))
    train(whole, toy_images(), RECIPE, validation=toy_images(20), **options)
    place = tmp_path / "run.npz"
    with pytest.raises(KilledError):
        train(killed, toy_images(), RECIPE, validation=toy_images(20), checkpoint=place,
              every_s=0, tell=kill, **options)  # fmt: skip
    train(resumed, toy_images(), RECIPE, validation=toy_images(20), checkpoint=place, **options)
    for name, tensor in whole.state_dict().items():
        assert torch.equal(tensor, resumed.state_dict()[name]), name


def test_no_epoch_before_the_last_cut_is_the_result(model):
    """An early epoch would be better, and larger."""
    cut, module = cuts(model)[0], to_module(model)
    hook = Pruning(cut, Schedule(cut.least + 0.01, 0.0, 3.0))
    history = train(module, toy_images(), replace(RECIPE, learning_rate=0.01), hooks=[hook],
                    validation=toy_images(20))  # fmt: skip
    assert cut.left(module) <= cut.least + 0.01
    assert [hook.may_end(epoch.number) for epoch in history] == [False, False, True, True]


def test_what_cannot_be_cut_is_said(model):
    cut = cuts(model, ends=False)[0]
    with pytest.raises(
        InputError, match=r"1\.00% cannot be left: single weights of 2 layers leave"
    ):
        train(to_module(model), toy_images(), RECIPE, hooks=[Pruning(cut, Schedule(0.01, 0, 1))])
    with pytest.raises(InputError, match="importance 'size': l2, l1, taylor are the ways"):
        channel_cut(model, kernels_of(model, "parameters"), "size")
    dense = from_module(nn.Sequential(nn.Flatten(), nn.Linear(36, 3)), (torch.zeros(2, 1, 6, 6),))
    with pytest.raises(InputError, match="no channel of this network can go"):
        channel_cut(dense, kernels_of(dense, "parameters"))
    bare = from_module(nn.Sequential(nn.ReLU(), nn.Flatten()), (torch.zeros(2, 1, 6, 6),))
    with pytest.raises(InputError, match="no convolution and no dense layer"):
        kernels_of(bare, "parameters")


def test_weights_of_two_layers_cost_for_both():
    class Twice(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(2, 2, 3, padding=1, bias=False)

        def forward(self, x):
            return self.conv(torch.relu(self.conv(x))).flatten(1)

    twice = from_module(Twice(), (torch.zeros(2, 2, 4, 4),))
    (kernel,) = kernels_of(twice, "multiplications")
    assert kernel.cost == 2 * 36 * 16
    (kernel,) = kernels_of(twice, "parameters")
    assert kernel.cost == 36
    assert np.prod(kernel.shape) == 36
