"""Numbers for dynamic dimensions."""

import numpy as np
import onnx
import onnx.helper as oh
import pytest

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import from_proto
from mlcnn.workload import layers, read, with_sizes

FLOAT = onnx.TensorProto.FLOAT


def _model(shapes, *, nodes=None, weights=None):
    """Two convolutions of stride 2 over the first input, by default."""
    nodes = nodes or [
        oh.make_node("Conv", ["x", "a.weight"], ["h"], strides=[2, 2], pads=[1, 1, 1, 1]),
        oh.make_node("Conv", ["h", "b.weight"], ["y"], strides=[2, 2], pads=[1, 1, 1, 1]),
    ]
    weights = weights or {"a.weight": (4, 3, 3, 3), "b.weight": (5, 4, 3, 3)}
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info(name, FLOAT, shape) for name, shape in shapes.items()],
        [oh.make_tensor_value_info("y", FLOAT, None)],
        [
            onnx.numpy_helper.from_array(np.ones(shape, np.float32), name)
            for name, shape in weights.items()
        ],
    )
    proto = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 20)], ir_version=9)
    return from_proto(onnx.shape_inference.infer_shapes(proto))


DYNAMIC = {"x": ("batch", 3, "height", "width")}


def test_a_dynamic_batch_is_1_or_what_is_given():
    model = _model({"x": ("batch", 3, 32, 32)})
    assert [layer.N for layer in layers(model)] == [1, 1]
    assert [layer.N for layer in layers(model, batch=16)] == [16, 16]
    assert read(model, batch=16).images == 16


def test_the_input_with_a_dynamic_batch_has_the_images():
    nodes = [
        oh.make_node("Add", ["x", "offset"], ["h"]),
        oh.make_node("Conv", ["h", "a.weight"], ["y"]),
    ]
    model = _model(
        {"offset": (1, 3, 8, 8), "x": ("batch", 3, 8, 8)},
        nodes=nodes,
        weights={"a.weight": (4, 3, 3, 3)},
    )
    assert read(model, batch=16).images == 16


def test_an_unnamed_batch():
    model = _model({"x": (None, 3, 32, 32)})
    assert [layer.N for layer in layers(model, batch=2)] == [2, 2]


def test_a_static_batch_stays():
    model = _model({"x": (4, 3, 32, 32)})
    assert [layer.N for layer in layers(model, batch=16)] == [4, 4]
    assert read(model, batch=16).images == 4
    assert with_sizes(model) is model


def test_sizes_for_dynamic_height_and_width():
    model = _model(DYNAMIC)
    found = layers(model, input_shape=(2, 3, 33, 64))
    assert [(x.N, x.H, x.W, x.P, x.Q) for x in found] == [
        (2, 33, 64, 17, 32),
        (2, 17, 32, 9, 16),
    ]


def test_the_network_is_not_changed():
    model = _model(DYNAMIC)
    before = [str(value.shape) for value in model.graph.inputs]
    before += [str(node.outputs[0].shape) for node in model.graph]
    layers(model, input_shape=(2, 3, 33, 64))
    after = [str(value.shape) for value in model.graph.inputs]
    after += [str(node.outputs[0].shape) for node in model.graph]
    assert after == before


def test_without_sizes_the_first_layer_is_named():
    with pytest.raises(
        UnsupportedError,
        match=r"^a \(Conv\): the shape of its input is \(1, 3, height, width\) and its operations",
    ):
        layers(_model(DYNAMIC))


@pytest.mark.parametrize("shape", [(1, 3, 32), (1, 4, 32, 32), (1, 3, 0, 32), (1, 3, 32, 32, 32)])
def test_a_shape_that_does_not_fit(shape):
    with pytest.raises(InputError, match=r"input 'x' has shape \(batch, 3, height, width\)"):
        layers(_model(DYNAMIC), input_shape=shape)


def test_a_shape_that_contradicts_a_static_network():
    with pytest.raises(InputError, match=r"was given \(1, 3, 64, 64\)"):
        layers(_model({"x": (1, 3, 32, 32)}), input_shape=(1, 3, 64, 64))


def test_a_shape_for_an_unknown_input():
    with pytest.raises(InputError, match="input 'image', which the network does not have"):
        layers(_model(DYNAMIC), input_shape={"image": (1, 3, 32, 32)})


def test_a_batch_below_one():
    with pytest.raises(InputError, match="the batch is 0: it must be at least 1"):
        layers(_model(DYNAMIC), batch=0)


def _two_inputs(second):
    nodes = [
        oh.make_node("Add", ["x", "z"], ["s"]),
        oh.make_node("Conv", ["s", "a.weight"], ["y"]),
    ]
    shapes = {"x": ("batch", 3, "height", 8), "z": second}
    return _model(shapes, nodes=nodes, weights={"a.weight": (4, 3, 3, 3)})


def test_a_dimension_of_two_inputs_is_given_once():
    model = _two_inputs(("batch", 3, "height", 8))
    (layer,) = layers(model, input_shape={"x": (2, 3, 9, 8)})
    assert (layer.N, layer.H, layer.W) == (2, 9, 8)


def test_two_sizes_for_one_dimension():
    model = _two_inputs(("batch", 3, "height", 8))
    with pytest.raises(InputError, match="dimension 'height' two sizes, 9 and 10"):
        layers(model, input_shape={"x": (2, 3, 9, 8), "z": (2, 3, 10, 8)})


def test_one_shape_for_two_inputs():
    with pytest.raises(InputError, match=r"the network has 2 inputs \(x, z\)"):
        layers(_two_inputs((1, 3, 1, 1)), input_shape=(2, 3, 9, 8))


def test_dimensions_behind_a_reshape_follow():
    nodes = [
        oh.make_node("Flatten", ["x"], ["f"]),
        oh.make_node("Gemm", ["f", "fc.weight"], ["y"]),
    ]
    model = _model(
        {"x": ("batch", 3, "height", "width")}, nodes=nodes, weights={"fc.weight": (48, 7)}
    )
    (layer,) = layers(model, input_shape=(5, 3, 4, 4))
    assert (layer.N, layer.C, layer.K) == (5, 48, 7)
