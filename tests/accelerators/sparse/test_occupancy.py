"""What the mask sets, against slices that are walked weight by weight."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.accelerators.sparse import Occupancy

MASKS = st.tuples(
    st.sampled_from([1, 2]), st.integers(1, 9), st.integers(1, 10), st.sampled_from([1, 4, 9]),
    st.sampled_from([0.0, 0.1, 0.5, 0.9, 1.0]), st.integers(0, 999),
)  # fmt: skip


def _mask(drawn):
    groups, filters, channels, words, density, seed = drawn
    kept = np.random.default_rng(seed).random((groups * filters, channels, words)) < density
    return kept, groups


def _queues(kept, channels):
    """Of each filter and window, the places of its non-zeros."""
    windows = [kept[:, at : at + channels] for at in range(0, kept.shape[1], channels)]
    return [[np.flatnonzero(part[row]).tolist() for part in windows] for row in range(len(kept))]


def _run(queues, multipliers, least):
    """Slices side by side on one window: cycles, and sets that each had weights for."""
    left, cycles, busy = [queue[:] for queue in queues], 0, 0
    while any(left):
        for queue in left:
            busy += bool(queue)
            del queue[:multipliers]
        cycles += 1
    return max(cycles, least), cycles * len(queues), busy


@given(
    drawn=MASKS,
    channels=st.integers(1, 8),
    multipliers=st.sampled_from([1, 3, 9]),
    least=st.integers(1, 4),
    cut=st.tuples(st.integers(1, 9), st.integers(1, 9)),
)
def test_cycles_are_those_of_the_slowest_slice(drawn, channels, multipliers, least, cut):
    kept, groups = _mask(drawn)
    each = len(kept) // groups
    filters, side = min(cut[0], each), min(*cut, each)
    queues = _queues(kept, channels)
    cycles = slots = busy = turns = 0
    for group in range(groups):
        for tile in range(0, each, filters):
            inside = range(tile, min(tile + filters, each))
            turns += math.ceil(len(inside) / side)
            for first in inside[::side]:
                rows = [group * each + row for row in range(first, min(first + side, inside.stop))]
                for window in range(len(queues[0])):
                    took, had, used = _run([queues[r][window] for r in rows], multipliers, least)
                    cycles, slots, busy = cycles + took, slots + had, busy + used
    found = Occupancy.of(kept, channels, groups)
    mean = found.lockstep(multipliers, least, filters, side)
    assert mean * turns * found.windows == pytest.approx(cycles, rel=1e-12)
    assert found.sets(multipliers).sum() == busy
    assert found.balance(multipliers, filters, side) == (busy / slots if slots else 1.0)


@given(drawn=MASKS, channels=st.integers(1, 8), cut=st.tuples(st.integers(1, 9), st.integers(1, 9)))
def test_the_tile_that_has_most(drawn, channels, cut):
    kept, groups = _mask(drawn)
    each, (filters, windows) = len(kept) // groups, cut
    filters = min(filters, each)
    span = windows * channels
    tiles = [
        kept[group * each : (group + 1) * each][row : row + filters, at : at + span]
        for group in range(groups)
        for row in range(0, each, filters)
        for at in range(0, kept.shape[1], span)
    ]
    sizes = [
        13 * part.sum() + 5 * len(part) * math.ceil(part.shape[1] / channels) for part in tiles
    ]
    assert Occupancy.of(kept, channels, groups).largest(filters, windows, 13, 5) == max(sizes)


def test_the_mean_density_would_not_do():
    """Two masks of one density: slices that are alike, and one that has all the work."""
    even, uneven = np.zeros((4, 4, 9), bool), np.zeros((4, 4, 9), bool)
    even[:, :, :3] = True
    uneven[0], uneven[1, :, :3] = True, True
    found = [Occupancy.of(kept, 4, 1) for kept in (even, uneven)]
    assert even.sum() == uneven.sum() == found[1].total == 48
    assert [one.lockstep(9, 1, 4, 4) for one in found] == [2.0, 4.0]
    assert [one.balance(9, 4, 4) for one in found] == [1.0, 6 / 16]
