"""Observers against a search over the numbers themselves."""

import numpy as np
import pytest

from mlcnn.training.quantisation.grid import Grid
from mlcnn.training.quantisation.observers import OBSERVERS, Histogram


def seen(*parts: np.ndarray) -> Histogram:
    found = Histogram()
    for part in parts:
        found.widen(part)
    for part in parts:
        found.count(part)
    return found


def heavy(*, relu: bool) -> np.ndarray:
    numbers = np.random.default_rng(3).standard_t(3, 200_000).astype(np.float32)
    return np.maximum(numbers, 0) if relu else numbers


def test_counts_are_those_of_all_numbers_but_zeros() -> None:
    numbers = heavy(relu=True)
    found = seen(*np.split(numbers, 4))
    nonzero = numbers[numbers != 0]
    expected, _ = np.histogram(nonzero, 2048, (numbers.min(), numbers.max()))
    assert found.counts.sum() == nonzero.size
    # A number on the border of two parts may fall to either in float32.
    assert np.abs(found.counts - expected).sum() <= 1e-3 * nonzero.size


def test_whole_range() -> None:
    numbers = heavy(relu=False)
    assert OBSERVERS["min-max"](seen(numbers), 8) == (numbers.min(), numbers.max())


@pytest.mark.parametrize("relu", [False, True])
def test_percentile(relu: bool) -> None:
    numbers = heavy(relu=relu)
    low, high = OBSERVERS["percentile"](seen(numbers), 8)
    kept = numbers[numbers != 0]
    part = (kept.max() - kept.min()) / 2048
    ordered, cut = np.sort(kept), kept.size // 10_000  # 0.01 % at either end
    expected = [ordered[cut], ordered[-1 - cut]]
    np.testing.assert_allclose([low, high], expected, atol=1.5 * part)


@pytest.mark.parametrize("bits", [4, 8])
@pytest.mark.parametrize("relu", [False, True])
def test_squared_error_is_the_least(bits: int, relu: bool) -> None:
    numbers = heavy(relu=relu)

    def error(ends: tuple[float, float]) -> float:
        rounded = Grid.over(*ends, bits).rounded(numbers)
        return float(((rounded - numbers).astype(np.float64) ** 2).sum())

    found = error(OBSERVERS["mse"](seen(numbers), bits))
    low, high = float(numbers.min()), float(numbers.max())
    tried = [error((low * ratio, high * ratio)) for ratio in np.arange(128, 7, -1) / 128]
    assert found <= min(tried) * 1.02
    assert found < error((low, high))


def divergence(numbers: np.ndarray, ends: tuple[float, float], bits: int) -> float:
    """Of 2048 parts, spread evenly over the parts in use of each code; number by number."""
    grid = Grid.over(*ends, bits)
    edges = np.linspace(numbers.min(), numbers.max(), 2049)
    counts, _ = np.histogram(numbers[numbers != 0], edges)
    centres = (edges[:-1] + edges[1:]) / 2
    groups: dict[int, list[int]] = {}
    least, most = grid.low - grid.step / 2, grid.high + grid.step / 2
    inside = [i for i in range(2048) if counts[i] and least <= centres[i] <= most]
    for index in inside:
        code = int(np.rint(np.clip(centres[index], grid.low, grid.high) / grid.step))
        groups.setdefault(code, []).append(index)
    first = {index: float(counts[index]) for index in inside}
    for index in range(2048):
        if counts[index] and centres[index] < least:
            first[inside[0]] += counts[index]
        if counts[index] and centres[index] > most:
            first[inside[-1]] += counts[index]
    second = {i: np.mean([counts[j] for j in group]) for group in groups.values() for i in group}
    sums = sum(first.values()), sum(second.values())
    return float(
        sum(first[i] / sums[0] * np.log(first[i] / sums[0] / (second[i] / sums[1])) for i in inside)
    )


@pytest.mark.parametrize("relu", [False, True])
def test_divergence_is_the_least(relu: bool) -> None:
    numbers = heavy(relu=relu)
    low, high = float(numbers.min()), float(numbers.max())
    found = divergence(numbers, OBSERVERS["entropy"](seen(numbers), 8), 8)
    tried = [divergence(numbers, (low * r, high * r), 8) for r in np.arange(128, 7, -4) / 128]
    assert found <= min(tried) + 1e-4


@pytest.mark.parametrize("name", OBSERVERS)
@pytest.mark.parametrize("number", [0.0, 2.5])
def test_a_constant_value_has_a_range(name: str, number: float) -> None:
    numbers = np.full(100, number, np.float32)
    grid = Grid.over(*OBSERVERS[name](seen(numbers), 8))
    assert grid.step > 0
    np.testing.assert_allclose(grid.rounded(numbers), numbers, rtol=1e-6)


def test_values_that_share_codes_are_counted_together() -> None:
    first, second = heavy(relu=True)[:5000], 3 * heavy(relu=True)[5000:10000]
    joined, whole = seen(first).merge(seen(second)), seen(np.concatenate([first, second]))
    assert (joined.low, joined.high) == (whole.low, whole.high)
    assert joined.counts.sum() == whole.counts.sum()
    ends = [OBSERVERS["mse"](item, 8)[1] for item in (joined, whole)]
    assert ends[0] == pytest.approx(ends[1], rel=0.05)
