"""Weights in float16: what a rewrite makes must not fall below what the type can tell apart."""

import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from passes.builder import Net

from mlcnn.graph import inline, to_proto
from mlcnn.passes import FoldBatchNorm, Fuse, pipeline

TINY = 6e-6  # a hundred times the smallest float16: a quarter of it keeps two digits


def _half(scale: float, *, norm: bool = False) -> ir.Model:
    """A convolution and a pool in float16 whose weights are at most ``scale``."""
    net = Net(1, 2, 8, 8, dtype=np.float16)
    shape = (2, 2, 3, 3)
    weight = net.initializer(
        "conv.weight", (net.generator.uniform(-1, 1, shape) * scale).astype(np.float16)
    )
    value = net.conv(net.x, name="conv", weight=weight, bias=False)
    if norm:
        value = net.norm(value)
        net.initializers["norm.weight"].const_value = ir.tensor(
            np.full(2, 1e-3, np.float16), name="norm.weight"
        )
    return net.model(net.pool(value))


def _run(model: ir.Model) -> np.ndarray:
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 8)).astype(np.float16) * 100
    session = ort.InferenceSession(to_proto(inline(model)).SerializeToString())
    (result,) = session.run(None, {"x": x})
    return result.astype(np.float64)


def _error(before: ir.Model, after: ir.Model) -> float:
    expected = _run(before)
    return float(np.abs(_run(after) - expected).max() / np.abs(expected).max())


def test_a_form_that_keeps_precision_is_chosen() -> None:
    model = _half(TINY)
    result = pipeline.run(model, [Fuse()], verify=True)
    (change,) = result.changes
    assert change.form not in {"expanded", "matvec", "matmul"}
    assert _error(model, result.model) < 5e-3


def test_a_form_asked_for_that_loses_precision_is_refused_with_the_reason() -> None:
    result = pipeline.run(_half(TINY), [Fuse(form="expanded")], verify=True)
    assert result.changes == ()
    (left,) = result.skipped
    assert left.reason.startswith(
        "form expanded does not apply: its weights lose their precision in float16: all of one "
        "output channel are at most "
    )


def test_large_enough_weights_take_any_form() -> None:
    model = _half(1.0)
    for form in ("box", "expanded"):
        result = pipeline.run(model, [Fuse(form=form)], verify=True)
        assert [change.form for change in result.changes] == [form]
        assert _error(model, result.model) < 5e-3


@pytest.mark.parametrize("scale", [1.0, 1e-3])
def test_a_batch_norm_whose_weights_would_vanish_stays(scale: float) -> None:
    """1e-3 times a gamma of 1e-3: below the smallest normal float16, 6.1e-5."""
    model = _half(scale, norm=True)
    result = pipeline.run(model, [FoldBatchNorm()], verify=True)
    assert bool(result.changes) == (scale == 1.0)
    if not result.changes:
        assert "folded, its weights lose their precision in float16" in result.skipped[0].reason
    assert _error(model, result.model) < 5e-3
