"""Channels that go together: what is cut from all of their weights can be taken out, exactly."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import mlcnn
from mlcnn import engines, graph
from mlcnn.errors import InputError
from mlcnn.graph import from_module
from mlcnn.nn import to_module, write_weights
from mlcnn.passes import pipeline
from mlcnn.training.channel_groups import channel_groups
from mlcnn.training.channel_pruning import channel_cut
from mlcnn.training.pruning import kernels_of
from mlcnn.workload import read


class Stream(nn.Module):
    """A residual stream that a zero-padded shortcut widens, a branch beside it, its pixels."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(1, 8, 3, padding=1), nn.BatchNorm2d(8)
        self.inner, self.middle = nn.Conv2d(8, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.back = nn.Conv2d(6, 8, 3, padding=1, bias=False)
        self.widen, self.after = nn.Conv2d(8, 16, 3, 2, padding=1), nn.BatchNorm2d(16)
        self.branch = nn.Conv2d(16, 4, 3, padding=1)
        self.line = nn.Linear(20 * 9, 3)

    def forward(self, x):
        x = torch.relu(self.norm(self.first(x)))
        x = torch.relu(x + self.back(torch.relu(self.middle(self.inner(x)))))
        shortcut = F.pad(x[:, :, ::2, ::2], (0, 0, 0, 0, 3, 5))
        x = torch.relu(self.after(self.widen(x)) + shortcut)
        return self.line(torch.cat([torch.sigmoid(self.branch(x)), x], 1).flatten(1))


def unusual(model: ir.Model) -> ir.Model:
    """The network with biases, means and variances that are not those of an untrained one."""
    generator = np.random.default_rng(0)
    for value in model.graph.initializers.values():
        name, size = value.name or "", tuple(value.shape or ())
        array = generator.standard_normal(size).astype(np.float32)
        if name.endswith(("bias", "mean")):
            value.const_value = ir.Tensor(array, name=name)
        elif name.endswith("var"):
            value.const_value = ir.Tensor(np.exp(array), name=name)
    return model


@pytest.fixture(scope="module")
def stream() -> ir.Model:
    torch.manual_seed(1)
    return unusual(from_module(Stream().eval(), (torch.zeros(2, 1, 6, 6),)))


def multiplications(model: ir.Model) -> int:
    return sum(layer.nest.macs for layer in read(model).layers)


def test_groups_of_a_stream_are_what_comes_in_and_what_a_padding_adds(stream):
    groups = channel_groups(stream, kernels_of(stream, "parameters"))
    assert [group.channels for group in groups] == [8, 6, 8, 4]
    incoming, inner, added, branch = (
        {(part.parameter, part.axis): part.places for part in group.kernels} for group in groups
    )
    behind = {("widen.weight", 0), ("branch.weight", 1), ("line.weight", 1)}
    assert incoming.keys() == {
        ("first.weight", 0), ("inner.weight", 1), ("back.weight", 0), ("widen.weight", 1), *behind,
    }  # fmt: skip
    assert inner.keys() == {("inner.weight", 0), ("back.weight", 1)}
    assert added.keys() == behind
    assert branch.keys() == {("branch.weight", 0), ("line.weight", 1)}
    assert incoming["widen.weight", 0].flatten().tolist() == list(range(3, 11))
    assert added["widen.weight", 0].flatten().tolist() == [0, 1, 2, *range(11, 16)]
    assert incoming["line.weight", 1][0].tolist() == list(range((4 + 3) * 9, (4 + 4) * 9))
    assert groups[0].weights(to_module(stream)) == 9 + 6 * 9 + 6 * 9 + 16 * 9 + 72 + 36 + 27


def assert_taken_out(model: ir.Model, share: float, multiple: int, importance: str) -> None:
    """What a cut leaves is what is left to compute, and the network says the same."""
    cut = channel_cut(model, kernels_of(model, "multiplications"), importance, multiple)
    if share < cut.least:
        return
    module = to_module(model)
    with torch.no_grad():
        cut.cut(module, share)
    zeroed = write_weights(module, model)
    done = pipeline.run(zeroed, pipeline.parse("remove-channels"), verify=True)
    assert not done.stages[0].failed
    assert multiplications(done.model) / multiplications(model) == pytest.approx(cut.left(module))
    (value,) = model.graph.inputs
    shape = [size if isinstance(size, int) else 2 for size in value.shape or ()]
    images = np.random.default_rng(1).standard_normal(shape).astype(np.float32)
    (found,) = engines.get("onnxruntime").prepare(done.model).run({value.name: images}).values()
    with torch.no_grad():
        expected = module.eval()(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


@given(
    share=st.floats(0.2, 1),
    multiple=st.sampled_from([1, 2, 3]),
    importance=st.sampled_from(["l2", "l1"]),
    seed=st.integers(0, 99),
)
@settings(max_examples=30, deadline=None)
def test_what_is_cut_is_taken_out_exactly(stream, share, multiple, importance, seed):
    model, generator = graph.clone(stream), np.random.default_rng(seed)
    for value in model.graph.initializers.values():
        if (value.name or "").endswith("weight"):  # other weights: other channels go
            size = tuple(value.shape or ())
            array = generator.standard_normal(size).astype(np.float32)
            value.const_value = ir.Tensor(array, name=value.name)
    assert_taken_out(model, share, multiple, importance)


@pytest.mark.parametrize("share", [0.7, 0.4])
def test_streams_of_a_resnet_lose_channels(share):
    model = unusual(mlcnn.load("resnet20"))
    groups = channel_groups(model, kernels_of(model, "multiplications"))
    assert [group.channels for group in groups if len(group.kernels) > 2] == [16, 16, 32]
    assert_taken_out(model, share, 8, "l2")


def test_an_even_cut_leaves_the_same_share_inside_of_every_block():
    model = mlcnn.load("resnet20")
    cut = channel_cut(model, kernels_of(model, "multiplications"), evenly=True)
    assert [group.channels for group in cut.groups] == [16] * 3 + [32] * 3 + [64] * 3
    module = to_module(model)
    for target in (0.8, 0.6, 0.3):  # in steps, as in training
        with torch.no_grad():
            cut.cut(module, target)
        shares = [int(g.live(module).sum()) / g.channels for g in cut.groups]
        assert max(shares) - min(shares) <= 1 / 16
        assert target - 0.02 < cut.left(module) <= target
    assert "channels of 9 groups evenly by l2" in cut.told


@pytest.mark.parametrize("target", [0.8, 0.65, 0.5, 0.4])
def test_a_cut_ends_near_what_was_asked_for_though_blocks_of_streams_are_large(target):
    """The least important channels are those of the stream: one block of it is 31 %."""
    model = mlcnn.load("resnet20")
    cut = channel_cut(model, kernels_of(model, "multiplications"), multiple=8)
    cut = replace(cut, target=target)
    module, stream = to_module(model), cut.groups[0]
    factors = torch.tensor([1e-3] * 8 + [1.0] * 8)
    with torch.no_grad():
        for part in stream.kernels:
            parameter = module.get_parameter(part.parameter)
            parameter.mul_(part.spread(factors, parameter))
    assert stream.added
    for share in (0.9, (0.9 + target) / 2, target):
        with torch.no_grad():
            cut.cut(module, share)
        assert target - 0.03 < cut.left(module) <= share


def test_streams_stay_as_wide_as_they_are_where_that_suffices():
    model = mlcnn.load("resnet20")
    kernels = kernels_of(model, "multiplications")
    whole = channel_cut(model, kernels, multiple=8)
    inner = channel_cut(model, kernels, multiple=8, target=0.5)
    assert {group.added for group in whole.groups} == {True, False}
    assert not any(group.added for group in inner.groups)
    assert whole.least < inner.least < 0.5
    lower = (whole.least + inner.least) / 2
    assert len(channel_cut(model, kernels, multiple=8, target=lower).groups) == len(whole.groups)


def test_where_all_channels_are_those_of_a_stream_none_goes_evenly():
    class Sum(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one, self.other = nn.Conv2d(1, 4, 3), nn.Conv2d(1, 4, 3)
            self.line = nn.Linear(4 * 16, 2)

        def forward(self, x):
            return self.line((self.one(x) + self.other(x)).flatten(1))

    model = from_module(Sum().eval(), (torch.zeros(1, 1, 6, 6),))
    with pytest.raises(InputError, match="--evenly: all channels are those of residual streams"):
        channel_cut(model, kernels_of(model, "parameters"), evenly=True)


def test_norms_that_several_groups_share_are_masked_by_all(stream):
    cut = channel_cut(stream, kernels_of(stream, "parameters"))
    module = to_module(stream)
    with torch.no_grad():
        for place in (4, 12):  # one that comes in, one that is added
            channel = module.widen.weight
            channel[place] = 0
            module.branch.weight[:, place] = 0
            module.line.weight[:, (4 + place) * 9 : (5 + place) * 9] = 0
        for weight in (module.first.weight, module.back.weight):
            weight[1] = 0
        for weight in (module.inner.weight, module.widen.weight):
            weight[:, 1] = 0
    masks = cut.masks(module)
    expected = [place not in {4, 12} for place in range(16)]
    assert masks["after.weight"].tolist() == masks["after.bias"].tolist() == expected
    assert masks["norm.bias"].tolist() == [place != 1 for place in range(8)]
