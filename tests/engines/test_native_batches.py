"""Batches computed image by image: the same results, where they pay and only there."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
from engines.processors import MARCHES
from engines.test_native import assert_computes
from engines.test_native import network as any_network
from engines.test_native_activations import operations
from engines.test_native_random import assert_right
from hypothesis import given
from hypothesis import strategies as st
from onnx import helper, numpy_helper

from mlcnn.engines.native import batches
from mlcnn.engines.native.library import Op
from mlcnn.graph import from_proto

BODY = """
    a = Conv<pads=[1, 1, 1, 1], strides=[2, 2]>(x, w1) b = Relu(a)
    c = Conv(b, w2) d = Sigmoid(c) e = Mul(c, d)
    f = Conv<pads=[1, 1, 1, 1], group=40>(e, w3) g = HardSwish(f)
    h = GlobalAveragePool(g) i = Conv(h, w4) j = Sigmoid(i) k = Mul(g, j)
    l = Conv(k, w5) m = Add(l, b) n = Concat<axis=1>(m, b)
    o = MaxPool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(n) p = GlobalAveragePool(o)
    q = Flatten(p) y = Gemm(q, w6)"""
WEIGHTS = {
    "w1": (20, 3, 3, 3), "w2": (40, 20, 1, 1), "w3": (40, 1, 3, 3), "w4": (40, 40, 1, 1),
    "w5": (20, 40, 1, 1), "w6": (40, 10),
}  # fmt: skip


def network(body: str, size: int, shapes: dict[str, tuple[int, ...]] = WEIGHTS) -> ir.Model:
    """x (N, 3, size, size) -> body -> y."""
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
        net (float[N, 3, {size}, {size}] x) => (float[] y) {{ {body} }}"""
    made = onnx.parser.parse_model(text)
    made.graph.output[0].type.tensor_type.ClearField("shape")
    generator = np.random.default_rng(1)
    for name, sizes in shapes.items():
        array = generator.standard_normal(sizes, np.float32) / np.sqrt(np.prod(sizes[1:]))
        made.graph.initializer.append(numpy_helper.from_array(array.astype(np.float32), name))
    return from_proto(made)


def images(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(2).standard_normal((count, 3, size, size), np.float32)


@pytest.mark.parametrize("march", MARCHES)
def test_image_by_image_computes_the_same(march: str) -> None:
    """Values with borders, concatenations, residuals and gates; the batch leaves the cache."""
    model, image = network(BODY, 120), images(5, 120)
    made = operations(model, image)
    assert batches.apart(made) == len(made) - 2  # the dense layer and the output
    assert_computes(model, image, march)


def test_all_that_an_image_needs_is_its_own(monkeypatch) -> None:
    """Random networks, wherever image by image is possible: their outputs lie in every place."""
    monkeypatch.setattr(batches, "_pays", lambda _operations, _images: True)
    assert_right(range(500, 540))


@pytest.mark.parametrize(
    ("body", "count", "size"),
    [
        (BODY, 1, 120),  # one image
        (BODY, 4, 8),  # they stay in the cache
        ("t = Transpose<perm=[1, 0, 2, 3]>(x) y = Relu(t)", 4, 400),  # images are mixed
        (
            """t = Relu(x) k = Constant<value_ints=[-1, 1, 400, 400]>() r = Reshape(t, k)
            y = MaxPool<kernel_shape=[1, 1]>(r)""", 4, 400,
        ),
    ],
    ids=["one", "small", "turned", "other images"],
)  # fmt: skip
def test_a_batch_stays_together(body: str, count: int, size: int) -> None:
    model, image = network(body, size), images(count, size)
    assert batches.apart(operations(model, image)) == 0
    assert_computes(model, image)


def test_large_weights_are_read_once_for_the_batch() -> None:
    body = "a = Conv<pads=[1, 1, 1, 1]>(x, w) b = Conv<pads=[1, 1, 1, 1]>(a, v) y = Relu(b)"
    model = network(body, 32, {"w": (256, 3, 3, 3), "v": (256, 256, 3, 3)})
    assert batches.apart(operations(model, images(8, 32), "direct")) == 0


@st.composite
def first_layers(draw) -> tuple[ir.Model, np.ndarray]:
    """Convolutions of a large input of few channels, which is read where it lies."""
    channels, filters = draw(st.integers(1, 4)), draw(st.integers(1, 40))
    kernel = draw(st.tuples(*[st.integers(1, 7)] * 2))
    strides, dilations, pads = (
        draw(st.tuples(*[st.integers(low, high)] * count))
        for low, high, count in ((1, 4, 2), (1, 2, 2), (0, 3, 4))
    )
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    weights = {
        "w": generator.standard_normal((filters, channels, *kernel), np.float32),
        "b": generator.standard_normal(filters, np.float32),
    }
    node = helper.make_node(
        "Conv", ["x", "w", "b"], ["y"], strides=strides, dilations=dilations, pads=pads
    )
    size = draw(st.integers(64, 70)), draw(st.integers(64, 70))
    image = generator.standard_normal((draw(st.integers(1, 2)), channels, *size), np.float32)
    return any_network([node], weights, channels), image


@pytest.mark.parametrize("march", MARCHES)
@given(case=first_layers())
def test_a_dense_input(march: str, case: tuple[ir.Model, np.ndarray]) -> None:
    model, image = case
    layers = {Op.CONV, Op.ROWS}
    (value,) = [one.x.value for one in operations(model, image) if one.op in layers and one.x]
    assert value.dense
    assert_computes(model, image, march)
