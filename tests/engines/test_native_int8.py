"""Quantised networks in the native engine: its integers are those of the definition, bit by bit."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from engines.processors import MARCHES
from engines.qdq import BAD, Quantised
from hypothesis import given
from hypothesis import strategies as st
from numpy.lib.stride_tricks import sliding_window_view
from passes.quantised import images, quantised, run

from mlcnn import zoo
from mlcnn.engines.arrays import fix_shapes
from mlcnn.engines.native import Native
from mlcnn.engines.native.algorithms import Choosing
from mlcnn.engines.native.library import Op, load
from mlcnn.engines.native.lowering import lower
from mlcnn.engines.native.machine import Machine
from mlcnn.errors import UnsupportedError
from mlcnn.graph import evaluate, infer_shapes, inline
from mlcnn.passes import FoldBatchNorm, pipeline


def codes_of(x: np.ndarray, step: float, zero: int) -> np.ndarray:
    return np.clip(np.rint(x / np.float32(step)) + zero, 0, 255).astype(np.int64)


def ops_of(model: ir.Model, shape: tuple[int, ...]) -> set[Op]:
    """The kernels that compute it."""
    fixed = fix_shapes(inline(model), {"x": shape})
    infer_shapes(fixed)
    kernels = load()
    choose = Choosing("auto", Machine(1e11, 1e10), 1, 0).chooser(kernels)
    return {operation.op for operation in lower(fixed, kernels, choose)}


def native(model: ir.Model, x: np.ndarray, march: str = "native", **options: object) -> np.ndarray:
    session = Native(march, **options).prepare(model)
    return next(iter(session.run({model.graph.inputs[0].name: x}).values()))


def convolved(
    x: np.ndarray, weight: np.ndarray, pads: tuple[int, ...], strides: tuple[int, int],
    dilations: tuple[int, int],
) -> np.ndarray:  # fmt: skip
    """Sums of products, in whole numbers."""
    top, left, bottom, right = pads
    padded = np.pad(x, ((0, 0), (0, 0), (top, bottom), (left, right)))
    kernel = [(k - 1) * d + 1 for k, d in zip(weight.shape[2:], dilations, strict=True)]
    windows = sliding_window_view(padded, kernel, (2, 3))[:, :, :: strides[0], :: strides[1]]
    windows = windows[..., :: dilations[0], :: dilations[1]]
    return np.einsum("nchwkl,fckl->nfhw", windows, weight)


def drawn_windows(draw: st.DrawFn, padding: int, largest: int) -> tuple[tuple[int, ...], ...]:
    """Kernel, strides, dilations, pads, and a size that they fit, at most `largest` if they do."""
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    pair = st.tuples(st.integers(1, 3), st.integers(1, 3))
    strides, dilations = draw(pair), draw(pair)
    pads = draw(st.tuples(*[st.integers(0, padding)] * 4))
    least = [
        max(1, (k - 1) * d + 1 - a - b)
        for k, d, a, b in zip(kernel, dilations, pads[:2], pads[2:], strict=True)
    ]
    size = tuple(draw(st.integers(side, max(side, largest))) for side in least)
    return kernel, strides, dilations, pads, size


@st.composite
def convolutions(draw) -> tuple[ir.Model, np.ndarray, np.ndarray]:
    """A quantised convolution, an image, and the result by definition."""
    channels, filters = draw(st.integers(1, 40)), draw(st.integers(1, 75))
    kernel, strides, dilations, pads, size = drawn_windows(draw, 3, 14)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    zero, zero_y = draw(st.sampled_from([0, 128, 255, 7])), draw(st.sampled_from([0, 121, 255]))
    step = np.float32(rng.uniform(0.01, 0.1))
    weight = rng.integers(-128, 128, (filters, channels, *kernel), np.int8)
    steps = rng.uniform(0.01, 0.1, filters if draw(st.booleans()) else ()).astype(np.float32)
    bias = rng.integers(-5000, 5000, filters, np.int32)
    image = rng.normal(0, 128 * step, (draw(st.integers(1, 9)), channels, *size)).astype(np.float32)
    sums = convolved(
        codes_of(image, step, zero) - zero, weight.astype(np.int64), pads, strides, dilations
    )
    sums += bias.reshape(-1, 1, 1)
    step_y = np.float32(np.abs(sums).max() * step * steps.max() / 100 + 0.01)
    net = Quantised(channels, (size[0], size[1]))
    scale = net.constant(np.broadcast_to(step * steps, filters))
    zeros = net.constant(np.zeros(filters, np.int32))
    given = net.op("DequantizeLinear", net.constant(bias), scale, zeros, axis=0)
    value = net.op(
        "Conv", net.rounded("x", step, zero), net.weight(weight, steps), given,
        pads=pads, strides=strides, dilations=dilations,
    )  # fmt: skip
    low = -np.inf
    if draw(st.booleans()):
        value, low = net.op("Relu", value), 0
    model = net.model(net.rounded(value, step_y, zero_y))
    factor = np.broadcast_to(step * steps / step_y, filters).reshape(-1, 1, 1)
    codes = np.rint(sums.astype(np.float32) * factor)
    codes = np.clip(codes, max(low, -zero_y), 255 - zero_y)
    return model, image, codes.astype(np.float32) * step_y


@pytest.mark.parametrize("march", MARCHES)
@given(case=convolutions())
def test_convolutions_of_any_geometry(march: str, case: tuple[ir.Model, np.ndarray, np.ndarray]):
    model, image, expected = case
    np.testing.assert_array_equal(native(model, image, march), expected)


def test_convolutions_are_computed_in_integers() -> None:
    net = Quantised(3, (8, 8))
    weight = net.weight(np.ones((4, 3, 3, 3), np.int8), np.full(4, 0.1, np.float32))
    hidden = net.rounded(net.op("Conv", net.rounded("x", 0.1, 3), weight), 0.5, 100)
    found = ops_of(net.model(hidden), (1, 3, 8, 8))
    assert found == {Op.QUANTISE, Op.CODES_CONV, Op.DEQUANTISE, Op.UNPACK}


@pytest.mark.parametrize("march", MARCHES)
@given(data=st.data())
def test_pools_of_any_geometry(march: str, data) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    kernel, strides = (data.draw(st.tuples(st.integers(1, 4), st.integers(1, 4))) for _ in "ks")
    pads = [data.draw(st.integers(0, k // 2)) for k in (*kernel, *kernel)]
    kind = data.draw(st.sampled_from(["MaxPool", "AveragePool"]))
    size = (data.draw(st.integers(5, 12)), data.draw(st.integers(5, 12)))
    options: dict[str, object] = {"count_include_pad": data.draw(st.integers(0, 1))}
    if kind == "MaxPool":
        options = {"dilations": [data.draw(st.integers(1, 2)) if k < 3 else 1 for k in kernel]}
    zero = data.draw(st.sampled_from([0, 100]))
    net = Quantised(19, size)
    pooled = net.op(
        kind, net.rounded("x", 0.05, zero), kernel_shape=kernel, strides=strides, pads=pads,
        ceil_mode=data.draw(st.integers(0, 1)), **options,
    )  # fmt: skip
    same = data.draw(st.booleans())
    step = 0.05 if same else 0.07
    model = net.model(net.rounded(pooled, step, zero))
    codes = rng.integers(0, 256, (2, 19, *size)) - zero
    image = codes.astype(np.float32) * np.float32(0.05)
    expected = next(iter(evaluate(model, {"x": torch.from_numpy(image)}).values())).numpy()
    found = native(model, image, march)
    # A float that is off by its last bit turns a tie, of which small windows have many.
    exact = same and kind == "MaxPool"
    assert np.abs(found - expected).max() <= (1e-5 if exact else step * (1 + 1e-5))
    np.testing.assert_array_equal(found, native(model, image))
    assert Op.CODES_POOL in ops_of(model, image.shape)


def joined(net: Quantised, *, residual: bool) -> ir.Model:
    """Two branches with scales of their own, joined."""
    rng = np.random.default_rng(5)
    source = net.rounded("x", 0.04, 120)
    branches: list[str] = []
    for filters, step, zero in ((24, 0.05, 0), (24 if residual else 9, 0.09, 30)):
        codes = rng.integers(-128, 128, (filters, 20, 3, 3), np.int8)
        weight = net.weight(codes, np.full(filters, 0.002, np.float32))
        branch = net.op("Conv", source, weight, pads=[1, 1, 1, 1])
        branches.append(net.rounded(branch, step, zero))
    if residual:
        both = net.op("Relu", net.op("Add", *branches))
    else:
        both = net.op("Concat", *branches, axis=1)
    return net.model(net.rounded(both, 0.07, 11))


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("residual", [True, False])
def test_joins_of_two_scales(residual: bool, march: str) -> None:
    model = joined(Quantised(20, (7, 9)), residual=residual)
    image = np.random.default_rng(2).normal(0, 3, (3, 20, 7, 9)).astype(np.float32)
    expected, found = next(iter(run(model, {"x": image}).values())), native(model, image, march)
    assert np.abs(found - expected).max() <= 0.07 * (1 + 1e-5)
    assert np.mean(found != expected) < 1e-3
    # The second convolution rounds twice and adds where it writes.
    ops = ops_of(model, image.shape)
    assert Op.RECODE not in ops
    assert Op.BINARY not in ops


def test_one_value_joined_with_itself_and_read_elsewhere() -> None:
    net = Quantised(5, (4, 4))
    one = net.rounded(net.op("Relu", net.rounded("x", 0.1, 120)), 0.1, 0)
    twice = net.rounded(net.op("Concat", one, one, axis=1), 0.1, 0)
    other = net.rounded(net.op("Add", one, one), 0.15, 2)
    whole = net.rounded(net.op("Concat", twice, other, axis=1), 0.2, 3)
    model = net.model(whole)
    image = np.random.default_rng(2).normal(0, 5, (2, 5, 4, 4)).astype(np.float32)
    (expected,) = run(model, {"x": image}).values()
    assert np.abs(native(model, image) - expected).max() <= 0.2 * (1 + 1e-5)


@pytest.mark.parametrize("activation", ["QInt8", "QUInt8"])
@pytest.mark.parametrize("per_channel", [True, False])
@pytest.mark.parametrize("name", ["lenet5", "resnet20"])
def test_networks_agree_with_onnxruntime(name: str, per_channel: bool, activation: str) -> None:
    """Within one code; where a code of difference grows layer by layer, nearer to float64."""
    folded = FoldBatchNorm().apply(zoo.load(name)).model
    model = quantised(folded, activation=activation, per_channel=per_channel)
    given, result = model.graph.inputs[0].name, model.graph.outputs[0]
    image = np.concatenate(list(images((1, 3, 32, 32), 16, seed=7)))
    step = float(result.producer().inputs[1].const_value.numpy())
    (theirs,) = run(model, {given: image}).values()
    expected = next(
        iter(evaluate(model, {given: torch.from_numpy(image).double()}).values())
    ).numpy()
    found = native(model, image)
    assert np.ptp(expected) > 50 * step
    errors = [np.abs(codes - expected) / step for codes in (found, theirs)]
    if name == "lenet5":
        assert np.abs(found - theirs).max() <= step * (1 + 1e-5)
    assert errors[0].mean() <= 0.1
    assert errors[0].mean() <= errors[1].mean() + 0.01


def fused() -> ir.Model:
    net = Quantised(20, (10, 10))
    rng = np.random.default_rng(1)
    value = net.rounded("x", 0.05, 90)
    for filters, channels in ((24, 20), (17, 24)):
        codes = rng.integers(-128, 128, (filters, channels, 3, 3), np.int8)
        weight = net.weight(codes, rng.uniform(1e-3, 2e-3, filters).astype(np.float32))
        value = net.op("Conv", value, weight, pads=[1, 1, 1, 1])
        pooled = net.op("AveragePool", value, kernel_shape=[2, 2], strides=[2, 2])
        value = net.rounded(net.op("Relu", pooled), 0.05, 0)
    return pipeline.run(
        net.model(value), pipeline.configure(pipeline.parse("exact"), form="box"), verify=False
    ).model


@pytest.mark.parametrize("march", MARCHES)
def test_fused_pools_are_exact_or_rounded_on_request(march: str) -> None:
    model = fused()
    image = np.random.default_rng(2).normal(0, 3, (3, 20, 10, 10)).astype(np.float32)
    (expected,) = run(model, {"x": image}).values()
    exact, rounded = (native(model, image, march, rounded_means=r) for r in (False, True))
    assert np.ptp(expected) > 50 * 0.05
    assert np.abs(exact - expected).max() <= 0.05 * (1 + 1e-5)
    assert np.mean(np.abs(exact - expected) > 0.01) < 2e-3
    assert not np.array_equal(exact, rounded)
    assert np.abs(rounded - expected).mean() < 0.05
    assert Op.SUMS in ops_of(model, image.shape)


def test_layers_without_quantisers_stay_in_float32() -> None:
    """A function and a grouped convolution, whose results layers in integers read."""
    net = Quantised(8, (6, 6))
    rng = np.random.default_rng(3)
    source = net.rounded("x", 0.05, 128)
    grouped = net.weight(
        rng.integers(-128, 128, (8, 1, 3, 3), np.int8), np.full(8, 0.01, np.float32)
    )
    value = net.rounded(net.op("Conv", source, grouped, group=8), 0.1, 128)
    value = net.rounded(net.op("Sigmoid", value), 1 / 255, 0)
    plain = net.weight(rng.integers(-128, 128, (9, 8, 1, 1), np.int8), np.full(9, 0.01, np.float32))
    model = net.model(net.op("Conv", value, plain))
    image = rng.normal(0, 3, (2, 8, 6, 6)).astype(np.float32)
    (expected,) = run(model, {"x": image}).values()
    np.testing.assert_allclose(native(model, image), expected, rtol=0, atol=2e-2 * np.ptp(expected))


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("behind", [True, False])
def test_results_that_are_not_rounded_are_whole_sums(behind: bool, march: str) -> None:
    """A stem with a bias in floats, as quantisers of few bits leave it, and a head of logits."""
    net, rng = Quantised(3, (9, 11)), np.random.default_rng(4)
    bias = rng.normal(0, 5, 20).astype(np.float32)
    kernels = rng.integers(-128, 128, (20, 3, 3, 3), np.int8)
    matrix = rng.integers(-128, 128, (5, 20), np.int8)
    given = net.rounded("x", 1, 128), net.weight(kernels, np.full(20, 0.25, np.float32))
    if behind:
        value = net.op("Conv", *given, strides=[2, 2])
        value = net.op("Add", value, net.constant(bias.reshape(-1, 1, 1)))
    else:
        value = net.op("Conv", *given, net.constant(bias), strides=[2, 2])
    value = net.op("Relu", value)
    pooled = net.op("Flatten", net.op("GlobalMaxPool", value))
    weight = net.weight(matrix, np.full(5, 0.5, np.float32))
    logits = net.op("Gemm", net.rounded(pooled, 64, 0), weight, net.constant(bias[:5]), transB=1)
    model, image = net.model(value, logits), rng.integers(-128, 128, (2, 3, 9, 11))
    sums = convolved(image, kernels.astype(np.int64), (0, 0, 0, 0), (2, 2), (1, 1))
    images = np.maximum(sums.astype(np.float32) * np.float32(0.25) + bias[:, None, None], 0)
    codes = codes_of(images.max((2, 3)), 64, 0)
    expected = (codes @ matrix.T.astype(np.int64)).astype(np.float32) * np.float32(32) + bias[:5]
    found = Native(march).prepare(model).run({"x": image.astype(np.float32)})
    for array, name in zip((images, expected), model.graph.outputs, strict=True):
        np.testing.assert_array_equal(found[name.name], array)
    ops = ops_of(model, (2, 3, 9, 11))
    assert Op.CODES_CONV in ops
    assert not ops & {Op.CONV, Op.ROWS, Op.MAP}


@pytest.mark.parametrize("march", MARCHES)
@given(data=st.data())
def test_inputs_are_rounded_as_they_lie(march: str, data) -> None:
    channels, size = data.draw(st.integers(1, 37)), data.draw(st.integers(1, 35))
    dtype = data.draw(st.sampled_from([np.uint8, np.int8]))
    zero = data.draw(st.integers(0, 127))
    net = Quantised(channels, (3, size))
    model = net.model(net.rounded("x", 0.3, zero, dtype))
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    image = rng.normal(0, 40, (2, channels, 3, size)).astype(np.float32)
    low, high = np.iinfo(dtype).min - zero, np.iinfo(dtype).max - zero
    expected = np.clip(np.rint(image / np.float32(0.3)), low, high) * np.float32(0.3)
    np.testing.assert_array_equal(native(model, image, march), expected)
    assert Op.PACK not in ops_of(model, image.shape)


@pytest.mark.parametrize("case", BAD)
def test_bad_quantisers_are_refused_by_name(case: str) -> None:
    model, message = BAD[case][0](), BAD[case][1]
    shape = (1, *(size for size in model.graph.inputs[0].shape.dims[1:]))
    with pytest.raises(UnsupportedError) as error:
        native(model, np.zeros(shape, np.float32))
    told = str(error.value)
    assert message in told
    assert told.startswith("native: ")
    assert "Linear-v" in told or "Conv-v" in told


@pytest.mark.parametrize("march", MARCHES)
def test_in_float32_on_request(march: str) -> None:
    """What is rounded is rounded, and sums between are of floats: off by a code at a tie."""
    model = joined(Quantised(20, (7, 9)), residual=True)
    image = np.random.default_rng(2).normal(0, 3, (3, 20, 7, 9)).astype(np.float32)
    expected = next(iter(evaluate(model, {"x": torch.from_numpy(image)}).values())).numpy()
    found = native(model, image, march, precision="fp32")
    assert np.abs(found - expected).max() <= 0.07 * (1 + 1e-5)
    assert np.mean(np.abs(found - expected) > 0.01) < 1e-3  # of codes that are 0.07 apart
    fixed = fix_shapes(inline(model), {"x": image.shape})
    infer_shapes(fixed)
    kernels = load(march)
    choose = Choosing("direct", Machine(1e11, 1e10), 1, 0).chooser(kernels)
    ops = {operation.op for operation in lower(fixed, kernels, choose, integers=False)}
    assert Op.CONV in ops
    assert not ops & {Op.CODES_CONV, Op.CODES_POOL, Op.RECODE}


@pytest.mark.parametrize("march", MARCHES)
def test_without_vnni_it_says_so(march: str) -> None:
    model = joined(Quantised(20, (7, 9)), residual=False)
    session = Native(march).prepare(model)
    session.run({"x": np.zeros((1, 20, 7, 9), np.float32)})
    told = [note for note in session.notes if "no VNNI instructions" in note]
    assert len(told) == (not load(march).vnni)
    assert load("x86-64").vnni is False
    in_float = Native(march, precision="fp32").prepare(model)
    in_float.run({"x": np.zeros((1, 20, 7, 9), np.float32)})
    assert not in_float.notes
