"""Convolutions of engine native that skip zeros: what float64 computes, in any geometry."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import numpy as np
import onnx_ir as ir
import pytest
import torch
from engines.processors import MARCHES
from engines.test_native import network
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import helper

from mlcnn.engines.engine import Session
from mlcnn.engines.native import Native, sparse
from mlcnn.engines.native.algorithms import Choosing
from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.library import Op, load
from mlcnn.engines.native.lowering import lower
from mlcnn.engines.native.machine import Machine
from mlcnn.engines.native.program import Operation, Program
from mlcnn.engines.native.sparse import Copies, layout_of
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import evaluate, infer_shapes

CHANNELS = st.integers(1, 40)
pair = st.tuples(st.integers(1, 3), st.integers(1, 3))


@contextmanager
def small_caches(band: int, part: int) -> Iterator[None]:
    """Bands of few rows, and parts of few channels."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sparse, "_BAND_BYTES", band)
        patch.setattr(sparse, "_PART_BYTES", part)
        yield


def thinned(generator: np.random.Generator, shape: tuple[int, ...], density: float) -> np.ndarray:
    """Weights of which some, and all of some filters, are zero."""
    weight = generator.standard_normal(shape) / np.sqrt(max(1, density * np.prod(shape[1:])))
    weight[generator.random(shape) >= density] = 0
    weight[generator.random(shape[0]) < 0.2] = 0
    return weight.astype(np.float32)


@st.composite
def geometries(draw) -> tuple[dict[str, object], tuple[int, int], tuple[int, int]]:
    """Attributes of a convolution, its kernel, and sizes of an image that it fits."""
    kernel = draw(st.tuples(st.integers(1, 5), st.integers(1, 5)))
    dilations, strides, pads = draw(pair), draw(pair), draw(st.tuples(*[st.integers(0, 3)] * 4))
    rows, columns = (
        draw(st.integers(max(1, (k - 1) * d + 1 - a - b), 40))
        for k, d, a, b in zip(kernel, dilations, pads[:2], pads[2:], strict=True)
    )
    attributes = {"strides": strides, "dilations": dilations, "pads": pads}
    return attributes, kernel, (rows, columns)


@st.composite
def layers(draw) -> tuple[ir.Model, np.ndarray]:
    """One behind the other, with a residual, next to what reads blocks, or alone."""
    attributes, kernel, size = draw(geometries())
    channels, filters, density = (
        draw(CHANNELS),
        draw(CHANNELS),
        draw(st.sampled_from((0, 0.05, 0.4))),
    )
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = {
        "w": thinned(generator, (filters, channels, *kernel), density),
        "v": thinned(generator, (filters, filters, 3, 3), density),
        "b": generator.standard_normal(filters, np.float32),
    }
    nodes = [helper.make_node("Conv", ["x", "w", "b"], ["t"], **attributes)]
    last = "t"
    if draw(st.booleans()):  # a block of a residual network
        nodes += [
            helper.make_node("Relu", ["t"], ["u"]),
            helper.make_node("Conv", ["u", "v", "b"], ["r"], pads=[1] * 4),
            helper.make_node("Add", ["r", draw(st.sampled_from(["t", "u"]))], ["s"]),
        ]
        last = "s"
    if draw(st.booleans()):  # read by what needs blocks
        nodes.append(helper.make_node("MaxPool", [last], ["p"], kernel_shape=[1, 1]))
        last = "p"
    function = draw(st.sampled_from(["Relu", "Identity", "Sigmoid", "HardSwish"]))
    nodes.append(helper.make_node(function, [last], ["y"]))
    image = generator.standard_normal((draw(st.integers(1, 3)), channels, *size), np.float32)
    return network(nodes, weights, channels), image


def compare(model: ir.Model, image: np.ndarray, march: str, algorithm: str = "sparse") -> Session:
    """At most 1e-5 of the largest result from float64, in memory that held no numbers before."""
    expected = evaluate(model, {"x": torch.from_numpy(image)})["y"].numpy()
    session = Native(march, algorithm).prepare(model)
    session.run({"x": image})
    (calls,) = session._programs.values()
    calls.program.memory.fill(np.nan)
    found = session.run({"x": image})["y"]
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, np.abs(expected).max()))
    return session


@pytest.mark.parametrize("march", MARCHES)
@given(
    case=layers(), band=st.sampled_from((1, 20_000, 512 << 10)), part=st.sampled_from((1, 40 << 10))
)
def test_any_geometry(march: str, case: tuple[ir.Model, np.ndarray], band: int, part: int) -> None:
    model, image = case
    try:
        with small_caches(band, part):
            compare(model, image, march)
    except UnsupportedError:  # eight results or fewer
        assume(False)


# -- kernels that filters share


@st.composite
def pairs(draw) -> tuple[ir.Model, np.ndarray]:
    """A depthwise convolution with the same kernels for all channels, and a 1x1 convolution."""
    attributes, kernel, size = draw(geometries())
    channels, filters = draw(st.integers(2, 40)), draw(CHANNELS)
    bases = draw(st.integers(1, min(9, kernel[0] * kernel[1])))
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    basis = generator.standard_normal((bases, 1, *kernel)) / np.sqrt(kernel[0] * kernel[1])
    coefficients = thinned(
        generator, (filters, channels * bases, 1, 1), draw(st.sampled_from((0.1, 1)))
    )
    weights = {
        "w": np.tile(basis, (channels, 1, 1, 1)).astype(np.float32),
        "v": coefficients,
        "a": generator.standard_normal(channels * bases, np.float32),
        "b": generator.standard_normal(filters, np.float32),
    }
    bias = draw(st.sampled_from(([], [], [], ["a"])))  # with one, borders and all differ
    nodes = [
        helper.make_node("Conv", ["x", "w", *bias], ["t"], group=channels, **attributes),
        helper.make_node("Conv", ["t", "v", "b"], ["s"]),
        helper.make_node(draw(st.sampled_from(["Relu", "Identity"])), ["s"], ["y"]),
    ]
    image = generator.standard_normal((draw(st.integers(1, 2)), channels, *size), np.float32)
    return network(nodes, weights, channels), image


@pytest.mark.parametrize("march", MARCHES)
@given(
    case=pairs(),
    band=st.sampled_from((1, 512 << 10)),
    algorithm=st.sampled_from(("sparse", "direct")),
)
def test_shared_kernels(
    march: str, case: tuple[ir.Model, np.ndarray], band: int, algorithm: str
) -> None:
    model, image = case
    try:
        with small_caches(band, 40 << 10):
            compare(model, image, march, algorithm)
    except UnsupportedError:  # a bias between both, or few results
        assume(False)


def shared(channels: int, filters: int, bases: int, size: int, *, own: bool = False) -> ir.Model:
    """A pair; with ``own`` kernels, each channel has others."""
    generator = np.random.default_rng(0)
    shape = (channels, bases, 1, 3, 3) if own else (1, bases, 1, 3, 3)
    basis = np.broadcast_to(generator.standard_normal(shape), (channels, bases, 1, 3, 3))
    weights = {
        "w": basis.reshape(-1, 1, 3, 3).astype(np.float32),
        "v": thinned(generator, (filters, channels * bases, 1, 1), 0.1),
    }
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["t"], group=channels, pads=[1] * 4, name="conv"),
        helper.make_node("Conv", ["t", "v"], ["y"], name="mixture"),
    ]
    return network(nodes, weights, channels, size=(size, size))


def lowered(model: ir.Model, algorithm: str = "sparse") -> list[Operation]:
    model = model.clone()
    model.graph.inputs[0].shape = ir.Shape([1, *model.graph.inputs[0].shape[1:]])
    infer_shapes(model)
    library = load()
    return lower(model, library, Choosing(algorithm, Machine(1e9, 1e9), 1, 1).chooser(library))


def test_a_pair_is_one_operation() -> None:
    ops = [operation.op for operation in lowered(shared(20, 30, 5, 16))]
    assert ops == [Op.PACK, Op.SPARSE, Op.UNPACK]


def test_kernels_of_their_own_are_no_shared_ones() -> None:
    model = shared(20, 30, 5, 16, own=True)
    told = [
        row.algorithm
        for row in compare(model, np.ones((1, 20, 16, 16), np.float32), "native").algorithms
    ]
    assert "sparse, of shared kernels" not in told
    assert len(told) > 1


# -- the layout


def sparse_layer(
    channels: int = 64, size: int = 16, density: float = 0.1, filters: int = 64
) -> ir.Model:
    weight = thinned(np.random.default_rng(0), (filters, channels, 3, 3), density)
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1] * 4, name="conv")
    return network([node], {"w": weight}, channels, size=(size, size))


def test_values_between_sparse_layers_are_planes() -> None:
    """So is what is added; what a pool reads is blocks, and turned by the layer that writes it."""
    generator = np.random.default_rng(0)
    weights = {f"w{i}": thinned(generator, (32, 32, 3, 3), 0.1) for i in range(2)}
    nodes = [
        helper.make_node("Conv", ["x", "w0"], ["a"], pads=[1] * 4),
        helper.make_node("Conv", ["a", "w1"], ["b"], pads=[1] * 4),
        helper.make_node("Add", ["b", "a"], ["c"]),
        helper.make_node("Conv", ["c", "w1"], ["d"], pads=[1] * 4),
        helper.make_node("MaxPool", ["d"], ["y"], kernel_shape=[2, 2], strides=[2, 2]),
    ]
    found = lowered(network(nodes, weights, 32, size=(16, 16)))
    assert [each.op for each in found] == [Op.PACK, *[Op.SPARSE] * 3, Op.POOL, Op.UNPACK]
    assert [each.y.value.dense for each in found[:4] if each.y] == [True, True, True, False]


@pytest.mark.parametrize(
    ("copies", "columns", "bases"),
    [(Copies.SHIFTED, 32, 0), (Copies.TAPS, 33, 0), (Copies.BASES, 32, 5)],
)
def test_memory_does_not_grow_with_the_image(copies: Copies, columns: int, bases: int) -> None:
    """What is copied of a layer stays in the outer caches."""
    floats = list[int]()
    for rows in (32, 64, 512):
        geometry = Geometry(
            1, (16,) * 4, 64, rows, columns, (3, 3), (1, 1), (1, 1), (1,) * 4, nonzeros=9000,
            bases=bases,
        )  # fmt: skip
        layout = layout_of(geometry, 16)
        assert layout.copies is copies
        fields = {
            "rows": rows, "columns": columns, "kernel_rows": 3, "kernel_columns": 3,
            "stride_rows": 1, "stride_columns": 1, "dilation_rows": 1, "dilation_columns": 1,
            "filters": 4, "mode": copies, "pitch": layout.pitch, "bunch": layout.band,
            "bases": bases,
        }  # fmt: skip
        floats.append(load().sparse(fields)[0])
    assert max(floats) * 4 < 1 << 20
    assert floats[2] < 1.3 * floats[1]


def test_weights_take_six_bytes_each() -> None:
    """A layer in 2 %: its program is smaller than the dense layer's."""
    thin, dense = (
        Program(lowered(sparse_layer(512, 8, 0.02, 512), algorithm), load())
        for algorithm in ("sparse", "direct")
    )
    count = np.count_nonzero(thinned(np.random.default_rng(0), (512, 512, 3, 3), 0.02))
    starts = 4 * 512 * 16 * 16  # at most a list for each filter and channel
    assert thin.constants.nbytes < 6 * count + starts + (1 << 15)
    assert thin.constants.nbytes < dense.constants.nbytes / 4


def test_threads_change_no_bit() -> None:
    for model in (sparse_layer(70, 19, 0.2, 50), shared(70, 50, 5, 19)):
        image = np.random.default_rng(1).standard_normal((3, 70, 19, 19), np.float32)
        results = [
            Native(algorithm="sparse").prepare(model, threads=threads).run({"x": image})["y"]
            for threads in (1, 2, 3)
        ]
        for found in results[1:]:
            np.testing.assert_array_equal(found, results[0])


# -- the choice


def told(model: ir.Model, algorithm: str) -> list[str]:
    session = Native(algorithm=algorithm).prepare(model)
    channels, *size = model.graph.inputs[0].shape[1:]
    session.run({"x": np.zeros((1, channels, *size), np.float32)})
    return [row.algorithm for row in session.algorithms]


@pytest.mark.parametrize("algorithm", ["auto", "measured"])
def test_zeros_are_skipped_where_that_is_faster(algorithm: str) -> None:
    assert told(sparse_layer(density=0.02), algorithm) == ["sparse"]
    assert told(sparse_layer(density=0.49), algorithm) != ["sparse"]
    assert told(shared(64, 64, 5, 16), algorithm) == ["sparse, of shared kernels"]


def test_a_network_without_zeros() -> None:
    with pytest.raises(UnsupportedError, match="skips weights that are exactly zero"):
        told(sparse_layer(density=1.0), "sparse")


def test_a_saved_choice_of_other_zeros_is_refused(tmp_path) -> None:
    session = Native(algorithm="sparse").prepare(sparse_layer())
    session.run({"x": np.zeros((1, 64, 16, 16), np.float32)})
    path = tmp_path / "choice.json"
    path.write_text(json.dumps([row.to_json() for row in session.algorithms]))
    assert told(sparse_layer(), str(path)) == ["sparse"]
    with pytest.raises(InputError, match="another network's"):
        told(sparse_layer(density=0.2), str(path))
