"""What the check of a run looks at, and what it says."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import onnx_ir as ir
import pytest
from passes.builder import Net
from passes.networks import Geometry, conv_pool_model
from passes.spoiling import Wrong, weights

from mlcnn.errors import PassError
from mlcnn.graph import clone
from mlcnn.ops import forms
from mlcnn.passes import Change, Fuse, PassResult, pipeline
from mlcnn.passes.verification import TOLERANCE, Verification, check_site, verify


def _whole() -> ir.Model:
    """Every kind of change: two exact ones, two approximate ones, one exact one more."""
    net = Net("n", 2, 16, 16)
    first = net.op("Relu", net.norm(net.conv(net.x, name="first"), name="norm"), name="relu1")
    pooled = net.pool(first, op_type="MaxPool", name="pool1")
    cat = net.op(
        "Concat", net.conv(pooled, name="a"), net.conv(pooled, name="b"), axis=1, name="cat"
    )
    return net.model(net.pool(cat, name="pool2"))


def test_exact_changes_are_checked_and_approximate_ones_are_not() -> None:
    verification = verify(pipeline.run(_whole(), pipeline.parse("mlcnn")))
    checked = [(site.change.pass_name, site.change.nodes[0]) for site in verification.sites]
    assert checked == [
        ("fold-batch-norm", "first"),
        ("distribute-pool", "a"),
        ("fuse", "first"),
        ("fuse", "a"),
        ("fuse", "b"),
    ]
    assert all(site.change.exact for site in verification.sites)
    assert 0 < verification.max_error <= TOLERANCE
    assert 0 < verification.max_deployed_error <= 1e-5
    assert not verification.vacuous


def test_largest_error_counts() -> None:
    change = Change("fuse", ("conv",), exact=True)
    site = verify(pipeline.run(_whole(), pipeline.parse("exact"))).sites[0]
    sites = tuple(
        replace(site, change=change, error=error, deployed_error=deployed, vacuous=vacuous)
        for error, deployed, vacuous in ((1e-15, 1e-7, False), (3e-15, 1e-8, True))
    )
    verification = Verification(sites)
    assert (verification.max_error, verification.max_deployed_error) == (3e-15, 1e-7)
    assert verification.vacuous
    assert not Verification(sites[:1]).vacuous


def test_progress_counts_the_sites() -> None:
    told: list[tuple[int, int]] = []
    verify(
        pipeline.run(_whole(), pipeline.parse("mlcnn")),
        progress=lambda done, total: told.append((done, total)),
    )
    assert told == [(0, 1), (0, 1), (0, 3), (1, 3), (2, 3)]


@pytest.mark.parametrize("form", forms())
@pytest.mark.parametrize("geometry", [
    Geometry(),
    Geometry(kernel=(1, 1), pads=(0, 0, 0, 0)),
    Geometry(pool="GlobalAveragePool"),
    Geometry(pool="ReduceMean", keepdims=False),
    Geometry(dynamic=True),
    Geometry(dynamic=True, kernel=(1, 1), pads=(0, 0, 0, 0), pool="GlobalAveragePool"),
    Geometry(pool_kernel=(3, 3), pool_pads=(1, 1, 1, 1), count_include_pad=True),
    Geometry(groups=2, channels=4, filters=2),
])  # fmt: skip
def test_every_form_is_checked(geometry: Geometry, form: str) -> None:
    """A site is rewritten again in the same form, not in one that a chooser prefers now."""
    model = conv_pool_model(geometry)
    result = pipeline.run(model, [Fuse(forms=f"conv={form}")])
    if result.changes:
        (site,) = verify(result).sites
        assert site.change.form == form
        assert site.error <= TOLERANCE
        assert not site.vacuous


def test_network_and_result_are_not_changed() -> None:
    model = _whole()
    result = pipeline.run(model, pipeline.parse("mlcnn"))
    before = [stage.before.clone() for stage in result.stages]
    verify(result)
    for stage, copy in zip(result.stages, before, strict=True):
        assert ir.to_proto(stage.before) == ir.to_proto(copy)


def test_only_the_site_is_run() -> None:
    """A network may hold operators that only its own engine knows."""
    net = Net()
    strange = net.op("Strange", net.x, domain="custom", name="strange")
    strange.shape, strange.type = net.x.shape, net.x.type
    pooled = net.pool(net.conv(strange))
    after = net.op("Strange", pooled, domain="custom", name="after")
    after.shape, after.type = ir.Shape(["n", 2, 4, 4]), net.x.type
    verification = verify(pipeline.run(net.model(after), [Fuse(form="box")]))
    assert [site.change.nodes for site in verification.sites] == [("conv", "pool")]


@dataclass(frozen=True)
class _Once:
    """A user's own pass, without options; it refuses its site a second time."""

    name: ClassVar[str] = "once"
    exact: ClassVar[bool] = True
    uses: int = 1

    def apply(self, model: ir.Model) -> PassResult:
        result = clone(model)
        node = result.graph[0]
        if node.op_type != "Relu" or len(result.graph) < 3:
            return PassResult(result)
        change = Change("once", ("relu",), exact=True, inputs=("x",), outputs=("relu:0",))
        return PassResult(result, (change,))


def test_pass_that_does_not_find_its_site_again() -> None:
    net = Net()
    relu = net.op("Relu", net.x, name="relu")
    model = net.model(net.op("Neg", net.op("Tanh", relu)))
    with pytest.raises(PassError) as caught:
        verify(pipeline.run(model, [_Once()]))
    assert str(caught.value) == "once did not rewrite relu a second time"


def test_selection_does_not_matter_at_the_site() -> None:
    result = pipeline.run(_whole(), pipeline.parse("fold-batch-norm{only=first},fuse{only=a}"))
    assert [site.change.nodes[0] for site in verify(result).sites] == ["first"]


@pytest.mark.parametrize(("dtype", "allowed"), [
    (np.float16, 8 * 2.0**-10), (np.float32, 1e-5), (np.float64, 1e-5),
])  # fmt: skip
def test_stored_weights_may_be_rounded_to_their_precision(dtype: type, allowed: float) -> None:
    model = conv_pool_model(Geometry(dtype=dtype))
    result = Fuse(form="expanded").apply(model)
    check = check_site(Fuse(), model, result.model, result.changes[0])
    assert check.deployed_tolerance == allowed
    assert check.deployed_error <= allowed
    spoiled = Wrong(Fuse(form="expanded"), after=weights("conv.weight", lambda w: w * 1.1))
    with pytest.raises(PassError):
        verify(pipeline.run(model, [spoiled]))


def test_error_is_relative_to_the_largest_value() -> None:
    """Scaling a network by a thousand scales no error."""
    net = Net(dtype=np.float64)
    net.initializer("conv.weight", 1000 * net.generator.standard_normal((2, 2, 3, 3)))
    model = net.model(net.pool(net.conv(net.x, bias=False)))
    wrong = Wrong(after=weights("conv.weight", lambda w: w * 1.5))
    change = wrong.apply(model).changes[0]
    check = check_site(wrong, model, wrong.apply(model).model, change)
    assert check.error == pytest.approx(0.5)
    assert check.deployed_error == pytest.approx(0.5)
