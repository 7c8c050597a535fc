"""The engine in fixed point, bit for bit: transforms, products of bins and sums as integers.

Transforms grow by a bit in each level and are never scaled down on their way in; an inverse halves
its words in each. A complex product is rounded once, as three real products of exact sums are.
Scales are chosen per layer by the largest values of inputs that calibrate; what is larger later is
cut off.
"""

from dataclasses import dataclass, replace

import numpy as np

__all__ = ["Codes", "FixedDense", "FixedLayer", "FixedPoint", "forward", "inverse"]

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


def _summed(inputs: Codes, weights: Codes, places: int) -> Codes:
    """Sums over q of products, each shortened by so many places.

    Args:
        inputs: shape (images, q, bins).
        weights: shape (p, q, bins).
        places: that each product loses.

    Returns:
        Shape (images, p, bins).
    """
    if places:
        return _shifted(inputs[:, None] * weights[None], places).sum(axis=2)
    # Of whole numbers far below 2^53, which float64 multiplies and adds exactly, and faster.
    factors = inputs.transpose(2, 0, 1).astype(np.float64), weights.transpose(2, 1, 0)
    return (factors[0] @ factors[1].astype(np.float64)).transpose(1, 2, 0).astype(np.int64)


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

    @property
    def largest(self) -> int:
        """The largest word; the smallest is its negative."""
        return (1 << (self.bits - 1)) - 1

    def quantised(self, values: Values) -> tuple[Codes, float]:
        """Integers of symmetric scale, and the scale."""
        scale = float(np.abs(values).max()) / self.largest
        return self.codes(values, scale), scale

    def codes(self, values: Values, scale: float) -> Codes:
        """Integers of a given scale; what is too large becomes the largest word."""
        return np.rint(values / scale).astype(np.int64).clip(-self.largest, self.largest)

    def layer(self, inputs: Values, weights: Values) -> Values:
        """Outputs of a block-circulant layer whose scales fit these very inputs.

        Args:
            inputs: shape (images, q, k).
            weights: first columns of the blocks, shape (p, q, k).

        Returns:
            Shape (images, p, k), as numbers again.
        """
        return self.calibrated(inputs, weights)(inputs)

    def calibrated(
        self, inputs: Values, weights: Values, bias: Values | None = None
    ) -> "FixedLayer":
        """A block-circulant layer with scales that fit some inputs; others may be cut off.

        Args:
            inputs: to choose the scales by, shape (images, q, k).
            weights: first columns of the blocks, shape (p, q, k).
            bias: shape (p, k).
        """
        codes, input_scale = self.quantised(inputs)
        spectra, weight_scale = self.spectra(weights)
        spectrum = forward(codes, self.bits)
        count = inputs.shape[-2]
        needed = _bits_of(spectrum[0] + spectrum[1]) + self.bits - 1 + (count - 1).bit_length()
        places = max(needed - _ACCUMULATOR, 0)
        whole = FixedLayer(self, input_scale, spectra, input_scale * weight_scale, None, places)
        more = max(max(map(_bits_of, whole.sums(spectrum))) - whole.width(inputs.shape[-1]), 0)
        scale = whole.scale * 2.0 ** (places + more)
        added = None if bias is None else np.rint(bias / scale).astype(np.int64)
        narrowed = replace(whole, scale=scale, bias=added, more=more)
        last = max(_bits_of(narrowed.words(spectrum)) - self.bits, 0)
        return replace(narrowed, last=last)

    def spectra(self, weights: Values) -> tuple[Spectrum, float]:
        """Spectra of weights, so that c, d, d - c and c + d of each bin c + id fit the bits."""
        bins = np.fft.rfft(weights)
        factors = [bins.real, bins.imag, bins.imag - bins.real, bins.real + bins.imag]
        largest = max(float(np.abs(factor).max()) for factor in factors)
        # One less than fits: the sum of two rounded parts may be one larger than the rounded sum.
        scale = largest / ((1 << (self.bits - 1)) - 2)
        parts = (np.rint(part / scale).astype(np.int64) for part in (bins.real, bins.imag))
        return (next(parts), next(parts)), scale

    def dense(self, inputs: Values, weights: Values, bias: Values) -> "FixedDense":
        """A dense layer with scales that fit some inputs: exact sums, outputs of the bits.

        Args:
            inputs: to choose the scales by, shape (images, inputs).
            weights: shape (outputs, inputs).
            bias: shape (outputs,).
        """
        (_, input_scale), (codes, weight_scale) = map(self.quantised, (inputs, weights))
        scale = input_scale * weight_scale
        whole = FixedDense(self, input_scale, codes, np.rint(bias / scale), scale)
        return replace(whole, last=max(_bits_of(whole.words(inputs)) - self.bits, 0))


@dataclass(frozen=True, slots=True, eq=False)
class FixedLayer:
    """A block-circulant layer in the engine's arithmetic; its scales are fixed.

    Attributes:
        arithmetic: bits of its words.
        input_scale: of the input words.
        spectra: of the weights: real and imaginary parts, shape (p, q, k/2 + 1).
        scale: of the words behind the inverse transform.
        bias: words of that scale, shape (p, k).
        places: that each product loses, so that 32 bits hold the sums.
        more: places that the sums lose, so that they fit the words of the transform.
        last: places that the outputs lose.
    """

    arithmetic: FixedPoint
    input_scale: float
    spectra: Spectrum
    scale: float
    bias: Codes | None
    places: int
    more: int = 0
    last: int = 0

    def __call__(self, inputs: Values) -> Values:
        """Outputs as numbers.

        Args:
            inputs: shape (images, q, k).

        Returns:
            Shape (images, p, k).
        """
        codes = self.arithmetic.codes(inputs, self.input_scale)
        words = _shifted(self.words(forward(codes, self.arithmetic.bits)), self.last)
        largest = self.arithmetic.largest
        return words.clip(-largest, largest).astype(np.float64) * (self.scale * 2.0**self.last)

    def width(self, points: int) -> int:
        """Bits of a word of a spectrum of so many points: one more for each level."""
        return self.arithmetic.bits + points.bit_length() - 1

    def words(self, spectrum: Spectrum) -> Codes:
        """Words behind the inverse transform, and the bias, of the spectra of inputs."""
        points = 2 * (spectrum[0].shape[-1] - 1)
        largest = (1 << (self.width(points) - 1)) - 1
        real, imaginary = (
            _shifted(one, self.more).clip(-largest, largest) for one in self.sums(spectrum)
        )
        words = inverse((real, imaginary), self.arithmetic.bits)
        return words if self.bias is None else words + self.bias

    def sums(self, spectrum: Spectrum) -> Spectrum:
        """Bins of the outputs, of sums of 32 bits.

        Three products a bin: c (a + b), a (d - c) and b (c + d), each in a sum of its own.
        """
        (a, b), (c, d) = spectrum, self.spectra
        most = (1 << (_ACCUMULATOR - 1)) - 1
        first, second, third = (
            _summed(x, w, self.places).clip(-most, most)
            for x, w in ((a + b, c), (a, d - c), (b, c + d))
        )
        return first - third, first + second


@dataclass(frozen=True, slots=True, eq=False)
class FixedDense:
    """A dense layer in the engine's arithmetic; its scales are fixed.

    Attributes:
        arithmetic: bits of its words.
        input_scale: of the input words.
        weights: words, shape (outputs, inputs).
        bias: whole numbers of the scale of the sums, shape (outputs,).
        scale: of the sums.
        last: places that the outputs lose.
    """

    arithmetic: FixedPoint
    input_scale: float
    weights: Codes
    bias: Values
    scale: float
    last: int = 0

    def __call__(self, inputs: Values) -> Values:
        """Outputs as numbers, shape (images, outputs), of inputs of shape (images, inputs)."""
        largest = self.arithmetic.largest
        words = _shifted(self.words(inputs), self.last).clip(-largest, largest)
        return words.astype(np.float64) * (self.scale * 2.0**self.last)

    def words(self, inputs: Values) -> Codes:
        """The sums. Float64 holds whole numbers to 2^53, so that its products are exact."""
        codes = self.arithmetic.codes(inputs, self.input_scale).astype(np.float64)
        return (codes @ self.weights.T.astype(np.float64) + self.bias).astype(np.int64)
