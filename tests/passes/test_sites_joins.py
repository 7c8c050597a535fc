"""Pools reach several convolutions through concatenation and residual addition."""

from pathlib import Path

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net
from passes.story import left_alone, story

from mlcnn.graph import load_file, save
from mlcnn.passes import DistributePool, pipeline


def test_concat_of_convolutions_is_distributed_exactly() -> None:
    net = Net()
    branches = [net.conv(net.x, name="a"), net.conv(net.x, 3, 1, name="b")]
    model = net.model(net.pool(net.op("Concat", *branches, axis=1, name="cat")))
    assert story(model) == [
        "distribute-pool rewrites a, b, cat, pool",
        "fuse rewrites a, a/AveragePool as box",
        "fuse rewrites b, b/AveragePool as box",
    ]


def test_concat_of_activations_is_reordered_at_once() -> None:
    """All branches end in convolutions; the channel axis may be counted from the end."""
    net = Net()
    branches = [net.op("Relu", net.conv(net.x, name=n), name=f"relu_{n}") for n in "ab"]
    model = net.model(net.pool(net.op("Concat", *branches, axis=-3, name="cat")))
    assert story(model) == [
        "reorder rewrites a, b, cat, relu_a, relu_b, pool",
        "fuse rewrites a, a/AveragePool as box",
        "fuse rewrites b, b/AveragePool as box",
    ]


def test_branch_without_convolution_is_pooled_where_that_is_exact() -> None:
    """The pool that this makes is no node of the user's: nothing says that it was left alone."""
    net = Net()
    side = net.input("side", "n", 2, 8, 8)
    cat = net.op("Concat", net.conv(net.x), side, axis=1, name="cat")
    assert story(net.model(net.pool(cat))) == [
        "distribute-pool rewrites conv, cat, pool",
        "fuse rewrites conv, conv/AveragePool as box",
    ]


def test_what_a_saved_network_was_rewritten_to_is_not_left_alone(tmp_path: Path) -> None:
    """Neither the mean over windows in the box form, nor the pool of the other branch."""
    net = Net()
    side = net.op("Relu", net.x, name="relu")
    model = net.model(net.pool(net.op("Concat", net.conv(net.x), side, axis=1, name="cat")))
    passes = pipeline.parse("distribute-pool,fuse{form=box}")
    save(pipeline.run(model, passes).model, tmp_path / "once.onnx")
    once = load_file(tmp_path / "once.onnx")
    assert [node.op_type for node in once.graph].count("AveragePool") == 2
    assert pipeline.run(once, passes).skipped == ()


def test_branch_without_convolution_refuses_an_activation_behind_the_concat() -> None:
    net = Net()
    side = net.input("side", "n", 2, 8, 8)
    cat = net.op("Concat", net.conv(net.x), side, axis=1, name="cat")
    model = net.model(net.pool(net.op("Relu", cat, name="relu")))
    assert story(model) == left_alone(
        "pool",
        "1 of the 2 branches of cat end in no convolution to fuse (the pool's input side is an "
        "input of the network): accuracy would be paid where nothing is gained",
    )


def test_branch_without_convolution_refuses_an_activation_in_another_branch() -> None:
    net = Net()
    side = net.input("side", "n", 2, 8, 8)
    relus = [net.op("Relu", net.conv(net.x, name=n), name=f"relu_{n}") for n in "ab"]
    softmax = net.op("Softmax", side, axis=1, name="softmax")
    cat = net.op("Concat", *relus, softmax, axis=1, name="cat")
    assert story(net.model(net.pool(cat))) == left_alone(
        "pool",
        "1 of the 3 branches of cat end in no convolution to fuse (Softmax (softmax) stands "
        "before the pool): accuracy would be paid where nothing is gained",
    )


def test_concat_along_height() -> None:
    net = Net()
    branches = [net.conv(net.x, name="a"), net.conv(net.x, name="b")]
    model = net.model(net.pool(net.op("Concat", *branches, axis=2, name="cat")))
    reason = "cat concatenates along axis 2, not channels"
    assert story(model) == left_alone("pool", reason)


def test_concat_of_a_value_with_itself() -> None:
    net = Net()
    conv = net.conv(net.x)
    model = net.model(net.pool(net.op("Concat", conv, conv, axis=1, name="cat")))
    assert story(model) == left_alone("pool", "cat concatenates a value with itself")


def test_concat_of_two_activations_of_one_convolution() -> None:
    net = Net()
    conv = net.conv(net.x)
    branches = [net.op("Relu", conv, name="relu"), net.op("Tanh", conv, name="tanh")]
    model = net.model(net.pool(net.op("Concat", *branches, axis=1, name="cat")))
    assert story(model) == left_alone("pool", "conv:0 is used by tanh too")


def test_concat_with_nothing_to_fuse() -> None:
    net = Net()
    sides = [net.input(name, "n", 2, 8, 8) for name in ("left", "right")]
    model = net.model(net.pool(net.op("Concat", *sides, axis=1, name="cat")))
    reason = "the pool's input left is an input of the network"
    assert story(model) == left_alone("pool", reason)


def test_residual_of_two_convolutions_is_distributed_exactly() -> None:
    net = Net()
    branches = [net.conv(net.x, name="a"), net.conv(net.x, kernel=1, name="shortcut")]
    model = net.model(net.pool(net.op("Add", *branches, name="add")))
    assert story(model) == [
        "distribute-pool rewrites a, shortcut, add, pool",
        "fuse rewrites a, a/AveragePool as box",
        "fuse rewrites shortcut, shortcut/AveragePool as box",
    ]


def test_residual_with_identity_shortcut_and_relu() -> None:
    """The end of a ResNet: the shortcut is pooled, the convolution fused."""
    net = Net()
    before = net.op("Relu", net.conv(net.x, name="before"), name="relu_before")
    add = net.op("Add", net.conv(before), before, name="add")
    model = net.model(net.op("GlobalAveragePool", net.op("Relu", add, name="relu"), name="pool"))
    assert story(model) == [
        "reorder rewrites conv, relu, add, pool",
        "fuse rewrites conv, conv/GlobalAveragePool as box",
    ]


def test_residual_around_a_batch_norm() -> None:
    net = Net()
    add = net.op("Add", net.norm(net.conv(net.x)), net.x, name="add")
    assert story(net.model(net.pool(add)), "distribute-pool,fuse{form=box}") == [
        "distribute-pool rewrites conv, add, norm, pool",
        "fuse rewrites conv, conv/AveragePool as box",
    ]


def test_nested_joins() -> None:
    net = Net()
    add = net.op("Add", net.conv(net.x, name="a"), net.conv(net.x, name="b"), name="add")
    cat = net.op("Concat", add, net.norm(net.conv(net.x, name="c")), axis=1, name="cat")
    assert story(net.model(net.pool(cat))) == [
        "distribute-pool rewrites a, b, c, cat, add, norm, pool",
        "fuse rewrites a, a/AveragePool as box",
        "fuse rewrites b, b/AveragePool as box",
        "fuse rewrites c, c/AveragePool as box",
    ]


def test_value_that_ends_two_branches_is_pooled_for_each() -> None:
    """Under names of their own: engines refuse a network with two nodes of one name."""
    net = Net()
    add = net.op("Add", net.conv(net.x), net.x, name="add")
    cat = net.op("Concat", add, net.x, axis=1, name="cat")
    model = net.model(net.pool(cat))
    assert story(model, "distribute-pool,fuse{form=box}") == [
        "distribute-pool rewrites conv, cat, add, pool",
        "fuse rewrites conv, conv/AveragePool as box",
    ]
    names = [node.name for node in DistributePool().apply(model).model.graph]
    assert sorted(name for name in names if name.startswith("x/")) == [
        "x/AveragePool",
        "x/AveragePool_1",
    ]


def test_one_convolution_added_twice_is_not_a_join() -> None:
    net = Net()
    conv = net.conv(net.x)
    model = net.model(net.pool(net.op("Add", conv, conv, name="double")))
    assert story(model) == [
        "reorder rewrites conv, double, pool",
        "fuse rewrites conv, conv/AveragePool as box",
    ]


def test_input_added_to_itself() -> None:
    net = Net()
    total = net.op("Softmax", net.conv(net.x), axis=1, name="softmax")
    model = net.model(net.pool(net.op("Add", total, total, name="double")))
    assert story(model) == left_alone("pool", "Softmax (softmax) stands before the pool")


def test_sum_that_broadcasts() -> None:
    net = Net()
    per_channel = net.conv(net.input("one", "n", 2, 1, 1), kernel=1, name="gate")
    model = net.model(net.pool(net.op("Add", net.conv(net.x), per_channel, name="add")))
    reason = "add adds two tensors of different or unknown shapes"
    assert story(model) == left_alone("pool", reason)


@pytest.mark.parametrize("strides", [[1, 1], [2, 2]])
def test_residual_over_dynamic_sizes(strides: list[int]) -> None:
    """3x3 padded by 1 and 1x1 keep the same of every size, whatever their stride."""
    net = Net("n", 2, "h", "w")
    kernels = {"a": 3, "shortcut": 1}
    branches = [net.conv(net.x, kernel=k, strides=strides, name=n) for n, k in kernels.items()]
    model = net.model(net.pool(net.op("Add", *branches, name="add")))
    assert story(model) == [
        "distribute-pool rewrites a, shortcut, add, pool",
        "fuse rewrites a, a/AveragePool as box",
        "fuse rewrites shortcut, shortcut/AveragePool as box",
    ]


def test_sum_of_unknown_shapes() -> None:
    """Two inputs: one may be a single row that is broadcast over the other's."""
    net = Net("n", 2, "h", "w")
    other = net.input("other", "n", 2, "rows", "columns")
    branches = [net.conv(net.x, name="a"), net.conv(other, name="b")]
    model = net.model(net.pool(net.op("Add", *branches, name="add")))
    reason = "add adds two tensors of different or unknown shapes"
    assert story(model) == left_alone("pool", reason)


def test_constant_image_added() -> None:
    net = Net()
    image = net.weight("image", 2, 8, 8)
    model = net.model(net.pool(net.op("Add", net.conv(net.x), image, name="add")))
    reason = "add adds a constant that is not one value per channel"
    assert story(model) == left_alone("pool", reason)


def test_inception_module_in_front_of_an_overlapping_max_pool() -> None:
    net = Net()
    direct = net.op("Relu", net.norm(net.conv(net.x, 3, 1, name="a"), 3, name="na"), name="ra")
    reduced = net.op("Relu", net.conv(net.x, name="b0"), name="rb0")
    deep = net.op("Relu", net.norm(net.conv(reduced, name="b"), name="nb"), name="rb")
    inner = net.pool(net.x, 3, 1, pads=[1] * 4, op_type="MaxPool", name="inner")
    projected = net.op("Relu", net.conv(inner, kernel=1, name="c"), name="rc")
    cat = net.op("Concat", direct, deep, projected, axis=1, name="cat")
    model = net.model(net.pool(cat, 3, 2, pads=[1] * 4, op_type="MaxPool"))
    nodes = "a, b, c, cat, ra, na, rb, nb, rc, pool"
    assert story(model) == [
        f"max-to-average rewrites {nodes}",
        "max-to-average leaves inner: the pool is not alone: x is used by a, b0, inner",
        f"reorder rewrites {nodes}",
        "fuse rewrites a, a/AveragePool as box",
        "fuse rewrites b, b/AveragePool as box",
        "fuse rewrites c, c/AveragePool as box",
    ]


def _branch(condition: str, source: ir.Value) -> ir.Graph:
    """A branch of an If: a convolution and a pool over a value of the graph around it."""
    weight = np.random.default_rng(0).standard_normal((2, 2, 3, 3)).astype(np.float32)
    constant = ir.node("Constant", [], attributes={"value": ir.tensor(weight)})
    conv = ir.node("Conv", [source, constant.outputs[0]], attributes={"pads": [1] * 4})
    attributes = {"kernel_shape": [2, 2], "strides": [2, 2]}
    pool = ir.node("AveragePool", [conv.outputs[0]], attributes=attributes, name="inner_pool")
    pool.outputs[0].name = condition
    pool.outputs[0].shape = ir.Shape(["n", 2, 4, 4])
    pool.outputs[0].type = ir.TensorType(ir.DataType.FLOAT)
    return ir.Graph([], [pool.outputs[0]], nodes=[constant, conv, pool], name=condition)


def _outside(told: list[str]) -> list[str]:
    """What is told of the main graph; that the pools in both branches are left is checked here."""
    inside = "inner_pool: inside the body of If 'if': only the main graph is rewritten"
    for name in ("reorder", "distribute-pool", "fuse"):
        assert told.count(f"{name} leaves {inside}") == 2
    return [line for line in told if not line.endswith(inside)]


def test_networks_inside_an_if_are_left_alone() -> None:
    """The pool outside is not alone either: the branches read the convolution too."""
    net = Net()
    condition = net.input("condition", dtype=np.bool_)
    conv = net.conv(net.x)
    branches = {name: _branch(name, conv) for name in ("then_branch", "else_branch")}
    chosen = net.op("If", condition, name="if", **branches)
    model = net.model(chosen, net.pool(conv))
    lines = [f"{name} leaves pool: " for name in ("reorder", "distribute-pool", "fuse")]
    told = _outside(story(model))
    assert len(told) == 3
    for line, start in zip(told, lines, strict=True):
        assert line.startswith(f"{start}the pool is not alone: conv:0 is used by ")


def test_pool_that_an_if_reads_is_fused() -> None:
    """The branches read the fused value instead, by the same name."""
    net = Net("n", 2, 16, 16)
    condition = net.input("condition", dtype=np.bool_)
    pooled = net.pool(net.conv(net.x))
    branches = {name: _branch(name, pooled) for name in ("then_branch", "else_branch")}
    model = net.model(net.op("If", condition, name="if", **branches))
    assert _outside(story(model)) == ["fuse rewrites conv, pool as box"]


def test_site_beside_an_if_is_rewritten() -> None:
    net = Net()
    condition = net.input("condition", dtype=np.bool_)
    pooled = net.pool(net.conv(net.x))
    other = net.input("other", "n", 2, 8, 8)
    branches = {name: _branch(name, other) for name in ("then_branch", "else_branch")}
    chosen = net.op("If", condition, name="if", **branches)
    model = net.model(pooled, chosen)
    assert _outside(story(model)) == ["fuse rewrites conv, pool as box"]
