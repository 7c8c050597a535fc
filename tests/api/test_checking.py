"""The whole network before and after, end to end in ONNX Runtime."""

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from passes.builder import Net
from passes.quantised import quantised

import mlcnn
from mlcnn.api import checking, optimizing
from mlcnn.graph import clone, to_proto
from mlcnn.passes import Change, PassResult, Skipped


@dataclass(frozen=True)
class Scaling:
    """A wrong pass: it scales weights and says nothing of inputs, so that no site is checked."""

    name: ClassVar[str] = "scaling"
    exact: ClassVar[bool] = True
    layer: str = "second"
    exclude: tuple[str, ...] = ()

    def apply(self, model: ir.Model) -> PassResult:
        model = clone(model)
        changes, skipped = [], []
        for node in model.graph:
            if node.op_type != "Conv":
                continue
            if node.name in self.exclude:
                skipped.append(Skipped(self.name, node.name, f"excluded by --exclude {node.name}"))
                continue
            weight = node.inputs[1]
            if node.name == self.layer:  # its bias too: all that it gives is 1.5 times as large
                shift = node.inputs[2]
                shift.const_value = ir.tensor(
                    shift.const_value.numpy() * np.float32(1.5), name=shift.name
                )
                weight.const_value = ir.tensor(
                    weight.const_value.numpy() * np.float32(1.5), name=weight.name
                )
            output = node.outputs[0].name
            changes.append(Change(self.name, (node.name,), exact=True, outputs=(output,)))
        return PassResult(model, tuple(changes), tuple(skipped))


@dataclass(frozen=True)
class Coarse:
    """A wrong pass: it spoils scales, or other constants, and says nothing of it."""

    name: ClassVar[str] = "coarse"
    exact: ClassVar[bool] = True
    ending: str = "_scale"

    def apply(self, model: ir.Model) -> PassResult:
        model = clone(model)
        for value in model.graph.initializers.values():
            array = value.const_value.numpy()
            if not value.name.endswith(self.ending) or array.ndim not in {0, 4}:
                continue
            changed = array // 2 if array.dtype == np.int8 else array * np.float32(16)
            value.const_value = ir.tensor(changed.astype(array.dtype), name=value.name)
        output = model.graph.outputs[0].name
        return PassResult(model, (Change(self.name, ("conv",), exact=True, outputs=(output,)),))


def two_layers(*, last: float | None = None, bias: float = 0.0) -> ir.Model:
    """Two convolutions; with ``last``, the second one's weights are all of that value."""
    net = Net()
    first = net.conv(net.x, name="first")
    second = net.conv(net.op("Relu", first, name="relu"), name="second")
    model = net.model(second)
    if last is not None:
        weight, shift = model.graph[2].inputs[1:3]
        weight.const_value = ir.tensor(
            np.full(weight.shape.numpy(), last, np.float32), name=weight.name
        )
        shift.const_value = ir.tensor(
            np.full(shift.shape.numpy(), bias, np.float32), name=shift.name
        )
    return model


def rewritten(model: ir.Model, monkeypatch: pytest.MonkeyPatch, *passes) -> mlcnn.Optimized:
    monkeypatch.setattr(optimizing.pipeline, "parse", lambda _: passes)
    return optimizing.rewrite(model, "whatever")


def test_what_no_site_check_sees_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    model = two_layers()
    optimized = rewritten(model, monkeypatch, Scaling())
    assert [change.nodes for change in optimized.changes] == [("first",)]
    (left,) = optimized.skipped
    assert left.node == "second"
    assert "differs by 5.0e-01 of its largest value" in left.reason
    assert optimized.network is not None
    assert optimized.network.error == 0
    x = {"x": np.random.default_rng(1).standard_normal((2, 2, 8, 8)).astype(np.float32)}
    for one, other in zip(_run(model, x), _run(optimized.model, x), strict=True):
        np.testing.assert_array_equal(one, other)


def test_an_error_is_seen_inside_where_the_outputs_are_blind(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The last layer's bias is ten million times what its weights add to it."""
    model = two_layers(last=1e-8, bias=1.0)
    optimized = rewritten(model, monkeypatch, Scaling(layer="first"))
    assert [item.node for item in optimized.skipped] == ["first"]
    assert "first:0 differs by 5.0e-01" in optimized.skipped[0].reason
    assert optimized.network is not None
    assert optimized.network.blind
    assert "blind at its outputs" in optimized.verified


def test_a_quantised_network_is_compared_with_and_without_rounding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Of steps that are far too long, only the network with its rounding knows."""
    net = Net(1, 3, 16, 16)
    model = quantised(net.model(net.pool(net.conv(net.x, 4, channels=3))))
    right = mlcnn.optimize(model, form="box")
    assert 0 < right.network.error < 1e-5
    assert 1e-3 < right.network.rounded < 0.02
    assert "without rounding" in right.verified
    assert right.to_json()["network"]["rounded"] == right.network.rounded
    wrong = rewritten(model, monkeypatch, Coarse())
    assert not wrong.changes
    assert "at most 1e-01 is rounding" in wrong.skipped[0].reason
    wrong = rewritten(model, monkeypatch, Coarse("weight_quantized"))
    assert "at most 1e-03 is rounding" in wrong.skipped[0].reason


def test_what_was_checked_is_said(linear: ir.Model) -> None:
    optimized = mlcnn.optimize(linear, form="box")
    assert optimized.network is not None
    assert 0 < optimized.network.error < 1e-5
    assert optimized.verified == (
        f"verified: 1 site in float64; whole network {optimized.network.error:.0e}"
    )
    assert optimized.to_json()["network"] == {
        "error": optimized.network.error, "blind": False, "skipped": None,
    }  # fmt: skip


def test_a_network_too_large_is_skipped_with_the_reason(
    linear: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_MOST_MULTIPLICATIONS", 100)
    optimized = mlcnn.optimize(linear, form="box")
    assert optimized.network is not None
    assert optimized.network.error is None
    # 4 filters of 27 weights at 8 x 8 positions, for two images
    assert f"{2 * 4 * 27 * 64:.1e} multiplications for 2 images" in optimized.verified


def test_large_weights_are_read_where_they_lie(
    linear: ir.Model, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "_SHARED_BYTES", 0)
    optimized = mlcnn.optimize(linear, form="box")
    assert optimized.network is not None
    assert 0 < optimized.network.error < 1e-5


def test_dynamic_height_and_width_are_tried_in_two_sizes() -> None:
    net = Net("n", 2, "h", "w")
    model = net.model(net.pool(net.conv(net.x, name="conv")))
    inputs = checking._random_inputs(model, seed=0)
    assert [arrays["x"].shape for arrays in inputs] == [(2, 2, 97, 95), (2, 2, 64, 64)]


def _run(model: ir.Model, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    session = ort.InferenceSession(to_proto(model).SerializeToString())
    return session.run(None, feed)
