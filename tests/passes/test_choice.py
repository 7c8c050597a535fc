"""How a form is chosen: the estimate's properties, and what a chooser is asked."""

import re
from collections.abc import Callable, Mapping
from dataclasses import replace

import numpy as np
import onnx_ir as ir
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from passes.builder import Net
from passes.networks import Geometry, conv_pool_model
from passes.story import inputs_of, run

from mlcnn.graph import check, evaluate
from mlcnn.ops import Convolution, Pooling, forms, read_convolution, read_pooling
from mlcnn.passes import KEEP, Choice, CostModel, Fuse
from mlcnn.workload import ConvLayer, Pool

VGG_LAYER = ConvLayer(
    "vgg", N=1, K=256, C=256, H=8, W=8, R=3, S=3, pads=(1, 1, 1, 1), pool=Pool((2, 2), (2, 2))
)


def _unused() -> ir.Model:
    raise AssertionError("an estimate builds no candidate")


def _choose(layer: ConvLayer | None, *forms: str) -> Choice:
    return CostModel().choose(layer, dict.fromkeys([KEEP, *forms], _unused))


def test_large_layer_is_fused() -> None:
    choice = _choose(VGG_LAYER, "box", "expanded")
    assert choice.form == "box"
    assert re.fullmatch(r"estimated \d\.\d\dx the speed of the unfused site", choice.reason)


def test_pool_goes_first_behind_a_1x1_kernel() -> None:
    layer = replace(VGG_LAYER, R=1, S=1, pads=(0, 0, 0, 0))
    assert _choose(layer, "box", "expanded", "pool-first").form == "pool-first"


def test_global_pool_becomes_a_product() -> None:
    layer = replace(VGG_LAYER, pool=Pool((8, 8), (1, 1)))
    assert _choose(layer, "box", "expanded", "matvec").form == "matvec"


@pytest.mark.parametrize("filters", [1, 2, 64])
def test_pool_that_saves_next_to_nothing_is_left_alone(filters: int) -> None:
    """2x2 with stride 1 over 32x32 leaves 31x31 outputs: 6 % of the products, and a box more."""
    layer = replace(VGG_LAYER, H=32, W=32, K=filters, pool=Pool((2, 2), (1, 1)))
    choice = _choose(layer, "box", "expanded")
    assert choice == Choice(KEEP, "estimated 1.00x the speed of the unfused site")


def test_nothing_to_choose_from() -> None:
    assert _choose(VGG_LAYER).form == KEEP
    assert _choose(None).form == KEEP


@pytest.mark.parametrize(("forms", "chosen"), [
    (("box", "expanded"), "box"),
    (("box", "expanded", "pool-first"), "pool-first"),
    (("expanded",), "expanded"),
])  # fmt: skip
def test_dynamic_sizes(forms: tuple[str, ...], chosen: str) -> None:
    assert _choose(None, *forms) == Choice(
        chosen, "height and width are dynamic: chosen without an estimate"
    )


_LAYERS = st.builds(
    lambda k, c, size, kernel, window, stride: ConvLayer(
        "layer", N=1, K=k, C=c, H=size, W=size, R=kernel, S=kernel, pads=(kernel // 2,) * 4,
        pool=Pool((min(window, size),) * 2, (stride, stride)),
    ),
    st.integers(1, 256), st.integers(1, 256), st.integers(4, 40), st.sampled_from([1, 3, 5, 7]),
    st.integers(2, 4), st.integers(1, 4),
)  # fmt: skip


@given(_LAYERS)
def test_choice_is_never_slower_than_leaving_alone(layer: ConvLayer) -> None:
    choice = _choose(layer, "box", "expanded")
    ratio = float(re.fullmatch(r"estimated ([\d.]+)x .*", choice.reason).group(1))
    assert ratio >= 1.0
    if choice.form == KEEP:
        assert ratio == 1.0


@given(_LAYERS, st.integers(2, 8))
def test_more_filters_never_speak_against_the_box(layer: ConvLayer, factor: int) -> None:
    """Box means are shared by all filters: with more of them fusing only gains."""
    if 2 * layer.pooled[0] * layer.pooled[1] < layer.P * layer.Q:
        more = replace(layer, K=layer.K * factor)
        fused = _choose(layer, "box").form == "box"
        assert not fused or _choose(more, "box").form == "box"


@given(_LAYERS, st.sampled_from(["box", "expanded"]))
def test_a_further_candidate_never_makes_it_worse(layer: ConvLayer, form: str) -> None:
    def ratio(*forms: str) -> float:
        return float(_choose(layer, *forms).reason.split()[1].rstrip("x"))

    assert ratio("box", "expanded") >= ratio(form) >= ratio()


class _Curious:
    """Runs every candidate, and chooses the last."""

    def __init__(self) -> None:
        self.layer: ConvLayer | None = None
        self.models: dict[str, ir.Model] = {}

    def choose(
        self, layer: ConvLayer | None, candidates: Mapping[str, Callable[[], ir.Model]]
    ) -> Choice:
        self.layer = layer
        self.models = {form: build() for form, build in candidates.items()}
        return Choice([*candidates][-1], "the last one")


GEOMETRIES = {
    "3x3": Geometry(),
    "1x1": Geometry(kernel=(1, 1), pads=(0, 0, 0, 0)),
    "global": Geometry(pool="GlobalAveragePool"),
    "global 1x1": Geometry(pool="GlobalAveragePool", kernel=(1, 1), pads=(0, 0, 0, 0)),
    "mean, flat": Geometry(pool="ReduceMean", keepdims=False),
    "padded": Geometry(pool_kernel=(3, 3), pool_pads=(1, 1, 1, 1)),
    "strided": Geometry(strides=(2, 1), size=(16, 9)),
    "grouped": Geometry(channels=4, filters=4, groups=2),
    "dynamic": Geometry(dynamic=True),
}


def _applicable(geometry: Geometry) -> list[str]:
    conv, pool = conv_pool_model(geometry).graph
    convolution, pooling = read_convolution(conv), read_pooling(pool)
    assert isinstance(convolution, Convolution)
    assert isinstance(pooling, Pooling)
    return [name for name, form in forms().items() if form.refuses(convolution, pooling) is None]


@pytest.mark.parametrize("name", GEOMETRIES)
def test_chooser_is_given_every_form_as_a_working_network(name: str) -> None:
    geometry = GEOMETRIES[name]
    chooser = _Curious()
    result = Fuse(chooser=chooser).apply(conv_pool_model(geometry))
    assert [*chooser.models] == [KEEP, *_applicable(geometry)]
    assert (chooser.layer is None) == geometry.dynamic
    unfused = chooser.models[KEEP]
    assert {node.domain for node in unfused.graph} == {""}
    inputs = {name: torch.from_numpy(array) for name, array in inputs_of(unfused).items()}
    (expected,) = evaluate(unfused, inputs).values()
    for form, model in chooser.models.items():
        check(model)
        assert [value.name for value in model.graph.inputs] == ["x"]
        assert isinstance(model.graph.inputs[0].shape[0], ir.SymbolicDim)
        (actual,) = evaluate(model, inputs).values()
        assert actual.shape == expected.shape
        assert float((actual - expected).abs().max() / expected.abs().max()) <= 1e-12, form
    (change,) = result.changes
    assert (change.form, change.reason) == ([*chooser.models][-1], "the last one")


def test_candidates_run_in_onnx_runtime() -> None:
    chooser = _Curious()
    Fuse(chooser=chooser).apply(conv_pool_model(replace(Geometry(), dtype=np.float32)))
    inputs = inputs_of(chooser.models[KEEP])
    (expected,) = run(chooser.models[KEEP], inputs)
    assert len(chooser.models) > 2
    for model in chooser.models.values():
        (actual,) = run(model, inputs)
        np.testing.assert_allclose(actual, expected, rtol=0, atol=1e-5 * np.abs(expected).max())


def test_candidates_include_the_activation_behind() -> None:
    """Engines run it together with the convolution, so it belongs to the measurement."""
    net = Net()
    relu = net.op("Relu", net.pool(net.conv(net.x)), name="relu")
    chooser = _Curious()
    Fuse(chooser=chooser).apply(net.model(net.op("Softmax", relu, axis=1)))
    for model in chooser.models.values():
        assert [value.name for value in model.graph.outputs] == ["relu:0"]
        assert "Relu" in {node.op_type for node in model.graph}


def test_candidates_end_at_the_pool_where_others_read_it_too() -> None:
    net = Net()
    pool = net.pool(net.conv(net.x))
    chooser = _Curious()
    Fuse(chooser=chooser).apply(net.model(net.op("Relu", pool), net.op("Tanh", pool)))
    for model in chooser.models.values():
        assert [value.name for value in model.graph.outputs] == ["pool:0"]


def test_candidates_are_cut_out_of_a_larger_network() -> None:
    net = Net("n", 2, 16, 16)
    first = net.pool(net.conv(net.x, name="first"), name="pool1")
    second = net.pool(net.conv(first, name="second"), name="pool2")
    chooser = _Curious()
    Fuse(only=("second",), chooser=chooser).apply(net.model(second))
    for model in chooser.models.values():
        assert [value.name for value in model.graph.inputs] == ["pool1:0"]
        assert not any(name.startswith("first") for name in model.graph.initializers)


def test_chooser_may_leave_a_site_alone() -> None:
    class Lazy:
        def choose(self, layer: ConvLayer | None, candidates: Mapping) -> Choice:
            return Choice(KEEP, "0.93x on this machine")

    result = Fuse(chooser=Lazy()).apply(conv_pool_model(Geometry()))
    assert result.changes == ()
    assert [s.reason for s in result.skipped] == ["left as it is: 0.93x on this machine"]


def test_user_asks_for_a_form_that_does_not_apply() -> None:
    result = Fuse(form="pool-first").apply(conv_pool_model(Geometry()))
    assert [s.reason for s in result.skipped] == [
        "form pool-first does not apply: the kernel is not 1x1",
    ]


def test_user_chooses_single_layers() -> None:
    for chosen_forms, chosen in (("conv=expanded", "expanded"), ("conv=box+other=keep", "box")):
        (change,) = (
            Fuse(forms=chosen_forms, chooser=_Curious()).apply(conv_pool_model(Geometry())).changes
        )
        assert (change.form, change.reason) == (chosen, "chosen by the user")
