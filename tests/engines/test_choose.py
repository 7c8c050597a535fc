"""Forms chosen by measurement: in case of doubt the unfused site stays."""

from dataclasses import replace

import numpy as np
import onnx_ir as ir
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from mlcnn import engines
from mlcnn.engines import MeasuredChooser, Timing
from mlcnn.engines.choose import in_context
from mlcnn.errors import InputError, UnsupportedError
from mlcnn.graph import check, from_proto, to_proto
from mlcnn.passes import KEEP, pipeline
from mlcnn.workload import ConvLayer, Pool

POOL = Pool(kernel=(2, 2), strides=(2, 2))
LAYER = ConvLayer("conv", N=1, K=6, C=8, H=8, W=8, R=1, S=1, pool=POOL)


def site(layer: ConvLayer = LAYER, *, repeats: int = 1) -> ir.Model:
    """A 1x1 convolution and a 2x2 average; ``repeats`` adds useless work."""
    weight = np.random.default_rng(0).standard_normal((layer.K, layer.C, 1, 1), np.float32)
    nodes = [helper.make_node("Conv", ["x", "w"], ["y0"])]
    nodes += [helper.make_node("Tanh", [f"y{i - 1}"], [f"y{i}"]) for i in range(1, repeats)]
    pool = {"kernel_shape": [2, 2], "strides": [2, 2]}
    nodes.append(helper.make_node("AveragePool", [f"y{repeats - 1}"], ["z"], **pool))
    graph = helper.make_graph(
        nodes,
        "site",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["N", layer.C, layer.H, layer.W])],
        [helper.make_tensor_value_info("z", TensorProto.FLOAT, ["N", layer.K, None, None])],
        [numpy_helper.from_array(weight, "w")],
    )
    opset = helper.make_opsetid("", 20)
    return from_proto(helper.make_model(graph, opset_imports=[opset], ir_version=10))


def chooser_of(monkeypatch, **milliseconds: tuple[float, ...]) -> MeasuredChooser:
    """A chooser on a machine where each form takes a known time."""

    def interleave(callables, **_options):
        return {name: Timing(milliseconds[name.replace("-", "_")]) for name in callables}

    monkeypatch.setattr("mlcnn.engines.choose.interleave", interleave)
    return MeasuredChooser()


def forms(*names: str):
    return dict.fromkeys((KEEP, *names), site)


def test_the_fastest_form_wins(monkeypatch) -> None:
    chooser = chooser_of(monkeypatch, keep=(4.0,) * 7, box=(2.0,) * 7, expanded=(1.0,) * 7)
    choice = chooser.choose(LAYER, forms("box", "expanded"))
    assert choice.form == "expanded"
    assert choice.reason == (
        "measured 4.00x the speed of the unfused site (4.00 to 4.00) in onnxruntime at batch 1"
    )


def test_among_equals_the_first_wins(monkeypatch) -> None:
    chooser = chooser_of(monkeypatch, keep=(4.0,) * 7, box=(2.02,) * 7, expanded=(2.0,) * 7)
    assert chooser.choose(LAYER, forms("box", "expanded")).form == "box"


def test_a_slower_form_is_left(monkeypatch) -> None:
    chooser = chooser_of(monkeypatch, keep=(4.0,) * 7, box=(5.0,) * 7)
    choice = chooser.choose(LAYER, forms("box"))
    assert choice.form == KEEP
    assert choice.reason == (
        "the fastest form, box, runs at 0.80x the speed of the unfused site (0.80 to 0.80) in "
        "onnxruntime at batch 1"
    )


def test_a_small_gain_is_left(monkeypatch) -> None:
    chooser = chooser_of(monkeypatch, keep=(1.02,) * 7, box=(1.0,) * 7)
    assert chooser.choose(LAYER, forms("box")).form == KEEP


def test_a_gain_within_the_noise_is_left(monkeypatch) -> None:
    noisy = (1.0, 1.0, 1.0, 1.0, 3.0, 3.0, 3.0)
    chooser = chooser_of(monkeypatch, keep=(2.0,) * 7, box=noisy)
    assert chooser.choose(LAYER, forms("box")).form == KEEP


def test_sites_of_one_geometry_are_measured_once(monkeypatch) -> None:
    rounds: list[tuple[str, ...]] = []

    def interleave(callables, **_options):
        rounds.append(tuple(callables))
        return {name: Timing((1.0,) * 7) for name in callables}

    monkeypatch.setattr("mlcnn.engines.choose.interleave", interleave)
    chooser = MeasuredChooser()
    first = chooser.choose(LAYER, forms("box"))
    once = len(rounds)
    assert chooser.choose(replace(LAYER, name="another"), forms("box")) is first
    assert len(rounds) == once
    other = replace(LAYER, K=12)
    chooser.choose(other, {name: lambda: site(other) for name in (KEEP, "box")})
    assert len(rounds) == 2 * once
    chooser.choose(LAYER, forms("box", "expanded"))
    assert len(rounds) == 3 * once


def test_a_large_network_passes_through_the_caches(monkeypatch) -> None:
    between = []

    def interleave(callables, **options):
        between.append(options["between"])
        return {name: Timing((1.0,) * 7) for name in callables}

    monkeypatch.setattr("mlcnn.engines.choose.interleave", interleave)
    for size in (0, 1000, 4 * 2**20, 2**40):
        MeasuredChooser(network_bytes=size).choose(LAYER, forms("box"))
    small, large, huge = between[:4:2], between[4], between[6]
    assert small == [None, None]
    assert large() == 2**20
    assert huge() == 2**24


def test_what_takes_long_to_compile_is_measured_elsewhere(monkeypatch) -> None:
    chooser_of(monkeypatch, keep=(4.0,) * 7, box=(2.0,) * 7)
    choice = MeasuredChooser("torch-compile").choose(LAYER, forms("box"))
    assert choice.form == "box"
    assert "in onnxruntime at batch 1" in choice.reason


def test_hopeless_forms_are_measured_only_briefly(monkeypatch) -> None:
    rounds: list[set[str]] = []
    cost = {KEEP: 10.0, "box": 1.0, "expanded": 1.2, "matvec": 9.0}

    def interleave(callables, **_options):
        rounds.append(set(callables))
        return {name: Timing((cost[name],) * 7) for name in callables}

    monkeypatch.setattr("mlcnn.engines.choose.interleave", interleave)
    assert MeasuredChooser().choose(LAYER, forms("box", "expanded", "matvec")).form == "box"
    assert rounds == [set(cost), {KEEP, "box", "expanded"}]


def test_forms_that_the_engine_refuses_do_not_count(monkeypatch) -> None:
    def refused() -> ir.Model:
        raise UnsupportedError("no")

    chooser = chooser_of(monkeypatch, keep=(4.0,) * 7, expanded=(2.0,) * 7)
    candidates = {KEEP: site, "box": refused, "expanded": site}
    assert chooser.choose(LAYER, candidates).form == "expanded"
    choice = MeasuredChooser().choose(LAYER, {KEEP: site, "box": refused})
    assert choice.form == KEEP
    assert choice.reason == "onnxruntime runs no fused form of this site"


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"engine": "onnx"}, "did you mean 'onnxruntime'?"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
        ({"batch": 0}, "batch must be 1 or more, got 0"),
        ({"threads": 0}, "threads must be 1 or more, got 0"),
    ],
)
def test_wrong_options_are_refused(options, told: str) -> None:
    with pytest.raises(InputError) as failure:
        MeasuredChooser(**options)
    assert told in str(failure.value)


def test_an_engine_that_refuses_the_site_is_told(monkeypatch) -> None:
    class Refusing:
        def prepare(self, *_arguments, **_options):
            raise UnsupportedError("the engine cannot run this network: no such kernel")

    chooser = MeasuredChooser()
    monkeypatch.setattr("mlcnn.engines.choose.get", lambda *_: Refusing())
    choice = chooser.choose(LAYER, forms("box"))
    assert choice.reason.startswith("estimated ")
    assert choice.reason.endswith("(the engine cannot run this network: no such kernel)")


def test_unknown_sizes_are_estimated() -> None:
    choice = MeasuredChooser().choose(None, forms("box"))
    assert choice.form == "box"
    assert "chosen without an estimate" in choice.reason


@pytest.mark.parametrize("name", ["onnxruntime", "openvino", "torch"])
def test_useless_work_is_found_out(name: str) -> None:
    layer = replace(LAYER, C=64, K=64, H=32, W=32)
    wasteful, lean = (lambda: site(layer, repeats=12)), (lambda: site(layer))
    chooser = MeasuredChooser(name, batch=2, budget_s=0.2)
    assert chooser.choose(layer, {KEEP: wasteful, "box": lean}).form == "box"
    other = MeasuredChooser(name, batch=2, budget_s=0.2)
    assert other.choose(layer, {KEEP: lean, "box": wasteful}).form == KEEP


def test_the_same_work_is_no_gain() -> None:
    layer = replace(LAYER, C=64, K=64, H=32, W=32)
    candidates = dict.fromkeys((KEEP, "box", "expanded"), lambda: site(layer))
    assert MeasuredChooser(batch=2, budget_s=0.2).choose(layer, candidates).form == KEEP


def test_a_pipeline_takes_it() -> None:
    passes = pipeline.configure(
        pipeline.parse("fuse"), chooser=MeasuredChooser(batch=2, budget_s=0.05)
    )
    found = pipeline.run(site(), passes)
    assert len(found.changes) + len(found.skipped) == 1
    reason = found.changes[0].reason if found.changes else found.skipped[0].reason
    assert "the speed of the unfused site" in reason


def _run(model: ir.Model, image: np.ndarray) -> np.ndarray:
    session = onnxruntime.InferenceSession(
        to_proto(model).SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, {session.get_inputs()[0].name: image})[0]


def test_the_context_is_two_means_around_the_site() -> None:
    fixed = engines.fix_shapes(site(), {"x": (2, 8, 8, 8)})
    around = in_context(fixed, LAYER)
    check(around)
    assert [node.op_type for node in around.graph] == ["Conv", "Conv", "AveragePool", "Conv"]
    assert [node.op_type for node in fixed.graph] == ["Conv", "AveragePool"]
    image = np.random.default_rng(1).standard_normal((2, 4, 8, 8), np.float32)
    mean = np.repeat(image.mean(1, keepdims=True), 8, axis=1)
    inside = _run(fixed, mean)
    expected = np.repeat(inside.mean(1, keepdims=True), 4, axis=1)
    np.testing.assert_allclose(_run(around, image), expected, atol=1e-5)


def test_an_image_has_nothing_before_it() -> None:
    layer = replace(LAYER, C=3)
    around = in_context(engines.fix_shapes(site(layer), {"x": (1, 3, 8, 8)}), layer)
    check(around)
    assert [node.op_type for node in around.graph] == ["Conv", "AveragePool", "Conv"]


def test_a_pool_of_everything_has_nothing_behind_it() -> None:
    layer = replace(LAYER, H=2, W=2)
    around = in_context(engines.fix_shapes(site(layer), {"x": (1, 8, 2, 2)}), layer)
    check(around)
    assert [node.op_type for node in around.graph] == ["Conv", "Conv", "AveragePool"]
