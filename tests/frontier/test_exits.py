"""Thresholds, against every choice that there is; and what runs, against what an image did."""

from itertools import product

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st

from mlcnn.errors import InputError
from mlcnn.frontier.activity import recorded
from mlcnn.frontier.exits import Judged, judged, thresholds
from mlcnn.graph import infer_shapes
from mlcnn.workload import read

seeds = st.integers(0, 2**16)


def _random(rng, images, levels):
    """Probabilities of few levels, so that many are equal."""
    return Judged(rng.integers(1, levels, images) / levels, rng.random(images) < 0.6)


def _outcome(exits, end, values, costs):
    """Cost and right images, image by image."""
    cost, right = 0.0, 0
    for image in range(len(end.right)):
        for number, (each, value) in enumerate(zip(exits, values, strict=True)):
            if each.sure[image] >= value:
                cost, right = cost + costs[number], right + each.right[image]
                break
        else:
            cost, right = cost + costs[-1], right + end.right[image]
    return cost, right


@given(seed=seeds, images=st.integers(1, 30), allowed=st.integers(0, 4), exits=st.integers(1, 2))
def test_what_is_found_is_what_comes_of_it(seed, images, allowed, exits):
    rng = np.random.default_rng(seed)
    found = [_random(rng, images, 12) for _ in range(exits)]
    end, costs = _random(rng, images, 12), [1.0, 2.0, 4.0][-exits - 1 :]
    result = thresholds(found, end, costs, allowed)
    cost, right = _outcome(found, end, result.values, costs)
    assert (cost, right) == (pytest.approx(result.cost), result.right)
    assert right >= end.right.sum() - allowed


@given(seed=seeds, images=st.integers(1, 30), allowed=st.integers(0, 4))
def test_of_one_exit_every_higher_threshold_within_the_budget_costs_as_much_or_more(
    seed, images, allowed
):
    """The lowest one whose like and all above it stay within the budget."""
    rng = np.random.default_rng(seed)
    here, end, costs = _random(rng, images, 12), _random(rng, images, 12), (1.0, 3.0)
    result = thresholds([here], end, costs, allowed)
    least = end.right.sum() - allowed
    best = images * costs[1]
    for level in sorted({*here.sure.tolist()}, reverse=True):
        order = np.argsort(-here.sure, kind="stable")
        leaving = order[here.sure[order] >= level]
        stays = [end.right.sum() + sum(int(here.right[i]) - int(end.right[i]) for i in leaving[:n])
                 for n in range(len(leaving) + 1)]  # fmt: skip
        if min(stays) < least:
            break
        best = _outcome([here], end, (level,), costs)[0]
    assert result.cost == pytest.approx(best)


@given(seed=seeds, images=st.integers(1, 12), allowed=st.integers(0, 3))
def test_of_two_exits_the_second_one_is_never_worse_than_none(seed, images, allowed):
    rng = np.random.default_rng(seed)
    pair, end = [_random(rng, images, 6) for _ in range(2)], _random(rng, images, 6)
    two = thresholds(pair, end, (1.0, 2.0, 4.0), allowed)
    none = thresholds(pair[1:], end, (2.0, 4.0), allowed)
    assert two.cost <= none.cost + 1e-9


def test_an_exit_that_costs_more_than_the_end_is_not_taken():
    here = Judged(np.ones(4), np.ones(4, bool))
    assert thresholds([here], here, (5.0, 3.0), 4).values == (2.0,)


def test_the_surest_class_is_judged():
    found = judged(np.log([[0.2, 0.8], [0.7, 0.3]]), np.asarray([1, 1]))
    np.testing.assert_allclose(found.sure, [0.8, 0.7])
    assert found.right.tolist() == [True, False]


def _nested():
    """If the mean is above 0: two products, and a third above 1; else one."""
    rng = np.random.default_rng(0)

    def constant(name, array):
        tensor, kind = ir.Tensor(array, name=name), ir.TensorType(ir.DataType.FLOAT)
        return ir.Value(name=name, const_value=tensor, shape=ir.Shape(array.shape), type=kind)

    def node(kind, inputs, name, attributes=None):
        made = ir.node(kind, inputs, attributes or {}, name=name)
        made.outputs[0].name = name
        return made

    source = ir.Value(name="x", shape=ir.Shape([1, 4]), type=ir.TensorType(ir.DataType.FLOAT))
    sizes = {"a": (4, 6), "b": (6, 2), "c": (2, 2), "d": (4, 2)}
    weights = {
        name: constant(name, rng.normal(size=size).astype(np.float32))
        for name, size in sizes.items()
    }
    zero, one = (constant(n, np.asarray(v, np.float32)) for n, v in (("zero", 0), ("one", 1)))
    mean = node("ReduceMean", [source], "mean", {"keepdims": 0})
    high = node("Greater", [mean.outputs[0], zero], "high")
    higher = node("Greater", [mean.outputs[0], one], "higher")
    first = node("MatMul", [source, weights["a"]], "first")
    second = node("MatMul", [first.outputs[0], weights["b"]], "second")
    third = node("MatMul", [second.outputs[0], weights["c"]], "third")
    same = node("Identity", [second.outputs[0]], "same")
    inner = node("If", [higher.outputs[0]], "inner", {
        "then_branch": ir.Graph([], third.outputs, nodes=[third], name="t"),
        "else_branch": ir.Graph([], same.outputs, nodes=[same], name="s"),
    })  # fmt: skip
    other = node("MatMul", [source, weights["d"]], "other")
    outer = node("If", [high.outputs[0]], "outer", {
        "then_branch": ir.Graph([], inner.outputs, nodes=[first, second, inner], name="u"),
        "else_branch": ir.Graph([], other.outputs, nodes=[other], name="v"),
    })  # fmt: skip
    graph = ir.Graph(
        [source], outer.outputs, nodes=[mean, high, higher, outer],
        initializers=[*weights.values(), zero, one], opset_imports={"": 20}, name="nested",
    )  # fmt: skip
    model = ir.Model(graph, ir_version=10)
    infer_shapes(model)
    return model


def test_branches_of_any_network_cost_what_runs():
    model = _nested()
    workload = read(model)
    assert [layer.name for layer in workload.layers] == ["first", "second", "third"]
    assert [layer.name for layer in workload.least] == ["other"]
    assert {layer.name for layer in workload.every} == {"first", "second", "third", "other"}
    images = np.full((3, 1, 4), [[[-1.0]], [[0.5]], [[2.0]]], np.float32).reshape(3, 4)
    activity = recorded(model, images)
    each = activity.each(workload.every, lambda layer: layer.nest.macs)
    np.testing.assert_array_equal(each, [8, 24 + 12, 24 + 12 + 4])
    cost = activity.cost(model, lambda layer: layer.nest.macs)
    assert (cost.mean, cost.worst) == (pytest.approx(84 / 3), 40)


def test_what_runs_needs_images():
    with pytest.raises(InputError, match="at least one is required"):
        recorded(_nested(), np.zeros((0, 4), np.float32))


def test_every_choice_of_two_thresholds_is_beaten_or_met_by_the_grid():
    """With fewer levels than quantiles the first exit's grid has them all."""
    rng = np.random.default_rng(3)
    pair, end, costs = [_random(rng, 40, 5) for _ in range(2)], _random(rng, 40, 5), (1.0, 2.0, 4.0)
    found = thresholds(pair, end, costs, 40)
    levels = [*np.arange(1, 6) / 5, 2.0]
    least = min(_outcome(pair, end, values, costs)[0] for values in product(levels, repeat=2))
    assert found.cost == pytest.approx(least)  # all may be lost: all leave at the first
