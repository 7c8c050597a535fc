"""ONNX Runtime as the yardstick: weights handed over in place, as inputs or as constants."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest

from mlcnn.graph import Reference, extract, infer_shapes

X = np.random.default_rng(0).normal(size=(2, 32)).astype(np.float32)


def dense(dtype, *, also_input=False):
    """A product with a weight of 2 KiB or more, cast to single precision first."""
    array = np.random.default_rng(1).normal(size=(32, 32)).astype(dtype)
    model = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["": 20]>
        g (float[2,32] x) => (float[2,32] y) { c = Cast<to=1>(w)  y = MatMul(x, c) }"""
        .replace("(float[2,32] x)", "(float[2,32] x, float[32,32] w)")
    )  # fmt: skip
    (weight,) = (value for value in model.graph.inputs if value.name == "w")
    weight.const_value, weight.dtype = (
        ir.Tensor(array, name="w"),
        ir.DataType.from_numpy(array.dtype),
    )
    model.graph.register_initializer(weight)
    if not also_input:
        model.graph.inputs.remove(weight)
    return model, X @ array.astype(np.float32)


@pytest.mark.parametrize("also_input", [False, True])
@pytest.mark.parametrize("constant", [False, True])
def test_weights_are_read_where_they_lie(constant, also_input):
    model, expected = dense(np.float32, also_input=also_input)

    found = Reference(model, constant=constant).run({"x": X})["y"]

    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_weights_that_numpy_has_no_type_for_are_constants_in_the_message():
    model, expected = dense(ml_dtypes.bfloat16)

    found = Reference(model, constant=True).run({"x": X})["y"]

    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_a_part_brings_what_its_bodies_read():
    model = ir.from_onnx_text(
        """<ir_version: 10, opset_import: ["": 20]>
        g (float[2] x, bool b) => (float[2] z) <float[2] w = {1, 2}> {
          a = Neg(x)
          s = Exp(a)
          z = If(b) <then_branch = t () => (float[2] p) { p = Add(s, w) },
                     else_branch = e () => (float[2] q) { q = Neg(s) }>
        }"""
    )

    infer_shapes(model)

    part = extract(model, ["a", "b"], ["z"])

    assert [node.op_type for node in part.graph] == ["Exp", "If"]
    assert list(part.graph.initializers) == ["w"]
    x = np.array([1, 2], np.float32)
    found = Reference(part).run({"a": x, "b": np.array(True)})["z"]
    np.testing.assert_allclose(found, np.exp(x) + np.array([1, 2]), rtol=1e-6)
