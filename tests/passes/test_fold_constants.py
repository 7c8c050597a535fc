"""What does not depend on the input is computed once."""

import numpy as np
import onnx_ir as ir
from passes.builder import Net
from passes.story import largest_difference, story

from mlcnn.graph import constant
from mlcnn.passes import FoldConstants


def test_computed_weight_becomes_an_initializer() -> None:
    net = Net()
    scaled = net.op("Mul", net.weight("raw", 2, 2, 3, 3), 2.0, name="scaled")
    weight = net.op("Transpose", scaled, perm=[1, 0, 2, 3], name="swapped")
    model = net.model(net.conv(net.x, weight=weight))
    result = FoldConstants().apply(model)
    assert [(change.nodes, change.exact) for change in result.changes] == [
        (("scaled", "swapped"), True),
    ]
    (conv,) = (node for node in result.model.graph if node.op_type != "Constant")
    raw = net.initializers["raw"].const_value.numpy()
    np.testing.assert_array_equal(constant(conv.inputs[1]), 2 * raw.swapaxes(0, 1))
    assert largest_difference(model, result.model) == 0


def test_shape_arithmetic_of_a_static_network() -> None:
    """Exporters spell out a flatten as Shape, Gather, Concat and Reshape."""
    net = Net(2, 3, 4, 4)
    shape = net.op("Shape", net.x, name="shape")
    batch = net.op("Gather", shape, np.array([0]), axis=0, name="batch")
    target = net.op("Concat", batch, np.array([-1]), axis=0, name="target")
    model = net.model(net.op("Reshape", net.x, target, name="flat"))
    result = FoldConstants().apply(model)
    assert {node for change in result.changes for node in change.nodes} >= {"batch", "target"}
    assert [n.op_type for n in result.model.graph if n.op_type != "Constant"] == ["Reshape"]
    assert largest_difference(model, result.model) == 0


def test_network_without_constant_nodes_is_not_changed() -> None:
    net = Net()
    model = net.model(net.pool(net.op("Relu", net.conv(net.x), name="relu")))
    result = FoldConstants().apply(model)
    assert result.changes == result.skipped == ()
    assert [node.name for node in result.model.graph] == ["conv", "relu", "pool"]


def test_dynamic_batch_stays_dynamic() -> None:
    net = Net()
    computed = net.op("Neg", net.weight("raw", 2, 1, 1), name="negated")
    model = net.model(net.op("Add", net.conv(net.x), computed, name="add"))
    folded = FoldConstants().apply(model).model
    assert [str(dim) for dim in folded.graph.outputs[0].shape] == ["n", "2", "8", "8"]


def test_large_result_is_not_stored() -> None:
    """4 MiB of zeros in a file for the sake of one small node."""
    net = Net("n", 1, 1, 1)
    big = net.op("Expand", net.weight("raw", 1), np.array([1 << 21]), name="expand")
    total = net.op("ReduceSum", big, name="sum", keepdims=0)
    model = net.model(net.op("Add", net.x, total, name="add"))
    folded = FoldConstants().apply(model).model
    stored = [value.const_value.size for value in folded.graph.initializers.values()]
    assert max(stored) < 1 << 21


def test_unknown_operators_stay() -> None:
    net = Net()
    value = net.op("Strange", net.weight("raw", 2, 1, 1), domain="custom", name="strange")
    value.shape, value.type = ir.Shape([2, 1, 1]), net.x.type
    model = net.model(net.op("Add", net.x, value, name="add"))
    assert story(model, "fold-constants", runs=False) == []


def test_random_nodes_stay() -> None:
    net = Net()
    noise = net.op("RandomNormal", shape=[2, 1, 1], name="noise")
    model = net.model(net.op("Add", net.x, noise, name="add"))
    assert story(model, "fold-constants", runs=False) == []
