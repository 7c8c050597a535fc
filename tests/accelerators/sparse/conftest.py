"""Sparse machines of a few slices, and small layers of which some weights are zero."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import strategies as st

from mlcnn.accelerators import load_accelerator
from mlcnn.accelerators.sparse import Sparsity
from mlcnn.ops.shared_kernels import structure
from mlcnn.workload import Layer, Mask


def pruned(nest, density, seed=0, basis=0):
    """A layer with a random mask; of shared kernels where there is a basis."""
    words = (basis,) if basis else (nest.R, nest.S)
    shape = nest.K, nest.C // nest.G, *words
    kept = np.random.default_rng(seed).random(shape) < density
    mask = Mask(ir.Tensor(kept.astype(np.float32)))
    layer = Layer(nest, parts=(nest,), mask=mask, density=float(kept.mean()))
    return replace(layer, weights=structure(basis), form="two-stage") if basis else layer


@pytest.fixture(scope="session")
def with_zeros():
    return pruned


@pytest.fixture(scope="session")
def machine():
    return load_accelerator("sparse-basis-fp32")


@pytest.fixture(scope="session")
def sparse_machines():
    """Machines of a few slices, with windows of a few words."""
    return _machines()


@st.composite
def _machines(draw):
    machine = load_accelerator("sparse-basis-fp32")
    words = draw(st.sampled_from([9, 18, 25, 72]))
    array = replace(
        machine.array,
        slices=draw(st.sampled_from([1, 2, 4, 7])),
        multipliers=draw(st.sampled_from([1, 4, 8])),
        input_bytes=draw(st.sampled_from([4096, 32768])),
        weight_bytes=draw(st.sampled_from([4096, 65536])),
        accumulator_entries=draw(st.sampled_from([128, 512, 2048])),
        most_ways=draw(st.sampled_from([1, 2])),
        row_buffer_bytes=16384,
        dram_bytes_per_cycle=draw(st.sampled_from([1.0, 7.0, 64.0])),
    )
    unit = Sparsity(
        words,
        draw(st.sampled_from([3, 9, 24])),
        (words - 1).bit_length() + draw(st.integers(0, 2)),
        draw(st.sampled_from([9, 90])),
    )
    return replace(machine, array=array, sparsity=unit)


@pytest.fixture(scope="session")
def sparse_layers(small_layers):
    """Small layers with any share of zeros, some of them of shared kernels."""

    @st.composite
    def make(draw):
        nest, more = draw(small_layers), draw(st.sampled_from([1, 3]))
        nest = replace(nest, K=nest.K * more, C=nest.C * more)
        basis = draw(st.integers(0, min(nest.R * nest.S, 5)))
        density = draw(st.sampled_from([0.0, 0.1, 0.5, 1.0]))
        return pruned(nest, density, draw(st.integers(0, 99)), basis)

    return make()
