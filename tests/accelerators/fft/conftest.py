"""Engines of a few slices, and small layers with block-circulant weights."""

from dataclasses import replace

import pytest
from hypothesis import strategies as st

from mlcnn.accelerators import load_accelerator
from mlcnn.ops.block_circulant import structure
from mlcnn.workload import Layer


def in_block(nest, block):
    """A layer whose weights are block-circulant."""
    return Layer(nest, weights=structure(block), parts=(nest,))


@pytest.fixture(scope="session")
def circulant():
    return in_block


@pytest.fixture(scope="session")
def engine():
    return load_accelerator("fft-fp16")


@pytest.fixture(scope="session")
def engines():
    """Engines of a few slices, of every precision."""
    return _engines()


@st.composite
def _engines(draw):
    engine = load_accelerator(draw(st.sampled_from(["fft-fp16", "fft-12", "fft-16", "fft-fp32"])))
    array = replace(
        engine.array,
        slices=draw(st.sampled_from([1, 2, 4, 7])),
        multipliers=draw(st.sampled_from([4, 8])),
        input_bytes=draw(st.sampled_from([4096, 32768])),
        weight_bytes=draw(st.sampled_from([16384, 131072])),
        accumulator_entries=draw(st.sampled_from([128, 512, 2048])),
        most_ways=draw(st.sampled_from([1, 2, 4])),
        row_buffer_bytes=16384,
        dram_bytes_per_cycle=draw(st.sampled_from([1.0, 7.0, 64.0])),
        wide_bits=draw(st.sampled_from([12, 16, 32])),
    )
    core = replace(
        engine.core,
        words=draw(st.sampled_from([2, 4, 8, 16])),
        level_latency=draw(st.sampled_from([1, 12])),
        products=draw(st.sampled_from([3, 4])),
    )
    return replace(engine, array=array, core=core)


@pytest.fixture(scope="session")
def circulant_layers(small_layers):
    """Small layers in blocks of 2 to 16, whole or padded."""

    @st.composite
    def make(draw):
        nest, more = draw(small_layers), draw(st.sampled_from([1, 3, 8]))
        nest = replace(nest, K=nest.K * more, C=nest.C * more)
        return in_block(nest, draw(st.sampled_from([2, 4, 8, 16])))

    return make()
