"""Operations of a transform against one that counts them as it computes."""

import numpy as np
import pytest

from mlcnn.accelerators.fft.transform import complex_bins, is_power_of_two, level, levels, whole
from mlcnn.ops.block_circulant.transforms import forward_operations
from mlcnn.workload import Operations


class _Counter:
    """A real transform, operation by operation."""

    def __init__(self):
        self.additions = self.multiplications = 0

    def add(self, a, b):
        self.additions += 1
        return a + b

    def times(self, value, constant):
        self.multiplications += 1
        return value * constant

    def turned(self, a, b, f, points):
        """(a + ib) w^f: three products, or two where both parts of w^f are as large."""
        w = np.exp(-2j * np.pi * f / points)
        if 8 * f == points:
            half = np.sqrt(0.5)
            return self.times(self.add(a, b), half), self.times(self.add(b, -a), half)
        first = self.times(self.add(a, b), w.real)
        second = self.times(a, w.imag - w.real)
        third = self.times(b, w.real + w.imag)
        return self.add(first, -third), self.add(first, second)

    def transform(self, words):
        points = len(words)
        if points == 1:
            return [(words[0], 0.0)]
        even, odd = self.transform(words[0::2]), self.transform(words[1::2])
        bins = [(0.0, 0.0)] * (points // 2 + 1)
        bins[0] = self.add(even[0][0], odd[0][0]), 0.0
        bins[points // 2] = self.add(even[0][0], -odd[0][0]), 0.0
        if points >= 4:
            bins[points // 4] = even[points // 4][0], -odd[points // 4][0]
        for f in range(1, points // 4):
            a, b = self.turned(*odd[f], f, points)
            real, imaginary = even[f]
            bins[f] = self.add(real, a), self.add(imaginary, b)
            bins[points // 2 - f] = self.add(real, -a), self.add(b, -imaginary)
        return bins


@pytest.mark.parametrize("points", [1, 2, 4, 8, 16, 32, 128])
def test_counts_are_those_of_an_execution(points):
    words = np.random.default_rng(points).standard_normal(points)
    counter = _Counter()
    bins = counter.transform(list(words))
    expected = np.fft.rfft(words)
    np.testing.assert_allclose([a + 1j * b for a, b in bins], expected, atol=1e-12)
    assert whole(points) == Operations(counter.multiplications, counter.additions)
    assert sum(levels(points), Operations()) == whole(points)
    assert complex_bins(points) == max(len(bins) - 2, 0)


@pytest.mark.parametrize("points", [2, 4, 8, 16, 64])
def test_counts_are_those_of_the_operator(points):
    """With one more addition for the sum of the two parts of each complex bin."""
    assert whole(points) + Operations(0, complex_bins(points)) == forward_operations(points)


def test_transforms_without_multiplications():
    assert whole(2) == Operations(0, 2)
    assert whole(4) == Operations(0, 6)
    assert level(8) == Operations(2, 8)


def test_powers_of_two():
    assert [n for n in range(-2, 20) if is_power_of_two(n)] == [1, 2, 4, 8, 16]
