"""Predictions of stacks from their parts: exact where the world is as they suppose."""

import math

import numpy as np
import pytest

from mlcnn.errors import InputError
from mlcnn.frontier.predicting import Known, Part, Predictor, rank_correlation

HALF, THIRD = Part("thin", (("share", 0.5),)), Part("thin", (("share", 0.3),))
POOLS, CODES = Part("pools"), Part("codes", (("bits", 4.0),))
ALONE = (
    Known((HALF,), 100, 0.6, 2.0),
    Known((THIRD,), 100, 0.4, 5.0),
    Known((POOLS,), 100, 0.5, 1.0),
)


def test_costs_multiply_and_drops_add():
    predictor = Predictor(ALONE)
    assert predictor.cost((POOLS, HALF)) == pytest.approx(0.3)
    assert predictor.drop((POOLS, HALF), 100) == pytest.approx(3.0)
    assert predictor.cost((HALF,)) == pytest.approx(0.6)


def test_between_two_settings():
    """Of 1/share: 0.4 lies at 2.5, between 2 and 1/0.3."""
    predictor, at = Predictor(ALONE), (2.5 - 2) / (1 / 0.3 - 2)
    part = Part("thin", (("share", 0.4),))
    assert predictor.drop((part,), 100) == pytest.approx(2 + at * 3)
    assert math.log(predictor.cost((part,))) == pytest.approx(
        (1 - at) * math.log(0.6) + at * math.log(0.4)
    )


def test_stacks_correct_their_parts_halfway_for_one():
    """One stack that costs 1.44 times the product counts as much as the product does."""
    predictor = Predictor((*ALONE, Known((POOLS, HALF), 100, 0.3 * 1.44, 6.0)))
    assert predictor.cost((POOLS, THIRD)) == pytest.approx(0.2 * 1.2)
    assert predictor.drop_correction == pytest.approx(1.5)
    assert predictor.drop((POOLS, THIRD), 100) == pytest.approx(9.0)
    assert predictor.cost((POOLS,)) == pytest.approx(0.5)


def test_drops_shrink_with_images_as_those_seen_twice_did():
    """From 100 to 400 images the drop halves, so its exponent is 1/2."""
    predictor = Predictor((*ALONE, Known((POOLS,), 400, 0.5, 0.5)))
    assert predictor.learning == pytest.approx(0.5)
    assert predictor.drop((HALF,), 900) == pytest.approx(2.0 / 3)
    assert predictor.drop((POOLS,), 1600) == pytest.approx(0.25)


def test_what_was_not_trained_says_nothing_of_the_drop():
    predictor = Predictor((Known((CODES,), 0, 0.7, None),))
    assert predictor.cost((CODES,)) == pytest.approx(0.7)
    assert predictor.drop((CODES,), 100) == 0.0


def test_of_nothing_known_nothing_is_foretold():
    with pytest.raises(InputError, match="nothing is known of codes alone, so no stack with it"):
        Predictor(ALONE).cost((CODES,))


@pytest.mark.parametrize("seed", range(20))
def test_rank_correlation_is_that_of_pearson_on_ranks(seed):
    rng = np.random.default_rng(seed)
    first, second = rng.permutation(9), rng.permutation(9)
    differences = float(((first - second) ** 2).sum())
    assert rank_correlation(first, second) == pytest.approx(1 - 6 * differences / (9 * 80))


def test_equal_values_share_their_ranks():
    """Ranks 1.5, 1.5, 3 against 1, 2, 3."""
    assert rank_correlation([1, 1, 2], [1, 2, 3]) == pytest.approx(math.sqrt(3) / 2)
    assert rank_correlation([1, 1, 1], [1, 2, 3]) is None
    assert rank_correlation([1, 2], [1, 2]) is None
