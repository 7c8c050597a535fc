"""Pools of every geometry against ONNX Runtime: sizes, values, and the form that is saved."""

import itertools

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from onnx import helper

from mlcnn import graph

LOWEST = np.finfo(np.float32).min  # what ONNX Runtime's max pool gives for a window in the padding


def is_taken(size, kernel, stride, dilation, *, pads=0, auto_pad="NOTSET"):
    """Whether ONNX Runtime takes one axis of a pool and gives it an output."""
    extent = (kernel - 1) * dilation + 1
    if auto_pad.startswith("SAME"):
        total = (-(-size // stride) - 1) * stride + kernel - size
        return total >= 0 and size + total - extent > -stride
    return size + pads - extent > -stride


def axes(size, kernels, strides, dilations):
    for kernel, stride, dilation in itertools.product(kernels, strides, dilations):
        for before, after in itertools.product(range(kernel), repeat=2):
            if is_taken(size, kernel, stride, dilation, pads=before + after):
                yield kernel, stride, dilation, before, after, "NOTSET"
        for auto_pad in ("VALID", "SAME_UPPER", "SAME_LOWER"):
            if is_taken(size, kernel, stride, dilation, auto_pad=auto_pad):
                yield kernel, stride, dilation, 0, 0, auto_pad


def flags(operator, opset):
    """(ceil_mode, count_include_pad, whether it may be dilated) that an opset has."""
    first = {"MaxPool": 10, "AveragePool": 10, "LpPool": 18}[operator]
    dilated = opset >= {"MaxPool": 10, "AveragePool": 19, "LpPool": 18}[operator]
    for is_ceil in (0, 1) if opset >= first else (0,):
        for included in (0, 1) if operator == "AveragePool" else (0,):
            yield is_ceil, included, dilated


def attributes(axes, is_ceil, included):
    kernel, strides, dilations, before, after, modes = zip(*axes, strict=True)
    given = {"kernel_shape": kernel, "strides": strides}
    if modes[0] == "NOTSET":
        given["pads"] = before + after
    else:
        given["auto_pad"] = modes[0]
    given |= {"dilations": dilations} if max(dilations) > 1 else {}
    given |= {"ceil_mode": 1} if is_ceil else {}
    return given | ({"count_include_pad": 1} if included else {})


def cases(operator, opset, size, *, kernels=range(1, 5), strides=range(1, 4), dilations=(1, 2)):
    return [
        attributes([axis], is_ceil, included)
        for is_ceil, included, dilated in flags(operator, opset)
        for axis in axes(size, kernels, strides, dilations)
        if dilated or axis[2] == 1
    ]


def planes(operator, opset, sizes, number):
    """Pools over two axes whose geometries differ, drawn."""
    random = np.random.default_rng((opset, *sizes))
    along = [list(axes(size, range(1, 5), range(1, 4), (1, 2))) for size in sizes]
    options = list(flags(operator, opset))
    found = []
    while len(found) < number:
        pair = [axis[random.integers(len(axis))] for axis in along]
        is_ceil, included, dilated = options[random.integers(len(options))]
        if pair[0][5] == pair[1][5] and (dilated or pair[0][2] == pair[1][2] == 1):
            found.append(attributes(pair, is_ceil, included))
    return found


def network(operator, opset, dims, pools):
    nodes = [
        helper.make_node(operator, ["x"], [f"y{i}"], f"n{i}", **p) for i, p in enumerate(pools)
    ]
    kind = onnx.TensorProto.FLOAT
    outputs = [helper.make_tensor_value_info(f"y{i}", kind, None) for i in range(len(pools))]
    inputs = [helper.make_tensor_value_info("x", kind, dims)]
    body = helper.make_graph(nodes, "g", inputs, outputs)
    return helper.make_model(body, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def outputs(proto, x):
    options = onnxruntime.SessionOptions()
    options.log_severity_level, options.intra_op_num_threads = 4, 1
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, ["CPUExecutionProvider"]
    )
    return session.run(None, {"x": x})


def agrees(operator, opset, sizes, pools):
    x = np.random.default_rng(sizes).normal(size=(1, 1, *sizes)).astype(np.float32)
    free = ["n", "c", *(f"s{i}" for i in range(len(sizes)))]
    expected = outputs(network(operator, opset, free, pools), x)
    fixed = network(operator, opset, x.shape, pools)

    loaded = graph.from_proto(fixed)

    # Shapes as they are recorded, and as ONNX's own inference sees the saved network.
    shapes = [tuple(value.shape) for value in loaded.graph.outputs]
    for shape, theirs, pool in zip(shapes, expected, pools, strict=True):
        assert shape == theirs.shape, pool
    saved = graph.to_proto(loaded)
    if len(sizes) == 1:  # over two axes there may be no form that nobody disputes
        onnx.shape_inference.infer_shapes(saved, check_type=True, strict_mode=True)
    for theirs, again, pool in zip(expected, outputs(saved, x), pools, strict=True):
        np.testing.assert_allclose(again, theirs, rtol=1e-5, atol=1e-6, err_msg=str(pool))
    values = graph.evaluate(loaded, {"x": torch.from_numpy(x)})
    for theirs, ours, pool in zip(expected, values.values(), pools, strict=True):
        wanted = np.where(theirs == LOWEST, -np.inf, theirs)
        np.testing.assert_allclose(ours, wanted, rtol=1e-4, atol=1e-5, err_msg=str(pool))


OPERATORS = ("MaxPool", "AveragePool", "LpPool")


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(("opset", "size"), [(9, 5), (11, 6), (20, 2), (20, 7), (22, 5)])
def test_a_pool_over_one_axis_is_that_of_onnx_runtime(operator, opset, size):
    agrees(operator, opset, (size,), cases(operator, opset, size))


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize(("opset", "sizes"), [(11, (5, 8)), (20, (3, 6)), (22, (7, 4))])
def test_a_pool_over_two_axes_is_that_of_onnx_runtime(operator, opset, sizes):
    agrees(operator, opset, sizes, planes(operator, opset, sizes, 150))


@pytest.mark.long
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("opset", range(9, 24))
def test_all_small_pools_are_those_of_onnx_runtime(operator, opset):
    for size in range(1, 13):
        agrees(operator, opset, (size,), cases(operator, opset, size))
        sizes = size, 13 - size
        agrees(operator, opset, sizes, planes(operator, opset, sizes, 150))


@pytest.mark.long
@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("size", range(1, 13))
def test_wider_windows_are_those_of_onnx_runtime(operator, size):
    wide = {"kernels": range(1, 7), "strides": range(1, 6), "dilations": (1, 2, 3)}
    agrees(operator, 20, (size,), cases(operator, 20, size, **wide))


POOL = "MaxPool <kernel_shape = [1, 1], strides = [2, 2], ceil_mode = 1>"
BODIES = {
    "chain": f"a = {POOL} (x)  b = {POOL} (a)  y = Relu(b)",
    "branch": "m = ReduceMax <keepdims = 0> (x)  t = Cast <to = 9> (m)  "
    f"y = If (t) <then_branch = left () => (float[1,1,h,w] l) {{ k = {POOL} (x)  "
    f"l = {POOL} (k) }}, "
    "else_branch = right () => (float[1,1,h,w] r) { r = Identity(x) }>",
    "function": "a = own.Twice(x)  y = Relu(a)",
}


@pytest.mark.parametrize("name", BODIES)
def test_sizes_behind_a_dropped_window_are_right_everywhere(name, run):
    """12 positions are 6 are 3: a window every 2, and none may start behind the last position."""
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17, "own": 1]>
        g (float[1,1,12,12] x) => (float[1,1,h,w] y) {{ {BODIES[name]} }}
        <domain: "own", opset_import: ["": 17]> Twice (i) => (o)
        {{ j = {POOL} (i)  o = {POOL} (j) }}"""
    )
    if name != "function":
        del proto.functions[:]
        del proto.opset_import[1]

    model = graph.from_proto(proto)

    values = {v.name: v.shape for node in model.graph.all_nodes() for v in node.outputs}
    inner = "l" if name == "branch" else "y"
    assert tuple(values[inner]) == (1, 1, 3, 3)
    x = np.random.default_rng(0).normal(size=(1, 1, 12, 12)).astype(np.float32)
    (result,) = run(graph.to_proto(model), {"x": x})
    expected = x[:, :, ::4, ::4]
    wanted = expected if name == "branch" else np.maximum(expected, 0)
    np.testing.assert_array_equal(result, wanted)


@pytest.mark.parametrize("size", [16, 18])
def test_pads_that_say_nothing_leave_the_sizes_behind_a_chain_right(size, run):
    """Written zeros beside ``ceil_mode``: 16 positions are 8 are 4, and never 5."""
    pool = POOL.replace("ceil_mode", "pads = [0, 0, 0, 0], ceil_mode")
    proto = onnx.parser.parse_model(
        f"""<ir_version: 8, opset_import: ["": 17]> g (float[1,1,{size},{size}] x) =>
        (float[1,1,h,w] y) {{ a = {pool} (x)  b = {pool} (a)  y = Relu(b) }}"""
    )
    x = np.random.default_rng(size).normal(size=(1, 1, size, size)).astype(np.float32)
    (expected,) = run(proto, {"x": x})

    model = graph.from_proto(proto)

    assert tuple(model.graph.outputs[0].shape) == expected.shape
    np.testing.assert_array_equal(run(graph.to_proto(model), {"x": x})[0], expected)


@pytest.mark.parametrize("size", range(4, 9))
def test_a_dynamic_pool_keeps_its_rounding(size, run):
    proto = onnx.parser.parse_model(
        """<ir_version: 8, opset_import: ["": 17]> g (float[1,1,h,w] x) => (float[1,1,p,q] y)
        { y = AveragePool <kernel_shape = [2, 2], strides = [3, 3], ceil_mode = 1> (x) }"""
    )
    x = np.random.default_rng(size).normal(size=(1, 1, size, 7)).astype(np.float32)

    loaded = graph.to_proto(graph.from_proto(proto))

    np.testing.assert_array_equal(run(loaded, {"x": x})[0], run(proto, {"x": x})[0])


@pytest.mark.parametrize("auto_pad", ["SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("include", [0, 1])
def test_windows_that_leave_gaps_begin_where_the_kernels_do(auto_pad: str, include: int) -> None:
    """Where the windows need less than the input, ONNX Runtime leaves out its first positions."""
    for size, kernel, stride in ((9, 1, 3), (8, 1, 4), (8, 2, 4), (5, 2, 5), (7, 2, 4), (9, 3, 5)):
        node = helper.make_node(
            "AveragePool", ["x"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2,
            auto_pad=auto_pad, count_include_pad=include,
        )  # fmt: skip
        given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [1, 2, size, size])
        result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
        network = helper.make_graph([node], "g", [given], [result])
        opset = [helper.make_opsetid("", 20)]
        proto = helper.make_model(network, opset_imports=opset, ir_version=9)
        x = np.random.default_rng(size).standard_normal((1, 2, size, size)).astype(np.float32)
        session = onnxruntime.InferenceSession(proto.SerializeToString())
        (expected,) = session.run(None, {"x": x})
        found = graph.evaluate(graph.from_proto(proto), {"x": torch.from_numpy(x)})["y"].numpy()
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("ceil_mode", [0, 1])
def test_a_window_larger_than_the_image_has_one_output(ceil_mode: int) -> None:
    """Two columns of window over one of the image: ONNX Runtime averages what is there."""
    node = helper.make_node(
        "AveragePool", ["x"], ["y"], kernel_shape=[2, 2], strides=[2, 2], ceil_mode=ceil_mode
    )
    given = helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, [2, 5, 2, 1])
    result = helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, None)
    opset = [helper.make_opsetid("", 20)]
    network = helper.make_graph([node], "g", [given], [result])
    proto = helper.make_model(network, opset_imports=opset, ir_version=9)
    x = np.random.default_rng(0).standard_normal((2, 5, 2, 1)).astype(np.float32)
    session = onnxruntime.InferenceSession(proto.SerializeToString())
    (expected,) = session.run(None, {"x": x})
    found = graph.evaluate(graph.from_proto(proto), {"x": torch.from_numpy(x)})["y"].numpy()
    np.testing.assert_allclose(found, expected, atol=1e-6)
