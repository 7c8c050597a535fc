"""Memory, byte by byte."""

from itertools import product

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.rtl.memory import (
    activation_beats,
    pack_activations,
    pack_parameters,
    pack_weights,
    pack_words,
    unpack_activations,
)

Shape = tuple[int, int, int]
shapes = st.tuples(st.integers(1, 150), st.integers(1, 4), st.integers(1, 4))


@given(shape=shapes, signed=st.booleans(), seed=st.integers(0, 99))
def test_activations_come_back(shape: Shape, signed: bool, seed: int) -> None:
    least = -128 if signed else 0
    codes = np.random.default_rng(seed).integers(least, least + 256, shape)
    beats = pack_activations(codes)
    assert beats.shape == (activation_beats(*shape), 64)
    assert np.array_equal(unpack_activations(beats, shape, signed=signed), codes)


def test_activation_of_a_channel_stands_in_its_block_and_lane() -> None:
    codes = np.random.default_rng(0).integers(-128, 128, (70, 2, 3))
    beats = pack_activations(codes)
    assert beats.shape == (2 * 6, 64)
    for channel, row, column in product(range(70), range(2), range(3)):
        byte = beats[channel // 64 * 6 + row * 3 + column, channel % 64]
        assert byte == codes[channel, row, column] % 256
    assert not beats[6:, 6:].any()


@given(
    shape=st.tuples(st.integers(1, 40), st.integers(1, 150), st.integers(1, 3), st.integers(1, 3)),
    turn_filters=st.sampled_from([1, 2, 4, 8, 16, 32, 64]),
    tile_turns=st.integers(1, 4),
    chunk_blocks=st.integers(1, 3),
)
def test_weights_stand_in_the_order_in_which_they_are_read(
    shape: tuple[int, int, int, int], turn_filters: int, tile_turns: int, chunk_blocks: int
) -> None:
    filters, channels, *taps = shape
    weights = np.random.default_rng(filters).integers(-128, 128, shape)
    tile = min(filters, tile_turns * turn_filters)
    chunk = min(channels, chunk_blocks * 64)
    beats = pack_weights(weights, tile, chunk, turn_filters)
    expected: list[int] = []
    for first in range(0, filters, tile):
        end = min(first + tile, filters)
        fill = -(-min(turn_filters, end - first) // 8)
        for begin in range(0, channels, chunk):
            stop = min(begin + chunk, channels)
            for group, row, column, turn, slice_, channel in product(
                range(begin, stop, 8),
                range(taps[0]),
                range(taps[1]),
                range(first, end, turn_filters),
                range(8 * fill),
                range(8),
            ):
                there = slice_ < turn_filters and turn + slice_ < end and group + channel < stop
                found = weights[turn + slice_, group + channel, row, column] if there else 0
                expected.append(found % 256)
    assert beats.reshape(-1).tolist() == expected


def test_weights_of_two_slices_written_out() -> None:
    weights = np.array([[1, 2, 3], [-1, -2, -3]])[:, :, None, None]
    beats = pack_weights(weights, 2, 3, 16)
    assert beats.shape == (1, 64)
    assert beats[0].tolist() == [1, 2, 3, *[0] * 5, 255, 254, 253, *[0] * 53]


def test_parameters_written_out() -> None:
    beats = pack_parameters(
        np.array([-2, 0x01020304, *[0] * 7]),
        np.array([0xABCDEF, 1, *[0] * 7]),
        np.array([63, 5, *[0] * 7]),
    )
    assert beats.shape == (2, 64)
    first = [0xFE, 0xFF, 0xFF, 0xFF, 0xEF, 0xCD, 0xAB, 63]
    assert beats[0, :16].tolist() == [*first, 4, 3, 2, 1, 1, 0, 0, 5]
    assert not beats[0, 16:].any()
    assert not beats[1].any()


def test_words_written_out() -> None:
    beats = pack_words(np.arange(32, dtype=np.uint32) + np.uint32(0x01000000))
    assert beats.shape == (2, 64)
    assert beats[0, :8].tolist() == [0, 0, 0, 1, 1, 0, 0, 1]
    assert beats[1, :4].tolist() == [16, 0, 0, 1]
