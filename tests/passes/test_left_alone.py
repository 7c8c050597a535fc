"""What fails its check is left alone, with the reason, and the run goes on."""

import onnx_ir as ir
import pytest
from passes.builder import Net

from mlcnn.errors import PassError
from mlcnn.graph import clone
from mlcnn.passes import Fuse, PassResult, pipeline

NOT_EXACT = "fuse is not exact at second (form box): error"


def _two_sites() -> ir.Model:
    net = Net()
    first = net.pool(net.conv(net.x, name="first"), name="first_pool")
    second = net.pool(net.conv(net.op("Relu", first), name="second"), name="second_pool")
    return net.model(second)


def _wrong_at_second(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ``fuse`` drop the bias of the layer ``second``, wherever it fuses it."""
    apply = Fuse.apply

    def broken(self: Fuse, model: ir.Model) -> PassResult:
        result = apply(self, model)
        changed = {name for change in result.changes for name in change.nodes}
        for node in clone(result.model).graph if "second" in changed else ():
            if node.domain == "mlcnn" and node.name.startswith("second"):
                found = next(n for n in result.model.graph if n.name == node.name)
                found.resize_inputs(2)
        return result

    monkeypatch.setattr(Fuse, "apply", broken)


def test_only_the_site_that_fails_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    _wrong_at_second(monkeypatch)
    result = pipeline.run(_two_sites(), [Fuse(form="box")], verify=True)
    assert [change.nodes[0] for change in result.changes] == ["first"]
    (left,) = result.skipped
    assert left.node == "second"
    assert left.reason.startswith(NOT_EXACT)
    assert result.verification is not None
    assert [check.change.nodes[0] for check in result.verification.sites] == ["first"]


def test_it_is_left_alone_when_the_pipeline_is_replayed(monkeypatch: pytest.MonkeyPatch) -> None:
    _wrong_at_second(monkeypatch)
    result = pipeline.run(_two_sites(), [Fuse()], verify=True)
    assert "exclude=second" in result.text
    again = pipeline.run(_two_sites(), pipeline.parse(result.text))
    assert [change.nodes[0] for change in again.changes] == ["first"]


def test_an_invalid_network_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    apply = Fuse.apply

    def broken(self: Fuse, model: ir.Model) -> PassResult:
        result = apply(self, model)
        next(n for n in result.model.graph if n.op_type == "Relu").op_type = "NoSuchOperator"
        return result

    monkeypatch.setattr(Fuse, "apply", broken)
    model = _two_sites()
    with pytest.raises(PassError, match="produced an invalid network"):
        pipeline.run(model, [Fuse(form="box")])
    result = pipeline.run(model, [Fuse(form="box")], verify=True)
    assert result.changes == ()
    assert "fuse produced an invalid network" in result.skipped[0].reason
    assert [node.op_type for node in result.model.graph] == [n.op_type for n in model.graph]


def test_a_site_is_left_alone_for_a_given_reason() -> None:
    left = {("fuse", "first"): "it is not wanted"}
    result = pipeline.run(_two_sites(), [Fuse(form="box")], left=left)
    assert [change.nodes[0] for change in result.changes] == ["second"]
    assert [(item.node, item.reason) for item in result.skipped] == [("first", "it is not wanted")]
    nothing = {("fuse", pipeline.ALL): "none is wanted"}
    assert pipeline.run(_two_sites(), [Fuse(form="box")], left=nothing).changes == ()
