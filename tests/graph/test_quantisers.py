"""Which pairs of nodes round and nothing else, and networks without them."""

import numpy as np
import onnx_ir as ir
import pytest
import torch
from passes.builder import Net

from mlcnn.graph import (
    code_bits,
    evaluate,
    is_constant,
    is_quantised,
    layer_name,
    read_rounding,
    stored_values,
    unrounded,
)

_MIDDLE = np.uint8(128)


def pair(net: Net, value: ir.Value, scale: float = 0.5, zero: np.generic = _MIDDLE) -> ir.Value:
    """The value, rounded."""
    codes = net.op("QuantizeLinear", value, np.float32(scale), zero)
    codes.type = ir.TensorType(ir.DataType.from_numpy(zero.dtype))
    return net.op("DequantizeLinear", codes, np.float32(scale), zero)


@pytest.mark.parametrize(("zero", "low", "high", "activates"), [
    (np.uint8(128), -64, 63.5, False),
    (np.uint8(0), 0, 127.5, True),
    (np.uint8(255), -127.5, 0, True),
    (np.int8(-128), 0, 127.5, True),
    (np.int8(0), -64, 63.5, False),
    (np.int16(0), -16384, 16383.5, False),
])  # fmt: skip
def test_the_range_of_a_pair(zero: np.generic, low: float, high: float, activates: bool) -> None:
    net = Net()
    rounded = pair(net, net.x, zero=zero)
    net.model(rounded)
    rounding = read_rounding(rounded)
    assert rounding is not None
    assert rounding.source is net.x
    assert (rounding.step, rounding.low, rounding.high) == (0.5, low, high)
    assert rounding.activates == activates


def test_what_is_no_pair() -> None:
    net = Net()
    codes = net.op("QuantizeLinear", net.x, np.float32(1), np.uint8(1))
    codes.type = ir.TensorType(ir.DataType.UINT8)
    other = net.op("DequantizeLinear", codes, np.float32(2), np.uint8(1))
    shared = net.op("DequantizeLinear", codes, np.float32(1), np.uint8(1))
    net.model(other, shared)
    assert read_rounding(other) is None  # of another scale
    assert read_rounding(shared) is None  # the codes are used elsewhere too
    assert read_rounding(net.x) is None


def test_a_dequantised_constant_is_a_constant() -> None:
    net = Net()
    scale, zero = np.ones(4, np.float32), np.zeros(4, np.int8)
    codes = net.initializer("conv.weight_quantized", np.ones((4, 2, 3, 3), np.int8))
    weight = net.op("DequantizeLinear", codes, scale, zero, axis=0)
    value = net.conv(net.x, 4, weight=weight, name="node_12")
    rounded, plain = pair(net, net.x), net.weight("plain", 2)
    net.model(value, rounded)
    assert is_constant(weight)
    assert code_bits(weight) == 8
    assert stored_values(weight)[0] is codes
    assert layer_name(value.producer()) == "conv"
    assert not is_constant(net.x)
    assert not is_constant(rounded)
    assert not is_constant(None)
    assert code_bits(plain) is None


def test_without_rounding_only_constants_stay_dequantised() -> None:
    net = Net()
    codes = net.initializer("codes", np.arange(2, dtype=np.int8).reshape(1, 2, 1, 1))
    factor = net.op("DequantizeLinear", codes, np.float32(0.25))
    model = net.model(net.op("Mul", pair(net, net.x, zero=np.uint8(0)), factor))
    plain = unrounded(model)
    assert is_quantised(model)
    assert not is_quantised(plain)
    x = np.random.default_rng(0).standard_normal((1, 2, 8, 8))
    (result,) = evaluate(plain, {"x": torch.from_numpy(x)}).values()
    np.testing.assert_allclose(result.numpy(), x * [[[[0]], [[0.25]]]])
