"""Comparator layers: the closed form against a walk over every row, with the layer's results."""

from collections.abc import Mapping
from dataclasses import fields, replace

import numpy as np
from accelerators.in_memory.compare_walk import CompareWalk
from accelerators.in_memory.walk import Walk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import DEFAULT_TECHNOLOGY, LayerTask, load_accelerator, load_technology
from mlcnn.accelerators.in_memory import InMemoryEngine
from mlcnn.accelerators.in_memory.comparisons import (
    comparisons_of,
    done,
    durations,
    placed,
    strips,
)
from mlcnn.accelerators.in_memory.description import engines_of
from mlcnn.workload import Arithmetic, ConvLayer, Layer, Numbers, Weights

_TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)


@st.composite
def engines(draw: st.DrawFn) -> InMemoryEngine:
    """Small ones, on which small layers take several rounds, strips and slices."""
    engine = load_accelerator("cmp-pim")
    array = replace(
        engine.sub_array, rows=draw(st.integers(8, 64)), columns=draw(st.integers(2, 48))
    )
    return replace(
        engine,
        sub_array=array,
        arrays=draw(st.integers(1, 12)),
        segments=draw(st.integers(1, 6)),
        bus_bits=draw(st.sampled_from([8, 64, 512])),
        output_lanes=draw(st.sampled_from([1, 4, 64])),
        buffer_bytes=draw(st.sampled_from([256, 131072])),
    )


@st.composite
def tasks(draw: st.DrawFn) -> LayerTask:
    """Windows of all shapes, strides and dilations, with borders."""
    kernel = draw(st.integers(1, 3)), draw(st.integers(1, 3))
    assume(kernel != (1, 1))
    strides = draw(st.integers(1, 4)), draw(st.integers(1, 3))
    dilations = draw(st.sampled_from([(1, 1), (1, 1), (2, 1), (1, 2)]))
    sizes = [
        (size - 1) * gap + 1 + draw(st.integers(0, 6))
        for size, gap in zip(kernel, dilations, strict=True)
    ]
    pads = tuple(draw(st.integers(0, 1)) for _ in range(4))
    nest = ConvLayer(
        "layer", draw(st.integers(1, 3)), draw(st.integers(1, 5)), draw(st.integers(1, 9)),
        sizes[0], sizes[1], *kernel, strides=strides, dilations=dilations, pads=pads,
    )  # fmt: skip
    options = ("pairs", draw(st.integers(1, 4))), ("share", draw(st.sampled_from([1, 2, 4, 16])))
    layer = Layer(
        nest, arithmetic=Arithmetic.COMPARE, weights=Weights("comparator", options),
        numbers=Numbers(draw(st.integers(1, 3)), draw(st.integers(1, 4))),
    )  # fmt: skip
    return LayerTask(layer, loaded_bits=8, written_bits=8)


def _drawn(task: LayerTask, seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Codes of inputs, taps of pairs, codes of weights."""
    nest, options = task.nest, dict(task.layer.weights.options)
    rng, share = np.random.default_rng(seed), min(options["share"], nest.C)
    x = rng.integers(0, 1 << task.layer.numbers.input, (nest.N, nest.C, nest.H, nest.W))
    size = -(-nest.C // share), options["pairs"], 2
    taps = np.stack([rng.integers(0, nest.R, size), rng.integers(0, nest.S, size)], axis=-1)
    bits = task.layer.numbers.weight
    return x, taps, rng.integers(0, 1 << bits, (nest.K, nest.C * options["pairs"]))


def _layer(task: LayerTask, x: np.ndarray, taps: np.ndarray, w: np.ndarray) -> np.ndarray:
    """The layer as it is written down, position by position."""
    nest = task.nest
    share = min(dict(task.layer.weights.options)["share"], nest.C)
    top, left, bottom, right = nest.pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)), mode="edge")
    out = np.zeros((nest.N, nest.P, nest.Q, nest.K), np.int64)
    for n, y, z in np.ndindex(nest.N, nest.P, nest.Q):
        corner = np.array([y, z]) * nest.strides
        bits = [
            padded[n, c, *(corner + u * nest.dilations)]
            > padded[n, c, *(corner + v * nest.dilations)]
            for pair in range(taps.shape[1])
            for c in range(nest.C)
            for u, v in [taps[c // share, pair]]
        ]
        out[n, y, z] = w @ np.array(bits, np.int64)
    return out


def _compared(
    engine: InMemoryEngine, task: LayerTask, layout: Mapping[str, int], seed: int
) -> tuple[CompareWalk, np.ndarray, np.ndarray]:
    """A walk over the comparisons of random codes, weights to add by, and the layer's outputs."""
    x, taps, w = _drawn(task, seed)
    share = min(dict(task.layer.weights.options)["share"], task.nest.C)
    planes = task.layer.numbers.input
    walk = CompareWalk(engine, layout, task.nest, x, taps, share, planes).run()
    return walk, w, _layer(task, x, taps, w)


@settings(max_examples=400)
@given(engine=engines(), task=tasks(), seed=st.integers(0, 2**32 - 1))
def test_closed_form_and_walk_agree_in_every_layout(engine, task, seed):
    """Not in the best one alone: what is wrong in others would keep them from being chosen."""
    assume(engine.takes(task.layer) is None)
    work, engines = comparisons_of(task), engines_of([engine])
    x = placed(work, engines, strips(work, engines))
    taken = done(work, engines, x, 0)
    cycles, *_, dram = durations(work, engines, x, taken, 0)
    which = np.random.default_rng(seed).choice(np.flatnonzero(x.fits[0]))

    def of(one: np.ndarray) -> int:
        return int(np.broadcast_to(one, x.fits.shape)[0, which])

    walk, w, expected = _compared(
        engine, task, {f.name: of(getattr(x, f.name)) for f in fields(x)}, seed
    )
    for name in ("senses", "latched_bits", "written_bits", "sent_bits"):
        assert of(getattr(taken, name)) == walk.done[name]
    assert of(cycles) == max(walk.cycles, of(dram))
    assert walk.most_blocks <= of(x.blocks_at_a_time)
    sums = np.einsum("npqtc,ktc->npqk", walk.bits, w.reshape(len(w), -1, task.nest.C))
    np.testing.assert_array_equal(sums, expected)


@settings(max_examples=300)
@given(engine=engines(), task=tasks(), seed=st.integers(0, 2**32 - 1))
def test_both_programs_give_the_layer(engine, task, seed):
    assume(engine.takes(task.layer) is None)
    at_a_time = engine.cost(task, _TECHNOLOGY).mapping["images_at_a_time"]
    # The images of one run; the others are such a layer again.
    task = task.with_nest(replace(task.nest, N=at_a_time))
    cost = engine.cost(task, _TECHNOLOGY)
    first, added = cost.mapping["compare"], cost.mapping["add"]
    walk, w, expected = _compared(engine, task, first["layout"], seed)
    windows = walk.bits.reshape(1, -1, w.shape[1]).astype(np.int64)
    bits = task.layer.numbers.weight, 1
    second = Walk(engine, added["layout"], w[None], windows, bits).run()
    np.testing.assert_array_equal(second.sums[0].T.reshape(expected.shape), expected)
    written = second.done["filter_bits"] + second.done["window_bits"]
    assert added["row_operations"] == second.done["senses"]
    assert added["bits_written"] == written
    assert cost.mapping["row_operations"] == walk.done["senses"] + second.done["senses"]
    assert cost.mapping["bits_written"] == walk.done["written_bits"] + written
    compared = max(first["cycles"]["DRAM"], walk.cycles)
    assert cost.cycles == compared + max(added["cycles"]["DRAM"] + engine.latency, second.cycles)
