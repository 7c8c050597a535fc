"""Sites that no pass takes: each is left alone with its reason, word for word."""

from collections.abc import Sequence

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net
from passes.story import left_alone, story

from mlcnn.passes import DistributePool, Fuse, MaxToAverage, Reorder


def test_nothing_but_the_input_before_the_pool() -> None:
    net = Net()
    model = net.model(net.pool(net.op("Relu", net.x, name="relu")))
    assert story(model) == left_alone("pool", "the pool's input x is an input of the network")


@pytest.mark.parametrize("op_type", ["Softmax", "LogSoftmax", "LRN", "GlobalMaxPool"])
def test_operator_that_does_not_commute(op_type: str) -> None:
    net = Net("n", 2, 8, 8)
    attributes = {"LRN": {"size": 3}, "GlobalMaxPool": {}}.get(op_type, {"axis": 1})
    conv = net.conv(net.x)
    value = net.op(op_type, conv, name="other", **attributes)
    model = net.model(net.op("GlobalAveragePool", value, name="pool"))
    assert story(model) == left_alone("pool", f"{op_type} (other) stands before the pool")


@pytest.mark.parametrize("op_type", ["Mul", "Div", "Max", "Pow"])
def test_constant_that_differs_within_a_channel(op_type: str) -> None:
    net = Net()
    columns = net.initializer("columns", np.arange(1, 9, dtype=np.float32))
    model = net.model(net.pool(net.op(op_type, net.conv(net.x), columns, name="other")))
    assert story(model) == left_alone("pool", f"{op_type} (other) stands before the pool")


@pytest.mark.parametrize("op_type", ["Add", "Sub"])
def test_shift_that_differs_within_a_channel(op_type: str) -> None:
    net = Net()
    model = net.model(net.pool(net.op(op_type, net.conv(net.x), net.weight("w", 8), name="other")))
    reason = {
        "Add": "other adds a constant that is not one value per channel",
        "Sub": "Sub (other) stands before the pool",
    }[op_type]
    assert story(model) == left_alone("pool", reason)


def test_dropout_that_is_training() -> None:
    net = Net()
    dropout = net.op("Dropout", net.conv(net.x), 0.5, np.array(True), name="dropout")
    model = net.model(net.pool(dropout))
    assert story(model, runs=False) == left_alone(
        "pool", "Dropout (dropout) stands before the pool"
    )


def test_batch_norm_that_is_training() -> None:
    net = Net()
    operands = [net.conv(net.x), *(net.weight(name, 2) for name in ("scale", "shift", "mean"))]
    variance = net.initializer("var", np.ones(2, np.float32))
    attributes = {"training_mode": 1, "outputs": 3, "name": "norm"}
    norm = net.op("BatchNormalization", *operands, variance, **attributes)
    reason = "BatchNormalization (norm) stands before the pool"
    assert story(net.model(net.pool(norm))) == left_alone("pool", reason)


def test_gate_of_a_squeeze_and_excitation_block() -> None:
    net = Net()
    conv = net.conv(net.x)
    gate = net.op("Sigmoid", net.op("GlobalAveragePool", conv, name="squeeze"), name="sigmoid")
    model = net.model(net.pool(net.op("Mul", conv, gate, name="excite")))
    lines = [
        ("squeeze", "the pool is not alone: conv:0 is used by excite, squeeze"),
        ("pool", "Mul (excite) stands before the pool"),
    ]
    assert story(model) == [
        f"{name} leaves {node}: {reason}"
        for name in ("reorder", "distribute-pool", "fuse")
        for node, reason in lines
    ]


def test_value_that_something_else_reads_too() -> None:
    net = Net()
    relu = net.op("Relu", net.conv(net.x), name="relu")
    model = net.model(net.pool(relu), net.op("Tanh", relu, name="tanh"))
    reason = "the pool is not alone: relu:0 is used by pool, tanh"
    assert story(model) == left_alone("pool", reason)


def test_convolution_that_something_else_reads_too() -> None:
    net = Net()
    conv = net.conv(net.x)
    pool = net.pool(net.op("Relu", conv, name="relu"))
    model = net.model(pool, net.op("Tanh", conv, name="tanh"))
    assert story(model) == left_alone("pool", "conv:0 is used by tanh too")


def test_inner_value_of_an_activation_that_something_else_reads_too() -> None:
    net = Net()
    conv = net.conv(net.x)
    gate = net.op("Sigmoid", conv, name="sigmoid")
    pool = net.pool(net.op("Mul", conv, gate, name="silu"))
    model = net.model(pool, net.op("Neg", gate, name="neg"))
    assert story(model) == left_alone("pool", "Mul (silu) stands before the pool")


@pytest.mark.parametrize("behind", ["conv", "relu"])
def test_output_of_the_network_in_the_middle(behind: str) -> None:
    net = Net()
    conv = net.conv(net.x)
    relu = net.op("Relu", conv, name="relu")
    model = net.model(net.pool(relu), conv if behind == "conv" else relu)
    assert story(model) == left_alone("pool", f"{behind}:0 is an output of the network too")


def test_inner_value_of_an_activation_that_is_an_output() -> None:
    net = Net()
    conv = net.conv(net.x)
    gate = net.op("Sigmoid", conv, name="sigmoid")
    model = net.model(net.pool(net.op("Mul", conv, gate, name="silu")), gate)
    assert story(model) == left_alone("pool", "Mul (silu) stands before the pool")


def test_shift_under_a_pool_that_counts_its_padding() -> None:
    net = Net()
    norm = net.norm(net.conv(net.x))
    model = net.model(net.pool(norm, 3, 2, pads=[1] * 4, count_include_pad=1))
    reason = "norm shifts its input and the pool counts its padding"
    assert story(model) == left_alone("pool", reason)


@pytest.mark.parametrize("role", ["weight", "bias"])
def test_convolution_whose_parameters_are_not_constant(role: str) -> None:
    net = Net()
    weight = net.weight("w", 2, 2, 3, 3) if role == "bias" else net.input("w", 2, 2, 3, 3)
    bias = net.weight("b", 2) if role == "weight" else net.input("b", 2)
    conv = net.op("Conv", net.x, weight, bias, pads=[1] * 4, name="conv")
    model = net.model(net.pool(conv))
    assert story(model) == left_alone("pool", f"conv: the {role} is not a constant")


def test_convolution_whose_weight_is_computed() -> None:
    """Until constants are folded."""
    net = Net()
    weight = net.op("Mul", net.weight("raw", 2, 2, 3, 3), 2.0, name="scaled")
    model = net.model(net.pool(net.conv(net.x, weight=weight)))
    assert story(model) == left_alone("pool", "conv: the weight is not a constant")
    assert story(model, "fold-constants,fuse{form=box}") == [
        "fold-constants rewrites scaled",
        "fuse rewrites conv, pool as box",
    ]


@pytest.mark.parametrize("rank", [1, 3])
def test_convolution_over_another_number_of_dimensions(rank: int) -> None:
    net = Net("n", 2, *[8] * rank)
    weight = net.weight("conv.weight", 2, 2, *[3] * rank)
    conv = net.op("Conv", net.x, weight, pads=[1] * 2 * rank, name="conv")
    pool = net.op("AveragePool", conv, kernel_shape=[2] * rank, strides=[2] * rank, name="pool")
    reason = "the pool's input is not a 4-D tensor of known rank"
    assert story(net.model(pool)) == left_alone("pool", reason)


def test_transposed_convolution() -> None:
    net = Net()
    value = net.op("ConvTranspose", net.x, net.weight("w", 2, 2, 3, 3), name="up")
    model = net.model(net.pool(value))
    assert story(model) == left_alone("pool", "ConvTranspose (up) stands before the pool")


def test_second_of_two_pools_in_a_row() -> None:
    net = Net()
    first = net.pool(net.op("Softmax", net.conv(net.x), axis=1, name="softmax"), name="first")
    model = net.model(net.pool(first, name="second"))
    lines = [
        ("first", "Softmax (softmax) stands before the pool"),
        ("second", "AveragePool (first) stands before the pool"),
    ]
    assert story(model) == [
        f"{name} leaves {node}: {reason}"
        for name in ("reorder", "distribute-pool", "fuse")
        for node, reason in lines
    ]


def test_pool_that_keeps_the_size() -> None:
    net = Net()
    model = net.model(net.pool(net.conv(net.x), 3, 1, pads=[1] * 4))
    reason = "conv: the pool's output is as large as its input: no multiplication is saved"
    assert story(model) == left_alone("pool", reason)


def test_pool_with_a_window_of_one_element() -> None:
    net = Net()
    model = net.model(net.pool(net.conv(net.x), 1, 2))
    reason = "conv: the pool's window is one element: a strided convolution already"
    assert story(model) == left_alone("pool", reason)


def test_dilated_pool() -> None:
    net = Net()
    model = net.model(net.pool(net.conv(net.x), 2, 2, dilations=[2, 2]))
    assert story(model) == left_alone("pool", "the pool is dilated")


def test_pool_whose_border_splits_the_output_into_many_regions() -> None:
    """Windows of 7 every 2 over 20 with 3 zeros around hold 4, 6, 7 .. 7, 5: four runs an axis."""
    net = Net("n", 2, 20, 20)
    model = net.model(net.pool(net.conv(net.x), 7, 2, pads=[3] * 4))
    reason = (
        "conv: the pool's border splits the output into 16 regions, more than 9: more "
        "convolutions than it saves"
    )
    assert story(model) == left_alone("pool", reason)


def test_border_region_that_reads_only_padding() -> None:
    """The first windows hold the first two outputs, which see zeros alone."""
    net = Net()
    conv = net.conv(net.x, kernel=1, pads=[2] * 4)
    model = net.model(net.pool(conv, 3, 2, pads=[1] * 4))
    assert story(model) == left_alone("pool", "conv: a region reads only padding")


@pytest.mark.parametrize("border", [{"pads": [1] * 4}, {"ceil_mode": 1}])
def test_border_that_depends_on_dynamic_sizes(border: dict[str, object]) -> None:
    net = Net("n", 2, "h", "w")
    model = net.model(net.pool(net.conv(net.x), 3, 2, **border))
    reason = "conv: the pool's border depends on height or width, which are dynamic"
    assert story(model) == left_alone("pool", reason)


def test_global_pool_over_dynamic_sizes() -> None:
    net = Net("n", 2, "h", "w")
    model = net.model(net.op("GlobalAveragePool", net.conv(net.x), name="pool"))
    reason = "conv: the pool is global and height or width are dynamic"
    assert story(model) == left_alone("pool", reason)


def test_padding_by_name_with_dynamic_sizes() -> None:
    net = Net("n", 2, "h", "w")
    model = net.model(net.pool(net.conv(net.x, auto_pad="SAME_UPPER")))
    reason = "conv: auto_pad SAME_UPPER with dynamic height or width"
    assert story(model) == left_alone("pool", reason)


@pytest.mark.parametrize("axes", [[1], [2], [1, 2, 3], None])
def test_mean_over_other_axes(axes: list[int] | None) -> None:
    net = Net()
    operands = [] if axes is None else [np.array(axes)]
    model = net.model(net.op("ReduceMean", net.conv(net.x), *operands, name="mean"))
    assert story(model) == left_alone("mean", "the mean is not over height and width alone")


def test_operator_of_another_domain_named_conv() -> None:
    net = Net()
    conv = net.op("Conv", net.x, net.weight("w", 2, 2, 3, 3), domain="custom", name="conv")
    conv.shape, conv.type = ir.Shape(["n", 2, 8, 8]), net.x.type
    told = story(net.model(net.pool(conv)), runs=False)
    assert told == left_alone("pool", "Conv (conv) stands before the pool")


@pytest.mark.parametrize("op_type", ["AveragePool", "MaxPool", "GlobalAveragePool", "ReduceMean"])
def test_pool_of_another_domain_is_not_looked_at(op_type: str) -> None:
    net = Net()
    pool = net.op(op_type, net.conv(net.x), domain="custom", name="pool")
    pool.shape = ir.Shape(["n", 2, 4, 4])
    assert story(net.model(pool), runs=False) == []


@pytest.mark.parametrize("op_type", ["Relu", "Add", "Concat", "BatchNormalization"])
def test_operator_of_another_domain_between(op_type: str) -> None:
    net = Net()
    value = net.op(op_type, net.conv(net.x), domain="custom", name="other")
    value.shape, value.type = ir.Shape(["n", 2, 8, 8]), net.x.type
    told = story(net.model(net.pool(value)), runs=False)
    assert told == left_alone("pool", f"{op_type} (other) stands before the pool")


def _body(kind: str, inputs: Sequence[ir.Value], value: ir.Value, net: Net) -> ir.Graph:
    """conv -> pool of that kind, reading ``value`` from outside."""
    conv = ir.node("Conv", [value, net.weight(f"{kind}.w", 2, 2, 1, 1)], name=f"{kind}_conv")
    pool = ir.node(kind, conv.outputs, attributes={"kernel_shape": [2, 2]}, name=f"{kind}_inner")
    for node in (conv, pool):
        node.outputs[0].name = f"{node.name}:0"
    return ir.Graph(inputs, pool.outputs, nodes=[conv, pool], name=kind)


def test_pools_in_the_bodies_of_an_if() -> None:
    net = Net("n", 2, 8, 8)
    condition = net.input("condition", dtype=np.bool_)
    bodies = {
        "then_branch": _body("AveragePool", [], net.x, net),
        "else_branch": _body("MaxPool", [], net.x, net),
    }
    model = net.model(net.op("If", condition, name="choice", **bodies))
    reason = "inside the body of If 'choice': only the main graph is rewritten"
    assert story(model) == [
        f"max-to-average leaves MaxPool_inner: {reason}",
        *left_alone("AveragePool_inner", reason),
    ]


def test_pool_in_the_body_of_a_loop() -> None:
    net = Net("n", 2, 8, 8)
    counter = ir.Value(name="i", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.INT64))
    going = ir.Value(name="going", shape=ir.Shape([]), type=ir.TensorType(ir.DataType.BOOL))
    body = _body("AveragePool", [counter, going], net.x, net)
    same = ir.node("Identity", [going], name="same")
    same.outputs[0].name = "same:0"
    body.append(same)
    body.outputs.insert(0, same.outputs[0])
    count = net.initializer("count", np.array(3))
    model = net.model(net.op("Loop", count, np.array(True), name="loop", body=body))
    reason = "inside the body of Loop 'loop': only the main graph is rewritten"
    assert story(model) == left_alone("AveragePool_inner", reason)


@pytest.mark.parametrize(("axes", "mentioned"), [([2, 3], True), ([-1, -2], True), ([1], False)])
def test_mean_in_a_function(axes: list[int], *, mentioned: bool) -> None:
    net = Net("n", 2, 8, 8)
    model = net.model(net.op("Block", net.x, name="call", domain="mine"))
    source = ir.Value(name="X")
    constant = ir.node("Constant", [], attributes={"value_ints": axes}, name="axes")
    mean = ir.node("ReduceMean", [source, constant.outputs[0]], name="mean")
    for node in (constant, mean):
        node.outputs[0].name = f"{node.name}:0"
    nodes, opsets = [constant, mean], {"": 20}
    body = ir.Graph([source], mean.outputs, nodes=nodes, opset_imports=opsets, name="Block")
    function = ir.Function("mine", "Block", "", graph=body, attributes=[])
    model.functions[function.identifier()] = function
    reason = "inside the function Block: only the main graph is rewritten"
    assert story(model) == (left_alone("mean", reason) if mentioned else [])


def test_pools_that_a_pass_put_into_a_function_are_not_mentioned() -> None:
    net = Net()
    model = net.model(net.pool(net.conv(net.x)))
    assert story(model, "fuse{form=box},fuse{form=box}") == ["fuse rewrites conv, pool as box"]


@pytest.mark.parametrize("kind", [MaxToAverage, Reorder, DistributePool, Fuse])
def test_selection_of_layers(kind: type) -> None:
    """Two sites that each pass would take: one may be left out by name, or alone be chosen."""

    def model() -> ir.Model:
        net = Net()
        pools = []
        for name in ("a", "b"):
            value = net.conv(net.x, name=f"conv_{name}")
            if kind is DistributePool:
                value = net.norm(value, name=f"norm_{name}")
            if kind is Reorder:
                value = net.op("Relu", value, name=f"relu_{name}")
            op_type = "MaxPool" if kind is MaxToAverage else "AveragePool"
            pools.append(net.pool(value, op_type=op_type, name=f"pool_{name}"))
        return net.model(*pools)

    def touched(**options: tuple[str, ...]) -> tuple[list[str], list[str]]:
        result = kind(**options).apply(model())
        return [c.nodes[0] for c in result.changes], [s.reason for s in result.skipped]

    assert touched() == (["conv_a", "conv_b"], [])
    assert touched(only=("conv_b",)) == (["conv_b"], ["not among the nodes of --only"])
    assert touched(only=("pool_b",)) == (["conv_b"], ["not among the nodes of --only"])
    assert touched(exclude=("conv_b",)) == (["conv_a"], ["excluded by --exclude conv_b"])
    assert touched(exclude=("pool_b",)) == (["conv_a"], ["excluded by --exclude pool_b"])
    both = touched(only=("conv_a",), exclude=("conv_a",))
    assert both == ([], ["excluded by --exclude conv_a", "not among the nodes of --only"])
