"""Schedules and their limits."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.errors import InputError
from mlcnn.training import Recipe


def test_half_a_cosine():
    recipe = Recipe(epochs=10, learning_rate=0.4)
    assert recipe.learning_rate_at(0) == 0.4
    assert recipe.learning_rate_at(5) == pytest.approx(0.2)
    assert recipe.learning_rate_at(10) == pytest.approx(0, abs=1e-12)


def test_warm_up_is_linear():
    recipe = Recipe(epochs=10, learning_rate=0.4, warmup_epochs=2)
    assert recipe.learning_rate_at(0) == 0
    assert recipe.learning_rate_at(0.5) == pytest.approx(0.1)
    assert recipe.learning_rate_at(2) == pytest.approx(0.4)


@given(st.floats(0, 5), st.integers(0, 30), st.floats(0, 40))
def test_the_rate_stays_between_zero_and_its_peak(warmup, epochs, epoch):
    recipe = Recipe(epochs=epochs, learning_rate=0.1, warmup_epochs=warmup)
    assert 0 <= recipe.learning_rate_at(epoch) <= 0.1


@pytest.mark.parametrize(
    "options",
    [{"epochs": -1}, {"batch_size": 0}, {"learning_rate": -0.1}, {"crop": -1}, {"momentum": 1.0}],
)
def test_impossible_recipes_are_refused(options):
    with pytest.raises(InputError):
        Recipe(**options)
