"""One axis cut into tiles, against a list of every tap of every window."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.accelerators.array import PLAIN, Boxes, Winograd
from mlcnn.accelerators.array.axis import axis_of
from mlcnn.workload import ConvLayer, Pool


def _outputs_of_pool(layer, outputs):
    """Outputs of the convolution under the windows of some pooled outputs."""
    pool = layer.pool
    if pool is None:
        return set(outputs)
    windows = pool.windows(layer.P, 0)
    return {windows[o].start + i for o in outputs for i in range(windows[o].length)}


def _inputs(layer, convolved):
    """Valid inputs under the taps of some outputs of the convolution."""
    taps = (
        output * layer.strides[0] - layer.pads[0] + tap * layer.dilations[0]
        for output in convolved
        for tap in range(layer.R)
    )
    return {tap for tap in taps if 0 <= tap < layer.H}


def _ranges(layer, size):
    whole = layer.pooled[0]
    return [range(first, min(first + size, whole)) for first in range(0, whole, size)]


@given(data=st.data())
def test_plain_tiles_hold_what_their_windows_touch(data, small_layers):
    layer = data.draw(small_layers)
    size = data.draw(st.integers(1, layer.pooled[0]))
    tiles = axis_of(layer, 0, PLAIN).tiles(size)
    ranges = _ranges(layer, size)
    convolved = [_outputs_of_pool(layer, one) for one in ranges]
    inputs = [_inputs(layer, some) for some in convolved]
    assert tiles.tiles == len(ranges)
    assert (tiles.outputs, tiles.last_outputs) == (len(ranges[0]), len(ranges[-1]))
    assert (tiles.convolved, tiles.all_convolved) == _largest_and_all(convolved)
    # A pool accumulates: positions are final outputs.
    assert (tiles.whole.positions, tiles.last.positions) == (tiles.outputs, tiles.last_outputs)
    assert tiles.all_positions == layer.pooled[0]
    assert (tiles.inputs, tiles.all_inputs) == _largest_and_all(inputs)
    assert (tiles.stored, tiles.all_stored) == _largest_and_all(inputs)
    assert (tiles.additions, tiles.all_additions) == (0, 0)


def _largest_and_all(sets):
    return max(map(len, sets)), sum(map(len, sets))


@given(data=st.data())
def test_box_sums_hold_each_window_of_each_tap_once(data, small_layers):
    layer = data.draw(small_layers.filter(lambda one: one.pool is not None))
    size = data.draw(st.integers(1, layer.pooled[0]))
    tiles = axis_of(layer, 0, Boxes()).tiles(size)
    step = layer.strides[0] * layer.pool.strides[0]
    boxes, stored = [], []
    for outputs in _ranges(layer, size):
        starts = {
            output * step - layer.pads[0] + tap * layer.dilations[0]
            for output in outputs
            for tap in range(layer.R)
        }
        windows = [
            {start + i * layer.strides[0] for i in range(layer.pool.kernel[0])} for start in starts
        ]
        valid = [{one for one in window if 0 <= one < layer.H} for window in windows]
        boxes.append([window for window in valid if window])
        stored.append(starts)  # those of padding alone as zeros
    inputs = [set().union(*some) for some in boxes]
    assert (tiles.stored, tiles.all_stored) == _largest_and_all(stored)
    assert (tiles.inputs, tiles.all_inputs) == _largest_and_all(inputs)
    sums = [sum(len(box) - 1 for box in some) for some in boxes]
    assert (tiles.additions, tiles.all_additions) == (max(sums), sum(sums))
    assert tiles.whole.positions == tiles.outputs
    assert tiles.all_positions == layer.pooled[0]


@given(data=st.data())
def test_pairs_come_as_sums(data, small_layers):
    layer = data.draw(small_layers.filter(lambda one: one.pool is not None))
    boxes, pairs = (axis_of(layer, 0, Boxes(paired=flag)).tiles(1) for flag in (False, True))
    assert pairs.all_inputs <= pairs.all_stored == boxes.all_stored
    assert set(pairs.whole.sums) == {(0, 1)}
    assert pairs.all_additions == 0
    assert Boxes(paired=True).along_width == Boxes()
    assert PLAIN.along_width is PLAIN


@given(data=st.data())
def test_smaller_tiles_load_no_less(data, small_layers):
    layer = data.draw(small_layers)
    cut = data.draw(st.sampled_from([PLAIN, Boxes(), Winograd(2), Winograd(4)]))
    if layer.pool is None and cut == Boxes():
        cut = PLAIN
    axis = axis_of(layer, 0, cut)
    whole = axis.tiles(axis.outputs)
    assert whole.tiles == 1
    for size in axis.sizes():
        tiles = axis.tiles(size)
        assert tiles.all_inputs >= whole.all_inputs
        assert tiles.all_stored >= whole.all_stored
        assert tiles.inputs <= whole.inputs
        assert tiles.tiles * tiles.outputs >= axis.outputs > (tiles.tiles - 1) * tiles.outputs


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("height", [3, 6, 7, 10, 13])
def test_winograd_tiles_cover_the_outputs(tile, height):
    layer = ConvLayer("l", N=1, K=1, C=1, H=height, W=height, R=3, S=3)
    found = axis_of(layer, 0, Winograd(tile)).tiles(layer.P)
    starts = range(0, layer.P, tile)
    assert found.whole.positions == len(starts)
    # Each takes in m + 2 words, so that neighbours share two.
    assert found.stored == sum(len(range(start, start + tile + 2)) for start in starts)
    assert found.inputs == height


def test_sizes_are_halves_down_to_one():
    layer = ConvLayer("l", N=1, K=1, C=1, H=12, W=12, R=1, S=1)
    assert axis_of(layer, 0, PLAIN).sizes() == (12, 6, 3, 2, 1)
    assert axis_of(replace(layer, H=1), 0, PLAIN).sizes() == (1,)


@pytest.mark.parametrize(
    ("kernel", "pool", "stride", "expected"),
    [
        # One window at a time, begun with its first row and complete with its last.
        (1, 2, 1, 1),
        (1, 4, 1, 1),
        # Windows one row apart: of two rows one is begun at a time, of four three.
        (3, 2, 1, 1),
        (5, 4, 1, 3),
        # Windows two inputs wide and two apart.
        (1, 2, 2, 1),
    ],
)
def test_sums_that_are_begun(kernel, pool, stride, expected):
    size = (kernel - 1) + stride * (pool * 3 - 1) + 1
    layer = ConvLayer(
        "l", N=1, K=1, C=1, H=size, W=size, R=kernel, S=kernel, strides=(stride, stride),
        pool=Pool((pool, pool), (pool, pool)),
    )  # fmt: skip
    axis = axis_of(layer, 0, Boxes())
    assert Boxes().open_sums(axis) == expected
    assert Boxes(paired=True).open_sums(axis) == 0
    assert PLAIN.open_sums(axis) == 0


@given(data=st.data())
def test_sums_that_are_begun_against_a_walk(data, small_layers):
    layer = data.draw(small_layers.filter(lambda one: one.pool is not None))
    axis = axis_of(layer, 0, Boxes())
    boxes = [axis.box(start) for start in axis.box_starts(range(axis.outputs))]
    most, begun = 0, set()
    waiting = {index: set(box) for index, box in enumerate(boxes) if box}
    for row in range(-layer.H, 3 * layer.H):  # with all that is padding
        for index, rows in waiting.items():
            if row in rows:
                begun.add(index)
                rows.discard(row)
        begun = {index for index in begun if waiting[index]}
        most = max(most, len(begun))
    assert Boxes().open_sums(axis) == most


def test_the_width_has_its_own_sizes():
    layer = ConvLayer(
        "l", N=1, K=1, C=1, H=9, W=14, R=3, S=5, strides=(1, 2), dilations=(2, 1),
        pads=(1, 2, 1, 2),
    )  # fmt: skip
    rows, columns = axis_of(layer, 0, PLAIN), axis_of(layer, 1, PLAIN)
    assert (rows.size, rows.kernel, rows.stride, rows.dilation, rows.before) == (9, 3, 1, 2, 1)
    assert (columns.size, columns.kernel, columns.stride, columns.dilation) == (14, 5, 2, 1)
    assert (rows.outputs, columns.outputs) == (layer.P, layer.Q) == (7, 7)


@given(data=st.data())
def test_a_span_is_what_passes_wherever_the_tile_lies(data, small_layers):
    """Additions and completed sums of each input, from the boxes of a tile of one's choice."""
    layer = data.draw(small_layers.filter(lambda one: one.pool is not None))
    axis = axis_of(layer, 0, Boxes())
    count = data.draw(st.integers(1, axis.outputs))
    first = data.draw(st.integers(0, axis.outputs - count))
    boxes = [axis.box(start) for start in axis.box_starts(range(first, first + count))]
    span = Boxes().span(axis, count)
    assert span.stored == len(boxes)
    assert sum(added for added, _ in span.sums) == sum(len(box) - 1 for box in boxes)
    assert sum(done for _, done in span.sums) == len(boxes)
    assert span.extent == len({one for box in boxes for one in box})
    plain = PLAIN.span(axis, count)
    assert set(plain.sums) == {(0, 0)}
    assert plain.extent >= span.extent - (axis.window - 1) * axis.stride
