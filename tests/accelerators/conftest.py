"""Machines, tables, and strategies for small layers."""

from dataclasses import replace

import pytest
from hypothesis import strategies as st

from mlcnn.accelerators import load_accelerator, load_technology
from mlcnn.workload import ConvLayer, Pool


@pytest.fixture(scope="session")
def technology():
    return load_technology()


@pytest.fixture(scope="session")
def mlcnn():
    return load_accelerator("mlcnn-fp32")


@pytest.fixture(scope="session")
def dense():
    return load_accelerator("dcnn-fp32")


@pytest.fixture(scope="session")
def small_layers():
    """Layers of a few hundred words, of every geometry that the model treats in its own way."""
    return _small_layers()


@st.composite
def _small_layers(draw):
    groups = draw(st.sampled_from([1, 1, 1, 2]))
    kernel = draw(st.sampled_from([(1, 1), (2, 2), (3, 3), (3, 3), (5, 5), (1, 3)]))
    dilation = draw(st.sampled_from([1, 1, 1, 2]))
    stride = draw(st.sampled_from([1, 1, 2]))
    pad = draw(st.integers(0, 2))
    window = draw(st.sampled_from([None, (2, 2), (2, 2), (3, 2), (4, 4), (2, 1)]))
    least = (max(kernel) - 1) * dilation + 1 + (stride * (window[0] - 1) if window else 0)
    layer = ConvLayer(
        "layer",
        N=draw(st.integers(1, 3)),
        K=groups * draw(st.integers(1, 7)),
        C=groups * draw(st.integers(1, 12)),
        H=least + draw(st.integers(0, 6)),
        W=least + draw(st.integers(0, 6)),
        R=kernel[0],
        S=kernel[1],
        G=groups,
        strides=(stride, stride),
        dilations=(dilation, dilation),
        pads=(pad, pad, pad, pad),
    )
    pool = None if window is None else Pool((window[0],) * 2, (window[1],) * 2)
    return replace(layer, pool=pool)


@pytest.fixture(scope="session")
def machines():
    """Machines of a few slices, of every kind and precision."""
    return _machines()


@st.composite
def _machines(draw):
    name = draw(
        st.sampled_from(
            ["mlcnn-fp32", "mlcnn-int8", "dcnn-fp32", "winograd-f2-fp32", "winograd-f4-fp32"]
        )
    )
    return replace(
        load_accelerator(name),
        slices=draw(st.sampled_from([1, 2, 4, 7])),
        multipliers=draw(st.sampled_from([4, 9, 16])),
        buffer_bytes=draw(st.sampled_from([2048, 4096, 32768])),
        accumulator_entries=draw(st.sampled_from([128, 512, 2048])),
        input_windows=draw(st.sampled_from([1, 2, 3])),
        weight_words=draw(st.sampled_from([1, 2, 9])),
        dram_bytes_per_cycle=draw(st.sampled_from([1.0, 7.0, 64.0])),
    )
