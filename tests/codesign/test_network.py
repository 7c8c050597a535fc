"""The least product of sums: against every choice of a way for every layer."""

import itertools

import numpy as np
import pytest

from mlcnn.codesign.network import Minimum, Point, least_product


def random_layers(generator, scale=1.0):
    """Layers as arrays of (energy, latency), one row for each way to run them."""
    layers = []
    for _ in range(generator.integers(1, 5)):
        ways = generator.integers(1, 6)
        layers.append(np.exp(generator.normal(0, 1.5, (ways, 2))) * [scale, 1.0])
    return layers


def every_choice(layers):
    return np.array([np.sum(rows, axis=0) for rows in itertools.product(*layers)])


def exact(layers, slack=1.0):
    """Minimises weighted sums layer by layer; bounds are too low by ``slack``."""

    def oracle(weights):
        rows = [
            rows[(weights.energy * rows[:, 0] + weights.latency * rows[:, 1]).argmin()]
            for rows in layers
        ]
        point = Point(*map(float, np.sum(rows, axis=0)))
        return Minimum(point, weights.of(point) * slack)

    return oracle


@pytest.mark.parametrize("scale", [1.0, 1e9])
def test_it_is_the_least_of_all_choices(scale):
    for seed in range(300):
        layers = random_layers(np.random.default_rng(seed), scale)
        best = every_choice(layers).prod(1).min()
        found = least_product(exact(layers))
        assert found.point.product == pytest.approx(best, rel=1e-12)
        assert found.bound == pytest.approx(best, rel=1e-8)
        assert found.optimal
        assert found.gap == 0


def test_what_it_finds_is_no_sum_of_the_layers_own_optima():
    differs = 0
    for seed in range(100):
        layers = random_layers(np.random.default_rng(seed))
        own = np.sum([rows[rows.prod(1).argmin()] for rows in layers], axis=0).prod()
        found = least_product(exact(layers)).point.product
        assert found <= own * (1 + 1e-12)
        differs += found < own * (1 - 1e-6)
    assert differs > 20


@pytest.mark.parametrize("slack", [0.5, 0.9, 0.999])
def test_bounds_that_are_not_tight_give_a_bound_that_holds(slack):
    for seed in range(100):
        layers = random_layers(np.random.default_rng(seed))
        best = every_choice(layers).prod(1).min()
        found = least_product(exact(layers, slack))
        assert slack**2 * best * (1 - 1e-8) <= found.bound <= best * (1 + 1e-12)
        assert found.point.product >= best * (1 - 1e-12)
        if slack < 0.95:
            assert not found.optimal
            assert found.gap > 0


def test_stopped_at_once_it_still_has_a_bound():
    for seed in range(50):
        layers = random_layers(np.random.default_rng(seed))
        best = every_choice(layers).prod(1).min()
        found = least_product(exact(layers), stop=lambda: True)
        assert len(found.weights) == 2
        assert found.bound <= best * (1 + 1e-12)
        assert found.point.product >= best * (1 - 1e-12)


def test_a_point_that_is_known_is_not_lost():
    layers = random_layers(np.random.default_rng(3))
    start = Point(1e-9, 1e-9)
    assert least_product(exact(layers), [start]).point == start
