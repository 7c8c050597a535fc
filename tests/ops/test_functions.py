"""Operators of the domain ``mlcnn``: functions of standard operators, kept or inlined."""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest
from passes.builder import Net
from passes.networks import Geometry, conv_pool_model
from passes.story import inputs_of, run

from mlcnn.graph import check, inline, load_file, save
from mlcnn.ops import DOMAIN, Emitter
from mlcnn.ops.average_pool import AVERAGE_POOL
from mlcnn.passes import Fuse

POINT = {"kernel": (1, 1), "pads": (0, 0, 0, 0)}
# Geometry, form, and the functions that the form calls there.
CALLS = {
    "box": (Geometry(), "box", {"ConvPoolBox"}),
    "box over distant inputs": (Geometry(strides=(2, 2), size=(15, 15)), "box",
                                {"ConvPoolBoxDepthwise"}),
    "box with border": (Geometry(pool_kernel=(3, 3), pool_pads=(1, 1, 1, 1)), "box",
                        {"ConvPoolBox"}),
    "box with counted border": (
        Geometry(pool_kernel=(3, 3), pool_pads=(1, 1, 1, 1), count_include_pad=True), "box",
        {"ConvPoolBox"}),
    "depthwise": (Geometry(), "box-depthwise", {"ConvPoolBoxDepthwise"}),
    "expanded": (Geometry(), "expanded", {"ConvPoolExpanded"}),
    "pool first": (Geometry(**POINT), "pool-first", {"PoolConv"}),
    "global pool first": (Geometry(**POINT, pool="GlobalAveragePool"), "pool-first",
                          {"GlobalPoolConv"}),
    "dynamic global pool first": (Geometry(**POINT, pool="GlobalAveragePool", dynamic=True),
                                  "pool-first", {"GlobalPoolConv"}),
    "matvec": (Geometry(pool="GlobalAveragePool"), "matvec", {"ConvPoolMatVec"}),
    "matvec over a small map": (Geometry(pool="GlobalAveragePool", size=(2, 3)), "matvec",
                                {"ConvPoolGemm"}),
    "matvec behind a global pool": (Geometry(**POINT, pool="GlobalAveragePool"), "matvec",
                                    {"GlobalPoolGemm"}),
    "matmul": (Geometry(size=(6, 6)), "matmul", {"ConvPoolMatMul"}),
    "flat": (Geometry(pool="ReduceMean", keepdims=False), "matvec", {"ConvPoolMatVec"}),
    "without bias": (Geometry(bias=False), "box", {"ConvPoolBox"}),
    "product without bias": (Geometry(bias=False, size=(6, 6)), "matmul", {"ConvPoolMatMul"}),
}  # fmt: skip


def _fused(name: str):
    geometry, form, _ = CALLS[name]
    model = conv_pool_model(Geometry(**{**vars(geometry), "dtype": np.float32}))
    result = Fuse(form=form).apply(model)
    assert [change.form for change in result.changes] == [form]
    return model, result.model


def _close(actual: np.ndarray, expected: np.ndarray) -> None:
    assert actual.shape == expected.shape
    assert np.abs(actual - expected).max() <= 1e-5 * np.abs(expected).max()


@pytest.mark.parametrize("name", CALLS)
def test_form_calls_its_function(name: str) -> None:
    _, fused = _fused(name)
    called = {node.op_type for node in fused.graph if node.domain == DOMAIN}
    assert called == CALLS[name][2]
    assert {function.name for function in fused.functions.values()} == called
    assert fused.graph.opset_imports[DOMAIN] == 1


@pytest.mark.parametrize("name", CALLS)
def test_saved_functions_run_in_onnx_runtime(name: str, tmp_path: Path) -> None:
    original, fused = _fused(name)
    path = tmp_path / "fused.onnx"
    save(fused, path, functions=True)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert {function.name for function in proto.functions} == CALLS[name][2]
    inputs = inputs_of(original)
    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    (actual,), (expected,) = session.run(None, inputs), run(original, inputs)
    _close(actual, expected)


@pytest.mark.parametrize("name", CALLS)
def test_saved_network_has_standard_operators_only(name: str, tmp_path: Path) -> None:
    original, fused = _fused(name)
    path = tmp_path / "fused.onnx"
    save(fused, path)
    proto = onnx.load(path)
    onnx.checker.check_model(proto, full_check=True)
    assert not proto.functions
    assert {node.domain for node in proto.graph.node} == {""}
    assert {opset.domain for opset in proto.opset_import} == {""}
    inputs = inputs_of(original)
    _close(run(load_file(path), inputs)[0], run(original, inputs)[0])


@pytest.mark.parametrize("name", CALLS)
def test_functions_use_the_opset_of_the_graph(name: str) -> None:
    _, fused = _fused(name)
    for function in fused.functions.values():
        assert function.opset_imports == {"": fused.graph.opset_imports[""]}
        assert {node.domain for node in function} == {""}


def test_newer_opset_is_kept() -> None:
    net = Net(opset=22)
    fused = Fuse(form="box").apply(net.model(net.pool(net.conv(net.x)))).model
    assert [f.opset_imports[""] for f in fused.functions.values()] == [22]
    check(fused)
    check(inline(fused))


def test_every_form_is_covered_here() -> None:
    assert {form for _, form, _ in CALLS.values()} == {form.name for form in AVERAGE_POOL.forms}


def test_weights_of_the_network_are_not_copied_where_a_form_keeps_them() -> None:
    """A box uses the convolution's own weight: the fused network is no larger."""
    original, fused = _fused("box")
    for name in ("conv.weight", "conv.bias"):
        assert fused.graph.initializers[name].const_value.numpy() is not None
        assert np.shares_memory(
            fused.graph.initializers[name].const_value.numpy(),
            original.graph.initializers[name].const_value.numpy(),
        )


def test_old_weight_goes_where_a_form_makes_its_own() -> None:
    _, fused = _fused("expanded")
    assert sorted(fused.graph.initializers) == ["conv.bias", "conv.weight"]
    assert fused.graph.initializers["conv.weight"].shape == (2, 2, 4, 4)


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_new_weights_have_the_precision_of_the_old_ones(dtype: type) -> None:
    for form in ("expanded", "box-depthwise"):
        fused = Fuse(form=form).apply(conv_pool_model(Geometry(dtype=dtype))).model
        stored = {v.const_value.numpy().dtype for v in fused.graph.initializers.values()}
        assert stored == {np.dtype(dtype)}
        check(fused)


def test_emitter_gives_every_weight_a_name_of_its_own() -> None:
    emitter = Emitter(20, np.dtype(np.float32), "layer", {"origin": "somewhere"})
    values = [emitter.weight(np.zeros(1), "scale") for _ in range(3)]
    values.append(emitter.integers([1, 2], "axes"))
    assert [v.name for v in values] == [
        "layer.scale", "layer.scale_1", "layer.scale_2", "layer.axes",
    ]  # fmt: skip
    assert [v.const_value.numpy().dtype for v in values] == [np.float32] * 3 + [np.int64]
    nodes = [emitter.op("Relu", [values[0]]).producer() for _ in range(2)]
    assert [node.name for node in nodes] == ["layer/Relu", "layer/Relu_1"]
    assert nodes[0].metadata_props["origin"] == "somewhere"
