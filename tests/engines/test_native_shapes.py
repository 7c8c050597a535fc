"""Operands of other ranks, orders and sizes: as in ONNX Runtime, or refused by the node's name."""

from math import prod

import numpy as np
import onnx
import onnx_ir as ir
import onnxruntime
import pytest

from mlcnn.engines.native import Native
from mlcnn.errors import UnsupportedError
from mlcnn.graph import from_proto


def proto(body: str, shape: str, weights: dict[str, tuple[int, ...]]) -> onnx.ModelProto:
    """x of a shape -> body -> y, with random weights of these shapes."""
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
        net (float[{shape}] x) => (float[] y) {{ {body} }}"""
    made = onnx.parser.parse_model(text)
    made.graph.output[0].type.tensor_type.ClearField("shape")
    for index, node in enumerate(made.graph.node):
        node.name = f"n{index}"
    for name, sizes in weights.items():
        array = np.random.default_rng(len(name) + prod(sizes)).standard_normal(sizes, np.float32)
        made.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    if "axes" in body:
        made.graph.initializer.append(onnx.numpy_helper.from_array(np.int64([2, 3]), "axes"))
    return made


def both(made: onnx.ModelProto, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """y by engine native, in memory that held no numbers before, and by ONNX Runtime."""
    session = Native().prepare(from_proto(made))
    session.run({"x": np.full_like(image, np.nan)})
    found = session.run({"x": image})["y"]
    reference = onnxruntime.InferenceSession(
        made.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return found, reference.run(None, {"x": image})[0]


COMPUTED = {
    # W x is not x W'
    "matrix times matrix": ("y = MatMul(w, x)", (64, 64), {"w": (64, 64)}),
    "matrix times wide matrix": ("y = MatMul(w, x)", (5, 40), {"w": (7, 5)}),
    "matrix times matrices": ("y = MatMul(w, x)", (3, 5, 40), {"w": (7, 5)}),
    "matrix times planes": ("y = MatMul(w, x)", (2, 3, 5, 6), {"w": (7, 5)}),
    "vector times matrices": ("y = MatMul(w, x)", (3, 5, 40), {"w": (5,)}),
    "planes times matrix": ("y = MatMul(x, w)", (2, 3, 5, 6), {"w": (6, 7)}),
    "rows times vector": ("y = MatMul(x, w)", (3, 6), {"w": (6,)}),
    "one matrix of a batch of one": ("y = MatMul(x, w)", (3, 4, 6), {"w": (1, 6, 7)}),
    "matrix times a turned one": ("t = Transpose(x) y = MatMul(w, t)", (40, 5), {"w": (7, 5)}),
    "transA": ("y = Gemm<transA=1>(x, w)", (5, 40), {"w": (5, 7)}),
    "bias of one": ("y = Gemm(x, w, b)", (7, 7), {"w": (7, 7), "b": (1, 1)}),
    # other ranks: aligned from behind
    "rows beside planes": (
        "m = ReduceMean<keepdims=0>(x, axes) y = Mul(x, m)", (6, 6, 6, 6), {},
    ),
    "dense beside its pool": (
        "p = GlobalAveragePool(x) f = Flatten(p) g = Gemm(f, w) y = Add(g, p)",
        (4, 7, 3, 3), {"w": (7, 7)},
    ),
    "row of channels beside a dense layer": (
        "g = Gemm(x, w) k = Constant<value_ints=[3, 1, 7]>() r = Reshape(x, k) y = Add(r, g)",
        (3, 7), {"w": (7, 7)},
    ),
    "one image beside many": (
        "a = Constant<value_ints=[1, 5, 5, 1]>() r = Reshape(x, a) y = Mul(r, x)", (5, 5, 1, 1), {},
    ),
    "a column beside a row": (
        """a = Constant<value_ints=[2]>() b = Constant<value_ints=[3]>()
        c = Constant<value_ints=[0]>() d = Constant<value_ints=[1]>()
        r = Slice(x, c, d, a) s = Slice(x, c, d, b) y = Sub(r, s)""",
        (2, 5, 4, 3), {},
    ),
    "pool less image": ("p = GlobalMaxPool(x) y = Sub(p, x)", (2, 5, 4, 3), {}),
    "constant of a middle axis": ("y = Add(x, w)", (20, 20), {"w": (1, 20, 1)}),
    "constant that repeats the value": ("y = Mul(w, x)", (1, 20, 1, 1), {"w": (3, 20, 4, 2)}),
    "constant of all but the batch": ("y = Sub(w, x)", (2, 5, 4, 3), {"w": (5, 4, 3)}),
    "constant of the last axis": ("y = Add(x, w)", (2, 5, 4, 3), {"w": (3,)}),
    "constant of the batch": ("y = Add(x, w)", (2, 5, 4, 3), {"w": (2, 1, 1, 1)}),
    "any rank": ("k = Constant<value_ints=[2, 5, 2, 2, 3]>() r = Reshape(x, k) y = Tanh(r)",
                 (2, 5, 4, 3), {}),
    "turned batch": ("y = Transpose<perm=[1, 0, 3, 2]>(x)", (2, 5, 4, 3), {}),
    # borders
    "pools before a padded convolution": (
        """p = MaxPool<kernel_shape=[2, 2]>(x) q = MaxPool<kernel_shape=[2, 2]>(p)
        y = Conv<pads=[1, 1, 1, 1]>(q, w)""", (2, 5, 7, 7), {"w": (6, 5, 3, 3)},
    ),
    "a pad before a convolution padded on the left": (
        """k = Constant<value_ints=[0, 0, 1, 0, 0, 0, 0, 0]>() t = Neg(x) p = Pad(x, k)
        c = Conv<pads=[0, 2, 0, 0]>(p, w) a = GlobalMaxPool(t) y = Mul(c, a)""",
        (2, 5, 4, 4), {"w": (5, 5, 2, 3)},
    ),
}  # fmt: skip


@pytest.mark.parametrize(("body", "shape", "weights"), COMPUTED.values(), ids=COMPUTED.keys())
def test_operands_of_any_shape(body: str, shape: tuple, weights: dict) -> None:
    made = proto(body, ", ".join(map(str, shape)), weights)
    found, expected = both(made, np.random.default_rng(5).standard_normal(shape, np.float32))
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * max(1, abs(expected).max()))


REFUSED = {
    "bias of each row": ("y = Gemm(x, w, b)", (7, 7), {"w": (7, 7), "b": (7, 1)},
                         "node 'n0' (Gemm): a bias [7, 1] for 7 filters is not supported"),
    "batch of matrices": ("y = MatMul(w, x)", (3, 5, 4), {"w": (3, 7, 5)},
                          "node 'n0' (MatMul): a constant [3, 7, 5] in a product is not supported"),
    "product of values": ("t = Transpose(x) y = MatMul(x, t)", (3, 5), {},
                          "node 'n1' (MatMul): a weight that is not constant is not supported"),
    "constant of two axes": ("y = Add(x, w)", (2, 5, 4, 3), {"w": (5, 1, 3)},
                             "node 'n0' (Add): a constant [5, 1, 3] for a value [2, 5, 4, 3] is "),
    "training": ("y = BatchNormalization<training_mode=1>(x, a, b, c, d)", (2, 5, 4, 3),
                 dict.fromkeys("abcd", (5,)), "(BatchNormalization): training_mode is not "),
    "dropout": ("r = Constant<value_float=0.5>() t = Equal(r, r) y = Dropout(x, r, t)",
                (2, 5), {}, "node 'n2' (Dropout): training_mode is not supported"),
    "pad value": ("""k = Constant<value_ints=[0, 0, 1, 0, 0, 0, 0, 0]>()
        a = ReduceMean<keepdims=0>(x, axes) b = Squeeze(a) y = Pad(x, k, b)""",
        (1, 1, 4, 3), {}, "node 'n3' (Pad): this way of padding is not supported"),
    "axis": ("y = Concat<axis=-1>(x, x)", (2, 5, 4, 3), {},
             "node 'n0' (Concat): another axis than the channels is not supported"),
    "type": ("h = Cast<to=10>(x) i = Neg(h) y = Cast<to=1>(i)", (2, 5), {},
             "node 'n0' (Cast): operator 'Cast' has no kernel"),
    "rank": ("""k = Constant<value_ints=[2, 5, 2, 2, 3]>() r = Reshape(x, k)
        y = Concat<axis=1>(r, r)""", (2, 5, 4, 3), {},
        "node 'n2' (Concat): value 'y' has shape [2, 10, 2, 2, 3]; it takes"),
}  # fmt: skip


@pytest.mark.parametrize(("body", "shape", "weights", "told"), REFUSED.values(), ids=REFUSED.keys())
def test_refused_by_name(body: str, shape: tuple, weights: dict, told: str) -> None:
    model = from_proto(proto(body, ", ".join(map(str, shape)), weights))
    with pytest.raises(UnsupportedError) as failure:
        Native().prepare(model).run({"x": np.ones(shape, np.float32)})
    assert told in str(failure.value)
    assert str(failure.value).startswith("native: node 'n")


def test_no_images() -> None:
    """A detector without a region: outputs of the right shape, and nothing in them."""
    body = """c = Conv<pads=[1, 1, 1, 1]>(x, w) p = GlobalAveragePool(c) f = Flatten(p)
        y = Gemm(f, v)"""
    made = proto(body, "N, 5, 7, 7", {"w": (9, 5, 3, 3), "v": (9, 4)})
    found, expected = both(made, np.zeros((0, 5, 7, 7), np.float32))
    assert found.shape == expected.shape == (0, 4)


def test_what_no_number_is_compared_with_stays() -> None:
    """NaN on either side, as in ONNX Runtime."""
    for operator in ("Max", "Min"):
        made = proto(f"t = Neg(x) y = {operator}(x, t) ", "1, 4", {})
        image = np.float32([[np.nan, 1, -2, np.inf]])
        np.testing.assert_array_equal(*both(made, image))
        made = proto(f"r = Sqrt(x) y = {operator}(x, r) ", "1, 4", {})
        np.testing.assert_array_equal(*both(made, np.float32([[-1, 4, -2, 0.25]])))


def test_an_image_smaller_than_its_window() -> None:
    model = from_proto(proto("y = MaxPool<kernel_shape=[3, 3]>(x)", "1, 4, H, W", {}))
    with pytest.raises(UnsupportedError, match=r"native: .*node 'n0'|native: output 'y'"):
        Native().prepare(model).run({"x": np.ones((1, 4, 2, 2), np.float32)})


def test_sizes_that_do_not_fit() -> None:
    model = from_proto(proto("f = Flatten(x) y = Gemm(f, w)", "N, 4, H, W", {"w": (36, 3)}))
    session = Native().prepare(model)
    assert session.run({"x": np.ones((2, 4, 3, 3), np.float32)})["y"].shape == (2, 3)
    with pytest.raises(UnsupportedError, match="native: "):
        session.run({"x": np.ones((2, 4, 2, 2), np.float32)})


def test_a_value_whose_shape_is_not_known_is_no_output() -> None:
    made = proto("y = Reshape(x, k)", "2, 6", {})
    made.graph.input.append(onnx.helper.make_tensor_value_info("k", onnx.TensorProto.INT64, ["R"]))
    model: ir.Model = from_proto(made)
    session = Native().prepare(model)
    with pytest.raises(UnsupportedError, match="native: "):
        session.run({"x": np.ones((2, 6), np.float32), "k": np.int64([3, 4])})
