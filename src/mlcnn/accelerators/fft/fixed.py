"""The engine in fixed point, bit for bit: transforms, products of bins and sums as integers.

Transforms grow by a bit in each level and are never scaled down on their way in; an inverse halves
its words in each. A complex product is rounded once, as three real products of exact sums are.
Largest values are those of the data: scales are chosen per layer, by calibration.
"""

from dataclasses import dataclass

import numpy as np

__all__ = ["Codes", "FixedPoint", "forward", "inverse"]

Codes = np.ndarray[tuple[int, ...], np.dtype[np.int64]]
Values = np.ndarray[tuple[int, ...], np.dtype[np.float64]]
Spectrum = tuple[Codes, Codes]

_ACCUMULATOR = 32


def forward(words: Codes, bits: int) -> Spectrum:
    """The real transform of words.

    Args:
        words: shape (..., k), k a power of two.
        bits: of a twiddle, its sign included.

    Returns:
        Real and imaginary parts of bins 0 to k/2, shape (..., k/2 + 1).
    """
    points = words.shape[-1]
    if points == 1:
        return words, np.zeros_like(words)
    even, odd = forward(words[..., 0::2], bits), forward(words[..., 1::2], bits)
    some = points // 4 + 1
    real, imaginary = even[0][..., :some], even[1][..., :some]
    turned = _turned(odd[0][..., :some], odd[1][..., :some], points, bits)
    return (
        _joined(real + turned[0], real - turned[0], points),
        _joined(imaginary + turned[1], turned[1] - imaginary, points),
    )


def inverse(spectrum: Spectrum, bits: int) -> Codes:
    """The words of which a spectrum is k times the transform, but for what rounding adds.

    Args:
        spectrum: real and imaginary parts, shape (..., k/2 + 1).
        bits: of a twiddle, its sign included.

    Returns:
        Shape (..., k).
    """
    real, imaginary = spectrum
    points = 2 * (real.shape[-1] - 1)
    if points == 0:
        return real
    some = points // 4 + 1
    ahead, behind = slice(0, some), slice(points // 2 - some + 1, None)
    mirrored = real[..., behind][..., ::-1], -imaginary[..., behind][..., ::-1]
    even = _halved(real[..., ahead] + mirrored[0]), _halved(imaginary[..., ahead] + mirrored[1])
    difference = real[..., ahead] - mirrored[0], imaginary[..., ahead] - mirrored[1]
    # By the conjugate twiddle: turned the other way.
    turned = _turned(difference[0], -difference[1], points, bits, halve=True)
    odd = turned[0], -turned[1]
    words = np.empty((*real.shape[:-1], points), dtype=np.int64)
    words[..., 0::2], words[..., 1::2] = inverse(even, bits), inverse(odd, bits)
    return words


def _joined(ahead: Codes, mirrored: Codes, points: int) -> Codes:
    """Bins 0 to k/4, and those from there to k/2, which come in the order from k/2 down."""
    rest = points // 2 + 1 - ahead.shape[-1]
    return np.concatenate([ahead, mirrored[..., :rest][..., ::-1]], axis=-1)


def _turned(
    real: Codes, imaginary: Codes, points: int, bits: int, *, halve: bool = False
) -> Spectrum:
    """Bins 0 to k/4 by their twiddles, which are integers of ``bits`` bits."""
    one = 1 << (bits - 2)
    angles = -2 * np.pi * np.arange(real.shape[-1]) / points
    cosine = np.rint(np.cos(angles) * one).astype(np.int64)
    sine = np.rint(np.sin(angles) * one).astype(np.int64)
    shift = bits - 2 + halve
    return (
        _shifted(real * cosine - imaginary * sine, shift),
        _shifted(real * sine + imaginary * cosine, shift),
    )


def _halved(values: Codes) -> Codes:
    return _shifted(values, 1)


def _shifted(values: Codes, places: int) -> Codes:
    """To the right, to the nearest integer."""
    return values if places <= 0 else (values + (1 << (places - 1))) >> places


def _bits_of(values: Codes) -> int:
    """Bits that hold all of these integers, the sign included."""
    return int(np.abs(values).max(initial=0)).bit_length() + 1


@dataclass(frozen=True, slots=True)
class FixedPoint:
    """Arithmetic of an engine of integers.

    Attributes:
        bits: of a weight, an input and an output.
    """

    bits: int

    def quantised(self, values: Values) -> tuple[Codes, float]:
        """Integers of symmetric scale, and the scale."""
        scale = float(np.abs(values).max()) / ((1 << (self.bits - 1)) - 1)
        return np.rint(values / scale).astype(np.int64), scale

    def layer(self, inputs: Values, weights: Values) -> Values:
        """Outputs of a block-circulant layer, in the engine's arithmetic.

        Args:
            inputs: shape (images, q, k).
            weights: first columns of the blocks, shape (p, q, k).

        Returns:
            Shape (images, p, k), as numbers again.
        """
        points = inputs.shape[-1]
        codes, input_scale = self.quantised(inputs)
        (real, imaginary), weight_scale = self.spectra(weights)
        sums, places = self._sums(forward(codes, self.bits), (real, imaginary))
        width = self.bits + points.bit_length() - 1
        more = max(max(map(_bits_of, sums)) - width, 0)
        narrow = _shifted(sums[0], more), _shifted(sums[1], more)
        scale = input_scale * weight_scale * 2.0 ** (places + more)
        words = inverse(narrow, self.bits)
        last = max(_bits_of(words) - self.bits, 0)
        return _shifted(words, last).astype(np.float64) * (scale * 2.0**last)

    def spectra(self, weights: Values) -> tuple[Spectrum, float]:
        """Spectra of weights, so that c, d, d - c and c + d of each bin c + id fit the bits."""
        bins = np.fft.rfft(weights)
        factors = [bins.real, bins.imag, bins.imag - bins.real, bins.real + bins.imag]
        largest = max(float(np.abs(factor).max()) for factor in factors)
        # One less than fits: the sum of two rounded parts may be one larger than the rounded sum.
        scale = largest / ((1 << (self.bits - 1)) - 2)
        parts = (np.rint(part / scale).astype(np.int64) for part in (bins.real, bins.imag))
        return (next(parts), next(parts)), scale

    def _sums(self, inputs: Spectrum, weights: Spectrum) -> tuple[Spectrum, int]:
        """Bins of the outputs, and the places that products lose so that 32 bits hold their sums.

        Three products a bin: c (a + b), a (d - c) and b (c + d), each in a sum of its own.
        """
        (a, b), (c, d) = inputs, weights
        count = a.shape[-2]
        needed = _bits_of(a + b) + self.bits - 1 + (count - 1).bit_length()
        places = max(needed - _ACCUMULATOR, 0)
        pairs = ((a + b, c), (a, d - c), (b, c + d))
        first, second, third = (
            _shifted(x[:, None] * w[None], places).sum(axis=2) for x, w in pairs
        )
        return (first - third, first + second), places
