"""Bits of layers, read from what the codes of a network are."""

import numpy as np
import onnx_ir as ir
import pytest
from hypothesis import given
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from mlcnn.accelerators import network_tasks
from mlcnn.graph import from_proto
from mlcnn.workload import read, stored_width


@given(st.lists(st.integers(-128, 127), min_size=1))
def test_the_least_twos_complement_that_holds_all_codes(codes):
    value = ir.Value(name="w", const_value=ir.tensor(np.array(codes, np.int8)))
    holds = [
        bits
        for bits in range(1, 9)
        if all(-(2 ** (bits - 1)) <= code < 2 ** (bits - 1) for code in codes)
    ]
    assert stored_width(value) == holds[0]


@pytest.mark.parametrize(("dtype", "bits"), [(np.uint8, 8), (np.float32, 32), (np.float16, 16)])
def test_other_types_have_the_bits_of_the_type(dtype, bits):
    assert stored_width(ir.Value(name="w", const_value=ir.tensor(np.ones(4, dtype)))) == bits


def _network(*, added=False, ends=(0.0, 3.1)):
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
        make("Conv", ["read", "weight"], ["second"], name="second"),
        make("Add", ["second", "value" if added else "read"], ["y"]),
    ]
    shapes = [helper.make_tensor_value_info(n, TensorProto.FLOAT, (1, 2, 4, 4)) for n in ("x", "y")]
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


def test_what_only_codes_are_read_of_lies_in_memory_as_codes():
    first, second = network_tasks(_network())
    assert (first.written_bits, second.loaded_bits) == (5, 5)


def test_what_a_sum_reads_whole_lies_there_whole():
    first, second = network_tasks(_network(added=True))
    assert (first.written_bits, second.loaded_bits) == (32, 32)
    assert second.layer.numbers.input == 5


def test_results_are_written_whole():
    assert network_tasks(_network())[1].written_bits == 32
