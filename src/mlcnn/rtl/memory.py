"""What stands in memory, byte by byte: activations, weights, bias and scale.

Memory is an array of bytes of shape (beats, 64). A beat is what DRAM moves in a cycle.
"""

from typing import Final

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "BEAT_BYTES",
    "GROUP_CHANNELS",
    "PARAMETER_BYTES",
    "Bytes",
    "activation_beats",
    "pack_activations",
    "pack_parameters",
    "pack_weights",
    "pack_words",
    "unpack_activations",
]

BEAT_BYTES: Final = 64
"""Of a beat: channels of one position."""
GROUP_CHANNELS: Final = 8
"""Input channels that a slice takes at a time."""
PARAMETER_BYTES: Final = 8
"""Of an output channel: bias in 4, significand in 3, shift in 1."""
_BEAT_SLICES: Final = BEAT_BYTES // GROUP_CHANNELS
_BEAT_WORDS: Final = BEAT_BYTES // 4

Whole = NDArray[np.int64]
Bytes = NDArray[np.uint8]


def activation_beats(channels: int, rows: int, columns: int) -> int:
    """Beats of an activation."""
    return _up(channels, BEAT_BYTES) * rows * columns


def pack_activations(codes: Whole) -> Bytes:
    """Activations as ``[block of 64 channels][row][column][64]``; channels that miss are 0.

    Args:
        codes: -128..255, shape (C, H, W).

    Returns:
        Beats, shape (blocks * H * W, 64).
    """
    channels, rows, columns = codes.shape
    padded = _pad(codes, 0, _up(channels, BEAT_BYTES) * BEAT_BYTES)
    blocked = padded.reshape(-1, BEAT_BYTES, rows, columns).transpose(0, 2, 3, 1)
    return _bytes(blocked).reshape(-1, BEAT_BYTES)


def unpack_activations(beats: Bytes, shape: tuple[int, int, int], *, signed: bool) -> Whole:
    """The activations that beats hold.

    Args:
        beats: shape (at least blocks * H * W, 64).
        shape: of the activation, (C, H, W).
        signed: whether a byte is -128..127, and not 0..255.

    Returns:
        Codes, shape (C, H, W).
    """
    channels, rows, columns = shape
    bytes_ = np.ascontiguousarray(beats[: activation_beats(*shape)])
    codes = bytes_.view(np.int8) if signed else bytes_
    blocked = codes.astype(np.int64).reshape(-1, rows, columns, BEAT_BYTES)
    return blocked.transpose(0, 3, 1, 2).reshape(-1, rows, columns)[:channels]


def pack_weights(weights: Whole, tile_filters: int, channels: int, turn_filters: int) -> Bytes:
    """Weights in the order in which the weight buffer is read.

    ``[output tile][chunk][group of 8 channels][tap row][tap column][turn][fill][8 slices][8
    channels]``. All turns of a tile take as many beats, and weights that miss are 0.

    Args:
        weights: codes -128..127, shape (K, C, R, S).
        tile_filters: output channels of a tile; a multiple of ``turn_filters``, or K.
        channels: of a chunk; a multiple of 64, or C.
        turn_filters: output channels that the slices work on at a time: slices / ways.

    Returns:
        Beats, shape (beats, 64).
    """
    found = [
        _chunk(weights[first : first + tile_filters, begin : begin + channels], turn_filters)
        for first in range(0, len(weights), tile_filters)
        for begin in range(0, weights.shape[1], channels)
    ]
    return np.concatenate(found)


def pack_parameters(bias: Whole, significand: Whole, shift: Whole) -> Bytes:
    """Bias and scale, 8 bytes an output channel, little endian.

    Args:
        bias: within 32 bits, shape (K,).
        significand: 0..2**24 - 1, shape (K,).
        shift: 0..63, shape (K,).

    Returns:
        Beats, shape (K / 8 rounded up, 64).
    """
    words = np.stack([bias, significand | shift << 24], axis=1).reshape(-1)
    whole = _pad(words, 0, _up(len(words), _BEAT_WORDS) * _BEAT_WORDS)
    return pack_words((whole & 0xFFFFFFFF).astype(np.uint32))


def pack_words(words: NDArray[np.uint32]) -> Bytes:
    """Words of 32 bits, little endian.

    Args:
        words: shape (a multiple of 16,).

    Returns:
        Beats, shape (words / 16, 64).
    """
    return words.astype("<u4").view(np.uint8).reshape(-1, BEAT_BYTES)


def _chunk(weights: Whole, turn_filters: int) -> Bytes:
    """The beats of one chunk of a tile: weights of shape (filters, channels, R, S)."""
    filters, channels, rows, columns = weights.shape
    side = min(turn_filters, filters)
    turns = _up(filters, side)
    groups = _up(channels, GROUP_CHANNELS)
    whole = _pad(_pad(weights, 0, turns * side), 1, groups * GROUP_CHANNELS)
    by_turn = whole.reshape(turns, side, groups, GROUP_CHANNELS, rows, columns)
    slices = _pad(by_turn, 1, _up(side, _BEAT_SLICES) * _BEAT_SLICES)
    return _bytes(slices.transpose(2, 4, 5, 0, 1, 3)).reshape(-1, BEAT_BYTES)


def _bytes(codes: Whole) -> Bytes:
    """Codes as bytes, two's complement."""
    return (codes & 0xFF).astype(np.uint8)


def _pad(values: Whole, axis: int, length: int) -> Whole:
    """Values with zeros behind them along an axis."""
    widths = [(0, 0)] * values.ndim
    widths[axis] = (0, length - values.shape[axis])
    return np.pad(values, widths)


def _up(number: int, by: int) -> int:
    """The quotient, rounded up."""
    return -(-number // by)
