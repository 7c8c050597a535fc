"""Operations of layers of few bits against an execution that counts what it does."""

import math
from dataclasses import dataclass

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view

from mlcnn.counting import BitOperations, bit_operations
from mlcnn.workload import ConvLayer, Layer, Numbers

WORD = 64


@dataclass
class Counted:
    """Arithmetic on words and whole numbers, each operation of which is counted."""

    ands: int = 0
    popcounts: int = 0
    shifts: int = 0
    additions: int = 0

    def both(self, a: int, b: int) -> int:
        self.ands += 1
        return a & b

    def ones(self, word: int) -> int:
        self.popcounts += 1
        return word.bit_count()

    def shifted(self, number: int, by: int) -> int:
        self.shifts += by > 0
        return number << by

    def total(self, numbers: list[int]) -> int:
        self.additions += len(numbers) - 1
        return sum(numbers)

    def less(self, a: int, b: int) -> int:
        self.additions += 1
        return a - b

    @property
    def operations(self) -> BitOperations:
        return BitOperations(self.ands, self.popcounts, self.shifts, self.additions)


def words(numbers: np.ndarray, plane: int) -> list[int]:
    """A plane of bits of a row of numbers, 64 to a word."""
    bits = [int(number) >> plane & 1 for number in numbers]
    return [
        sum(bit << place for place, bit in enumerate(bits[first : first + WORD]))
        for first in range(0, len(bits), WORD)
    ]


def windows_of(layer: ConvLayer, inputs: np.ndarray) -> np.ndarray:
    """What each output reads: (image, channel, row, column, row and column of the kernel)."""
    top, left, bottom, right = layer.pads
    padded = np.pad(inputs, ((0, 0), (0, 0), (top, bottom), (left, right)))
    windows = sliding_window_view(padded, (layer.R, layer.S), (2, 3))
    return windows[:, :, :: layer.strides[0], :: layer.strides[1]]


def executed(
    layer: ConvLayer, weights: np.ndarray, inputs: np.ndarray, bits: Numbers
) -> tuple[np.ndarray, BitOperations]:
    """The sums of products by odd weights, bit by bit, and what they take."""
    step, filters, windows = Counted(), layer.K // layer.G, windows_of(layer, inputs)
    y = np.zeros((layer.N, layer.K, layer.P, layer.Q), np.int64)
    size = layer.C // layer.G
    for n, group, p, q in np.ndindex(layer.N, layer.G, layer.P, layer.Q):
        a = windows[n, group * size : (group + 1) * size, p, q].reshape(-1)
        planes = [words(a, m) for m in range(bits.operand)]
        once = step.total(
            [
                step.shifted(step.total([step.ones(word) for word in plane]), m)
                for m, plane in enumerate(planes)
            ]
        )
        if bits.weight > 1:
            once = step.less(step.shifted(once, bits.weight), once)
        for k in range(group * filters, (group + 1) * filters):
            parts = []
            for i, m in np.ndindex(bits.weight, bits.operand):
                both = zip(words(weights[k].reshape(-1), i), planes[m], strict=True)
                counts = [step.ones(step.both(*pair)) for pair in both]
                parts.append(step.shifted(step.total(counts), i + m))
            y[n, k, p, q] = step.less(step.shifted(step.total(parts), 1), once)
    return y, step.operations


@given(data=st.data())
def test_the_count_is_what_an_execution_takes(data: st.DataObject) -> None:
    draw = data.draw
    groups = draw(st.sampled_from([1, 1, 2]))
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    layer = ConvLayer(
        "few", N=draw(st.integers(1, 2)), K=groups * draw(st.integers(1, 2)),
        C=groups * draw(st.integers(1, 30)), H=3, W=4, R=kernel[0], S=kernel[1], G=groups,
        strides=draw(st.sampled_from([(1, 1), (2, 1)])), pads=(1, 0, 0, 1),
    )  # fmt: skip
    sums = draw(st.sampled_from([0, 3, 4]))
    bits = Numbers(draw(st.integers(1, 3)), draw(st.integers(1, 2)), sums)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    numbers = rng.integers(0, 1 << bits.weight, (layer.K, layer.C // groups, *kernel))
    inputs = rng.integers(0, 1 << bits.operand, (layer.N, layer.C, layer.H, layer.W))
    found, took = executed(layer, numbers, inputs, bits)
    odd = 2 * numbers - (1 << bits.weight) + 1
    np.testing.assert_array_equal(found, convolved(layer, odd, inputs))
    assert bit_operations(Layer(layer, parts=(layer,), numbers=bits)) == took


def convolved(layer: ConvLayer, weights: np.ndarray, inputs: np.ndarray) -> np.ndarray:
    parts = zip(
        np.split(windows_of(layer, inputs), layer.G, axis=1),
        np.split(weights, layer.G, axis=0),
        strict=True,
    )
    return np.concatenate([np.einsum("nchwkl,fckl->nfhw", *part) for part in parts], axis=1)


def test_a_layer_of_the_chains_that_are_measured() -> None:
    """64@56 of W1A2: 9 words of a filter, two planes of inputs."""
    layer = ConvLayer("few", N=1, K=64, C=64, H=56, W=56, R=3, S=3, pads=(1, 1, 1, 1))
    found = bit_operations(Layer(layer, parts=(layer,), numbers=Numbers(1, 2)))
    outputs, words_ = 64 * 56 * 56, math.ceil(64 * 9 / 64)
    assert found.ands == outputs * 2 * words_
    assert found.popcounts == found.ands + 56 * 56 * 2 * words_


def test_eight_bits_are_multiplied() -> None:
    layer = ConvLayer("wide", N=1, K=1, C=1, H=1, W=1, R=1, S=1)
    for bits in (Numbers(), Numbers(8, 2), Numbers(1, 8)):
        assert bit_operations(Layer(layer, parts=(layer,), numbers=bits)) == BitOperations()
