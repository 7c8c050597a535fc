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
from mlcnn.engines.native.choice import Asked
from mlcnn.engines.native.kinds import Few, Kind
from mlcnn.engines.native.library import Op, load
from mlcnn.engines.native.lowering import lower
from mlcnn.engines.native.program import Operation, Program
from mlcnn.graph import evaluate, infer_shapes, inline
from mlcnn.passes import pipeline
from mlcnn.workload import Numbers, read

OPS = {
    Few.PLANES: Op.BITS, Few.TABLES: Op.TABLE, Few.INT8: Op.CODES_CONV,
    Few.LOOKUPS: Op.CODES_CONV,  # nothing is compared here
}  # fmt: skip
Weights = np.ndarray


class Chosen:
    """Chooses one algorithm for all layers that it computes."""

    def __init__(self, kind: Kind) -> None:
        self.kind, self.choices, self.notes = kind, [], []
        self.ratios: list[float] = []

    def __call__(self, layers: Sequence[Asked]) -> list[Kind]:
        ways = [asked.geometry.kinds() for asked in layers]
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
    least = draw(st.sampled_from([-min(zero, 1), 2]))  # with 2, zero is none of the codes
    numbers = rng.integers(0, 1 << inputs, (draw(st.integers(1, 3)), channels, *size))
    image = (numbers + least).astype(np.float32)
    sums = convolved(
        image.astype(np.int64), codes.astype(np.int64), pads, strides, dilations
    )  # the image is in steps of 1
    net = Quantised(channels, (size[0], size[1]))
    ends = [net.constant(np.float32(end)) for end in (least, (1 << inputs) - 1 + least)]
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


def test_sums_of_codes_have_the_bits_that_the_workload_reads() -> None:
    model = chain(1, 2, pooled=True)
    session = Native(algorithm="auto").prepare(model)
    session.run({"x": np.zeros((1, 32, 8, 8), np.float32)})
    found = [layer.bits for layer in session.algorithms]
    assert found == [Numbers(1, 2, 4)] * 2
    assert [layer.numbers.operand for layer in read(model).layers] == [4, 4]
    assert [layer.geometry.rpartition(", ")[2] for layer in session.algorithms] == ["W1A4"] * 2


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


@pytest.mark.parametrize("march", MARCHES)
def test_residual_blocks_stay_on_the_way(march: str) -> None:
    """Layers add biases and the block's input by themselves, and round what layers read."""
    net = Quantised(16, (6, 6))
    rng = np.random.default_rng(0)
    ends = net.constant(np.float32(0)), net.constant(np.float32(3))
    stream = net.op("Relu", "x")
    for _ in range(2):
        value = net.rounded(net.op("Clip", stream, *ends), 1, 0)
        codes = weights_of(rng, 2, (16, 16, 3, 3), "odd")
        weight = net.weight(codes, np.full(16, 1 / 64, np.float32))
        value = net.op("Conv", value, weight, pads=[1] * 4)
        value = net.op("Add", value, net.constant(np.full((16, 1, 1), 0.125, np.float32)))
        stream = net.op("Relu", net.op("Add", value, stream))
    model = net.model(stream)
    image = rng.integers(-2, 6, (2, 16, 6, 6)).astype(np.float32)
    expected = next(iter(evaluate(model, {"x": torch.from_numpy(image)}).values())).numpy()
    for kind in Few:
        found, _ = computed(model, image, kind, march, expected.shape)
        np.testing.assert_array_equal(found, expected)
        ops = [each.op for each in lowered(model, image.shape, kind, march)]
        assert ops.count(OPS[kind]) == 2 or (kind is Few.TABLES and not load(march).tables)
        assert ops.count(Op.QUANTISE) == 1  # of the network's input
        assert Op.BINARY not in ops


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("flat", [True, False])
def test_maxima_are_those_of_codes(flat: bool, march: str) -> None:
    """Between a layer and the quantiser of the next one, a dense one too."""
    net, rng = Quantised(40, (7, 7)), np.random.default_rng(0)
    ends = net.constant(np.float32(0)), net.constant(np.float32(3))
    value = net.rounded(net.op("Clip", "x", *ends), 1, 0)
    steps = np.full(40, 1 / 64, np.float32)
    value = net.op("Conv", value, net.weight(weights_of(rng, 1, (40, 40, 3, 3), "odd"), steps))
    value = net.op("Add", value, net.constant(rng.normal(1, 1, (40, 1, 1)).astype(np.float32)))
    value = net.op("MaxPool", net.op("Relu", value), kernel_shape=[2, 2], strides=[2, 2])
    value = net.op("Flatten", value) if flat else value
    value = net.rounded(net.op("Clip", value, *ends), 1, 0)
    shape = (9, 160) if flat else (9, 40, 2, 2)
    weight = net.weight(weights_of(rng, 1, shape, "odd"), np.ones(9, np.float32))
    bias = net.constant(np.full(9, 0.3, np.float32))
    value = net.op("Gemm", value, weight, bias, transB=1) if flat else net.op("Conv", value, weight)
    model = net.model(net.rounded(net.op("Relu", value), 0.25, 0))
    image = rng.integers(-2, 6, (2, 40, 7, 7)).astype(np.float32)
    expected = next(iter(evaluate(model, {"x": torch.from_numpy(image)}).values())).numpy()
    for kind in Few:
        found, ops = computed(model, image, kind, march, expected.shape)
        np.testing.assert_array_equal(found, expected)
        assert Op.CODES_POOL in ops
        assert not ops & {Op.POOL, Op.CONV}


def test_a_bias_of_floats_is_not_rounded_to_steps_of_products() -> None:
    """Products of few bits have coarse steps: half of one counts."""
    net = Quantised(4, (1, 1))
    value = net.rounded(net.op("Clip", "x", *map(net.constant, np.float32([0, 3]))), 1, 0)
    weight = net.weight(np.ones((2, 4), np.int8), np.ones(2, np.float32))
    bias = net.constant(np.array([0.4, -0.4], np.float32))
    value = net.op("Gemm", net.op("Flatten", value), weight, bias, transB=1)
    model, image = net.model(net.rounded(value, 0.1, 0)), np.ones((1, 4, 1, 1), np.float32)
    found, ops = computed(model, image, Few.INT8, "native", (1, 2))
    np.testing.assert_array_equal(found, np.float32(0.1) * np.array([[44, 36]], np.float32))
    assert Op.CODES_CONV in ops


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


@pytest.mark.parametrize(
    ("make", "bits", "ways"),
    [(wide_codes, "W6A8", {Few.INT8}), (lambda: chain(2, 2), "W2A2", {*Few} - {Few.LOOKUPS})],
)
def test_it_says_what_computes_a_layer(
    make: Callable[[], ir.Model], bits: str, ways: set[Few]
) -> None:
    """With its bits, and the times behind the choice."""
    model = make()
    session = Native(algorithm="auto").prepare(model)
    channels = model.graph.inputs[0].shape[1]
    size = model.graph.inputs[0].shape[2]
    session.run({"x": np.zeros((1, channels, size, size), np.float32)})
    assert session.algorithms
    for each in session.algorithms:
        assert str(each.bits) == each.geometry.rpartition(", ")[2] == bits
        assert set(each.times_ms) == {kind.value for kind in ways}
        assert each.coded
        assert bool(each.told) == (len(ways) > 1)
