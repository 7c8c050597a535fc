"""Benchmarks of structured weights: fixed point, Monarch weights, the pull towards circulant."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from benchmarks.fixed_point import in_fixed_point
from benchmarks.monarch import KINDS, Circulant, Monarch, monarch_shape, replaced
from benchmarks.pulling import Pull, _Nearest
from benchmarks.structured_accuracy import lenet5
from mlcnn import training
from mlcnn.api import load
from mlcnn.api.optimizing import rewrite
from mlcnn.nn import to_module
from mlcnn.ops.block_circulant import Blocks, dense_weight, projected
from mlcnn.passes import restore
from mlcnn.training import Step


def test_a_network_of_convolutions_in_sixteen_bits_is_nearly_exact() -> None:
    """Padded windows, blocks of channels that lie apart, dense ends: all as in float."""
    torch.manual_seed(0)
    network = nn.Sequential(
        nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 12, 3, padding=1), nn.ReLU(),
        nn.MaxPool2d(2), nn.Flatten(), nn.Linear(48, 18), nn.ReLU(), nn.Linear(18, 4),
    )  # fmt: skip
    images = torch.randn(20, 1, 4, 4)
    model = restore(load(network.eval(), image_shape=(1, 4, 4)), lowered=True)
    rewritten = rewrite(model, "block-circulant{block=4}", check=False).model
    with torch.no_grad():
        expected = to_module(rewritten)(images)
        errors = {
            bits: float((in_fixed_point(to_module(rewritten), bits)(images) - expected).abs().max())
            for bits in (8, 12, 16)
        }
    size = float(expected.abs().max())
    assert errors[16] < 1e-3 * size
    assert errors[16] < errors[12] < errors[8] < 0.2 * size


# -- Monarch


@given(st.integers(1, 24), st.integers(1, 24), st.integers(1, 200))
def test_a_monarch_shape_has_as_many_numbers(outputs: int, inputs: int, words: int) -> None:
    most = 2 * max(outputs, inputs) ** 2
    if words > outputs * inputs:
        return
    k, m = monarch_shape(outputs, inputs, words)
    numbers = k * m * (-(-inputs // k) + -(-outputs // m))
    assert words <= numbers <= most


def test_monarch_is_two_block_diagonals_with_a_permutation_between() -> None:
    layer = Monarch(12, 8, 2)
    with torch.no_grad():
        layer.draw(torch.Generator().manual_seed(0))
    k, m = layer.k, layer.m
    right = torch.block_diag(*layer.right)
    # Number j of block b goes to place b of block j.
    moved = right.reshape(k, m, -1).transpose(0, 1).flatten(0, 1)
    whole = torch.block_diag(*layer.left) @ moved
    # Output t of block j is t m + j.
    made = whole.reshape(m, -1, whole.shape[1]).transpose(0, 1).flatten(0, 1)
    torch.testing.assert_close(layer.dense(), made[:12, :8])


@pytest.mark.parametrize("kind", KINDS)
def test_no_weight_of_a_kind_is_nearer_than_the_projection(kind: str) -> None:
    """Of many: those near the projection, and random ones."""
    torch.manual_seed(0)
    dense = nn.Linear(10, 12)
    layer = KINDS[kind](12, 10, 4)
    share = layer.project(dense)
    weight = dense.weight.detach()
    distance = float(((layer.dense() - weight) ** 2).sum().detach())
    assert share == pytest.approx(1 - distance / float((weight**2).sum()), abs=1e-5)
    kept = [value.detach().clone() for value in layer.parameters()]
    for step in (1e-3, 1e-1, 1.0):
        for value, best in zip(layer.parameters(), kept, strict=True):
            with torch.no_grad():
                value.copy_(best + step * torch.randn_like(best))
        assert float(((layer.dense() - weight) ** 2).sum().detach()) >= distance - 1e-5


def test_dense_layers_are_replaced_but_the_last_behind_convolutions() -> None:
    module, kept = replaced(lenet5(), "monarch", 8)
    assert set(kept) == {"7", "9"}
    assert all(0 < share < 1 for share in kept.values())
    circulant, _ = replaced(lenet5(), "block-circulant", 8)
    sizes = [
        sum(p.numel() for p in one.parameters()) for one in (module[7], circulant[7])
    ]  # fmt: skip
    assert isinstance(circulant[7], Circulant)
    assert sizes[1] == 12_800 + 128
    assert sizes[1] <= sizes[0] <= 1.1 * sizes[1]


# -- pulling


@pytest.mark.parametrize("shape", [(32, 16, 3, 3), (24, 40), (10, 12)])
def test_the_nearest_weight_is_the_pass_s(shape: tuple[int, ...]) -> None:
    weight = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    blocks = Blocks(8, *shape[:2])
    expected = dense_weight(projected(weight.numpy(), blocks), blocks)
    np.testing.assert_allclose(_Nearest.of(weight)(weight).numpy(), expected, atol=1e-12)


@pytest.mark.parametrize("every", [0, 5])
def test_a_pull_brings_weights_to_circulant_ones(every: int) -> None:
    """Alone it moves nothing but the distance: the nearest weight stays where it is."""
    module = nn.Linear(16, 16, bias=False).double()
    nearest = _Nearest.of(module.weight)
    before = nearest(module.weight).detach()
    distance = float((module.weight - before).norm().detach())
    pull = Pull(("weight",), 200, 0.01, 1.0, every)
    pull.start(module, 1, training.Hardware())
    optimizer = torch.optim.SGD(module.parameters(), lr=0.1)
    nothing = torch.zeros(1)
    for _ in range(200):
        optimizer.zero_grad()
        pull.loss(Step(module, nothing, nothing, nothing, False, 1.0), torch.zeros(())).backward()
        optimizer.step()
    after = nearest(module.weight).detach()
    torch.testing.assert_close(after, before)
    assert float((module.weight - after).norm().detach()) < 0.1 * distance
