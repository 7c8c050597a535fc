"""What a layer in whole numbers gives: the reference that the hardware must equal bit for bit.

Written from the arithmetic that ``IntegerLayer`` defines, and from nothing else. The mean of a pool
behind a convolution is a sum here, its division part of the scale, and sums change places:

    sum over the window of (sum over taps of w x)  =  sum over taps of w (sum over the window of x)

Left is the plain order, right the fused one, in which sums of inputs are formed first ([MLCNN]
Eq. 3). Both are the same whole number and are rounded once, so that both give the same codes.
"""

from collections.abc import Iterator
from fractions import Fraction
from typing import Final

import numpy as np
from numpy.typing import NDArray

from mlcnn.errors import InfeasibleError
from mlcnn.rtl.layer import SHIFT_MOST, SIGNIFICAND_BITS, IntegerLayer

__all__ = ["fixed_point", "require_32_bits", "round_half_even", "run_layer"]

Whole = NDArray[np.int64]

_LEAST: Final = -(2**31)
_MOST: Final = 2**31 - 1


def fixed_point(scale: Fraction, name: str) -> tuple[int, int]:
    """A scale as ``significand / 2**shift``, the significand with 24 bits wherever it can.

    Args:
        scale: above 0.
        name: of the layer, for the message.

    Raises:
        InfeasibleError: the scale is 2**24 or more.

    Example:
        >>> fixed_point(Fraction(3, 8), "conv1")
        (12582912, 25)
    """
    shift = SIGNIFICAND_BITS - 1
    while scale * (1 << shift) < 1 << SIGNIFICAND_BITS - 1 and shift < SHIFT_MOST:
        shift += 1
    while shift > 0 and scale * (1 << shift) >= 1 << SIGNIFICAND_BITS:
        shift -= 1
    significand = round(scale * (1 << shift))
    if significand == 1 << SIGNIFICAND_BITS and shift > 0:  # rounded up
        significand, shift = significand // 2, shift - 1
    if significand >= 1 << SIGNIFICAND_BITS:
        raise InfeasibleError(
            f"{name}: an output step is {float(scale):.3g} times smaller than that of the sums, "
            f"and the hardware takes less than {1 << SIGNIFICAND_BITS}: calibrate the network on "
            "images that are scaled as in training"
        )
    return significand, shift


def round_half_even(numerator: Whole, denominator: Whole | int) -> Whole:
    """The nearest whole numbers to quotients; halves go to the even one.

    Args:
        numerator: any shape.
        denominator: above 0 and at most 2**62; it broadcasts.

    Example:
        >>> round_half_even(np.array([-3, -1, 1, 3, 5]), 2).tolist()
        [-2, 0, 0, 2, 2]
    """
    divisor = np.asarray(denominator, np.int64)
    quotient, rest = np.divmod(numerator, divisor)
    other = divisor - rest
    up = (rest > other) | ((rest == other) & (quotient % 2 == 1))
    return quotient + up


def require_32_bits(layer: IntegerLayer) -> None:
    """Refuse a layer whose sums could leave the 32 bits of an accumulator.

    Every sum on the way counts, whatever the order and whatever the codes of the input are.

    Args:
        layer: the layer.

    Raises:
        InfeasibleError: a sum could.
    """
    lowest, highest = (-128, 127) if layer.signed else (0, 255)
    ends = np.stack([layer.weights * lowest, layer.weights * highest])
    size = layer.window[0] * layer.window[1]
    down, up = (
        size * part.reshape(len(layer.weights), -1).sum(1)
        for part in (np.minimum(ends.min(0), 0), np.maximum(ends.max(0), 0))
    )
    least = np.minimum(down, 0) + np.minimum(layer.bias, 0)
    most = np.maximum(up, 0) + np.maximum(layer.bias, 0)
    if least.min(initial=0) < _LEAST or most.max(initial=0) > _MOST:
        reached = max(-int(least.min()), int(most.max()))
        raise InfeasibleError(
            f"{layer.name}: its sums may reach {reached:,}, and an accumulator of 32 bits holds "
            f"{_MOST:,}: quantise it with fewer bits (--weight-bits), or give it fewer input "
            "channels"
        )


def run_layer(layer: IntegerLayer, codes: Whole) -> Whole:
    """The codes that a layer gives, fused or plain as it says; the result is the same.

    Args:
        layer: the layer.
        codes: of the input, shape (C, H, W) or (images, C, H, W).

    Returns:
        Shape (K, P, Q), or (images, K, P, Q).

    Raises:
        InfeasibleError: sums could leave 32 bits.
        ValueError: codes of another shape, or beyond those of the layer's input.
    """
    lowest, highest = (-128, 127) if layer.signed else (0, 255)
    if codes.shape[-3:] != layer.shape or codes.ndim not in {3, 4}:
        raise ValueError(f"{layer.name} takes codes of shape {layer.shape}, not {codes.shape}")
    if codes.size and not lowest <= codes.min() <= codes.max() <= highest:
        raise ValueError(f"{layer.name} takes codes of {lowest} to {highest}")
    require_32_bits(layer)
    before, after = layer.pads[::2], layer.pads[1::2]
    around = [(0, 0)] * (codes.ndim - 2) + [*zip(before, after, strict=True)]
    padded = np.pad(codes.astype(np.int64), around, constant_values=layer.pad_value)
    sums = (_fused if layer.fused else _plain)(layer, padded)
    return _rescaled(layer, sums)


def _fused(layer: IntegerLayer, padded: Whole) -> Whole:
    """Sums of inputs first: those that the outputs of a window read with the same weight."""
    height, width = (
        (pooled - 1) * pool * stride + taps
        for pooled, pool, stride, taps in zip(
            layer.outputs, layer.pool_strides, layer.strides, layer.weights.shape[2:], strict=True
        )
    )
    down, along = layer.strides
    boxes = np.zeros((*padded.shape[:-2], height, width), np.int64)
    for row, column in _pairs(layer.window):
        top, left = row * down, column * along
        boxes += padded[..., top : top + height, left : left + width]
    steps = (down * layer.pool_strides[0], along * layer.pool_strides[1])
    return _convolved(layer, boxes, steps, layer.outputs)


def _plain(layer: IntegerLayer, padded: Whole) -> Whole:
    """The convolution's sums first, and the sums of a pool's window of them behind."""
    convolved = _convolved(layer, padded, layer.strides, layer.convolved)
    return sum(
        (_every(convolved, at, layer.pool_strides, layer.outputs) for at in _pairs(layer.window)),
        np.zeros(1, np.int64),
    )


def _convolved(
    layer: IntegerLayer, values: Whole, strides: tuple[int, int], outputs: tuple[int, int]
) -> Whole:
    """Sums of weights times values, shape (..., K, *outputs)."""
    filters, channels = layer.weights.shape[:2]
    sums = np.zeros((*values.shape[:-3], filters, outputs[0] * outputs[1]), np.int64)
    for row, column in _pairs(layer.weights.shape[2:]):
        read = _every(values, (row, column), strides, outputs)
        sums += layer.weights[:, :, row, column] @ read.reshape(*values.shape[:-3], channels, -1)
    return sums.reshape(*sums.shape[:-1], *outputs)


def _every(
    values: Whole, start: tuple[int, int], strides: tuple[int, int], outputs: tuple[int, int]
) -> Whole:
    """The values that the outputs read, from a first one on."""
    down, along = (
        slice(first, first + (count - 1) * stride + 1, stride)
        for first, stride, count in zip(start, strides, outputs, strict=True)
    )
    return values[..., down, along]


def _pairs(sizes: tuple[int, ...]) -> Iterator[tuple[int, int]]:
    """Rows and columns, one after another."""
    return ((row, column) for row in range(sizes[0]) for column in range(sizes[1]))


def _rescaled(layer: IntegerLayer, sums: Whole) -> Whole:
    """Codes of sums, shape (..., K, P, Q)."""
    bias, significand, shift = (
        each.astype(np.int64)[:, None, None]
        for each in (layer.bias, layer.significand, layer.shift)
    )
    # At 2**63 the divisor would not fit: a product is below 2**55, and rounds to 0 from 2**56 on.
    divisor = np.int64(1) << np.minimum(shift, 62)
    rounded = round_half_even((sums + bias) * significand, divisor)
    return np.clip(rounded + layer.zero, layer.low, layer.high)
