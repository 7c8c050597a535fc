"""Activations that never decrease go behind max pools; the output is the same to the last bit."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from passes.builder import Net
from passes.story import inputs_of, run, story

from mlcnn.passes import ReorderMax

SWAPPED = ["reorder-max rewrites act, pool"]


def _pooled(op_type: str, *constants: object, **attributes: object) -> ir.Model:
    net = Net()
    act = net.op(op_type, net.x, *constants, name="act", **attributes)
    return net.model(net.pool(act, 3, 2, pads=[1] * 4, op_type="MaxPool"))


def _operators(model: ir.Model) -> list[str]:
    return [node.op_type for node in model.graph]


def _same_bits(model: ir.Model, source: np.ndarray) -> None:
    result = ReorderMax().apply(model)
    assert _operators(result.model) == [*reversed(_operators(model))]
    (expected,), (actual,) = run(model, {"x": source}), run(result.model, {"x": source})
    np.testing.assert_array_equal(actual, expected)


@pytest.mark.parametrize(("op_type", "constants", "attributes"), [
    ("Relu", (), {}),
    ("LeakyRelu", (), {}),
    ("LeakyRelu", (), {"alpha": 0.3}),
    ("LeakyRelu", (), {"alpha": 0.0}),
    ("Clip", (0.0, 6.0), {}),
    ("Clip", (-1.0, 1.0), {}),
    ("Clip", (None, 0.5), {}),
    ("Clip", (-0.5,), {}),
])  # fmt: skip
def test_swap_changes_nothing(op_type: str, constants: tuple, attributes: dict) -> None:
    model = _pooled(op_type, *constants, **attributes)
    (source,) = inputs_of(model).values()
    for values in (source, -np.abs(source), np.abs(source), np.zeros_like(source)):
        _same_bits(model, values)
    assert story(model, "reorder-max") == SWAPPED


@st.composite
def _pools(draw: st.DrawFn) -> dict[str, object]:
    kernel = draw(st.integers(1, 4))
    return {
        "kernel": kernel,
        "stride": draw(st.integers(1, 4)),
        "pads": [draw(st.integers(0, kernel // 2)) for _ in range(4)],
        "ceil_mode": draw(st.integers(0, 1)),
        "dilations": [draw(st.integers(1, 2))] * 2,
    }


@given(_pools(), st.integers(7, 10), st.floats(0, 2, width=32), st.integers(0, 99))
@settings(max_examples=60)
def test_swap_changes_nothing_whatever_the_pool(
    pool: dict[str, object], size: int, slope: float, seed: int
) -> None:
    net = Net("n", 2, size, size)
    act = net.op("LeakyRelu", net.x, alpha=slope, name="act")
    model = net.model(net.pool(act, op_type="MaxPool", **pool))
    (source,) = inputs_of(model, seed).values()
    _same_bits(model, source)


def test_names_survive() -> None:
    model = ReorderMax().apply(_pooled("Relu")).model
    assert [node.name for node in model.graph] == ["pool", "act"]
    assert [value.name for value in model.graph.outputs] == ["pool:0"]


def test_one_activation_passes_two_pools() -> None:
    net = Net()
    first = net.pool(net.op("Relu", net.x, name="act"), op_type="MaxPool", name="first")
    model = net.model(net.pool(first, op_type="MaxPool", name="second"))
    assert story(model, "reorder-max") == ["reorder-max rewrites act, first, second"]
    assert _operators(ReorderMax().apply(model).model) == ["MaxPool", "MaxPool", "Relu"]


@pytest.mark.parametrize(("op_type", "constants", "attributes"), [
    ("LeakyRelu", (), {"alpha": -0.1}),
    ("Sigmoid", (), {}),
    ("Abs", (), {}),
    ("Neg", (), {}),
    ("HardSwish", (), {}),
])  # fmt: skip
def test_operator_that_is_not_known_to_never_decrease(
    op_type: str, constants: tuple, attributes: dict[str, float]
) -> None:
    model = _pooled(op_type, *constants, **attributes)
    reason = f"{op_type} (act) is not an activation that never decreases"
    assert story(model, "reorder-max") == [f"reorder-max leaves pool: {reason}"]


def test_clip_with_computed_bounds() -> None:
    net = Net()
    clip = net.op("Clip", net.x, net.input("low"), name="act")
    model = net.model(net.pool(clip, op_type="MaxPool"))
    reason = "Clip (act) is not an activation that never decreases"
    assert story(model, "reorder-max") == [f"reorder-max leaves pool: {reason}"]


def test_nothing_before_the_pool() -> None:
    net = Net()
    model = net.model(net.pool(net.x, op_type="MaxPool"))
    reason = "no activation stands before the pool"
    assert story(model, "reorder-max") == [f"reorder-max leaves pool: {reason}"]


def test_activation_of_another_domain() -> None:
    net = Net()
    relu = net.op("Relu", net.x, name="act", domain="custom")
    relu.shape, relu.type = net.x.shape, net.x.type
    model = net.model(net.pool(relu, op_type="MaxPool"))
    reason = "no activation stands before the pool"
    told = story(model, "reorder-max", runs=False)
    assert told == [f"reorder-max leaves pool: {reason}"]


@pytest.mark.parametrize("how", ["consumer", "output"])
def test_activation_that_something_else_reads_too(how: str) -> None:
    net = Net()
    relu = net.op("Relu", net.x, name="act")
    other = net.op("Neg", relu, name="other") if how == "consumer" else relu
    model = net.model(net.pool(relu, op_type="MaxPool"), other)
    assert story(model, "reorder-max") == ["reorder-max leaves pool: act:0 is used elsewhere too"]


@pytest.mark.parametrize("how", ["consumer", "output"])
def test_pool_whose_indices_are_needed(how: str) -> None:
    net = Net()
    relu = net.op("Relu", net.x, name="act")
    pool = net.pool(relu, op_type="MaxPool", outputs=2)
    indices = net.nodes[-1].outputs[1]
    indices.type = ir.TensorType(ir.DataType.INT64)
    if how == "consumer":
        indices = net.op("Cast", indices, to=ir.DataType.FLOAT, name="cast")
    model = net.model(pool, indices)
    assert story(model, "reorder-max") == ["reorder-max leaves pool: the pool's indices are used"]


def test_average_pools_are_not_looked_at() -> None:
    net = Net()
    model = net.model(net.pool(net.op("Relu", net.x, name="act")))
    assert story(model, "reorder-max") == []


def test_selection() -> None:
    for options, reason in (({"exclude": ("act",)}, "excluded by --exclude act"),
                            ({"only": ("other",)}, "not among the nodes of --only")):  # fmt: skip
        result = ReorderMax(**options).apply(_pooled("Relu"))
        assert result.changes == ()
        assert [skipped.reason for skipped in result.skipped] == [reason]
