"""Comparator layers in the native engine: each bit, and each sum of the weights they choose."""

import re
from dataclasses import dataclass

import numpy as np
import onnx_ir as ir
import pytest
from engines.processors import MARCHES
from engines.qdq import Quantised
from engines.test_native_code_sums import Case, convolved, ended, weights
from engines.test_native_few_bits import computed
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcnn.engines import get
from mlcnn.engines.arrays import fix_shapes
from mlcnn.engines.native import Native
from mlcnn.engines.native.comparator_steps import tables_of
from mlcnn.engines.native.kinds import Few
from mlcnn.engines.native.library import Op, load
from mlcnn.errors import UnsupportedError
from mlcnn.graph import fold_constants, infer_shapes, inline
from mlcnn.ops import Emitter
from mlcnn.ops.comparator import KIND, Pairs, compare, drawn, structure
from mlcnn.passes import pipeline
from mlcnn.passes.rewriting import install
from mlcnn.workload import RECORD_KEY, Arithmetic, ConvLayer, Record

Image = np.ndarray
END = np.iinfo(np.int64).max


@dataclass(frozen=True)
class Windows:
    """Windows of comparisons: pairs of taps, strides, dilations, and pads as ONNX has them."""

    pairs: Pairs
    strides: tuple[int, int] = (1, 1)
    dilations: tuple[int, int] = (1, 1)
    pads: tuple[int, int, int, int] = (1, 1, 1, 1)


def bits_by_definition(image: Image, windows: Windows) -> Image:
    """Tap against tap, position by position of each map."""
    top, left, bottom, right = windows.pads
    padded = np.pad(image, ((0, 0), (0, 0), (top, bottom), (left, right)), mode="edge")
    (height, width), (down, across) = windows.pairs.kernel, windows.dilations
    reach = (height - 1) * down + 1, (width - 1) * across + 1
    views = np.lib.stride_tricks.sliding_window_view(padded, reach, (2, 3))
    views = views[:, :, :: windows.strides[0], :: windows.strides[1], ::down, ::across]
    taps = views.reshape(*views.shape[:4], -1)
    channels = np.arange(image.shape[1])
    maps = [
        taps[:, channels, :, :, first] > taps[:, channels, :, :, second]
        for first, second in zip(windows.pairs.first, windows.pairs.second, strict=True)
    ]
    return np.concatenate(maps).swapaxes(0, 1).astype(np.float32)


def chosen(bits: Image, codes: Image) -> Image:
    """The sums of the weights that bits choose."""
    return convolved(bits, codes, [0] * 4, [1, 1], [1, 1], 1)


def compared(net: Quantised, source: str, windows: Windows) -> str:
    """The bits, as ``mlcnn optimize`` writes them: a slice for each tap."""
    pairs, (height, width) = windows.pairs, windows.pairs.kernel
    if any(windows.pads):
        around = np.array([0, 0, *windows.pads[:2], 0, 0, *windows.pads[2:]])
        source = net.op("Pad", source, net.constant(around), mode="edge")
    taps, places = np.unique(np.stack([pairs.first, pairs.second]), return_inverse=True)
    slices = list[str]()
    for tap in taps:
        starts, ends = list[int](), list[int]()
        for at, size, apart in zip(
            divmod(int(tap), width), (height, width), windows.dilations, strict=True
        ):
            starts.append(at * apart)
            ends.append((at + 1 - size) * apart or END)
        given = (starts, ends, [2, 3], list(windows.strides))
        slices.append(net.op("Slice", source, *(net.constant(np.array(one)) for one in given)))
    every = slices[0] if len(slices) == 1 else net.op("Concat", *slices, axis=1)
    at = places.reshape(2, *pairs.first.shape) * pairs.channels + np.arange(pairs.channels)
    first, second = (net.op("Gather", every, net.constant(one.reshape(-1)), axis=1) for one in at)
    return net.op("Cast", net.op("Greater", first, second), to=1)


@st.composite
def windows_of(draw: st.DrawFn, channels: int) -> tuple[Windows, tuple[int, int]]:
    """Windows, and sizes of an image that has some results."""
    kernel = draw(st.sampled_from([(1, 3), (3, 1), (2, 2), (3, 3), (3, 3), (3, 5), (5, 5)]))
    strides, dilations = (
        draw(st.sampled_from([(1, 1), (1, 1), (2, 2), (1, 2), (2, 1), (1, 3)])) for _ in "sd"
    )
    pads = tuple(draw(st.tuples(*[st.integers(0, 3)] * 4)))
    sizes = [
        max(1, (side - 1) * apart + 1 - before - after) + draw(st.integers(0, most))
        for side, apart, before, after, most in zip(
            kernel, dilations, pads[:2], pads[2:], (6, 70), strict=True
        )
    ]
    shared = draw(st.sampled_from([1, 3, 16]))
    count, seed = draw(st.integers(1, 6)), draw(st.integers(0, 99))
    pairs = drawn(count, channels, kernel, shared=shared, seed=seed)
    return Windows(pairs, strides, dilations, pads), (sizes[0], sizes[1])


@st.composite
def cases(draw: st.DrawFn) -> Case:
    """A comparator layer of codes or floats, a pool behind the bits or none; results as codes."""
    channels = draw(st.one_of(st.integers(1, 40), st.integers(41, 130)))
    windows, sizes = draw(windows_of(channels))
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    most, images = draw(st.sampled_from([4, 256])), draw(st.integers(1, 2))
    image = rng.integers(0, most, (images, channels, *sizes)).astype(np.float32)
    bits = bits_by_definition(image, windows)
    codes = weights(
        draw, rng, draw(st.sampled_from([1, 2, 3, 4, 6, 8])),
        (draw(st.integers(1, 75)), bits.shape[1], 1, 1),
    )  # fmt: skip
    net = Quantised(channels, sizes)
    value = compared(net, "x" if draw(st.booleans()) else net.rounded("x", 1, 0), windows)
    steps = np.ones(len(codes), np.float32)
    if min(bits.shape[2:]) > 1 and draw(st.booleans()):
        value = net.op("AveragePool", value, kernel_shape=[2, 2], strides=[2, 2])
        rows, columns = (size // 2 * 2 for size in bits.shape[2:])
        four = [bits[:, :, i:rows:2, j:columns:2] for i in (0, 1) for j in (0, 1)]
        bits = np.sum(four, axis=0)
        steps *= 4
    value, sums = net.op("Conv", value, net.weight(codes, steps)), chosen(bits, codes)
    if draw(st.booleans()):
        return Case(net.model(value), image, sums.astype(np.float32))
    return ended(draw, net, value, sums, image, shifted=False)


@pytest.mark.parametrize("march", MARCHES)
@given(case=cases(), kind=st.sampled_from(Few), threads=st.integers(1, 2))
@settings(max_examples=40)
def test_sums_are_those_of_the_definition(march: str, case: Case, kind: Few, threads: int) -> None:
    """Whatever is compared, stored and computed by: to the last bit."""
    found, ops = computed(case.model, case.image, kind, march, case.expected.shape, threads)
    np.testing.assert_array_equal(found, case.expected)
    assert not ops & {Op.CONV, Op.WINOGRAD, Op.BINARY, Op.POOL}


@pytest.mark.parametrize("march", MARCHES)
@given(data=st.data(), floats=st.booleans())
@settings(max_examples=10)
def test_each_bit_is_that_of_onnx_runtime(march: str, data: st.DataObject, floats: bool) -> None:
    """Weights that choose one bit for each output show them all."""
    channels = data.draw(st.integers(1, 12))
    windows, sizes = data.draw(windows_of(channels))
    maps = windows.pairs.maps
    net = Quantised(channels, sizes)
    bits = compared(net, "x" if floats else net.rounded("x", 0.25, 7), windows)
    each = np.eye(maps, dtype=np.int8)[:, :, None, None]
    model = net.model(net.op("Conv", bits, net.weight(each, np.ones(maps, np.float32))))
    image = np.random.default_rng(0).normal(0, 20, (2, channels, *sizes)).astype(np.float32)
    (expected,) = get("onnxruntime").prepare(model).run({"x": image}).values()
    assert {*np.unique(expected)} <= {0, 1}
    for kind in Few:
        found, _ = computed(model, image, kind, march, expected.shape)
        np.testing.assert_array_equal(found, expected)


@given(data=st.data(), lowered=st.booleans())
@settings(max_examples=15)
def test_the_operator_and_its_form_are_read(data: st.DataObject, lowered: bool) -> None:
    """Inlined, it gathers all windows; lowered, it slices taps: no comparison is left to others."""
    channels = data.draw(st.integers(1, 12))
    windows, sizes = data.draw(windows_of(channels))
    net = Quantised(channels, sizes)
    model = net.model(net.op("Relu", "x"))
    model.graph.inputs[0].shape = ir.Shape([2, channels, *sizes])
    (place,) = model.graph
    nest = ConvLayer(
        "layer", 1, 5, channels, *sizes, *windows.pairs.kernel, strides=windows.strides,
        dilations=windows.dilations, pads=windows.pads,
    )  # fmt: skip
    record = Record(
        "layer:0", nest, KIND, weights=structure(windows.pairs), arithmetic=Arithmetic.COMPARE
    )
    emitter = Emitter(21, np.dtype(np.float32), "layer", {RECORD_KEY: record.text()})
    weight = np.random.default_rng(0).integers(-9, 9, (5, windows.pairs.maps, 1, 1))
    made = compare(
        emitter, place.inputs[0], windows.pairs, emitter.weight(weight.astype(float), "weight"),
        None, strides=windows.strides, pads=windows.pads, dilations=windows.dilations,
    )  # fmt: skip
    place.outputs[0].shape = None
    install(model, emitter, place.outputs[0], made)
    infer_shapes(model)
    if lowered:
        model = pipeline.run(model, pipeline.parse("choose{form=compare}"), verify=False).model
    image = np.random.default_rng(1).integers(0, 9, (2, channels, *sizes)).astype(np.float32)
    expected = chosen(bits_by_definition(image, windows), weight)
    fixed = fold_constants(fix_shapes(inline(model), {"x": image.shape}), spread=True)
    infer_shapes(fixed)
    found, ops = computed(fixed, image, None, "native", expected.shape)
    np.testing.assert_array_equal(found, expected)
    assert ops <= {Op.PACK, Op.COMPARE, Op.DEQUANTISE, Op.CONV, Op.ROWS, Op.SPARSE, Op.UNPACK}


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("kind", [Few.LOOKUPS, Few.INT8])
def test_nothing_is_greater_than_what_is_no_number(march: str, kind: Few) -> None:
    windows = Windows(drawn(4, 16, (3, 3)), pads=(0, 0, 0, 0))
    net, image = Quantised(16, (5, 40)), np.zeros((1, 16, 5, 40), np.float32)
    image[:, :, ::2, ::3], image[:, :, 1] = np.nan, np.inf
    bits = compared(net, "x", windows)
    codes = np.random.default_rng(0).integers(-127, 128, (9, 64, 1, 1)).astype(np.int8)
    model = net.model(net.op("Conv", bits, net.weight(codes, np.ones(9, np.float32))))
    expected = chosen(bits_by_definition(image, windows), codes)
    assert expected.any()
    found, _ = computed(model, image, kind, march, expected.shape)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("kind", Few)
def test_residuals_are_added_and_rounded_for_those_behind(march: str, kind: Few) -> None:
    """Floats are added to the sums, ReLU bounds them, and codes of them lie beside the floats."""
    windows, rng = Windows(drawn(4, 24, (3, 3), shared=8)), np.random.default_rng(2)
    net, image = Quantised(24, (7, 9)), rng.integers(-30, 30, (2, 24, 7, 9)).astype(np.float32)
    codes = rng.integers(-1, 1, (24, 96, 1, 1)).astype(np.int8)
    bits = compared(net, "x", windows)
    sums = net.op("Conv", bits, net.weight(codes, np.ones(24, np.float32)))
    result = net.op("Relu", net.op("Add", sums, "x"))
    again = net.weight(codes[:, :24], np.ones(24, np.float32))
    both = net.op("Conv", net.rounded(result, 1, 0), again)
    model = net.model(net.op("Add", both, result))
    first = np.maximum(chosen(bits_by_definition(image, windows), codes) + image, 0)
    expected = chosen(np.minimum(first, 255), codes[:, :24]) + first
    found, ops = computed(model, image, kind, march, expected.shape)
    np.testing.assert_array_equal(found, expected)
    assert Op.BINARY not in ops


@pytest.mark.parametrize("march", MARCHES)
def test_weights_of_floats_are_added_as_they_are(march: str) -> None:
    windows, rng = Windows(drawn(3, 20, (3, 3))), np.random.default_rng(1)
    net, image = Quantised(20, (6, 11)), rng.integers(0, 255, (1, 20, 6, 11)).astype(np.float32)
    bits = compared(net, net.rounded("x", 1, 0), windows)
    weight = rng.integers(-999, 999, (7, 60, 1, 1)).astype(np.float32) / 64
    model = net.model(net.op("Conv", bits, net.constant(weight)))
    expected = np.einsum("km,nmpq->nkpq", weight[:, :, 0, 0], bits_by_definition(image, windows))
    (found,) = Native(march).prepare(model).run({"x": image}).values()
    np.testing.assert_array_equal(found, expected)  # sums of 64ths, which float32 holds


def _usual() -> tuple[ir.Model, Image]:
    windows, rng = Windows(drawn(4, 64, (3, 3))), np.random.default_rng(0)
    net, image = Quantised(64, (8, 8)), rng.integers(0, 255, (1, 64, 8, 8)).astype(np.float32)
    bits = compared(net, net.rounded("x", 1, 0), windows)
    codes = rng.integers(-127, 128, (64, 256, 1, 1)).astype(np.int8)
    model = net.model(net.op("Conv", bits, net.weight(codes, np.ones(64, np.float32))))
    return model, image


def test_what_computes_a_layer_is_told() -> None:
    model, image = _usual()
    session = Native(algorithm="auto").prepare(model)
    session.run({"x": image})
    (layer,) = session.algorithms
    assert "4 pairs of each of 64 channels compared in 3x3" in layer.geometry
    assert layer.algorithm.startswith("compares, ")
    measured = Native().prepare(model)
    measured.run({"x": image})
    (layer,) = measured.algorithms
    assert layer.times_ms.keys() == {"int8", *(["lookups"] * load().comparators)}


@pytest.mark.skipif(not load().comparators, reason="no shuffles of bytes here")
def test_bits_that_others_read_are_made_once() -> None:
    """Codes 0 and 1 in blocks where two layers read them, none where a single one does."""
    windows, rng = Windows(drawn(4, 16, (3, 3))), np.random.default_rng(0)
    net, image = Quantised(16, (8, 8)), rng.integers(0, 255, (1, 16, 8, 8)).astype(np.float32)
    bits = compared(net, net.rounded("x", 1, 0), windows)
    codes = [rng.integers(-8, 8, (5, 64, 1, 1)).astype(np.int8) for _ in "ab"]
    alone = net.op("Conv", bits, net.weight(codes[0], np.ones(5, np.float32)))
    _, ops = computed(net.model(alone), image, Few.LOOKUPS, "native", (1, 5, 8, 8))
    assert Op.COMPARE_AND_ADD in ops
    assert Op.COMPARE not in ops
    second = net.op("Conv", bits, net.weight(codes[1], np.ones(5, np.float32)))
    found, ops = computed(
        net.model(net.op("Add", alone, second)), image, Few.LOOKUPS, "native", (1, 5, 8, 8)
    )
    both = codes[0].astype(np.int32) + codes[1]
    expected = chosen(bits_by_definition(image, windows), both)
    np.testing.assert_array_equal(found, expected)
    assert Op.COMPARE in ops
    assert Op.COMPARE_AND_ADD not in ops


@given(
    bits=st.integers(1, 8), channels=st.integers(1, 9), patterns=st.integers(1, 9),
    seed=st.integers(0, 99),
)  # fmt: skip
def test_tables_hold_the_sums_of_all_choices(
    bits: int, channels: int, patterns: int, seed: int
) -> None:
    """Of random bits: the sum of the entries that they look up, in four of a channel."""
    rng = np.random.default_rng(seed)
    codes = rng.integers(-(1 << bits >> 1), (1 << bits >> 1) or 1, (3, patterns * channels))
    tables = tables_of(codes.astype(np.int8), channels)
    assert tables is not None
    assert tables.run * int(tables.sums.max()) <= 255
    ones = rng.integers(0, 2, patterns * channels)
    ordered = ones.reshape(patterns, channels).T.reshape(-1)
    fours = np.pad(ordered, (0, -len(ordered) % 4)).reshape(-1, 4) @ (1, 2, 4, 8)
    found = tables.sums[:, :, np.arange(len(fours)), fours].astype(np.int64).sum(2)
    whole = sum(16**part * sums for part, sums in enumerate(found))
    np.testing.assert_array_equal(tables.factor * (whole + tables.beneath), codes @ ones)


def test_sums_beyond_sixteen_bits_have_no_tables() -> None:
    assert tables_of(np.full((1, 4 * 9000), 2, np.int8), 9000) is not None  # all are 2 times 1
    alternating = np.where(np.arange(4 * 9000) % 2, 2, 1).astype(np.int8)[None]
    assert tables_of(alternating, 9000) is not None  # 54,000
    assert tables_of(np.tile(alternating, 2), 18000) is None


def test_another_comparison_of_gathered_channels_is_refused() -> None:
    net = Quantised(4, (3, 3))
    pair = [net.constant(np.array(one)) for one in ([0, 1], [2, 3])]
    first, second = (net.op("Gather", "x", one, axis=1) for one in pair)
    bits = net.op("Cast", net.op("Greater", first, second), to=1)
    weight = net.weight(np.ones((1, 2, 1, 1), np.int8), np.ones(1, np.float32))
    model = net.model(net.op("Conv", bits, weight))
    told = (
        "it compares gathered channels, and what it gathers from is made of no slices of one "
        "input; lower comparator layers with `mlcnn optimize`, or use engine 'onnxruntime'"
    )
    with pytest.raises(UnsupportedError, match=re.escape(told)):
        Native().prepare(model).run({"x": np.ones((1, 4, 3, 3), np.float32)})
