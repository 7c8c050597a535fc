"""Evaluation of whole graphs: types, functions, inner values, messages."""

import numpy as np
import onnx
import onnx_ir as ir
import pytest
import torch
from onnx import TensorProto, helper, numpy_helper

from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import operators
from mlcnn.graph.evaluate import evaluate

FLOAT = TensorProto.FLOAT


def model_of(nodes, inputs, outputs, initializers=(), *, functions=(), opset=20):
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, kind, shape) for name, kind, shape in inputs],
        [helper.make_empty_tensor_value_info(name) for name in outputs],
        [numpy_helper.from_array(array, name) for name, array in dict(initializers).items()],
    )
    opsets = [helper.make_opsetid("", opset), helper.make_opsetid("mlcnn", 1)]
    proto = helper.make_model(graph, opset_imports=opsets, functions=list(functions))
    return ir.serde.deserialize_model(proto)


def two_branches():
    """``y = relu(x) + w``; ``z = exp(relu(x))``."""
    nodes = [
        helper.make_node("Relu", ["x"], ["r"], name="first"),
        helper.make_node("Add", ["r", "w"], ["y"], name="second"),
        helper.make_node("Exp", ["r"], ["z"], name="third"),
    ]
    weight = np.array([1.0, 0.1, -1.0], np.float32)
    return model_of(nodes, [("x", FLOAT, ["batch", 3])], ["y", "z"], {"w": weight})


def test_floats_are_computed_in_the_type_asked_for():
    x = torch.tensor([[1.0, -2.0, 3.0]])
    result = evaluate(two_branches(), {"x": x})
    assert result["y"].dtype == torch.float64
    # 0.1 as float32, not rounded again and not widened to the decimal 0.1
    assert result["y"][0, 1].item() == float(np.float32(0.1))
    assert list(result) == ["y", "z"]
    assert evaluate(two_branches(), {"x": x}, dtype=torch.float32)["y"].dtype == torch.float32


def test_float64_is_precise():
    result = evaluate(two_branches(), {"x": torch.tensor([[1.0, 2.0, 3.0]], dtype=torch.float64)})
    np.testing.assert_allclose(result["z"].numpy(), np.exp([[1.0, 2.0, 3.0]]), rtol=1e-15)


@pytest.mark.parametrize("name", ["w16", "wb"])
def test_half_types_are_widened(name):
    tensors = {
        "w16": numpy_helper.from_array(np.array([0.1], np.float16), "w16"),
        "wb": helper.make_tensor("wb", TensorProto.BFLOAT16, [1], [0.1]),
    }
    graph = helper.make_graph(
        [helper.make_node("Identity", [name], ["y"])],
        "graph",
        [],
        [helper.make_empty_tensor_value_info("y")],
        [tensors[name]],
    )
    proto = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)])
    result = evaluate(ir.serde.deserialize_model(proto), {})["y"]
    assert result.dtype == torch.float64
    expected = {"w16": float(np.float16(0.1)), "wb": 0.10009765625}  # 8 bits: 205 / 2048
    assert result.item() == expected[name]


def test_inner_values_and_only_the_needed_nodes():
    model = two_branches()
    model.graph.node(1).op_type = "Nonsense"
    x = torch.tensor([[1.0, -1.0, 0.0]])
    result = evaluate(model, {"x": x}, outputs=["z", "r"])
    assert list(result) == ["z", "r"]
    torch.testing.assert_close(result["r"], x.clamp(min=0).double())
    with pytest.raises(UnsupportedError) as caught:
        evaluate(model, {"x": x}, outputs=["y"])
    assert str(caught.value) == (
        "node 'second' (Nonsense): operator 'Nonsense' of domain 'ai.onnx' has no torch kernel; "
        "run this network with ONNX Runtime instead"
    )


def test_an_inner_value_does_not_need_every_input():
    nodes = [helper.make_node("Relu", ["a"], ["r"]), helper.make_node("Add", ["r", "b"], ["y"])]
    model = model_of(nodes, [("a", FLOAT, [2]), ("b", FLOAT, [2])], ["y"])
    evaluate(model, {"a": torch.ones(2)}, outputs=["r"])
    with pytest.raises(InputError, match="input 'b' is missing; given: a"):
        evaluate(model, {"a": torch.ones(2)})


def test_inputs_and_initializers_can_be_asked_for():
    model = two_branches()
    result = evaluate(model, {"x": torch.ones(1, 3)}, outputs=["x", "w"])
    assert result["x"].tolist() == [[1, 1, 1]]
    assert result["w"].shape == (3,)


def test_shape_arithmetic_stays_integer():
    nodes = [
        helper.make_node("Shape", ["x"], ["shape"]),
        helper.make_node("Gather", ["shape", "zero"], ["batch"]),
        helper.make_node("Unsqueeze", ["batch", "axis"], ["batch_1d"]),
        helper.make_node("Concat", ["batch_1d", "rest"], ["target"], axis=0),
        helper.make_node("Reshape", ["x", "target"], ["y"]),
    ]
    constants = {"zero": np.int64(0), "axis": np.array([0]), "rest": np.array([-1])}
    arrays = {name: np.asarray(value, np.int64) for name, value in constants.items()}
    model = model_of(nodes, [("x", FLOAT, ["n", 3, 4])], ["y", "target"], arrays)
    result = evaluate(model, {"x": torch.ones(5, 3, 4)})
    assert result["y"].shape == (5, 12)
    assert result["target"].dtype == torch.int64


def scaled_pool():
    """``mlcnn::ScaledPool(x, scale?)``: an average pool of attributes by reference, twice."""
    inner = helper.make_function(
        "mlcnn",
        "Pool",
        ["value"],
        ["result"],
        [
            onnx.parser.parse_node(
                "result = AveragePool "
                "<kernel_shape: ints = @window, strides: ints = @steps> (value)"
            )
        ],
        [helper.make_opsetid("", 20)],
        attributes=["window", "steps"],
    )
    outer = helper.make_function(
        "mlcnn",
        "ScaledPool",
        ["value", "scale"],
        ["result"],
        [
            onnx.parser.parse_node(
                "pooled = mlcnn.Pool <window: ints = @window, steps: ints = @steps> (value)"
            ),
            onnx.parser.parse_node("leaky = LeakyRelu <alpha: float = @alpha> (pooled)"),
            onnx.parser.parse_node("result = Clip (leaky, , scale)"),
        ],
        [helper.make_opsetid("", 20), helper.make_opsetid("mlcnn", 1)],
        attributes=["window", "steps"],
        attribute_protos=[helper.make_attribute("alpha", 0.5)],
    )
    return inner, outer


@pytest.mark.parametrize("alpha", [None, 0.25])
@pytest.mark.parametrize("high", [None, 0.2])
def test_functions_bind_attributes_by_reference(alpha, high):
    given = {} if alpha is None else {"alpha": alpha}
    inputs = ["x"] if high is None else ["x", "high"]
    call = helper.make_node(
        "ScaledPool", inputs, ["y"], domain="mlcnn", window=[2, 2], steps=[2, 1], **given
    )
    constants = {} if high is None else {"high": np.float32(high) * np.ones((), np.float32)}
    model = model_of(
        [call], [("x", FLOAT, [1, 2, 4, 4])], ["y"], constants, functions=scaled_pool()
    )
    x = torch.randn(1, 2, 4, 4, generator=torch.Generator().manual_seed(0))
    pooled = torch.nn.functional.avg_pool2d(x.double(), 2, (2, 1))
    expected = torch.nn.functional.leaky_relu(pooled, alpha or 0.5)
    if high is not None:
        expected = expected.clamp(max=float(np.float32(high)))
    torch.testing.assert_close(evaluate(model, {"x": x})["y"], expected, rtol=0, atol=1e-15)


def test_an_attribute_that_the_caller_leaves_out_takes_the_operators_default():
    inner, _ = scaled_pool()
    call = helper.make_node("Pool", ["x"], ["y"], domain="mlcnn", window=[2, 2])
    model = model_of([call], [("x", FLOAT, [1, 1, 3, 3])], ["y"], functions=[inner])
    assert evaluate(model, {"x": torch.ones(1, 1, 3, 3)})["y"].shape == (1, 1, 2, 2)


def test_unknown_names_are_refused():
    x = torch.ones(1, 3)
    with pytest.raises(InputError, match="the network has no input 'q'; its inputs are x"):
        evaluate(two_branches(), {"x": x, "q": x})
    with pytest.raises(InputError, match="the network has no value 'q'; its outputs are y, z"):
        evaluate(two_branches(), {"x": x}, outputs=["q"])


@pytest.mark.parametrize("shape", [(1, 4), (3,), (1, 3, 1)])
def test_an_input_of_a_wrong_shape_is_refused(shape):
    with pytest.raises(InputError, match=r"input 'x' has shape .* takes \('batch', '3'\)"):
        evaluate(two_branches(), {"x": torch.ones(shape)})


def test_a_node_that_cannot_run_is_named():
    nodes = [helper.make_node("Add", ["x", "w"], ["y"], name="sum")]
    model = model_of(nodes, [("x", FLOAT, ["n"])], ["y"], {"w": np.ones(3, np.float32)})
    with pytest.raises(InputError, match=r"node 'sum' \(Add\) cannot run on inputs \[\(4,\)"):
        evaluate(model, {"x": torch.ones(4)})


def test_an_old_opset_is_refused():
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [("x", FLOAT, [1])], ["y"], opset=9)
    with pytest.raises(UnsupportedError, match="opset 9 is too old to evaluate: at least 13"):
        evaluate(model, {"x": torch.ones(1)})


def test_values_are_freed_after_their_last_use(monkeypatch):
    alive: list[int] = []
    links = 20
    nodes = [helper.make_node("Neg", [f"v{i}"], [f"v{i + 1}"]) for i in range(links)]
    model = model_of(nodes, [("v0", FLOAT, [1])], [f"v{links}"])
    live = 0

    class Counted(torch.Tensor):
        def __del__(self):
            nonlocal live
            live -= 1

    def negate(x):
        nonlocal live
        live += 1
        alive.append(live)
        return (-x.as_subclass(torch.Tensor)).as_subclass(Counted)

    monkeypatch.setitem(operators.OPERATORS, "Neg", operators.Operator(lambda _: negate))
    evaluate(model, {"v0": torch.ones(1)})
    assert max(alive) <= 3


def test_the_model_is_not_changed():
    model = two_branches()
    before = ir.serde.serialize_model(model).SerializeToString()
    evaluate(model, {"x": torch.ones(1, 3)})
    assert ir.serde.serialize_model(model).SerializeToString() == before
