"""Every form is exact over the whole geometry, against a convolution and a pool run apart."""

from dataclasses import replace

import numpy as np
import onnxruntime
import pytest
import torch
from hypothesis import given, settings
from passes.networks import Geometry, conv_pool_model, geometries

from mlcnn.graph import evaluate, inline, to_proto
from mlcnn.ops import forms
from mlcnn.passes import Fuse


def _input(geometry: Geometry) -> np.ndarray:
    shape = (2, geometry.channels, *geometry.size)
    return np.random.default_rng(1).standard_normal(shape)


def _reference(geometry: Geometry) -> np.ndarray:
    """Convolution by torch, then the pool window by window as PyTorch defines it."""
    model = conv_pool_model(geometry)
    values = {v.name: v.const_value.numpy() for v in model.graph.initializers.values()}
    top, left, bottom, right = geometry.pads
    padded = torch.nn.functional.pad(torch.tensor(_input(geometry)), (left, right, top, bottom))
    bias = values.get("conv.bias")
    convolved = torch.nn.functional.conv2d(
        padded,
        torch.tensor(values["conv.weight"].astype(np.float64)),
        None if bias is None else torch.tensor(bias.astype(np.float64)),
        stride=geometry.strides,
        dilation=geometry.dilations,
        groups=geometry.groups,
    ).numpy()
    if geometry.pool != "AveragePool":
        keepdims = geometry.keepdims or geometry.pool == "GlobalAveragePool"
        return convolved.mean(axis=(2, 3), keepdims=keepdims)
    return _pool(convolved, geometry)


def _pool(values: np.ndarray, geometry: Geometry) -> np.ndarray:
    spans = [_spans(values.shape[axis + 2], geometry, axis) for axis in (0, 1)]
    result = np.empty((*values.shape[:2], len(spans[0]), len(spans[1])))
    for i, (top, bottom, height) in enumerate(spans[0]):
        for j, (left, right, width) in enumerate(spans[1]):
            window = values[:, :, top:bottom, left:right]
            area = height * width if geometry.count_include_pad else window[0, 0].size
            result[:, :, i, j] = window.sum(axis=(2, 3)) / area
    return result


def _spans(size: int, geometry: Geometry, axis: int) -> list[tuple[int, int, int]]:
    """(first, one past last, length with padding) of every window along an axis."""
    kernel, stride = geometry.pool_kernel[axis], geometry.pool_strides[axis]
    before, after = geometry.pool_pads[axis], geometry.pool_pads[axis + 2]
    spans = []
    first = -before
    while first + kernel <= size + after or (
        geometry.ceil_mode
        and first < size
        and (first - stride + kernel < size + after or not spans)
    ):
        stop = min(first + kernel, size + after)
        spans.append((max(first, 0), min(stop, size), stop - first))
        first += stride
    return spans


def _rewritten(geometry: Geometry, form: str):
    result = Fuse(form=form).apply(conv_pool_model(geometry))
    reasons = [skipped.reason for skipped in result.skipped]
    if not result.changes:
        assert all(reasons), "a site left alone carries its reason"
    return result


@given(geometries())
@settings(deadline=None)
def test_every_form_is_exact_in_float64(geometry: Geometry) -> None:
    expected = _reference(geometry)
    scale = np.abs(expected).max() or 1.0
    for form in forms():
        result = _rewritten(geometry, form)
        if result.changes:
            actual = evaluate(result.model, {"x": torch.tensor(_input(geometry))})["y"].numpy()
            assert actual.shape == expected.shape
            assert np.abs(actual - expected).max() <= 1e-12 * scale


@given(geometries(max_size=12))
@settings(deadline=None)
def test_every_form_agrees_in_onnx_runtime(geometry: Geometry) -> None:
    geometry = replace(geometry, dtype=np.float32)
    expected = _reference(geometry)
    source = _input(geometry).astype(np.float32)
    scale = np.abs(expected).max() or 1.0
    for form in forms():
        result = _rewritten(geometry, form)
        if result.changes:
            proto = to_proto(inline(result.model)).SerializeToString()
            session = onnxruntime.InferenceSession(proto, providers=["CPUExecutionProvider"])
            (actual,) = session.run(None, {"x": source})
            assert actual.shape == expected.shape
            assert np.abs(actual - expected).max() <= 1e-5 * scale


def test_pool_goes_first_over_counted_padding_only_without_a_bias() -> None:
    geometry = Geometry(
        kernel=(1, 1), pads=(0, 0, 0, 0), pool_kernel=(3, 3), pool_pads=(1, 1, 1, 1),
        count_include_pad=True,
    )  # fmt: skip
    result = _rewritten(geometry, "pool-first")
    assert [skipped.reason for skipped in result.skipped] == [
        "form pool-first does not apply: the pool counts its padding and the convolution has a bias"
    ]
    without = replace(geometry, bias=False)
    result = _rewritten(without, "pool-first")
    actual = evaluate(result.model, {"x": torch.tensor(_input(without))})["y"].numpy()
    np.testing.assert_allclose(actual, _reference(without), rtol=0, atol=1e-12)


@pytest.mark.parametrize(
    ("geometry", "form"),
    [
        (Geometry(), "box"),
        (Geometry(), "expanded"),
        (Geometry(kernel=(1, 1), pads=(0, 0, 0, 0)), "pool-first"),
        (Geometry(pool="GlobalAveragePool"), "matvec"),
        (Geometry(pool_kernel=(3, 3), pool_pads=(1, 1, 1, 1)), "box"),
        (Geometry(kernel=(1, 1), pads=(0, 0, 0, 0), dynamic=True), "pool-first"),
        (Geometry(dynamic=True), "box"),
    ],
)
def test_form_is_taken(geometry: Geometry, form: str) -> None:
    """The property above holds trivially if nothing is fused: the common sites are."""
    changes = _rewritten(geometry, form).changes
    assert [change.form for change in changes] == [form]
