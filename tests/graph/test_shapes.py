"""Shapes against what an execution gives, and dynamic sizes under names that mean something."""

import numpy as np
import onnx
import onnx.numpy_helper
import onnx.parser
import onnx_ir as ir
from hypothesis import given, settings
from hypothesis import strategies as st

from mlcnn import graph


def parse(text, *shapes):
    model = onnx.parser.parse_model(text)
    for name, shape in shapes:
        array = np.random.default_rng(len(name)).normal(size=shape).astype(np.float32)
        model.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return model


def shape_of(model, name):
    values = ir.convenience.create_value_mapping(model.graph)
    return str(values[name].shape)


RESIDUAL = """<ir_version: 8, opset_import: ["": 17]> g (float[N,4,H,W] x) => (float[N,4,A,B] y) {
    a = Conv<strides=[2, 2], pads=[1, 1, 1, 1]>(x, w3)
    b = Conv<strides=[2, 2]>(x, w1)
    s = Add(a, b)
    r = Relu(s)
    c = Conv<pads=[1, 1, 1, 1]>(r, w3)
    y = Add(c, r) }"""


def test_branches_that_shrink_alike_have_sizes_of_one_name():
    model = graph.from_proto(parse(RESIDUAL, ("w3", (4, 4, 3, 3)), ("w1", (4, 4, 1, 1))))

    sizes = {shape_of(model, name) for name in "absrcy"}

    assert sizes == {"[N,4,A,B]"}


def test_an_output_named_like_an_input_is_not_believed_to_have_its_size():
    careless = RESIDUAL.replace("float[N,4,A,B] y", "float[N,4,H,W] y")
    model = graph.from_proto(parse(careless, ("w3", (4, 4, 3, 3)), ("w1", (4, 4, 1, 1))))

    inner = {shape_of(model, name) for name in "absrc"}

    assert len(inner) == 1
    assert not set("HW") & set(inner.pop())
    assert shape_of(model, "y") == "[N,4,H,W]"


def test_a_window_that_keeps_the_size_keeps_its_name():
    model = graph.from_proto(
        parse(
            """<ir_version: 8, opset_import: ["": 17]> g (float[N,4,H,W] x) => (float y) {
            a = Conv<pads=[2, 2, 2, 2], dilations=[2, 2]>(x, w)
            b = MaxPool<kernel_shape=[3, 3], pads=[1, 1, 1, 1]>(a)
            y = AveragePool<kernel_shape=[5, 5], auto_pad="SAME_UPPER">(b) }""",
            ("w", (4, 4, 3, 3)),
        )
    )

    assert {shape_of(model, name) for name in "aby"} == {"[N,4,H,W]"}


def test_windows_that_shrink_differently_have_sizes_of_different_names():
    model = graph.from_proto(
        parse(
            """<ir_version: 8, opset_import: ["": 17]> g (float[N,4,H,W] x) => (float a, float b) {
            a = MaxPool<kernel_shape=[3, 3], strides=[2, 2]>(x)
            b = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x) }"""
        )
    )

    assert shape_of(model, "a") != shape_of(model, "b")


WINDOWS = st.fixed_dictionaries(
    {
        "kernel": st.integers(1, 5),
        "stride": st.integers(1, 3),
        "pads": st.tuples(st.integers(0, 2), st.integers(0, 2)),
        "ceil": st.booleans(),
    }
).filter(lambda w: max(w["pads"]) < w["kernel"])


def pool(window, source, output):
    before, after = window["pads"]
    return (
        f"{output} = MaxPool<kernel_shape=[{window['kernel']}, 1], ceil_mode={int(window['ceil'])},"
        f" strides=[{window['stride']}, 1], pads=[{before}, 0, {after}, 0]>({source})\n"
    )


@settings(max_examples=60, deadline=None)
@given(
    left=st.lists(WINDOWS, min_size=1, max_size=2), right=st.lists(WINDOWS, min_size=1, max_size=2)
)
def test_sizes_of_one_name_are_equal_whatever_the_input(left, right, run):
    nodes = ""
    for side, windows in (("a", left), ("b", right)):
        names = ["x", *[f"{side}{i}" for i in range(len(windows))]]
        nodes += "".join(
            pool(w, source, output)
            for w, source, output in zip(windows, names, names[1:], strict=False)
        )
    last = f"a{len(left) - 1}", f"b{len(right) - 1}"
    old = parse(
        f'<ir_version: 8, opset_import: ["": 22]> g (float[1,1,H,1] x) => '
        f"(float {last[0]}, float {last[1]}) {{ {nodes} }}"
    )
    model = graph.from_proto(old)
    names = [str(value.shape[2]) for value in model.graph.outputs]
    new = graph.to_proto(model)

    for height in range(12, 20):
        x = np.zeros((1, 1, height, 1), np.float32)
        sizes = [array.shape[2] for array in run(new, {"x": x})]
        assert names[0] != names[1] or sizes[0] == sizes[1]
        assert names[0] != "H" or sizes[0] == height


def test_a_second_inference_changes_nothing():
    model = graph.from_proto(parse(RESIDUAL, ("w3", (4, 4, 3, 3)), ("w1", (4, 4, 1, 1))))
    before = [str(value.shape) for node in model.graph for value in node.outputs]

    graph.infer_shapes(model)

    assert [str(value.shape) for node in model.graph for value in node.outputs] == before


def test_new_values_get_names_of_their_own():
    model = graph.from_proto(
        parse(
            """<ir_version: 8, opset_import: ["": 17]> g (float[N,4,H,W] x) => (float y) {
            y = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(x) }"""
        )
    )
    (first,) = model.graph
    second = ir.node(
        "MaxPool", [model.graph.inputs[0]], {"kernel_shape": [3, 3], "strides": [2, 2]}
    )
    second.outputs[0].name = "z"
    model.graph.append(second)
    model.graph.outputs.append(second.outputs[0])

    graph.infer_shapes(model)

    assert shape_of(model, "y") == str(first.outputs[0].shape)
    assert not set(first.outputs[0].shape[2:]) & set(second.outputs[0].shape[2:])


def test_the_noted_shape_of_an_unknown_operator_counts():
    model = graph.from_proto(
        parse(
            """<ir_version: 8, opset_import: ["": 17, "com.example": 1]>
            g (float[1,3,8,8] x) => (float y) <float[1,4,6,6] h>
            { h = com.example.Warp(x)  y = MaxPool<kernel_shape=[2, 2], strides=[2, 2]>(h) }"""
        )
    )

    assert (shape_of(model, "h"), shape_of(model, "y")) == ("[1,4,6,6]", "[1,4,3,3]")


def test_a_change_of_the_input_reaches_every_shape():
    model = graph.from_proto(
        parse(
            """<ir_version: 8, opset_import: ["": 17]> g (float[1,4,8,8] x) => (float[1,4,6,6] y)
            { a = Conv(x, w)  y = Relu(a) }""",
            ("w", (4, 4, 3, 3)),
        )
    )
    model.graph.inputs[0].shape = ir.Shape([7, 4, 10, 9])

    graph.infer_shapes(model)

    assert shape_of(model, "y") == "[7,4,8,7]"
