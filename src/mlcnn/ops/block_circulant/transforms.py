"""The real Fourier transform of a block as additions and products, and three products a bin.

A circulant block w times x is ``IFFT(FFT(w) * FFT(x))`` [CirCNN, section 2]. Of real numbers only
the bins up to k/2 are needed. A complex bin (a + bi)(u + vi) takes three real products:

    (a + b) u,  a (v - u),  b (u + v)

so that a block needs r = 3k/2 - 1 products (k even) where the dense one has k^2. One algorithm
serves numbers, matrices and the counting of operations.
"""

import functools
import math
from collections.abc import Sequence
from typing import Protocol, Self, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mlcnn.workload import Operations

__all__ = [
    "Bin",
    "Counted",
    "Floats",
    "N",
    "backward_matrix",
    "backward_operations",
    "forward_matrix",
    "forward_operations",
    "inverse",
    "products",
    "spectral_weights",
    "transform",
    "weight_matrix",
]

Floats = NDArray[np.float64]


@runtime_checkable
class _Number(Protocol):
    """What a transform is computed with."""

    def __add__(self, other: Self, /) -> Self: ...
    def __sub__(self, other: Self, /) -> Self: ...
    def __neg__(self) -> Self: ...
    def __mul__(self, other: float, /) -> Self: ...


N = TypeVar("N", bound=_Number)
Bin = tuple[N, N | None]
"""Real and imaginary part; None for an imaginary part that is 0."""
_Turned = tuple[N | None, N | None]
"""The same where the real part may be 0 too."""


def products(block: int) -> int:
    """Real products of a block of size k: one for each real bin, three for each complex one."""
    return 1 + (block % 2 == 0) + 3 * ((block - 1) // 2)


def transform(values: Sequence[N]) -> list[Bin[N]]:
    """Bins 0 to k // 2 of real values."""
    size = len(values)
    if size == 1:
        return [(values[0], None)]
    if size % 2:
        return _transform_odd(values)
    half = size // 2
    even, odd = transform(values[::2]), transform(values[1::2])
    found: list[Bin[N] | None] = [None] * (half + 1)
    for index, (first, second) in enumerate(zip(even, odd, strict=True)):
        turned = _turned(second, -2 * math.pi * index / size)
        found[index] = _sum(first, turned)
        # The bin at the other end is the conjugate of the difference, by symmetry.
        if half - index != index:
            real, imaginary = _difference(first, turned)
            found[half - index] = real, None if imaginary is None else -imaginary
    done = [item for item in found if item is not None]
    last = done[half]
    return [*done[:half], (last[0], None)]


def _transform_odd(values: Sequence[N]) -> list[Bin[N]]:
    """By the definition, with the symmetry of sine and cosine used."""
    size = len(values)
    pairs = [
        (values[i] + values[size - i], values[i] - values[size - i])
        for i in range(1, size // 2 + 1)
    ]
    found: list[Bin[N]] = [(_total([values[0], *(plus for plus, _ in pairs)]), None)]
    for index in range(1, size // 2 + 1):
        angles = [2 * math.pi * index * i / size for i in range(1, size // 2 + 1)]
        real = _total(
            [values[0], *(p * math.cos(a) for (p, _), a in zip(pairs, angles, strict=True))]
        )
        imaginary = _total([m * -math.sin(a) for (_, m), a in zip(pairs, angles, strict=True)])
        found.append((real, imaginary))
    return found


def inverse(bins: Sequence[Bin[N]], size: int) -> list[N]:
    """The real values whose bins 0 to k // 2 these are, times k."""
    if size == 1:
        return [bins[0][0]]
    if size % 2:
        return _inverse_odd(bins, size)
    half = size // 2
    even: list[Bin[N]] = []
    odd: list[Bin[N]] = []
    for index in range(half // 2 + 1):
        real, imaginary = bins[half - index]
        mirrored = real, None if imaginary is None else -imaginary
        if half - index == index:  # the middle: twice its real part, and twice its imaginary one
            (middle, side) = bins[index]
            even.append((middle + middle, None))
            odd.append((middle + middle, None) if side is None else (-(side + side), None))
            continue
        even.append(_sum(bins[index], mirrored))
        real, imaginary = _turned(_difference(bins[index], mirrored), 2 * math.pi * index / size)
        if real is None:
            raise AssertionError("a difference of conjugates is real only where nothing is turned")
        odd.append((real, imaginary))
    values: list[N] = []
    for pair in zip(inverse(even, half), inverse(odd, half), strict=True):
        values.extend(pair)
    return values


def _inverse_odd(bins: Sequence[Bin[N]], size: int) -> list[N]:
    values: list[N] = []
    plus = [real + real for real, _ in bins[1:]]
    minus = [imaginary + imaginary for _, imaginary in bins[1:] if imaginary is not None]
    for index in range(size // 2 + 1):
        angles = [2 * math.pi * index * i / size for i in range(1, size // 2 + 1)]
        cosine = _total([bins[0][0], *(p * math.cos(a) for p, a in zip(plus, angles, strict=True))])
        if not index:
            values.append(_total([bins[0][0], *plus]))
            continue
        sine = _total([m * math.sin(a) for m, a in zip(minus, angles, strict=True)])
        values.extend((cosine - sine, cosine + sine))
    # Values i and k - i came in pairs.
    order = [
        0,
        *(i for pair in zip(range(1, size), range(size - 1, 0, -1), strict=True) for i in pair),
    ]
    placed = dict(zip(order, values, strict=False))
    return [placed[index] for index in range(size)]


def _total(terms: Sequence[N]) -> N:
    return functools.reduce(lambda a, b: a + b, terms)


def _plus(first: N | None, second: N | None) -> N | None:
    if first is None or second is None:
        return second if first is None else first
    return first + second


def _minus(first: N | None, second: N | None) -> N | None:
    if first is None or second is None:
        return first if second is None else -second
    return first - second


def _sum(first: Bin[N], second: _Turned[N]) -> Bin[N]:
    return first[0] if second[0] is None else first[0] + second[0], _plus(first[1], second[1])


def _difference(first: Bin[N], second: _Turned[N]) -> Bin[N]:
    return first[0] if second[0] is None else first[0] - second[0], _minus(first[1], second[1])


def _turned(value: Bin[N], angle: float) -> _Turned[N]:
    """The number times e^(i angle), in the fewest products."""
    real, imaginary = value
    cosine, sine = math.cos(angle), math.sin(angle)
    if abs(sine) < 1e-12:
        return value if cosine > 0 else (-real, None if imaginary is None else -imaginary)
    if imaginary is None:
        if abs(cosine) < 1e-12:
            return None, real if sine > 0 else -real
        return real * cosine, real * sine
    if abs(cosine) < 1e-12:
        return (-imaginary, real) if sine > 0 else (imaginary, -real)
    if abs(abs(cosine) - abs(sine)) < 1e-12:
        plus, minus = real + imaginary, real - imaginary
        same = cosine * sine > 0
        return (minus if same else plus) * cosine, (plus if same else minus) * sine
    both = (real + imaginary) * cosine
    return both - imaginary * (cosine + sine), both + real * (sine - cosine)


def _rows(bins: Sequence[Bin[N]]) -> list[N]:
    """What is multiplied with a weight, in order: real bins, then a + b, a, b of complex ones."""
    found = [real for real, imaginary in bins if imaginary is None]
    for real, imaginary in bins:
        if imaginary is not None:
            found += [real + imaginary, real, imaginary]
    return found


def _bins(rows: Sequence[N], block: int) -> list[Bin[N]]:
    """The bins from the three products of each."""
    real = 1 + (block % 2 == 0)
    middle: list[Bin[N]] = []
    for index in range(real, len(rows), 3):
        both, first, second = rows[index : index + 3]
        middle.append((both - second, both + first))
    last: list[Bin[N]] = [(rows[1], None)] if real == 2 else []
    return [(rows[0], None), *middle, *last]


@functools.cache
def forward_matrix(block: int) -> Floats:
    """From a block of inputs to what is multiplied, shape (r, k)."""
    return np.stack(_rows(transform([*np.eye(block)])))


@functools.cache
def backward_matrix(block: int) -> Floats:
    """From the products to a block of outputs, times k: shape (k, r)."""
    units = [*np.eye(products(block))]
    return np.stack(inverse(_bins(units, block), block))


def spectral_weights(weights: Floats, axis: int) -> Floats:
    """What the rows are multiplied with, divided by k.

    Args:
        weights: first columns of circulant blocks along ``axis``.
        axis: of size k; of size r in the result.
    """
    block = weights.shape[axis]
    bins = np.fft.rfft(weights, axis=axis) / block
    moved = np.moveaxis(bins, axis, 0)
    whole = [moved[0].real] + ([moved[-1].real] if block % 2 == 0 and block > 1 else [])
    rows = [*whole]
    for value in moved[1 : (block + 1) // 2]:
        rows += [value.real, value.imag - value.real, value.real + value.imag]
    return np.moveaxis(np.stack(rows), 0, axis)


@functools.cache
def weight_matrix(block: int) -> Floats:
    """From a first column to what ``spectral_weights`` makes of it, shape (r, k)."""
    return spectral_weights(np.eye(block), 0)


class Counted:
    """A number that counts what is done with it."""

    __slots__ = ("counts",)

    def __init__(self, counts: list[int]) -> None:
        self.counts = counts

    def __add__(self, other: "Counted") -> "Counted":
        self.counts[1] += 1
        return self

    __sub__ = __add__

    def __neg__(self) -> "Counted":
        return self  # a sign is part of the addition that follows

    def __mul__(self, other: float) -> "Counted":
        if abs(other) > 1e-12 and abs(abs(other) - 1) > 1e-12:
            self.counts[0] += 1
        return self


@functools.cache
def forward_operations(block: int) -> Operations:
    """What one block of inputs takes: none of k = 2, 4 has a multiplication, k = 8 has two."""
    counts = [0, 0]
    _rows(transform([Counted(counts) for _ in range(block)]))
    return Operations(*counts)


@functools.cache
def backward_operations(block: int) -> Operations:
    """What one block of outputs takes."""
    counts = [0, 0]
    inverse(_bins([Counted(counts) for _ in range(products(block))], block), block)
    return Operations(*counts)
