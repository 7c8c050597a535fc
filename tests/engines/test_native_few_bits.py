"""Convolutions of few bits in the native engine: sums by planes of bits and by tables are exact."""

from collections.abc import Callable, Sequence

import numpy as np
import onnx_ir as ir
import pytest
import torch
from engines.processors import MARCHES
from engines.qdq import Quantised
from engines.test_native_int8 import convolved, drawn_windows
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcnn.engines.arrays import fix_shapes
from mlcnn.engines.native import Native
from mlcnn.engines.native.geometry import Geometry
from mlcnn.engines.native.kinds import Few, Kind
from mlcnn.engines.native.library import Op, load
from mlcnn.engines.native.lowering import lower
from mlcnn.engines.native.program import Operation, Program
from mlcnn.graph import evaluate, infer_shapes, inline
from mlcnn.passes import pipeline

OPS = {Few.PLANES: Op.BITS, Few.TABLES: Op.TABLE, Few.INT8: Op.CODES_CONV}
Weights = np.ndarray


class Chosen:
    """Chooses one algorithm for all layers that it computes."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.choices, self.notes = kind, [], []
        self.ratios: list[float] = []

    def __call__(self, layers: Sequence[tuple[str, Geometry]]) -> list[Kind]:
        ways = [geometry.kinds() for _, geometry in layers]
        self.ratios = [1.0] * len(layers)
        return [self.kind if self.kind in kinds else kinds[-1] for kinds in ways]


def lowered(model: ir.Model, shape: tuple[int, ...], kind: Kind, march: str) -> list[Operation]:
    fixed = fix_shapes(inline(model), {"x": shape})
    infer_shapes(fixed)
    return lower(fixed, load(march), Chosen(kind))


def computed(  # noqa: PLR0917 - a network, and how it is computed
    model: ir.Model, x: np.ndarray, kind: Kind, march: str, shape: tuple[int, ...], threads: int = 1
) -> tuple[np.ndarray, set[Op]]:
    """The result of a network by one algorithm, and the kernels that computed it."""
    operations = lowered(model, x.shape, kind, march)
    y = np.empty(shape, np.float32)
    Program(operations, load(march)).call([np.ascontiguousarray(x), y], threads)()
    return y, {operation.op for operation in operations}


def weights_of(rng: np.random.Generator, bits: int, shape: tuple[int, ...], form: str) -> Weights:
    """Codes of few bits: odd ones as DoReFa's, two's complement, or signs of any size."""
    numbers = rng.integers(0, 1 << bits, shape)
    if form == "odd":
        return (2 * numbers - (1 << bits) + 1).astype(np.int8)
    if form == "whole":
        return (numbers - (1 << bits) // 2).astype(np.int8)
    return (127 * (2 * (numbers % 2) - 1)).astype(np.int8)


@st.composite
def layers(draw: st.DrawFn) -> tuple[ir.Model, np.ndarray, np.ndarray]:
    """A convolution of few bits, an image, and the sums of products that it is about."""
    bits, inputs = draw(st.integers(1, 4)), draw(st.integers(1, 4))
    channels = draw(st.one_of(st.integers(1, 40), st.integers(41, 200)))
    filters = draw(st.integers(1, 75))
    kernel, strides, dilations, pads, size = drawn_windows(draw, 2, 12)
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    form = draw(st.sampled_from(["odd", "whole", "signs"]))
    codes = weights_of(rng, bits, (filters, channels, *kernel), form)
    zero = draw(st.sampled_from([0, 0, 1, 131]))
    numbers = rng.integers(0, 1 << inputs, (draw(st.integers(1, 3)), channels, *size))
    image = (numbers - min(zero, 1)).astype(np.float32)
    sums = convolved(
        image.astype(np.int64), codes.astype(np.int64), pads, strides, dilations
    )  # the image is in steps of 1
    net = Quantised(channels, (size[0], size[1]))
    ends = [
        net.constant(np.float32(end)) for end in (-min(zero, 1), (1 << inputs) - 1 - min(zero, 1))
    ]
    source = net.rounded(net.op("Clip", "x", *ends), 1, zero)
    weight = net.weight(codes, np.ones(filters, np.float32))
    value = net.op("Conv", source, weight, pads=pads, strides=strides, dilations=dilations)
    way = draw(st.sampled_from(["codes", "shifted", "floats"]))
    if way != "codes":
        value = net.op("Add", value, net.constant(np.full((filters, 1, 1), 0.5, np.float32)))
    if way == "floats":
        return net.model(value), image, (sums + 0.5).astype(np.float32)
    step = np.float32(2.0 ** np.ceil(np.log2(np.abs(sums).max() / 100 + 1)))
    results = np.rint(sums.astype(np.float32) / step + (way != "codes") * np.float32(0.5) / step)
    expected = np.clip(results, 0, 255) * step
    return net.model(net.rounded(net.op("Relu", value), step, 0)), image, expected


@pytest.mark.parametrize("march", MARCHES)
@given(layer=layers(), kind=st.sampled_from(Few), threads=st.integers(1, 2))
@settings(max_examples=60)
def test_sums_are_exact(
    march: str, layer: tuple[ir.Model, np.ndarray, np.ndarray], kind: Few, threads: int
) -> None:
    """Of any geometry, bits and zero point, by every algorithm, as codes and as floats."""
    model, image, expected = layer
    found, _ = computed(model, image, kind, march, expected.shape, threads)
    np.testing.assert_array_equal(found, expected)


def chain(bits: int, inputs: int, pooled: bool = False) -> ir.Model:
    """Two layers of few bits; the second one may read means over 2x2."""
    net, rng = Quantised(32, (8, 8)), np.random.default_rng(bits)
    most = net.constant(np.float32((1 << inputs) - 1)), net.constant(np.float32(0))
    value = net.op("Clip", "x", most[1], most[0])
    for _ in range(2):
        if pooled:
            value = net.rounded(value, 1, 0)
            value = net.op("AveragePool", value, kernel_shape=[2, 2])
        else:
            value = net.rounded(value, 1, 0)
        codes = weights_of(rng, bits, (32, 32, 3, 3), "odd")
        weight = net.weight(codes, np.full(32, 1 / 64, np.float32))
        value = net.op("Conv", value, weight, pads=[1] * 4)
        value = net.op("Clip", net.op("Relu", value), most[1], most[0])
    return net.model(net.rounded(value, 1, 0))


@pytest.mark.parametrize("kind", [Few.PLANES, Few.TABLES])
@pytest.mark.parametrize(("bits", "inputs"), [(1, 1), (1, 2), (2, 2), (1, 4)])
def test_what_is_chosen_is_what_computes(kind: Few, bits: int, inputs: int) -> None:
    found = lowered(chain(bits, inputs), (1, 32, 8, 8), kind, "native")
    assert [each.op for each in found if each.op in OPS.values()] == [OPS[kind]] * 2


@pytest.mark.parametrize("kind", [Few.PLANES, Few.TABLES])
def test_sums_of_codes_are_read_exactly(kind: Few) -> None:
    """Behind a fused pool: means over 2x2 are sums of codes, of two bits more."""
    model = chain(1, 2, pooled=True)
    image = np.random.default_rng(0).integers(0, 4, (2, 32, 8, 8)).astype(np.float32)
    expected = next(iter(evaluate(model, {"x": torch.from_numpy(image)}).values())).numpy()
    found, ops = computed(model, image, kind, "native", expected.shape)
    assert OPS[kind] in ops
    np.testing.assert_array_equal(found, expected)


def pooled(bits: int, inputs: int) -> ir.Model:
    """Two layers of few bits, each in front of a mean over 2x2 that is rounded."""
    net, rng = Quantised(32, (9, 11)), np.random.default_rng(bits)
    ends = net.constant(np.float32(0)), net.constant(np.float32((1 << inputs) - 1))
    value = net.rounded(net.op("Clip", "x", *ends), 1, 0)
    for _ in range(2):
        codes = weights_of(rng, bits, (32, 32, 3, 3), "odd")
        weight = net.weight(codes, np.full(32, 1 / 16, np.float32))
        value = net.op("Conv", value, weight, pads=[1] * 4)
        value = net.op("Add", value, net.constant(np.full((32, 1, 1), 0.5, np.float32)))
        value = net.op("AveragePool", value, kernel_shape=[2, 2], strides=[2, 2])
        value = net.rounded(net.op("Clip", net.op("Relu", value), *ends), 1, 0)
    return net.model(value)


@pytest.mark.parametrize("kind", Few)
@pytest.mark.parametrize(("bits", "inputs"), [(1, 2), (1, 4), (2, 2)])
def test_layers_fused_with_pools_are_exact(bits: int, inputs: int, kind: Few) -> None:
    """What the passes make of them reads sums of codes, and gives what the network says."""
    model = pooled(bits, inputs)
    fused = pipeline.run(model, pipeline.parse("exact"), verify=False).model
    image = np.random.default_rng(0).integers(-2, 6, (2, 32, 9, 11)).astype(np.float32)
    doubles = {"x": torch.from_numpy(image).double()}
    expected = next(iter(evaluate(model, doubles).values())).numpy().astype(np.float32)
    assert np.unique(expected).size > 3
    found, ops = computed(fused, image, kind, "native", expected.shape)
    assert Op.SUMS in ops
    assert not ops & {Op.CONV, Op.POOL, Op.CODES_POOL}
    np.testing.assert_array_equal(found, expected)


def test_residual_blocks_stay_on_the_way() -> None:
    """A layer adds its bias and the block's input by itself, and rounds what one layer reads."""
    net = Quantised(16, (6, 6))
    rng = np.random.default_rng(0)
    ends = net.constant(np.float32(0)), net.constant(np.float32(3))
    stream = net.op("Relu", "x")
    value = net.rounded(net.op("Clip", stream, *ends), 1, 0)
    codes = weights_of(rng, 2, (16, 16, 3, 3), "odd")
    value = net.op("Conv", value, net.weight(codes, np.full(16, 0.25, np.float32)), pads=[1] * 4)
    value = net.op("Add", value, net.constant(np.full((16, 1, 1), 0.125, np.float32)))
    model = net.model(net.op("Relu", net.op("Add", value, stream)))
    image = rng.integers(-2, 6, (2, 16, 6, 6)).astype(np.float32)
    expected = next(iter(evaluate(model, {"x": torch.from_numpy(image)}).values())).numpy()
    for kind in Few:
        found, ops = computed(model, image, kind, "native", expected.shape)
        np.testing.assert_array_equal(found, expected)
        assert OPS[kind] in ops
        assert Op.BINARY not in ops


def test_too_many_planes_are_bytes() -> None:
    """Products of more planes than pay are computed as INT8, not in floats."""
    net, rng = Quantised(400, (4, 4)), np.random.default_rng(0)
    ends = net.constant(np.float32(0)), net.constant(np.float32(15))
    value = net.rounded(net.op("Clip", "x", *ends), 1, 0)
    codes = weights_of(rng, 4, (16, 400, 1, 1), "odd")
    value = net.op("Conv", value, net.weight(codes, np.full(16, 0.25, np.float32)))
    model = net.model(net.op("Add", value, net.constant(np.full((16, 1, 1), 0.5, np.float32))))
    assert OPS[Few.INT8] in {each.op for each in lowered(model, (1, 400, 4, 4), None, "native")}


def wide_codes() -> ir.Model:
    net = Quantised(8, (5, 5))
    weight = net.weight(
        np.arange(-128, 128, dtype=np.int8)[:64].reshape(8, 8, 1, 1), np.ones(8, np.float32)
    )
    return net.model(net.rounded(net.op("Conv", net.rounded("x", 1, 0), weight), 1, 0))


@pytest.mark.parametrize(("make", "few"), [(wide_codes, False), (lambda: chain(2, 2), True)])
def test_it_says_what_computes_a_layer(make: Callable[[], ir.Model], few: bool) -> None:
    """Layers of few bits have a choice, which is told with their bits and the times behind it."""
    model = make()
    session = Native(algorithm="auto").prepare(model)
    channels = model.graph.inputs[0].shape[1]
    size = model.graph.inputs[0].shape[2]
    session.run({"x": np.zeros((1, channels, size, size), np.float32)})
    told = [(each.geometry.rpartition(", ")[2], each.reason) for each in session.algorithms]
    assert bool(told) == few
    for bits, reason in told:
        assert bits == "W2A2"
        assert {kind.value for kind in Few} - {w for w in reason.split() if w.isalpha()}
