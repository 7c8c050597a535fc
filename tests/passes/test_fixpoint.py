"""One run takes what stands behind a layer that it fused, and writes down how."""

from collections.abc import Callable, Mapping

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net
from passes.story import largest_difference

from mlcnn.api import optimizing
from mlcnn.counting import count
from mlcnn.graph import clone, layer_name, load_file, save, to_proto
from mlcnn.passes import KEEP, Choice, Fuse, PassResult, Reorder, pipeline
from mlcnn.workload import ConvLayer


def _in_a_row(between: Callable[[Net, ir.Value], ir.Value] = lambda _, value: value) -> ir.Model:
    net = Net(1, 2, 16, 16)
    first = net.pool(net.conv(net.x), name="first")
    return net.model(net.pool(between(net, first), name="second"))


def _activated() -> ir.Model:
    net = Net(1, 2, 16, 16)
    first = net.pool(net.op("Relu", net.conv(net.x), name="one"), name="first")
    return net.model(net.pool(net.op("Relu", first, name="two"), name="second"))


def _max_pooled() -> ir.Model:
    net = Net(1, 2, 16, 16)
    first = net.pool(net.op("Relu", net.conv(net.x), name="one"), name="first", op_type="MaxPool")
    return net.model(net.pool(first, name="second", op_type="MaxPool"))


def _branches() -> ir.Model:
    """Two layers, each with a pool, whose concatenation is pooled again."""
    net = Net(1, 2, 16, 16)
    pools = [net.pool(net.conv(net.x, name=n), name=f"{n}_pool") for n in ("a", "b")]
    return net.model(net.pool(net.op("Concat", *pools, axis=1, name="cat"), name="second"))


BUILT: dict[str, tuple[Callable[[], ir.Model], str]] = {
    "adjacent": (_in_a_row, "exact"),
    "three": (lambda: _in_a_row(lambda net, value: net.pool(value, name="between")), "exact"),
    "overlapping": (lambda: _in_a_row(lambda net, value: net.pool(value, 3, 1)), "exact"),
    "batch norm": (lambda: _in_a_row(lambda net, value: net.norm(value)), "exact"),
    "scale": (lambda: _in_a_row(lambda net, value: net.op("Mul", value, 3.0)), "exact"),
    "branches": (_branches, "exact"),
    "activations": (_activated, "mlcnn"),
    "max pools": (_max_pooled, "mlcnn"),
}


def _pools(model: ir.Model) -> list[str]:
    return [node.name for node in model.graph if "Pool" in node.op_type and not node.domain]


@pytest.mark.parametrize("case", BUILT)
def test_a_second_run_finds_nothing(case: str, tmp_path) -> None:
    build, passes = BUILT[case]
    model = build()
    result = pipeline.run(model, pipeline.parse(passes), verify=True)
    assert _pools(result.model) == []
    assert result.verification is not None
    assert not result.verification.vacuous
    if passes == "exact":
        assert largest_difference(model, result.model) <= 1e-5
        assert result.skipped == ()
    save(result.model, tmp_path / "net.onnx")
    for found in (result.model, load_file(tmp_path / "net.onnx")):
        assert pipeline.run(found, pipeline.parse(passes)).changes == ()


@pytest.mark.parametrize("case", BUILT)
def test_the_text_replays_to_the_same_network(case: str) -> None:
    build, passes = BUILT[case]
    result = pipeline.run(build(), pipeline.parse(passes), verify=True)
    assert ",inline," in result.text
    assert result.model.metadata_props["mlcnn.pipeline"] == result.text
    for verify in (True, False):
        again = pipeline.run(build(), pipeline.parse(result.text), verify=verify)
        assert to_proto(again.model) == to_proto(result.model)
        assert again.text == result.text
        known = [(c.pass_name, c.nodes, c.form, c.deviation) for c in result.changes]
        assert [(c.pass_name, c.nodes, c.form, c.deviation) for c in again.changes] == known


def test_a_layer_that_is_fused_twice_is_one_change() -> None:
    (change,) = pipeline.run(_in_a_row(), [Fuse(form="box")]).changes
    assert (change.nodes, change.form) == (("conv", "first", "second"), "box")
    assert (change.inputs, change.outputs) == (("x",), ("second:0",))


def test_it_is_counted_as_what_is_executed() -> None:
    """2 filters of 18 weights at 4 x 4 positions, where the original had 16 x 16."""
    model = _in_a_row()
    fused = pipeline.run(model, [Fuse(form="expanded")]).model
    (row,) = count(fused, model).layers
    assert row.before.multiplications == 2 * 18 * 16 * 16
    # The kernel with both windows is 6 x 6.
    assert row.chosen.multiplications == 2 * 2 * 36 * 4 * 4


def test_options_hold_for_what_comes_later() -> None:
    passes = pipeline.parse("exact")
    settings = ("fuse.form=box",)
    boxes = pipeline.run(_in_a_row(), pipeline.configure(passes, settings=settings)).changes
    assert [change.form for change in boxes] == ["box"]
    left = pipeline.run(_in_a_row(), pipeline.configure(passes, exclude=("second",)))
    assert [change.nodes for change in left.changes] == [("conv", "first")]
    assert [node.op_type for node in left.model.graph][-1] == "AveragePool"
    assert "inline" not in left.text
    only = pipeline.run(_branches(), pipeline.configure(passes, only=("a",)))
    assert only.changes
    assert all("a" in change.nodes for change in only.changes)


class _KeepsTheSecond:
    """Fuses a layer once; counts how often it is asked."""

    def __init__(self) -> None:
        self.asked = 0

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        self.asked += 1
        assert layer is not None
        return Choice("box" if layer.P == 16 else KEEP, "as the test says")


def test_what_is_left_for_its_cost_stays_one_operator() -> None:
    chooser = _KeepsTheSecond()
    result = pipeline.run(_in_a_row(), [Fuse(chooser=chooser)])
    assert [node.op_type for node in result.model.graph] == ["ConvPoolBox", "AveragePool"]
    assert result.text == "fuse{forms=conv=box}"
    assert chooser.asked == 2


def test_an_operator_is_spelled_out_only_where_that_gains() -> None:
    """Of two layers with a pool behind, one may not be touched again."""
    net = Net(1, 2, 16, 16)
    for name in ("a", "b"):
        first = net.pool(net.conv(net.x, name=name), name=f"{name}1")
        net.pool(first, name=f"{name}2")
    model = net.model(*(node.outputs[0] for node in net.nodes if node.name in {"a2", "b2"}))
    result = pipeline.run(model, [Fuse(form="box", exclude=("b2",))])
    assert [change.nodes for change in result.changes] == [("b", "b1"), ("a", "a1", "a2")]
    operators = {layer_name(n): n.op_type for n in result.model.graph if n.domain == "mlcnn"}
    assert operators == {"a": "ConvPoolBoxDepthwise", "b": "ConvPoolBox"}
    assert _pools(result.model)[-1] == "b2"
    assert "inline{exclude=b}" in result.text


def test_what_fails_later_is_taken_back(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = Fuse.apply

    def broken(self: Fuse, model: ir.Model) -> PassResult:
        result = apply(self, model)
        changed = {name for change in result.changes for name in change.nodes}
        for node in clone(result.model).graph if "second" in changed else ():
            if node.domain == "mlcnn":
                found = next(n for n in result.model.graph if n.name == node.name)
                found.resize_inputs(len(node.inputs) - 1)
        return result

    monkeypatch.setattr(Fuse, "apply", broken)
    result = pipeline.run(_in_a_row(), [Fuse(form="box")], verify=True)
    assert [change.nodes for change in result.changes] == [("conv", "first")]
    assert any(left.reason.startswith("fuse is not exact at conv") for left in result.skipped)
    assert largest_difference(_in_a_row(), result.model) <= 1e-5
    again = pipeline.run(_in_a_row(), pipeline.parse(result.text))
    assert to_proto(again.model) == to_proto(result.model)


def test_nothing_is_looked_at_again_where_nothing_is_hidden(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    applied: list[str] = []
    for kind in (Fuse, Reorder):
        apply = kind.apply
        monkeypatch.setattr(
            kind,
            "apply",
            lambda self, model, apply=apply: applied.append(self.name) or apply(self, model),
        )
    net = Net()
    value = net.pool(net.op("Relu", net.conv(net.x), name="relu"))
    model = net.model(net.op("Relu", net.conv(value, name="other"), name="last"))
    pipeline.run(model, pipeline.parse("reorder,fuse"))
    assert applied == ["reorder", "fuse"]


def test_every_stage_is_told_in_order() -> None:
    told: list[str] = []
    result = pipeline.run(
        _in_a_row(), [Fuse()], on_stage=lambda stage: told.append(stage.applied.name)
    )
    assert told == [stage.applied.name for stage in result.stages] == ["fuse", "inline", "fuse"]


def test_the_whole_network_is_compared_to_the_end() -> None:
    model = _in_a_row(lambda net, value: net.norm(value))
    optimized = optimizing.rewrite(model, "exact")
    assert optimized.network is not None
    assert optimized.network.error is not None
    assert optimized.network.error < 1e-5
    x = np.random.default_rng(0).standard_normal((1, 2, 16, 16)).astype(np.float32)
    assert next(iter(optimized.run({"x": x}).values())).shape == (1, 2, 4, 4)
