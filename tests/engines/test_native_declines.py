"""Quantisers that kernels of few bits do not read: the layer runs as INT8 or FP32, and says why."""

from collections.abc import Callable, Mapping

import ml_dtypes
import numpy as np
import onnx_ir as ir
import onnxruntime as ort
import pytest
from engines.processors import MARCHES
from engines.qdq import Quantised

from mlcnn.engines import LayerAlgorithm
from mlcnn.engines.native import Native
from mlcnn.engines.native.library import load
from mlcnn.graph import to_proto
from mlcnn.workload import read

CHANNELS, FILTERS = 8, 4


def layer(
    *, step: object = 1.0, zero: object = None, codes: np.ndarray | None = None,
    zeros: object = None, ends: tuple[float, float] = (0, 3), pads: int = 1, groups: int = 1,
    added: float | None = None, bias: np.ndarray | None = None, inputs: bool = True,
    last: float = 1,
) -> ir.Model:  # fmt: skip
    """A layer of 2-bit weights and inputs, of which one part is given; all sums are exact."""
    net, rng = Quantised(CHANNELS, (6, 6)), np.random.default_rng(0)
    value = net.op("Clip", "x", *(net.constant(np.float32(end)) for end in ends))
    if inputs:
        scale = net.constant(np.asarray(step, np.float32))
        point = net.constant(np.uint8(0) if zero is None else zero)
        read = net.op("QuantizeLinear", value, scale, point, axis=1)
        value = net.op("DequantizeLinear", read, scale, point, axis=1)
    if codes is None:
        codes = (2 * rng.integers(0, 4, (FILTERS, CHANNELS // groups, 3, 3)) - 3).astype(np.int8)
    points = np.zeros(len(codes), codes.dtype) if zeros is None else np.asarray(zeros)
    scales = np.full(len(codes), 0.5, np.float32)
    weight = net.op("DequantizeLinear", *map(net.constant, (codes, scales, points)), axis=0)
    if added is not None:
        weight = net.op("Add", weight, net.constant(np.float32(added)))
    others = [] if bias is None else [net.constant(bias)]
    value = net.op("Conv", value, weight, *others, pads=[pads] * 4, group=groups)
    return net.model(net.rounded(net.op("Relu", value), last, 0))


def numbers(dtype: type, low: int, high: int) -> np.ndarray:
    drawn = np.random.default_rng(1).integers(low, high + 1, (FILTERS, CHANNELS, 3, 3))
    return drawn.astype(dtype)


EACH = np.where(np.arange(CHANNELS) % 2, 1, 0.5).astype(np.float32)
Make = Callable[[], ir.Model]
# How the layer is computed (in codes or not), and what is told; see also ``BAD`` in ``qdq``.
DECLINED: dict[str, tuple[Make, bool, str]] = {
    "a scale per channel": (
        lambda: layer(step=EACH, zero=np.zeros(CHANNELS, np.uint8)), False,
        "its inputs have 8 scales, one for each channel",
    ),
    "a zero point per channel": (
        lambda: layer(step=EACH, zero=np.arange(CHANNELS).astype(np.uint8)), False,
        "its inputs have 8 scales, one for each channel",
    ),
    "inputs of 16 bits": (
        lambda: layer(zero=np.uint16(3)), False, "its inputs are uint16 codes, which no kernel"
    ),
    "inputs of 4-bit type": (
        lambda: layer(zero=np.array(3, ml_dtypes.uint4)), False, "its inputs are uint4 codes"
    ),
    "floats as inputs": (lambda: layer(inputs=False), False, "its inputs are floats, not codes"),
    "a zero point between codes": (
        lambda: layer(added=0.25), False, "its weights are floats, not codes (of zero points betw"
    ),
    "weights beyond 8 signed bits": (
        lambda: layer(
            codes=numbers(np.uint8, 0, 255), zeros=np.full(FILTERS, 3, np.uint8), last=64
        ),
        False, "its weights (uint8, zero point 3) are asymmetric, beyond 8 signed bits",
    ),
    "padding with what is no code": (
        lambda: layer(ends=(1, 4)), True, "it pads with zeros, and zero is none of its inputs' co"
    ),
    "wide inputs": (
        lambda: layer(ends=(0, 255)), True, "inputs of 8 bits are wider than kernels of few bits"
    ),
    "wide weights": (
        lambda: layer(codes=numbers(np.int8, -128, 127)), True, "weights of 8 bits are wider than"
    ),
}  # fmt: skip
TAKEN: dict[str, tuple[Make, str]] = {
    "odd codes": (layer, "W2A2"),
    "no code of zero, and no padding": (lambda: layer(ends=(1, 4), pads=0), "W2A2"),
    "one zero point": (lambda: layer(zeros=np.full(FILTERS, 1, np.int8)), "W2A2"),
    "a zero point per filter": (lambda: layer(zeros=np.arange(FILTERS).astype(np.int8)), "W4A2"),
    "unsigned weights of 4-bit type": (
        lambda: layer(
            codes=numbers(ml_dtypes.uint4, 0, 3), zeros=np.full(FILTERS, 2, ml_dtypes.uint4)
        ),
        "W2A2",
    ),
    "signed weights of 4-bit type": (lambda: layer(codes=numbers(ml_dtypes.int4, -8, 7)), "W4A2"),
    "a bias of floats": (
        lambda: layer(bias=np.array([0.25, 9.125, -0.75, 3], np.float32)), "W2A2"
    ),
}  # fmt: skip


def reference(model: ir.Model, image: np.ndarray) -> np.ndarray:
    """ONNX Runtime's result, in floats: else it would round biases."""
    options = ort.SessionOptions()
    options.add_session_config_entry("session.disable_quant_qdq", "1")
    session = ort.InferenceSession(to_proto(model).SerializeToString(), options)
    return session.run(None, {"x": image})[0]


def computed(
    model: ir.Model, march: str = "native", algorithm: str = "auto"
) -> tuple[LayerAlgorithm, np.ndarray]:
    """How the layer is computed; the result is compared with ONNX Runtime's."""
    image = np.random.default_rng(2).integers(0, 6, (2, CHANNELS, 6, 6)).astype(np.float32)
    session = Native(march, algorithm=algorithm).prepare(model)
    (found,) = session.run({"x": image}).values()
    np.testing.assert_array_equal(found, reference(model, image))
    assert np.ptp(found) > 0
    (told,) = session.algorithms
    return told, found


@pytest.mark.parametrize("march", MARCHES)
@pytest.mark.parametrize("case", DECLINED)
def test_what_is_declined_is_computed_exactly_and_told(case: str, march: str) -> None:
    make, coded, reason = DECLINED[case]
    told, _ = computed(make(), march)
    assert told.coded == coded
    assert told.told.startswith(f"declined: {reason}")
    assert f"; so it runs as {'INT8' if coded else 'FP32'}" in told.told
    assert told.algorithm not in {"bit planes", "tables"}


@pytest.mark.parametrize("case", TAKEN)
def test_what_is_taken_is_computed_exactly(case: str) -> None:
    make, bits = TAKEN[case]
    told, _ = computed(make(), algorithm="bits" if bits == "W2A2" else "auto")
    assert told.coded
    assert str(told.bits) == bits
    assert told.geometry.endswith(bits)
    assert "declined" not in told.told
    assert bits != "W2A2" or told.algorithm in {"bit planes", "tables"}


def test_a_layer_without_a_choice_is_told_too() -> None:
    """A depthwise one, of which there is one kernel."""
    session = Native(algorithm="auto").prepare(
        layer(step=EACH, groups=CHANNELS, codes=numbers(np.int8, -1, 1)[:, :1].repeat(2, 0))
    )
    session.run({"x": np.zeros((1, CHANNELS, 6, 6), np.float32)})
    assert [note for note in session.notes if "its inputs have 8 scales" in note]


@pytest.mark.parametrize(
    ("codes", "ends", "told"),
    [
        (numbers(np.int8, -7, 7), (0, 15), "16 products of planes, where INT8 takes one of bytes"),
        (numbers(np.int8, 0, 1), (0, 3), "8 channels are few, where a word holds 64"),
    ],
)
def test_where_few_bits_do_not_pay_it_says_why(
    codes: np.ndarray, ends: tuple[float, float], told: str
) -> None:
    found, _ = computed(layer(codes=codes, ends=ends), algorithm="direct")
    assert found.algorithm == "int8"
    assert found.told.startswith(f"few bits do not pay: {told}")


def test_times_of_all_kernels_are_told() -> None:
    found, _ = computed(layer(), algorithm="measured")
    assert found.measured
    assert found.times_ms.keys() == {"bit planes", "int8"} | (
        {"tables"} if load().tables else set()
    )
    assert found.ms == found.times_ms[found.algorithm] > 0
    row: Mapping[str, object] = found.to_json()
    assert row["bits"] == {"weight": 2, "input": 2, "sums": 0}


@pytest.mark.parametrize("march", MARCHES)
def test_a_slower_path_is_told_once(march: str) -> None:
    session = Native(march, algorithm="auto").prepare(layer())
    for images in (1, 2):
        session.run({"x": np.zeros((images, CHANNELS, 6, 6), np.float32)})
    told = [note for note in session.notes if "VPOPCNTDQ" in note]
    counts = load(march).counts
    assert counts == {"haswell": 1, "x86-64": 0}.get(march, counts)
    assert len(told) == (counts < 2)
    assert all(("VPOPCNTDQ or AVX2" in note) == (counts == 0) for note in told)


def stacked() -> ir.Model:
    """As `mlcnn quantize` writes networks of few bits: biases behind layers, 8 bits at the ends."""
    net, rng = Quantised(CHANNELS, (6, 6)), np.random.default_rng(0)
    value, step = net.rounded("x", 1, 0), 0.5
    ends = net.constant(np.float32(0)), net.constant(np.float32(3))
    for bits in (8, 1, 2):
        drawn = 2 * rng.integers(0, 1 << bits, (CHANNELS, CHANNELS, 3, 3)) - (1 << bits) + 1
        codes = (drawn // 2 if bits == 8 else drawn).astype(np.int8)
        step = 2.0**-13 if bits == 8 else 2.0**-3
        weight = net.weight(codes, np.full(CHANNELS, step, np.float32))
        value = net.op("Conv", value, weight, pads=[1] * 4)
        shift = rng.integers(-3, 9, (CHANNELS, 1, 1)).astype(np.float32) / 2
        value = net.op("Relu", net.op("Add", value, net.constant(shift)))
        if bits == 1:
            value = net.op("MaxPool", value, kernel_shape=[2, 2], strides=[1, 1])
        value = net.rounded(net.op("Clip", value, *ends), 1, 0)
    last = net.weight(np.arange(-6, 6, dtype=np.int8).reshape(-1, 1, 1, 1).repeat(CHANNELS, 1),
                      np.full(12, 0.5, np.float32))  # fmt: skip
    return net.model(net.op("Conv", value, last))


def test_every_layer_has_the_bits_that_the_workload_reads() -> None:
    """What bounds codes too, where a pool computes it along, and where a sum behind is rounded."""
    model = stacked()
    image = np.random.default_rng(2).integers(0, 99, (2, CHANNELS, 6, 6)).astype(np.float32)
    expected = reference(model, image)
    session = Native(algorithm="bits").prepare(model)
    np.testing.assert_array_equal(next(iter(session.run({"x": image}).values())), expected)
    assert np.unique(expected).size > 9
    layers = {layer.name: layer.numbers for layer in read(model, batch=2).layers}
    assert [str(layer.bits) for layer in session.algorithms] == ["W8A8", "W1A2", "W2A2", "W4A2"]
    assert {layer.layer: layer.bits for layer in session.algorithms} == layers
    assert all(layer.coded for layer in session.algorithms)
    assert session.algorithms[0].algorithm == "int8"
    assert not {layer.algorithm for layer in session.algorithms[1:]} - {"bit planes", "tables"}
