"""``reorder`` and ``distribute-pool`` against the network that the mathematics says they make."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from passes.builder import Net
from passes.story import story
from torch import Tensor
from torch.nn import functional as F

from mlcnn.graph import evaluate, from_module
from mlcnn.passes import DistributePool, PassResult, Reorder, pipeline

SIZE = 6
ACTIVATIONS: dict[str, Callable[[Tensor], Tensor]] = {
    "Relu": F.relu, "LeakyRelu": lambda t: F.leaky_relu(t, 0.01), "Sigmoid": torch.sigmoid,
    "Tanh": torch.tanh, "HardSwish": F.hardswish, "Gelu": F.gelu, "Elu": F.elu,
    "Softplus": F.softplus,
}  # fmt: skip


@dataclass(frozen=True)
class Tree:
    """What stands between an input of 2 channels and a pool: operators, convolutions as leaves."""

    kind: str
    children: tuple["Tree", ...] = ()
    seed: int = 0

    @property
    def channels(self) -> int:
        if self.kind == "Concat":
            return sum(child.channels for child in self.children)
        return self.children[0].channels if self.children else 2

    def kinds(self) -> set[str]:
        return {self.kind}.union(*(child.kinds() for child in self.children))

    @property
    def exact(self) -> bool:
        return not self.kinds() & set(ACTIVATIONS)


def _weights(tree: Tree) -> tuple[np.ndarray, ...]:
    generator = np.random.default_rng(tree.seed)
    if tree.kind == "Conv":
        return generator.standard_normal((2, 2, 3, 3)), generator.standard_normal(2)
    if tree.kind == "BatchNormalization":
        statistics = [generator.standard_normal(tree.channels) for _ in range(3)]
        return (*statistics, generator.uniform(0.5, 2.0, tree.channels))
    if tree.kind in {"Mul", "Sub"}:
        return (generator.standard_normal((tree.channels, 1, 1)),)
    return ()


def _build(net: Net, tree: Tree) -> ir.Value:
    constants = [net.initializer(f"w{len(net.initializers)}", array) for array in _weights(tree)]
    if tree.kind == "Conv":
        return net.op("Conv", net.x, *constants, pads=[1] * 4)
    values = [_build(net, child) for child in tree.children]
    attributes = {"Concat": {"axis": 1}}.get(tree.kind, {})
    return net.op(tree.kind, *values, *constants, **attributes)


def _compute(tree: Tree, source: Tensor, pool: Callable[[Tensor], Tensor] | None) -> Tensor:
    """The tree's value, with ``pool`` directly behind the convolutions if there is one."""
    weights = [torch.from_numpy(array) for array in _weights(tree)]
    if tree.kind == "Conv":
        value = F.conv2d(source, *weights, padding=1)
        return value if pool is None else pool(value)
    values = [_compute(child, source, pool) for child in tree.children]
    if tree.kind == "BatchNormalization":
        scale, shift, mean, variance = weights
        return F.batch_norm(*values, mean, variance, scale, shift, eps=1e-5)
    if tree.kind == "Concat":
        return torch.cat(values, dim=1)
    arithmetic = {"Mul": torch.mul, "Sub": torch.sub, "Add": torch.add}
    return (arithmetic | ACTIVATIONS)[tree.kind](*values, *weights)


_SEED = st.integers(0, 2**16)
_LEAF = st.builds(Tree, st.just("Conv"), st.just(()), _SEED)


def _grown(children: st.SearchStrategy[Tree]) -> st.SearchStrategy[Tree]:
    unary = st.sampled_from([*ACTIVATIONS, "BatchNormalization", "Mul", "Sub"])
    pair = st.tuples(children, children)
    return st.one_of(
        st.builds(Tree, unary, st.tuples(children), _SEED),
        st.builds(Tree, st.just("Concat"), pair),
        st.builds(
            Tree, st.just("Add"), pair.filter(lambda two: two[0].channels == two[1].channels)
        ),
    )


TREES = st.recursive(_LEAF, _grown, max_leaves=4).filter(lambda tree: tree.kind != "Conv")


@dataclass(frozen=True)
class PoolCase:
    op_type: str
    options: dict[str, object]
    function: Callable[[Tensor], Tensor]
    counts_padding: bool = False


def _mean(keepdims: int) -> PoolCase:
    return PoolCase(
        "ReduceMean", {"keepdims": keepdims}, lambda t: t.mean(dim=(2, 3), keepdim=bool(keepdims))
    )


POOLS = [
    PoolCase("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2]},
             lambda t: F.avg_pool2d(t, 2)),
    PoolCase("AveragePool", {"kernel_shape": [3, 2], "strides": [1, 3]},
             lambda t: F.avg_pool2d(t, (3, 2), (1, 3))),
    PoolCase("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4},
             lambda t: F.avg_pool2d(t, 3, 2, 1, count_include_pad=False)),
    PoolCase("AveragePool", {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1] * 4,
                             "count_include_pad": 1},
             lambda t: F.avg_pool2d(t, 3, 2, 1), counts_padding=True),
    PoolCase("AveragePool", {"kernel_shape": [4, 4], "strides": [4, 4], "ceil_mode": 1},
             lambda t: F.avg_pool2d(t, 4, ceil_mode=True)),
    PoolCase("GlobalAveragePool", {}, lambda t: t.mean(dim=(2, 3), keepdim=True)),
    _mean(0),
    _mean(1),
]  # fmt: skip


def _model(tree: Tree, case: PoolCase) -> ir.Model:
    net = Net("n", 2, SIZE, SIZE, dtype=np.float64)
    operands = [np.array([2, 3])] if case.op_type == "ReduceMean" else []
    value = _build(net, tree)
    return net.model(net.op(case.op_type, value, *operands, name="pool", **case.options))


def _source() -> Tensor:
    generator = torch.Generator().manual_seed(5)
    return torch.randn(2, 2, SIZE, SIZE, generator=generator, dtype=torch.float64)


def _assert_computes(result: PassResult, expected: Tensor) -> None:
    (actual,) = evaluate(result.model, {"x": _source()}).values()
    assert actual.shape == expected.shape
    assert float((actual - expected).abs().max()) <= 1e-12 * max(float(expected.abs().max()), 1.0)


def _squeezed(pooled: Tensor, case: PoolCase) -> Tensor:
    return pooled.flatten(1) if case.options.get("keepdims") == 0 else pooled


def _kept(case: PoolCase) -> Callable[[Tensor], Tensor]:
    """The pool with height and width kept: what comes behind needs four dimensions."""
    if case.options.get("keepdims") == 0:
        return _mean(1).function
    return case.function


@given(TREES, st.sampled_from(POOLS))
@settings(max_examples=150)
def test_pool_moves_to_the_convolutions(tree: Tree, case: PoolCase) -> None:
    """Either pass moves the pool behind every convolution, whatever stands between."""
    shifts = tree.kinds() & {"BatchNormalization", "Sub"}
    assume(not (case.counts_padding and shifts))
    mover, other = (DistributePool(), Reorder()) if tree.exact else (Reorder(), DistributePool())
    model = _model(tree, case)
    result = mover.apply(model)
    assert [change.exact for change in result.changes] == [tree.exact]
    pooled = _compute(tree, _source(), _kept(case))
    _assert_computes(result, _squeezed(pooled, case))
    if tree.exact:
        _assert_computes(result, case.function(_compute(tree, _source(), None)))
    assert other.apply(model).changes == ()
    assert mover.apply(result.model).changes == other.apply(result.model).changes == ()
    pools = {"AveragePool", "GlobalAveragePool", "ReduceMean"}
    for node in result.model.graph:
        if node.op_type in pools:
            assert node.inputs[0].producer().op_type == "Conv"


@pytest.mark.parametrize("op_type", ACTIVATIONS)
@pytest.mark.parametrize("case", POOLS, ids=lambda case: case.op_type)
def test_reorder_applies_the_activation_to_the_mean(op_type: str, case: PoolCase) -> None:
    tree = Tree(op_type, (Tree("Conv"),))
    result = Reorder().apply(_model(tree, case))
    convolved = F.conv2d(_source(), *map(torch.from_numpy, _weights(tree.children[0])), padding=1)
    expected = ACTIVATIONS[op_type](case.function(convolved))
    _assert_computes(result, expected)
    # And it is another network than before: the pass is right to call itself approximate.
    before = case.function(ACTIVATIONS[op_type](convolved))
    assert float((before - expected).abs().max()) > 1e-3


def test_relu_of_the_mean_is_never_larger() -> None:
    """Jensen's inequality, which says in which direction a reordered network errs."""
    tree = Tree("Relu", (Tree("Conv"),))
    model = _model(tree, POOLS[0])
    (before,) = evaluate(model, {"x": _source()}).values()
    (after,) = evaluate(Reorder().apply(model).model, {"x": _source()}).values()
    assert bool((after <= before + 1e-12).all())
    assert bool((after < before).any())


def test_all_moves_pools_in_front_of_any_activation() -> None:
    net = Net(dtype=np.float64)
    model = net.model(net.pool(net.op("Tanh", net.x, name="tanh")))
    assert Reorder().apply(model).changes == ()
    result = Reorder(all=True).apply(model)
    assert [(change.nodes, change.exact) for change in result.changes] == [
        (("tanh", "pool"), False),
    ]
    source = torch.randn(2, 2, 8, 8, dtype=torch.float64)
    (actual,) = evaluate(result.model, {"x": source}).values()
    torch.testing.assert_close(actual, torch.tanh(F.avg_pool2d(source, 2)))


def test_all_leaves_what_is_no_activation() -> None:
    net = Net()
    model = net.model(net.pool(net.op("Softmax", net.x, axis=1, name="softmax")))
    reason = "no activation stands before the pool"
    assert story(model, "reorder{all}") == [f"reorder leaves pool: {reason}"]


def test_all_leaves_an_activation_that_something_else_reads() -> None:
    net = Net()
    relu = net.op("Relu", net.x, name="relu")
    model = net.model(net.pool(relu), net.op("Neg", relu, name="neg"))
    reason = "no activation stands before the pool"
    assert story(model, "reorder{all}") == [f"reorder leaves pool: {reason}"]


def test_moved_nodes_keep_their_names() -> None:
    net = Net()
    relu = net.op("Relu", net.norm(net.conv(net.x)), name="relu")
    relu.producer().metadata_props["origin"] = "somewhere"
    model = Reorder().apply(net.model(net.pool(relu))).model
    assert [node.name for node in model.graph] == ["conv", "conv/AveragePool", "norm", "relu"]
    assert model.graph[-1].metadata_props["origin"] == "somewhere"
    assert [value.name for value in model.graph.outputs] == ["pool:0"]


def test_change_names_the_values_around_the_site() -> None:
    """Convolutions belong to the site; a branch without one ends where it is pooled."""
    net = Net()
    side = net.input("side", "n", 2, 8, 8)
    branches = [net.conv(net.x, name="a"), net.conv(net.x, name="b"), side]
    cat = net.op("Concat", *branches, axis=1, name="cat")
    (change,) = DistributePool().apply(net.model(net.pool(cat))).changes
    assert change.nodes == ("a", "b", "cat", "pool")
    assert (change.inputs, change.outputs) == (("x", "side"), ("pool:0",))


@pytest.mark.parametrize(
    ("norm", "order"),
    [
        ("after-pool", ["Conv", "AveragePool", "BatchNormalization", "Relu"]),
        ("before-pool", ["Conv", "BatchNormalization", "AveragePool", "Relu"]),
    ],
)
def test_a_norm_stays_on_the_side_that_is_asked_for(norm: str, order: list[str]) -> None:
    """Both are the same function in inference: the norm is affine, and the pool averages."""
    torch.manual_seed(0)
    net = torch.nn.Sequential(
        torch.nn.Conv2d(2, 3, 3), torch.nn.BatchNorm2d(3), torch.nn.ReLU(), torch.nn.AvgPool2d(2)
    ).eval()
    torch.nn.init.normal_(net[1].weight)
    torch.nn.init.normal_(net[1].running_mean)
    model = from_module(net, (torch.zeros(2, 2, 6, 6),))
    (reorder,) = pipeline.parse(f"reorder{{norm={norm}}}")
    result = reorder.apply(model)
    assert [node.op_type for node in result.model.graph] == order
    assert [change.nodes for change in result.changes] == [("0", "2", "1", "3")]
    assert pipeline.text([reorder]) == (
        "reorder" if norm == "after-pool" else "reorder{norm=before-pool}"
    )
    x = torch.randn(2, 2, 6, 6)
    with torch.no_grad():
        expected = torch.relu(F.avg_pool2d(net[1](net[0](x)), 2))
    (found,) = evaluate(result.model, {"input": x}).values()
    torch.testing.assert_close(found, expected.to(found), atol=1e-5, rtol=1e-5)
    again = reorder.apply(result.model)
    assert not again.changes
