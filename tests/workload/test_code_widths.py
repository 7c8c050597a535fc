"""Bits of layers, read from what the codes of a network are."""

import ml_dtypes
import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mlcnn.accelerators import network_tasks
from mlcnn.graph import from_proto
from mlcnn.workload import Numbers, operand_bits, read, spread_of, stored_width


def _width(codes, dtype=np.int8):
    return stored_width(ir.Value(name="w", const_value=ir.tensor(np.array(codes, dtype))))


@given(
    st.integers(1, 8), st.integers(1, 40), st.integers(-128, 127), st.data(),
    st.sampled_from([np.int8, np.int16, np.int32]),
)  # fmt: skip
def test_the_fewest_bits_that_tell_evenly_spaced_codes_apart(bits, step, least, data, dtype):
    drawn = data.draw(st.lists(st.integers(1, 2**bits - 1), max_size=9))
    numbers = {0, 2**bits - 1, 2 ** (bits - 1), *drawn}
    codes = [least + step * number for number in numbers]
    assume(np.iinfo(dtype).min <= min(codes) <= max(codes) <= np.iinfo(dtype).max)
    # With both 2^N - 1 and 2^(N - 1) among the numbers they have no common divisor.
    assert _width(codes, dtype) == bits


@pytest.mark.parametrize("bits", range(1, 8))
def test_odd_codes_have_the_bits_of_their_numbers(bits):
    """DoReFa's 2q - (2^N - 1), which would take one bit more in two's complement."""
    codes = [2 * q - (2**bits - 1) for q in range(2**bits)]
    assert _width(codes) == bits
    spread = spread_of(np.array(codes, np.int8))
    assert (spread.least, spread.step, spread.most) == (1 - 2**bits, 2, 2**bits - 1)


def test_signs_of_any_size_are_one_bit():
    assert _width([-127, 127, 127]) == _width([0, 1]) == _width([5]) == 1


@pytest.mark.parametrize("dtype", [ml_dtypes.int4, ml_dtypes.uint4])
def test_types_of_four_bits(dtype):
    assert _width([0, 1, 7], dtype) == 3


@pytest.mark.parametrize(("dtype", "bits"), [(np.float32, 32), (np.float16, 16)])
def test_floats_have_the_bits_of_their_type(dtype, bits):
    assert stored_width(ir.Value(name="w", const_value=ir.tensor(np.ones(4, dtype)))) == bits


def _network(*, added=False, ends=(0.0, 3.1), pooled=False):
    """A value in steps of 0.1 that a convolution of 3-bit codes reads, and perhaps a sum too."""
    arrays = {
        "step": np.float32(0.1), "zero": np.uint8(0), "low": np.float32(ends[0]),
        "high": np.float32(ends[1]), "scale": np.full(2, 0.5, np.float32),
        "zeros": np.zeros(2, np.int8), "first": np.ones((2, 2, 1, 1), np.float32),
        "codes": np.array([-3, 3, 1, 0], np.int8).reshape(2, 2, 1, 1),
    }  # fmt: skip
    make = helper.make_node
    nodes = [
        make("Conv", ["x", "first"], ["made"], name="first"),
        make("Relu", ["made"], ["value"]),
        make("Clip", ["value", "low", "high"], ["clipped"]),
        make("QuantizeLinear", ["clipped", "step", "zero"], ["q"]),
        make("DequantizeLinear", ["q", "step", "zero"], ["read"]),
        make("DequantizeLinear", ["codes", "scale", "zeros"], ["weight"], axis=0),
        *([make("AveragePool", ["read"], ["means"], kernel_shape=[2, 2])] if pooled else []),
        make("Conv", ["means" if pooled else "read", "weight"], ["second"], name="second"),
        make("Relu", ["second"], ["y"])
        if pooled
        else make("Add", ["second", "value" if added else "read"], ["y"]),
    ]
    sizes = {"x": (1, 2, 4, 4), "y": (1, 2, 3, 3) if pooled else (1, 2, 4, 4)}
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in sizes.items()]
    constants = [numpy_helper.from_array(np.asarray(a), n) for n, a in arrays.items()]
    graph = helper.make_graph(nodes, "net", shapes[:1], shapes[1:], constants)
    opsets = [helper.make_opsetid("", 20)]
    return from_proto(helper.make_model(graph, opset_imports=opsets, ir_version=9))


@pytest.mark.parametrize(
    ("ends", "bits"), [((0.0, 3.1), 5), ((0.0, 3.2), 6), ((0.0, 25.5), 8), ((0.0, 0.1), 1)]
)
def test_a_clip_bounds_the_codes(ends, bits):
    second = read(_network(ends=ends)).layers[1]
    assert (second.numbers.weight, second.numbers.input) == (3, bits)


@pytest.mark.parametrize(("ends", "bits"), [((0.0, 0.1), 3), ((0.0, 0.3), 4), ((0.0, 1.5), 6)])
def test_behind_a_pool_a_layer_reads_sums_of_codes(ends, bits):
    """Of codes of A bits, A + 2 at 2x2."""
    model = _network(ends=ends, pooled=True)
    second = read(model).layers[1]
    assert second.numbers.sums == second.numbers.operand == bits
    assert str(second.numbers) == f"W3A{bits}"


def test_of_a_node_as_of_a_layer():
    model = _network()
    layers = {layer.name: layer.numbers for layer in read(model).layers}
    found = {n.name: operand_bits(n) for n in model.graph if n.op_type == "Conv"}
    assert found == layers == {"first": Numbers(), "second": Numbers(3, 5)}


def test_what_only_codes_are_read_of_lies_in_memory_as_codes():
    first, second = network_tasks(_network())
    assert (first.written_bits, second.loaded_bits) == (5, 5)


def test_what_a_sum_reads_whole_lies_there_whole():
    first, second = network_tasks(_network(added=True))
    assert (first.written_bits, second.loaded_bits) == (32, 32)
    assert second.layer.numbers.input == 5


def test_results_are_written_whole():
    assert network_tasks(_network())[1].written_bits == 32
