"""The counts against executions that count: transforms, and whole layers by them."""

import cmath
import math

import numpy as np
import pytest

from mlcnn.reproduce.circulant_counts import FEWEST, OURS, PRODUCTS, stored_weights
from mlcnn.workload import ConvLayer

Bins = list[complex]


class Counter:
    """Products that count their real multiplications: three for one of complex numbers."""

    def __init__(self) -> None:
        self.multiplications = 0

    def times(self, a: complex, b: complex) -> complex:
        self.multiplications += 3
        return a * b

    def scaled(self, real: float, factor: float) -> float:
        self.multiplications += 1
        return real * factor


def _root(power: int, size: int) -> complex:
    return cmath.exp(-2j * math.pi * power / size)


def split_radix(x: list[float], counter: Counter) -> Bins:
    """Frequencies 0 to size / 2 of real values: one half and two quarters."""
    size = len(x)
    if size == 1:
        return [complex(x[0])]
    if size == 2:
        return [complex(x[0] + x[1]), complex(x[0] - x[1])]
    half = split_radix(x[::2], counter)
    half += [half[size // 2 - k].conjugate() for k in range(len(half), size // 2)]
    quarters = split_radix(x[1::4], counter), split_radix(x[3::4], counter)
    first, third = (
        _turned(quarter, size, times, counter)
        for quarter, times in zip(quarters, (1, 3), strict=True)
    )
    low = [half[k] + first[k] + third[k] for k in range(size // 4)]
    high = [half[k + size // 4] - 1j * (first[k] - third[k]) for k in range(size // 4)]
    return [*low, *high, half[0] - first[0] - third[0]]


def _turned(quarter: Bins, size: int, times: int, counter: Counter) -> Bins:
    """The quarter's frequencies times the roots; those past size / 8 mirror those before it."""
    turned = [quarter[0]]
    turned += [counter.times(quarter[k], _root(times * k, size)) for k in range(1, size // 8)]
    if size >= 8:
        assert quarter[size // 8].imag == 0
        part = counter.scaled(quarter[size // 8].real, math.sqrt(0.5))
        turned.append(part * (1 if times == 1 else -1) - 1j * part)
    turn = _root(times * size // 4, size)
    mirrored = [turn * turned[size // 4 - k].conjugate() for k in range(len(turned), size // 4)]
    return turned + mirrored


@pytest.mark.parametrize("size", [2, 4, 8, 16, 64, 128])
def test_a_split_radix_transform_takes_as_many(size: int) -> None:
    x = np.random.default_rng(size).standard_normal(size)
    counter = Counter()
    assert np.allclose(split_radix(list(x), counter), np.fft.rfft(x), atol=1e-12)
    assert counter.multiplications == FEWEST.forward(size) == FEWEST.backward(size)


@pytest.mark.parametrize("size", [4, 8, 16, 32, 64, 128, 256])
def test_split_radix_is_the_closed_form_of_sorensen(size: int) -> None:
    assert FEWEST.forward(size) == size // 2 * (int(math.log2(size)) - 3) + 2


@pytest.mark.parametrize(("outputs", "inputs", "block"), [(10, 24, 8), (32, 32, 16), (5, 7, 4)])
def test_a_layer_takes_as_many(outputs: int, inputs: int, block: int) -> None:
    """Executed from its stored weights, against the dense matrix; channels are padded."""
    generator = np.random.default_rng(0)
    rows, columns = -(-outputs // block), -(-inputs // block)
    weights = generator.standard_normal((rows, columns, block))
    assert stored_weights(ConvLayer("n", 1, outputs, inputs, 1, 1, 1, 1), block) == weights.size
    x = np.zeros(columns * block)
    x[:inputs] = generator.standard_normal(inputs)
    shifts = (np.arange(block)[:, None] - np.arange(block)) % block
    matrix = weights[..., shifts].transpose(0, 2, 1, 3).reshape(rows * block, columns * block)

    counter = Counter()
    spectra = [split_radix(list(part), counter) for part in x.reshape(columns, block)]
    sums = np.zeros((rows, block // 2 + 1), complex)
    for row, column, k in np.ndindex(rows, columns, block // 2 + 1):
        weight = np.fft.rfft(weights[row, column])[k]
        if k in {0, block // 2}:
            sums[row, k] += counter.scaled(spectra[column][k].real, weight.real)
        else:
            sums[row, k] += counter.times(spectra[column][k], weight)
    # The inverse is the transform's transpose and takes as many.
    counter.multiplications += rows * FEWEST.backward(block)
    result = np.fft.irfft(sums, block).reshape(-1)
    assert np.allclose(result, matrix @ x, atol=1e-12)
    assert counter.multiplications == FEWEST.multiplications(outputs, inputs, block)


def test_only_the_transforms_differ() -> None:
    """Two blocks of 128, with 191 products each, take two transforms and an inverse one."""
    counted = [way.multiplications(128, 256, 128) for way in (PRODUCTS, FEWEST, OURS)]
    assert counted == [2 * 191, 2 * 191 + 3 * 258, 2 * 191 + 3 * 356]
    assert all(FEWEST.forward(1 << power) <= OURS.forward(1 << power) for power in range(1, 9))


def test_stored_weights_of_a_convolution_pad_its_channels() -> None:
    layer = ConvLayer("n", 1, 10, 3, 8, 8, 3, 5)
    assert stored_weights(layer, 4) == 3 * 1 * 4 * 15
    assert stored_weights(layer, 1) == 10 * 3 * 15
    assert stored_weights(ConvLayer("n", 1, 8, 16, 4, 4, 3, 3, G=2), 4) == 2 * 1 * 2 * 4 * 9
