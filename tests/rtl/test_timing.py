"""Cycles of a layer: in closed form, walked, and looked at in every single cycle."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rtl.layers import Case, cases

from mlcnn.errors import InputError
from mlcnn.rtl.build import Build
from mlcnn.rtl.layer import IntegerLayer
from mlcnn.rtl.program import configure
from mlcnn.rtl.tiling import LayerTiling
from mlcnn.rtl.timing import Ready, layer_cycles, ready_at, steps_of, walk


def _layer(
    filters: int,
    channels: int,
    kernel: int,
    size: tuple[int, int],
    window: int = 1,
    *,
    fused: bool = False,
) -> IntegerLayer:
    return IntegerLayer(
        name="conv",
        weights=np.ones((filters, channels, kernel, kernel), np.int64),
        bias=np.zeros(filters, np.int64),
        significand=np.ones(filters, np.int64),
        shift=np.zeros(filters, np.int64),
        shape=(channels, *size),
        window=(window, window),
        pool_strides=(window, window),
        fused=fused,
    )


# By hand: the array is 10 deep, its input unit 4 and its output unit 6; memory answers in 10.
@pytest.mark.parametrize(
    ("layer", "tiling", "steps", "begin"),
    [
        # Two tiles of 1x2 outputs. A tile loads 9 beats of weights and 4 rows of 6 inputs: 33 +
        # 10 + 4. It computes 9 sets of 2 positions, 3 apart (an entry comes back after 3): 2 + 8 *
        # 3 + 2 = 28. It leaves, without loads beside it, in 10 + 6 + 2.
        (_layer(6, 1, 3, (6, 6), 2, fused=True), LayerTiling(1, 2, 6, 1), [47, 47, 28, 18], 20),
        # One tile, two chunks: 8 groups and 1, 3 turns of 8 slices a way. Loads: 24 + 6 + 14 and
        # 3 + 6 + 14. 24 sets of 3 positions: 2 + 23 * 3 + 3; 3 sets: 2 + 2 * 3 + 3. 6 positions
        # leave in 3 beats each: 10 + 6 + 18. Bias and scale of 20 channels: 3 beats.
        (_layer(20, 70, 1, (2, 3)), LayerTiling(2, 3, 20, 64, 2), [44, 74, 11, 34], 22),
        # A pool that the array adds up, of one output: each of its 4 phases takes 3 cycles. 4 + 9
        # + 14; 2 + 3 * 12 + 12; 10 + 6 + 1.
        (_layer(4, 8, 2, (3, 3), 2), LayerTiling(1, 1, 4, 8), [27, 50, 17], 20),
    ],
)
def test_steps_derived_by_hand(
    layer: IntegerLayer, tiling: LayerTiling, steps: list[int], begin: int
) -> None:
    build = Build()
    hardware = build.hardware(dram_latency=10, write_latency=5)
    configuration = configure(layer, tiling, build)
    assert steps_of(configuration, hardware).cycles.tolist() == steps
    assert layer_cycles(configuration, hardware) == begin + sum(steps)


@given(case=cases())
def test_closed_form_is_the_walk_without_stalls(case: Case) -> None:
    hardware = case.build.hardware(case.dram_latency, case.write_latency)
    configuration = configure(case.layer, case.tiling, case.build)
    walked = walk(configuration, hardware, Ready(), start=17)
    assert walked.end == 17 + layer_cycles(configuration, hardware)
    closed = steps_of(configuration, hardware).cycles
    assert np.diff([*walked.steps, walked.end - case.write_latency]).tolist() == closed.tolist()


@given(case=cases())
def test_walk_is_what_each_cycle_shows(case: Case) -> None:
    hardware = case.build.hardware(case.dram_latency, case.write_latency)
    configuration = configure(case.layer, case.tiling, case.build)
    ready = Ready(case.trace, case.stalls)
    first = walk(configuration, hardware, ready)
    second = walk(configuration, hardware, ready, start=first.end)
    trace = ready_at(np.arange(second.end), case.trace, case.stalls).tolist()
    assert _each_cycle(case, trace, 0) == first.end
    assert _each_cycle(case, trace, first.end) == second.end
    unstalled = layer_cycles(configuration, hardware)
    assert first.end >= unstalled
    assert case.stalls or second.end == 2 * unstalled


def _each_cycle(case: Case, ready: list[bool], now: int) -> int:
    """The end of a layer, found by looking at every cycle."""
    hardware = case.build.hardware(case.dram_latency, case.write_latency)
    for beats, before in ((2, 0), (-(-len(case.layer.weights) // 8), case.dram_latency + 2)):
        now += before
        taken = 0
        while taken < beats:
            taken += ready[now]
            now += 1
    for loads, compute, stores in _work(case):
        begin, issued, sent = now, 0, 0
        compute_end = begin + compute
        load_end = store_begin = begin
        while now < compute_end or now < load_end or issued < len(loads) or sent < stores:
            if issued < len(loads):
                issued += not loads[issued] or ready[now]
                load_end = now + 1 + case.dram_latency + hardware.input_stages
                store_begin = now + 1
            elif now >= max(store_begin, begin + hardware.depth) + hardware.output_stages:
                sent += sent < stores and ready[now]
            now += 1
    return now + case.write_latency


def _work(case: Case) -> list[tuple[list[bool], int, int]]:
    """Of each step: whether each command cycle needs memory, cycles of the array, and stores."""
    layer, tiling = case.layer, case.tiling
    filters, channels, *_ = layer.weights.shape
    down, along = layer.outputs
    outer = [
        (first, top, left)
        for first in range(0, filters, tiling.filters)
        for top in range(0, down, tiling.lines)
        for left in range(0, along, tiling.line)
    ]
    if not tiling.weights_outer:
        outer.sort(key=lambda tile: (tile[1], tile[2], tile[0]))
    loads: list[list[bool]] = []
    computes: list[int] = []
    leaves: list[int] = []
    for first, top, left in outer:
        size = min(tiling.filters, filters - first)
        lines, line = min(tiling.lines, down - top), min(tiling.line, along - left)
        for begin in range(0, channels, tiling.channels):
            chunk = min(tiling.channels, channels - begin)
            weights, compute = _array(case, size, chunk, lines, line)
            inside = _positions(layer, top, lines, left, line)
            loads.append([True] * weights + inside * -(-chunk // 64))
            computes.append(compute)
            leaves.append(0)
        side = case.build.slices // tiling.ways
        leaves[-1] = lines * line * -(-size // side)
    return list(zip([*loads, [], []], [0, *computes, 0], [0, 0, *leaves], strict=True))


def _array(case: Case, filters: int, channels: int, lines: int, line: int) -> tuple[int, int]:
    """Weight beats of a chunk, and cycles of the array."""
    layer, side = case.layer, case.build.slices // case.tiling.ways
    turns, fill = -(-filters // side), -(-min(filters, side) // 8)
    sets = -(-channels // 8) * layer.weights.shape[2] * layer.weights.shape[3] * turns
    issues = -(-lines // case.tiling.ways) * line
    if not layer.fused and layer.window != (1, 1):
        issues = layer.window[0] * layer.window[1] * max(issues, 3)
    interval = max(issues, fill + 2, -(-3 // turns))
    return sets * fill, fill + 1 + (sets - 1) * interval + issues


def _positions(layer: IntegerLayer, top: int, lines: int, left: int, line: int) -> list[bool]:
    """Whether each input of a tile is in the image, in the order in which they are loaded."""
    rows, columns = (
        [
            0 <= position - pad < size
            for position in range(
                first * pool * stride, ((first + n - 1) * pool + window - 1) * stride + taps
            )
        ]
        for first, n, pool, stride, window, taps, pad, size in zip(
            (top, left),
            (lines, line),
            layer.pool_strides,
            layer.strides,
            layer.window,
            layer.weights.shape[2:],
            layer.pads[::2],
            layer.shape[1:],
            strict=True,
        )
    )
    return [row and column for row in rows for column in columns]


def test_trace_asks_splitmix64() -> None:
    numbers = [_splitmix64(1234567, cycle) for cycle in range(3)]
    # Its published test vector, of seed 1234567.
    assert numbers == [6457827717110365317, 3203168211198807973, 9817491932198370423]
    for seed, percent in ((0, 37), (2**64 - 1, 99), (7, 0)):
        expected = [(_splitmix64(seed, n) >> 32) * 100 >> 32 >= percent for n in range(300)]
        assert ready_at(np.arange(300), seed, percent).tolist() == expected


def _splitmix64(seed: int, number: int) -> int:
    mask = 2**64 - 1
    x = (seed + (number + 1) * 0x9E3779B97F4A7C15) & mask
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9 & mask
    x = (x ^ x >> 27) * 0x94D049BB133111EB & mask
    return x ^ x >> 31


@given(seed=st.integers(0, 2**64 - 1), percent=st.integers(0, 99), data=st.data())
def test_commands_go_out_in_ready_cycles(seed: int, percent: int, data: st.DataObject) -> None:
    ready = Ready(seed, percent)
    trace = ready_at(np.arange(40_000), seed, percent)
    for _ in range(3):
        cycle, count = data.draw(st.integers(0, 9000)), data.draw(st.integers(0, 90))
        end = ready.after(cycle, count)
        assert trace[cycle:end].sum() == count
        assert end == cycle or trace[end - 1]


@pytest.mark.parametrize("percent", [-1, 100])
def test_stalls_out_of_range_are_refused(percent: int) -> None:
    with pytest.raises(InputError) as refused:
        Ready(0, percent)
    assert str(refused.value) == (
        f"stalls of {percent} percent: memory has to take commands now and then; give 0 to 99"
    )


@given(case=cases())
def test_no_layer_is_faster_than_its_multipliers_and_its_memory(case: Case) -> None:
    layer, build = case.layer, case.build
    configuration = configure(layer, case.tiling, build)
    cycles = layer_cycles(configuration, build.hardware(case.dram_latency, case.write_latency))
    down, along = layer.outputs
    phases = 1 if layer.fused else layer.window[0] * layer.window[1]
    assert cycles * build.slices * 8 >= layer.weights.size * phases * down * along
    moved = -(-layer.weights.size // 64) + -(-len(layer.weights) // 64) * down * along
    assert cycles >= moved
