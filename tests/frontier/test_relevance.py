"""Relevance and what follows from it, against every choice that there is."""

from itertools import combinations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.errors import InputError
from mlcnn.frontier.relevance import (
    candidates,
    class_means,
    covering,
    relevances,
)

seeds = st.integers(0, 2**16)


def _fewest(row, share):
    """The size of the smallest set with that share, and the largest sum of one of that size."""
    for count in range(len(row) + 1):
        sums = [sum(row[list(which)]) for which in combinations(range(len(row)), count)]
        if max(sums) >= share * row.sum() * (1 - 1e-12):
            return count, max(sums)
    raise AssertionError


@given(seed=seeds, width=st.integers(1, 7), share=st.sampled_from([0.1, 0.5, 0.8, 0.95, 1.0]))
@pytest.mark.parametrize("choose", [covering, candidates])
def test_no_smaller_set_holds_the_share_and_none_of_its_size_more(choose, seed, width, share):
    rng = np.random.default_rng(seed)
    weights = rng.integers(0, 6, (5, width)).astype(float)  # many are equal, some are zero
    for row, found in zip(weights, choose(weights, share), strict=True):
        count, most = _fewest(row, share)
        assert (found.sum(), row[found].sum()) == (count, pytest.approx(most))


@given(seed=seeds)
def test_where_the_margin_is_linear_relevance_is_what_is_lost_without_the_channel(seed):
    """Two classes behind a linear layer: nothing of higher order is left out."""
    generator = torch.Generator().manual_seed(seed)
    values = torch.randn(4, 3, 2, 2, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(2, 12, generator=generator, dtype=torch.float64)
    labels = np.array([0, 1, 1, 0])

    def margin(inputs):
        scores = F.linear(inputs.flatten(1), weight).detach().numpy()
        return scores[np.arange(4), labels] - scores[np.arange(4), 1 - labels]

    scores = F.linear(values.flatten(1), weight)
    signs = torch.tensor([1.0, -1.0, -1.0, 1.0], dtype=torch.float64)
    ((scores[:, 0] - scores[:, 1]) * signs).sum().backward()
    found = relevances(values.detach().numpy(), values.grad.numpy())
    for channel in range(3):
        without = values.detach().clone()
        without[:, channel] = 0
        lost = np.abs(margin(values.detach()) - margin(without))
        assert found[:, channel] == pytest.approx(lost, abs=1e-12)


def test_of_a_class_the_mean_counts():
    found = np.array([[1.0, 2.0], [3.0, 4.0], [5.0, 0.0]])
    assert class_means(found, np.array([1, 0, 1]), 2).tolist() == [[3.0, 4.0], [3.0, 1.0]]


def test_a_class_without_images_and_what_is_not_finite_are_refused():
    with pytest.raises(InputError, match="class 1 has no image"):
        class_means(np.ones((2, 2)), np.array([0, 2]), 3)
    with pytest.raises(InputError, match="not finite"):
        class_means(np.array([[np.nan]]), np.array([0]), 1)


@pytest.mark.parametrize("share", [0.0, -0.1, 1.5, float("nan")])
def test_a_share_is_above_0_and_at_most_1(share):
    with pytest.raises(InputError, match=r"tau .* is required"):
        covering(np.ones((2, 3)), share)
    with pytest.raises(InputError, match=r"beta .* is required"):
        candidates(np.ones((2, 3)), share)
