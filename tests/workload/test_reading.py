"""The layers that a network is read as, against ONNX Runtime's shapes and PyTorch's."""

import math

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st
from torch import nn

from mlcnn.counting import Operations, original
from mlcnn.errors import UnsupportedError
from mlcnn.graph import from_module, from_proto, to_proto
from mlcnn.passes import Fuse
from mlcnn.workload import ConvLayer, Pool, Uncounted, layers, read

FLOAT = onnx.TensorProto.FLOAT


def _model(nodes, inputs, weights, *, outputs=("y",), opset=20):
    graph = oh.make_graph(
        nodes,
        "g",
        [oh.make_tensor_value_info(name, FLOAT, shape) for name, shape in inputs.items()],
        [oh.make_tensor_value_info(name, FLOAT, None) for name in outputs],
        [onnx.numpy_helper.from_array(array, name) for name, array in weights.items()],
    )
    opsets = [oh.make_opsetid("", opset), oh.make_opsetid("com.example", 1)]
    proto = oh.make_model(graph, opset_imports=opsets, ir_version=9)
    return from_proto(onnx.shape_inference.infer_shapes(proto))


def _weight(*shape):
    return np.ones(shape, np.float32)


def _conv(shape, weight, **attributes):
    node = oh.make_node("Conv", ["x", "conv.weight"], ["y"], name="conv", **attributes)
    return _model([node], {"x": shape}, {"conv.weight": weight})


def test_every_attribute_of_a_convolution():
    model = _conv(
        (2, 6, 20, 30), _weight(8, 3, 3, 5), group=2, strides=[2, 1], dilations=[1, 2],
        pads=[1, 2, 3, 4],
    )  # fmt: skip
    assert layers(model) == (
        ConvLayer(
            "conv", N=2, K=8, C=6, H=20, W=30, R=3, S=5, G=2, strides=(2, 1), dilations=(1, 2),
            pads=(1, 2, 3, 4),
        ),
    )  # fmt: skip


def test_absent_attributes_take_their_defaults():
    (layer,) = layers(_conv((1, 3, 8, 8), _weight(4, 3, 3, 3)))
    assert layer == ConvLayer("conv", N=1, K=4, C=3, H=8, W=8, R=3, S=3)


@st.composite
def _automatic(draw):
    sizes, kernel = (draw(st.tuples(*[st.integers(1, top)] * 2)) for top in (9, 4))
    attributes = {
        "auto_pad": draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"])),
        "strides": draw(st.lists(st.integers(1, 3), min_size=2, max_size=2)),
    }
    valid = attributes["auto_pad"] == "VALID"
    assume(not valid or all(k <= s for k, s in zip(kernel, sizes, strict=True)))
    return sizes, kernel, attributes


@given(_automatic())
def test_automatic_padding(case):
    """The reference evaluator of ONNX pads the same: its output is a sum over the same window."""
    sizes, kernel, attributes = case
    node = oh.make_node("Conv", ["x", "w"], ["y"], **attributes)
    graph = oh.make_graph(
        [node], "g",
        [oh.make_tensor_value_info("x", FLOAT, (1, 1, *sizes))],
        [oh.make_tensor_value_info("y", FLOAT, None)],
        [onnx.numpy_helper.from_array(_weight(1, 1, *kernel), "w")],
    )  # fmt: skip
    proto = oh.make_model(graph, opset_imports=[oh.make_opsetid("", 20)], ir_version=9)
    (layer,) = layers(from_proto(onnx.shape_inference.infer_shapes(proto)))
    x = np.random.default_rng(0).normal(size=(1, 1, *sizes)).astype(np.float32)
    (expected,) = onnx.reference.ReferenceEvaluator(proto).run(None, {"x": x})
    top, left, bottom, right = layer.pads
    padded = nn.functional.pad(torch.from_numpy(x), (left, right, top, bottom))
    weight = torch.ones(1, 1, *kernel)
    actual = nn.functional.conv2d(padded, weight, None, layer.strides)
    assert expected.shape[2:] == (layer.P, layer.Q)
    np.testing.assert_allclose(actual.numpy(), expected, rtol=1e-5, atol=1e-5)


def test_a_one_dimensional_convolution_has_height_1():
    model = _conv((1, 4, 50), _weight(6, 4, 5), strides=[3], pads=[1, 2], dilations=[2])
    assert layers(model) == (
        ConvLayer(
            "conv", N=1, K=6, C=4, H=1, W=50, R=1, S=5, strides=(1, 3), dilations=(1, 2),
            pads=(0, 1, 0, 2),
        ),
    )  # fmt: skip


@pytest.mark.parametrize("attributes", [
    {},
    {"strides": [2, 1, 3], "pads": [1, 0, 2, 0, 1, 2], "dilations": [2, 1, 1]},
    {"auto_pad": "SAME_UPPER", "strides": [2, 2, 1]},
    {"group": 2, "dilations": [1, 2, 1], "auto_pad": "VALID"},
])  # fmt: skip
def test_a_three_dimensional_convolution_has_a_depth(attributes):
    weight = _weight(4, 6 // attributes.get("group", 1), 2, 3, 4)
    model = _conv((2, 6, 7, 8, 9), weight, **attributes)
    (layer,) = layers(model)
    session = onnxruntime.InferenceSession(to_proto(model).SerializeToString())
    (output,) = session.run(None, {"x": np.ones((2, 6, 7, 8, 9), np.float32)})
    assert layer.depth is not None
    assert output.shape[2:] == (layer.depth.outputs, layer.P, layer.Q)
    assert layer.weights == weight.size
    products = math.prod(weight.shape[1:])
    assert layer.macs == output.size * products
    counted = original(layer)
    assert counted == Operations(output.size * products, output.size * (products - 1))


def test_a_convolution_over_four_dimensions_is_named():
    model = _conv((1, 3, 4, 4, 4, 4), _weight(4, 3, 3, 3, 3, 3))
    assert read(model).uncounted == (Uncounted("conv", "Conv"),)


@pytest.mark.parametrize("transposed", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_dense_layer_is_a_1x1_convolution(transposed):
    shape = (12, 5) if transposed[0] else (5, 12)
    weight = _weight(7, 12) if transposed[1] else _weight(12, 7)
    node = oh.make_node(
        "Gemm", ["x", "fc.weight"], ["y"], transA=transposed[0], transB=transposed[1]
    )
    model = _model([node], {"x": shape}, {"fc.weight": weight})
    assert layers(model) == (ConvLayer("fc", N=5, K=7, C=12, H=1, W=1, R=1, S=1),)


def test_a_product_with_a_weight_counts_its_rows():
    node = oh.make_node("MatMul", ["x", "fc.weight"], ["y"])
    model = _model([node], {"x": (2, 3, 4, 12)}, {"fc.weight": _weight(12, 7)})
    (layer,) = layers(model)
    assert (layer.N, layer.H * layer.W, layer.C, layer.K) == (2, 12, 12, 7)
    assert layer.macs == 2 * 3 * 4 * 12 * 7


def test_a_weight_from_the_left():
    node = oh.make_node("MatMul", ["fc.weight", "x"], ["y"])
    model = _model([node], {"x": (2, 12, 5)}, {"fc.weight": _weight(7, 12)})
    (layer,) = layers(model)
    assert (layer.N, layer.H * layer.W, layer.C, layer.K) == (2, 5, 12, 7)


@pytest.mark.parametrize("transposed", [(0, 0), (0, 1), (1, 0), (1, 1)])
def test_a_dense_layer_whose_weight_stands_left(transposed):
    weight = _weight(12, 7) if transposed[0] else _weight(7, 12)
    shape = (5, 12) if transposed[1] else (12, 5)
    node = oh.make_node(
        "Gemm", ["fc.weight", "x"], ["y"], transA=transposed[0], transB=transposed[1]
    )
    (layer,) = layers(_model([node], {"x": shape}, {"fc.weight": weight}))
    assert layer.macs == 5 * 7 * 12


def test_a_weight_with_leading_ones():
    node = oh.make_node("MatMul", ["x", "fc.weight"], ["y"])
    (layer,) = layers(_model([node], {"x": (3, 12)}, {"fc.weight": _weight(1, 1, 12, 7)}))
    assert layer.macs == 3 * 12 * 7


_ROWS, _COLUMNS = 1024, 1000


def _generated(kind: str) -> tuple[list, dict]:
    """Nodes that make a weight of (1024, 1000), and the constants that they read."""
    shape = np.array([_ROWS, _COLUMNS])
    filled = oh.make_node("ConstantOfShape", ["size"], ["f"])
    match kind:
        case "reshaped":
            weight = oh.make_node("Reshape", ["f", "shape"], ["w"])
            return [filled, weight], {"size": np.array([_ROWS * _COLUMNS]), "shape": shape}
        case "expanded":
            row = np.ones((1, _COLUMNS), np.float32)
            return [oh.make_node("Expand", ["row", "shape"], ["w"])], {"row": row, "shape": shape}
        case "tiled":
            return [
                oh.make_node("Tile", ["row", "repeats"], ["t"]),
                oh.make_node("Mul", ["t", "two"], ["w"]),
            ], {
                "row": np.ones((1, _COLUMNS), np.float32),
                "repeats": np.array([_ROWS, 1]),
                "two": np.float32(2),
            }  # fmt: skip
        case _:
            random = oh.make_node("RandomNormal", [], ["w"], shape=shape)
            return [random], {}


@pytest.mark.parametrize("operator", ["Gemm", "MatMul"])
@pytest.mark.parametrize("kind", ["reshaped", "expanded", "tiled"])
def test_a_large_weight_is_counted_and_not_made(kind, operator):
    nodes, constants = _generated(kind)
    nodes.append(oh.make_node(operator, ["x", "w"], ["y"], name="fc"))
    model = _model(nodes, {"x": (3, _ROWS)}, constants)
    found = read(model)
    assert [layer.nest.macs for layer in found.layers] == [3 * _ROWS * _COLUMNS]
    assert found.uncounted == ()
    values = [value.const_value for value in model.graph.initializers.values()]
    assert sum(tensor.size for tensor in values if tensor is not None) < _ROWS * _COLUMNS


def test_a_random_matrix_is_no_weight():
    nodes, _ = _generated("random")
    nodes.append(oh.make_node("MatMul", ["x", "w"], ["y"], name="fc"))
    found = read(_model(nodes, {"x": (3, _ROWS)}, {}))
    assert found.uncounted == (Uncounted("fc", "MatMul"),)


def test_products_of_two_computed_tensors_are_no_layers():
    nodes = [
        oh.make_node("MatMul", ["a", "b"], ["y"], name="scores"),
        oh.make_node("Gemm", ["a", "b"], ["z"], name="mixed"),
    ]
    found = read(_model(nodes, {"a": (3, 4), "b": (4, 5)}, {}, outputs=("y", "z")))
    assert found.layers == ()
    assert found.uncounted == (Uncounted("scores", "MatMul"), Uncounted("mixed", "Gemm"))


def test_what_multiplies_and_is_no_layer_is_named():
    nodes = [
        oh.make_node("Conv", ["x", "a.weight"], ["h"]),
        oh.make_node("ConvTranspose", ["h", "up.weight"], ["u"]),
        oh.make_node("Relu", ["u"], ["r"]),
        oh.make_node("Warp", ["r"], ["y"], name="warp", domain="com.example"),
    ]
    weights = {"a.weight": _weight(2, 3, 1, 1), "up.weight": _weight(2, 3, 2, 2)}
    found = read(_model(nodes, {"x": (1, 3, 4, 4)}, weights))
    assert [layer.name for layer in found.layers] == ["a"]
    assert found.uncounted == (
        Uncounted("up", "ConvTranspose"),
        Uncounted("warp", "com.example.Warp"),
    )


def test_functions_are_looked_into():
    """A saved network may keep its fused operators as functions."""
    node = oh.make_node("Conv", ["x", "conv.weight"], ["c"], name="conv")
    pool = oh.make_node("AveragePool", ["c"], ["y"], kernel_shape=[2, 2], strides=[2, 2])
    model = _model([node, pool], {"x": (1, 3, 8, 8)}, {"conv.weight": _weight(4, 3, 3, 3)})
    fused = Fuse(form="expanded").apply(model).model
    assert [node.domain for node in fused.graph] == ["mlcnn"]
    found = read(fused)
    (layer,) = found.layers
    # The layer is what it was; what stands in the network for it is one convolution.
    assert (layer.nest.R, layer.nest.S, layer.nest.strides) == (3, 3, (1, 1))
    assert (layer.pool, layer.form) == (Pool((2, 2), (2, 2)), "expanded")
    assert [(part.R, part.S, part.strides) for part in layer.parts] == [(4, 4, (2, 2))]
    assert found.uncounted == ()
    assert len(fused.functions) == 1


def test_images_are_the_batch_whatever_a_layer_makes_of_it():
    """A dense layer over the tokens of an image has a row for each of them."""
    nodes = [
        oh.make_node("Reshape", ["x", "rows"], ["r"]),
        oh.make_node("Gemm", ["r", "fc.weight"], ["y"]),
    ]
    weights = {"rows": np.array([-1, 8]), "fc.weight": _weight(8, 5)}
    found = read(_model(nodes, {"x": (4, 16, 8)}, weights))
    assert (found.layers[0].nest.N, found.images) == (64, 4)


def test_a_quantised_weight_is_a_weight():
    nodes = [
        oh.make_node("DequantizeLinear", ["q", "scale"], ["w"]),
        oh.make_node("MatMul", ["x", "w"], ["y"]),
    ]
    weights = {"q": np.ones((12, 7), np.int8), "scale": np.float32(0.5)}
    (layer,) = layers(_model(nodes, {"x": (3, 12)}, weights))
    assert (layer.N, layer.C, layer.K) == (3, 12, 7)


def test_layers_come_in_order_with_their_operators():
    nodes = [
        oh.make_node("Conv", ["x", "a.weight"], ["h"]),
        oh.make_node("Relu", ["h"], ["r"]),
        oh.make_node("Flatten", ["r"], ["f"]),
        oh.make_node("Gemm", ["f", "b.weight"], ["g"]),
        oh.make_node("MatMul", ["g", "c.weight"], ["y"]),
    ]
    weights = {
        "a.weight": _weight(2, 3, 3, 3),
        "b.weight": _weight(8, 5),
        "c.weight": _weight(5, 4),
    }
    found = read(_model(nodes, {"x": (1, 3, 4, 4)}, weights))
    assert [layer.name for layer in found.layers] == ["a", "b", "c"]
    assert [layer.operator for layer in found.layers] == ["Conv", "Gemm", "MatMul"]
    assert found.uncounted == ()


class _Net(nn.Module):
    """Convolutions of every kind that PyTorch pads by itself."""

    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, padding="same"),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.Conv2d(8, 8, (1, 5), stride=2, groups=4, bias=False),
            nn.AvgPool2d(2),
        )
        self.head = nn.Linear(8 * 4 * 3, 10)

    def forward(self, x):
        return self.head(self.features(x).flatten(1))


def test_a_module_layer_by_layer():
    """Sizes as PyTorch's hooks see them, names as its modules have them."""
    net, x = _Net().eval(), torch.zeros(3, 3, 16, 16)
    found = layers(from_module(net, (x,)), batch=3)
    seen = []
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d | nn.Linear):
            module.register_forward_hook(
                lambda module, inputs, output, name=name: seen.append(
                    (name, tuple(inputs[0].shape), tuple(output.shape), module.weight.numel())
                )
            )
    net(x)
    assert [layer.name for layer in found] == [name for name, *_ in seen]
    for layer, (_, inputs, outputs, weights) in zip(found, seen, strict=True):
        padded = (*inputs, 1, 1)[:4]
        assert padded == (layer.N, layer.C, layer.H, layer.W)
        assert (*outputs, 1, 1)[:4] == (layer.N, layer.K, layer.P, layer.Q)
        assert layer.weights == weights


def test_a_size_of_zero_is_told_as_what_it_is():
    with pytest.raises(UnsupportedError) as failure:
        layers(_conv((0, 3, 8, 8), _weight(4, 3, 3, 3)))
    assert str(failure.value) == (
        "conv (Conv): the shape of its input is (0, 3, 8, 8): with a size of 0 there is nothing to "
        "count; export the network for one image or more, or with a dynamic batch"
    )
