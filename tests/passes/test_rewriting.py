"""What passes add to a network leaves what the user has of the same name."""

from pathlib import Path

import numpy as np
import onnx
import onnx.helper as oh
import onnxruntime
import pytest
from passes.builder import Net
from passes.story import inputs_of

from mlcnn import engines
from mlcnn.graph import from_proto, load_file, save, to_proto
from mlcnn.passes import Fuse

NAME = ("mlcnn", "ConvPoolBox")


def _function(inputs: list[str], nodes: list[onnx.NodeProto]) -> onnx.FunctionProto:
    return oh.make_function(*NAME, inputs, ["Y"], nodes, [oh.make_opsetid("", 20)])


def _network(*functions: onnx.FunctionProto) -> onnx.ModelProto:
    """x -> mlcnn.ConvPoolBox -> conv -> average pool, with functions of the user's."""
    net = Net("n", 2, 8, 8)
    value = net.op("ConvPoolBox", net.x, name="own", domain="mlcnn")
    value.shape, value.type = net.x.shape, net.x.type
    proto = to_proto(net.model(net.pool(net.conv(value))))
    proto.functions.extend(functions)
    return proto


def _run(path: Path, inputs: dict[str, np.ndarray]) -> np.ndarray:
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (output,) = session.run(None, inputs)
    return output


@pytest.mark.parametrize("functions", [False, True])
def test_a_function_of_the_user_is_kept(tmp_path: Path, *, functions: bool) -> None:
    own = _function(["X"], [oh.make_node("Neg", ["X"], ["Y"])])
    onnx.save(_network(own), tmp_path / "own.onnx")
    model = load_file(tmp_path / "own.onnx")
    fused = Fuse(form="box").apply(model).model
    save(fused, tmp_path / "fused.onnx", functions=functions)
    kept = [f for f in onnx.load(tmp_path / "fused.onnx").functions if f.name == "ConvPoolBox"]
    assert [[node.op_type for node in function.node] for function in kept] == [["Neg"]]
    inputs = inputs_of(model)
    expected = _run(tmp_path / "own.onnx", inputs)
    np.testing.assert_allclose(_run(tmp_path / "fused.onnx", inputs), expected, atol=1e-5)
    for engine in ("openvino", "native", "torch"):
        (actual,) = engines.get(engine).prepare(fused).run(inputs).values()
        np.testing.assert_allclose(actual, expected, atol=1e-5, err_msg=engine)


def test_a_function_of_another_version_is_kept(tmp_path: Path) -> None:
    """A file that was saved with functions, whose operators have another body now."""
    net = Net("n", 2, 16, 16)
    first = net.pool(net.conv(net.x), name="first")
    second = net.pool(net.conv(net.op("Relu", first), name="other"), name="second")
    model = net.model(second)
    save(model, tmp_path / "original.onnx")
    expected = _run(tmp_path / "original.onnx", inputs_of(model))
    once = to_proto(Fuse(form="box", only=("conv",)).apply(model).model)
    (function,) = once.functions
    function.node.insert(0, oh.make_node("Neg", ["X"], ["negative"]))
    function.node.insert(1, oh.make_node("Neg", ["negative"], ["copy"]))
    function.node[2].input[0] = "copy"
    twice = Fuse(form="box").apply(from_proto(once)).model
    called = [node.op_type for node in twice.graph if node.domain == "mlcnn"]
    assert called == ["ConvPoolBox", "ConvPoolBox_1"]
    for functions in (False, True):
        save(twice, tmp_path / "twice.onnx", functions=functions)
        assert len(onnx.load(tmp_path / "twice.onnx").functions) == 2 * functions
        actual = _run(tmp_path / "twice.onnx", inputs_of(model))
        np.testing.assert_allclose(actual, expected, atol=1e-5)


def test_layers_share_a_function() -> None:
    net = Net("n", 2, 16, 16)
    first = net.pool(net.conv(net.x), name="first")
    model = net.model(net.pool(net.conv(first, name="other"), name="second"))
    fused = Fuse(form="box").apply(model).model
    assert [node.op_type for node in fused.graph] == ["ConvPoolBox"] * 2
    assert [function.name for function in fused.functions.values()] == ["ConvPoolBox"]


def test_an_operator_that_an_engine_knows_stays_one() -> None:
    fused = Fuse(form="box").apply(from_proto(_network())).model
    assert [node.op_type for node in fused.graph] == ["ConvPoolBox", "ConvPoolBox_1"]
    assert [function.name for function in fused.functions.values()] == ["ConvPoolBox_1"]
