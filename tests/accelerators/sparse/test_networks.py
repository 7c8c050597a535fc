"""The mask on its way from a network to a machine, and what a result says of zeros."""

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net

from mlcnn import accelerators, graph, workload
from mlcnn.accelerators import load_accelerator
from mlcnn.ops.shared_kernels import kept
from mlcnn.passes import pipeline


def _thinned(model, name):
    """Two thirds of a weight set to zero."""
    copy = graph.clone(model)
    value = copy.graph.initializers[name]
    array = value.const_value.numpy().copy()
    array[np.random.default_rng(0).random(array.shape) < 0.67] = 0
    value.const_value = ir.Tensor(array, name=name)
    return copy, array != 0


def _network():
    net = Net(2, 8, 12, 11)
    inner = net.conv(net.x, 16, channels=8, name="a", pads=[1] * 4)
    return net.model(net.conv(inner, 16, channels=16, name="b", pads=[1] * 4))


def test_the_mask_of_a_convolution():
    model, expected = _thinned(_network(), "a.weight")
    a, b = workload.read(model).layers
    assert np.array_equal(a.mask.kept(16, 8, 9), expected.reshape(16, 8, 9))
    assert b.mask.kept(16, 16, 9).all()
    assert a.mask.kept(16, 9, 9) is None
    assert a.mask.kept(8, 16, 9) is None


@pytest.mark.parametrize("form", [None, "two-stage", "split", "rebuilt"])
def test_the_mask_of_shared_kernels_in_every_form(form):
    model = pipeline.run(_network(), pipeline.parse("share-kernels{basis=3}")).model
    model, expected = _thinned(model, "b.weight")
    if form is not None:
        model = pipeline.run(model, pipeline.parse(f"choose{{form={form}}}")).model
    layer = workload.read(model).layers[1]
    assert np.array_equal(kept(layer), expected)


@pytest.mark.parametrize("transposed", [0, 1])
def test_the_mask_of_a_dense_layer(transposed):
    weight = np.arange(12, dtype=np.float32).reshape(3, 4)
    value = ir.Value(name="w", const_value=ir.Tensor(weight if transposed else weight.T, name="w"))
    value.shape, value.dtype = ir.Shape(value.const_value.shape), ir.DataType.FLOAT
    x = ir.Value(name="x", shape=ir.Shape([1, 4]), type=ir.TensorType(ir.DataType.FLOAT))
    node = ir.node("Gemm", [x, value], attributes={"transB": transposed})
    node.outputs[0].shape, node.outputs[0].dtype = ir.Shape([1, 3]), ir.DataType.FLOAT
    inside = ir.Graph([x], node.outputs, nodes=[node], initializers=[value], opset_imports={"": 20})
    (layer,) = workload.read(ir.Model(inside, ir_version=10)).layers
    assert np.array_equal(layer.mask.kept(3, 4), weight != 0)


def test_a_result_says_who_is_charged_for_zeros(technology):
    model, _ = _thinned(_network(), "a.weight")
    machines = load_accelerator("sparse-fp32"), load_accelerator("dcnn-fp32")
    found = accelerators.evaluate(model, *machines, technology, batch=2)
    skipped = found.layers[0].cost.skips_zeros
    rows = found.to_json()["layers"]
    assert [row["zeros"] for row in rows] == ["left out" if skipped else "charged", "none"]
    assert [row["against_zeros"] for row in rows] == ["charged", "none"]
    told = "of the 1 layers that have weights which are zero, and is charged for all others"
    assert found.zeros == (
        f"sparse-fp32 leaves out the zeros of {int(skipped)} {told}",
        f"dcnn-fp32 leaves out the zeros of 0 {told}",
    )
    assert found.shown().notes == found.zeros
    dense = accelerators.evaluate(_network(), *machines, technology, batch=2)
    assert dense.zeros == ()
