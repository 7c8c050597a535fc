"""The closed form against a walk over every row of a layer, with the layer's own results."""

from dataclasses import replace

import numpy as np
from accelerators.in_memory.walk import Walk
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mlcnn.accelerators import DEFAULT_TECHNOLOGY, LayerTask, load_accelerator, load_technology
from mlcnn.accelerators.in_memory import InMemoryEngine
from mlcnn.workload import ConvLayer, Layer, Numbers

_TECHNOLOGY = load_technology(DEFAULT_TECHNOLOGY)


@st.composite
def engines(draw: st.DrawFn) -> InMemoryEngine:
    """Small ones, on which small layers take several tiles and slices."""
    engine = load_accelerator(draw(st.sampled_from(["imce-stt", "imce-sram"])))
    array = replace(
        engine.sub_array, rows=draw(st.integers(4, 24)), columns=draw(st.integers(4, 48))
    )
    return replace(
        engine,
        sub_array=array,
        arrays=draw(st.integers(1, 12)),
        segments=draw(st.integers(1, 6)),
        bus_bits=draw(st.sampled_from([8, 64, 512])),
        output_lanes=draw(st.sampled_from([1, 4, 64])),
    )


@st.composite
def tasks(draw: st.DrawFn) -> LayerTask:
    """1x1 layers, in which windows are positions, in groups."""
    groups = draw(st.sampled_from([1, 1, 1, 2, 3]))
    filters, channels = groups * draw(st.integers(1, 6)), groups * draw(st.integers(1, 30))
    size = draw(st.integers(1, 6)), draw(st.integers(1, 4))
    nest = ConvLayer("layer", draw(st.integers(1, 2)), filters, channels, *size, 1, 1, groups)
    numbers = Numbers(draw(st.integers(1, 3)), draw(st.integers(1, 3)))
    return LayerTask(Layer(nest, numbers=numbers), loaded_bits=8, written_bits=8)


def walked(engine: InMemoryEngine, task: LayerTask, seed: int) -> tuple[Walk, dict]:
    """A walk in the layout that the engine chooses, on random codes."""
    cost = engine.cost(task, _TECHNOLOGY)
    nest, numbers = task.nest, task.layer.numbers
    rng, g = np.random.default_rng(seed), nest.G
    windows = nest.N * nest.P * nest.Q
    w = rng.integers(0, 1 << numbers.weight, (g, nest.K // g, nest.products))
    x = rng.integers(0, 1 << numbers.input, (g, windows, nest.products))
    bits = numbers.weight, numbers.input
    return Walk(engine, cost.mapping["layout"], w, x, bits).run(), cost


@settings(max_examples=400)
@given(engine=engines(), task=tasks(), seed=st.integers(0, 2**32 - 1))
def test_closed_form_and_walk_agree_and_the_sums_are_the_layer_s(engine, task, seed):
    assume(engine.takes(task.layer) is None)
    walk, cost = walked(engine, task, seed)
    done = walk.done
    np.testing.assert_array_equal(walk.sums, np.einsum("gfl,gwl->gfw", walk.filters, walk.windows))
    np.testing.assert_array_equal(walk.totals, walk.windows.sum(2))
    assert cost.mapping["row_operations"] == done["senses"]
    assert cost.mapping["bits_counted"] == done["counted_bits"]
    assert cost.mapping["bits_written"] == done["filter_bits"] + done["window_bits"]
    assert cost.mapping["bits_sent"] == done["sent_bits"]
    assert cost.traffic.buffer_weight * 8 == done["filter_bits"]
    dram = cost.mapping["cycles"]["DRAM"] + engine.latency
    assert cost.cycles == max(walk.cycles, dram)
